"""NumPy as a user writes it: whole arrays at a time, on one thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.inputs import Inputs

NAME = "NumPy"
DISTRIBUTION = "numpy"


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softplus(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def logsumexp(z: np.ndarray, axis: int) -> np.ndarray:
    top = z.max(axis=axis, keepdims=True)
    return np.log(np.exp(z - top).sum(axis=axis)) + top.squeeze(axis)


def softmax(z: np.ndarray, axis: int) -> np.ndarray:
    exponentials = np.exp(z - z.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def log_softmax(z: np.ndarray, axis: int) -> np.ndarray:
    return z - np.expand_dims(logsumexp(z, axis), axis)


ELEMENT_SCORES = {
    "sigmoid": sigmoid,
    "log_sigmoid": lambda z: -softplus(-z),
    "softplus": softplus,
    "logit": lambda p: np.log(p / (1 - p)),
    "odds": lambda p: p / (1 - p),
}
CLASS_SCORES = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}


def focal(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = sigmoid(z)
    miss = np.where(y == 1, 1 - p, p)
    return np.where(y == 1, 0.25, 0.75).astype(z.dtype) * miss**2 * (softplus(z) - z * y)


SIGMOID = {
    "sigmoid_cross_entropy": lambda z, y: softplus(z) - z * y,
    "sigmoid_focal_loss": focal,
    "quality_focal_loss": lambda z, y: (y - sigmoid(z)) ** 2 * (softplus(z) - z * y),
    "varifocal_loss": lambda z, y: np.where(
        y > 0, y * (softplus(z) - z * y), 0.75 * sigmoid(z) ** 2 * softplus(z)
    ),
    "binary_cross_entropy": lambda p, y: -(y * np.log(p) + (1 - y) * np.log1p(-p)),
}


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    del threads
    name, axis, dtype = inputs.function, inputs.axis, inputs.float_dtype

    def values() -> np.ndarray:
        return inputs.values.astype(dtype, copy=False)

    if name in ELEMENT_SCORES:
        return {"": lambda: ELEMENT_SCORES[name](values())}
    if name in CLASS_SCORES:
        return {"": lambda: CLASS_SCORES[name](values(), axis)}
    if name == "softmax_cross_entropy":
        return _softmax_cross_entropy(inputs, values)
    if name not in SIGMOID or (inputs.case.gradient and name != "sigmoid_cross_entropy"):
        return {}
    dense = inputs.one_hot()
    if inputs.case.gradient:

        def loss_and_gradient() -> object:
            z = values()
            return SIGMOID[name](z, dense).sum(), sigmoid(z) - dense

        return {"": loss_and_gradient}

    def per_anchor() -> object:
        terms = SIGMOID[name](values(), dense)
        if axis is None:
            return terms
        return terms.mean(axis) if name == "binary_cross_entropy" else terms.sum(axis)

    return {"": per_anchor}


def _softmax_cross_entropy(
    inputs: Inputs, values: Callable[[], np.ndarray]
) -> dict[str, Callable[[], object]]:
    axis = inputs.axis
    index = np.expand_dims(inputs.labels, axis)

    def per_anchor(z: np.ndarray) -> np.ndarray:
        return logsumexp(z, axis) - np.take_along_axis(z, index, axis).squeeze(axis)

    if not inputs.case.gradient:
        return {"": lambda: per_anchor(values())}
    dense = inputs.one_hot()

    def loss_and_gradient() -> object:
        z = values()
        return per_anchor(z).sum(), softmax(z, axis) - dense

    return {"": loss_and_gradient}


def as_arrays(result: np.ndarray | tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    values = result if isinstance(result, tuple) else (result,)
    return tuple(np.asarray(value) for value in values)
