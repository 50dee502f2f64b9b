"""scikit-learn's private losses: one logit per sample, or one row of two dimensions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss

from benchmarks.inputs import Inputs

NAME = "scikit-learn"
DISTRIBUTION = "scikit-learn"


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    if inputs.case.dtype == "bfloat16":
        return {}
    if inputs.function == "sigmoid_cross_entropy":
        return {"": _binomial(inputs, threads)}
    if inputs.function == "softmax_cross_entropy" and inputs.axis == -1:
        return {"": _multinomial(inputs, threads)}
    return {}


def _binomial(inputs: Inputs, threads: int) -> Callable[[], object]:
    loss = HalfBinomialLoss()
    raw, truth = inputs.values.ravel(), inputs.one_hot().ravel()
    losses, gradient = np.empty_like(raw), np.empty_like(raw)
    if inputs.case.gradient:

        def loss_gradient() -> object:
            loss.loss_gradient(
                truth, raw, loss_out=losses, gradient_out=gradient, n_threads=threads
            )
            return losses, gradient.reshape(inputs.shape.dims)

        return loss_gradient

    def per_anchor() -> object:
        loss.loss(truth, raw, loss_out=losses, n_threads=threads)
        if inputs.axis is None:
            return losses
        return losses.reshape(inputs.shape.dims).sum(axis=inputs.axis)

    return per_anchor


def _multinomial(inputs: Inputs, threads: int) -> Callable[[], object]:
    loss = HalfMultinomialLoss(n_classes=inputs.shape.classes)
    raw = inputs.values
    truth = inputs.labels.astype(raw.dtype)
    losses, gradient = np.empty(len(raw), raw.dtype), np.empty_like(raw)
    if inputs.case.gradient:
        return lambda: loss.loss_gradient(
            truth, raw, loss_out=losses, gradient_out=gradient, n_threads=threads
        )
    return lambda: loss.loss(truth, raw, loss_out=losses, n_threads=threads)


def as_arrays(result: np.ndarray | tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    if isinstance(result, tuple):
        losses, gradient = result
        return np.asarray(losses.sum(dtype=np.float64)), gradient
    return (result,)
