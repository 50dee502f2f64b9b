"""Float64 formulas of the scores, in NumPy; ``_formulas`` makes losses of them.

Those of single values take and return an array of any shape. Those over classes take an array of
the shape (anchors, classes).
"""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


def softplus(z: Float64Array) -> Float64Array:
    """Return log(1 + exp(z)), which never overflows before z does."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _log_sigmoid(z: Float64Array) -> Float64Array:
    return -softplus(-z)


def sigmoid(z: Float64Array) -> Float64Array:
    """Return 1 / (1 + exp(-z))."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1.0) / (1 + e)


def _logit(p: Float64Array) -> Float64Array:
    # The logarithms would cancel near p = 1/2, where 2p - 1 is exact.
    return np.where(np.abs(p - 0.5) < 0.25, 2 * np.arctanh(2 * p - 1), np.log(p) - np.log1p(-p))


def _odds(p: Float64Array) -> Float64Array:
    return np.where((p >= 0) & (p <= 1), p / (1 - p), np.nan)


def partition(z: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return each row's maximum, the distances to it, and the sum of exp(-distance).

    The maximum's own term, 1, is left out of the sum: small ones would drown in it. The sum is NaN
    where softmax has no limit: NaN logits, two or more of +inf, nothing but -inf.
    """
    largest = z.argmax(axis=-1)[:, None]
    top = np.take_along_axis(z, largest, axis=-1)
    distance = top - z
    np.put_along_axis(distance, largest, 0.0, axis=-1)
    terms = np.exp(-distance)
    np.put_along_axis(terms, largest, 0.0, axis=-1)
    others = terms.sum(axis=-1, keepdims=True)
    others[~(top > -np.inf)] = np.nan
    return top, distance, others


def log_softmax(z: Float64Array) -> Float64Array:
    """Return the logarithms of softmax along the rows."""
    _, distance, others = partition(z)
    return -(distance + np.log1p(others))


def softmax(z: Float64Array) -> Float64Array:
    """Return exp(z) of each row, divided by its sum."""
    _, distance, others = partition(z)
    return np.exp(-distance) / (1 + others)


def _logsumexp(z: Float64Array) -> Float64Array:
    top, _, others = partition(z)
    return np.where(np.isinf(top), top, top + np.log1p(others))[:, 0]


ELEMENT_SCORES: dict[str, Callable[[Float64Array], Float64Array]] = {
    "sigmoid": sigmoid,
    "log_sigmoid": _log_sigmoid,
    "softplus": softplus,
    "logit": _logit,
    "odds": _odds,
}
CLASS_SCORES: dict[str, Callable[[Float64Array], Float64Array]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": _logsumexp,
}
