"""SciPy: the scores of scipy.special, and the cross-entropies that they make. One thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import special

from benchmarks.inputs import Inputs

NAME = "SciPy"
DISTRIBUTION = "scipy"

UFUNCS = {"sigmoid": special.expit, "log_sigmoid": special.log_expit, "logit": special.logit}
CLASS_SCORES = {
    "softmax": special.softmax,
    "log_softmax": special.log_softmax,
    "logsumexp": special.logsumexp,
}


def prepare(inputs: Inputs, threads: int) -> dict[str, Callable[[], object]]:
    del threads
    name, z = inputs.function, inputs.values
    if inputs.case.gradient or inputs.case.dtype == "bfloat16":
        return {}
    if name in UFUNCS:
        return {"": partial(UFUNCS[name], z, out=np.empty_like(z))}
    if name in CLASS_SCORES:
        return {"": partial(CLASS_SCORES[name], z, axis=inputs.axis)}
    if name == "sigmoid_cross_entropy":
        return {"": _sigmoid_cross_entropy(inputs)}
    if name == "softmax_cross_entropy":
        index = np.expand_dims(inputs.labels, inputs.axis)
        return {"": partial(_softmax_cross_entropy, z, index, inputs.axis)}
    return {}


def _sigmoid_cross_entropy(inputs: Inputs) -> Callable[[], object]:
    z = inputs.values
    # A positive class flips the sign of its logit.
    signs = 1 - 2 * inputs.one_hot()
    buffer = np.empty_like(z)

    def per_anchor() -> object:
        np.multiply(z, signs, out=buffer)
        np.negative(buffer, out=buffer)
        special.log_expit(buffer, out=buffer)
        return -buffer if inputs.axis is None else -buffer.sum(axis=inputs.axis)

    return per_anchor


def _softmax_cross_entropy(z: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    log_p = special.log_softmax(z, axis=axis)
    return -np.take_along_axis(log_p, index, axis=axis).squeeze(axis)


def as_arrays(result: np.ndarray) -> tuple[np.ndarray, ...]:
    return (result,)
