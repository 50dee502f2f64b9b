"""Float64 formulas in NumPy: the oracle of the tests, and the backend "numpy".

Written to be read and to be right, not to be fast. Everything is computed in float64 from blocks
of a few thousand anchors, so that no temporary is as large as the input. Differences of nearly
equal numbers are avoided throughout: a loss of 1e-12 is right to all its digits.
"""

# What NumPy's functions return is Any for mypy.
# mypy: disable-error-code="no-any-return"

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastxent._request import Array, LossRequest, LossTotals

Float64Array = NDArray[np.float64]
Index = tuple[Any, ...]

#: Values in a block: 512 KB of float64 stay in the cache.
BLOCK_SIZE = 65536


def evaluate_loss(request: LossRequest) -> LossTotals:
    """Evaluate a loss block by block."""
    *anchors, classes = request.logits.shape
    loss, valid, weight, positive = 0.0, 0, 0.0, 0
    for block in _blocks(tuple(anchors), classes):
        with np.errstate(all="ignore"):
            targets, kept = _targets(request, block)
            weights = _weights(request, block)
            logits = request.logits[block].astype(np.float64)
            terms = _times(weights, LOSSES[request.loss](logits, targets, request))
            terms[~kept] = 0.0
            losses = terms.sum(axis=-1)
            if request.loss == "binary_cross_entropy":
                losses /= classes
            if request.out is not None:
                request.out[block] = terms if request.per_logit else losses
            loss += float(losses.sum())
            valid += int(kept.sum())
            weight += float(_applied_weight(request, weights, targets)[kept].sum())
            positive += int((_has_class(request, targets) & kept).sum())
    return LossTotals(loss, valid, weight, positive)


def evaluate_score(
    name: str,
    values: NDArray[np.floating[Any]],
    out: NDArray[np.floating[Any]],
    threads: int,  # noqa: ARG001 - part of a backend's interface
) -> None:
    """Evaluate a score block by block."""
    if name in CLASS_SCORES:
        score, anchors, classes = CLASS_SCORES[name], values.shape[:-1], values.shape[-1]
    else:
        score, anchors, classes = ELEMENT_SCORES[name], values.shape, 1
    for block in _blocks(anchors, classes):
        with np.errstate(all="ignore"):
            out[block] = score(values[block].astype(np.float64))


def _blocks(anchors: tuple[int, ...], classes: int) -> Iterator[Index]:
    """Yield indices of blocks of anchors; what they index has these anchors as its first axis."""
    if not anchors:
        yield (None,)
        return
    count = math.prod(anchors)
    step = max(1, BLOCK_SIZE // classes)
    for start in range(0, count, step):
        yield np.unravel_index(np.arange(start, min(start + step, count)), anchors)


def _times(factor: Float64Array, value: Float64Array) -> Float64Array:
    """Multiply, taking zero times an infinite value as zero: the limit of a loss weighted by 0."""
    product = factor * value
    product[(factor == 0) & np.isinf(value)] = 0.0
    return product


# --- targets and weights -------------------------------------------------------------------------


def _is_sigmoid(request: LossRequest) -> bool:
    return request.loss in {"sigmoid_cross_entropy", "binary_cross_entropy"}


def _targets(request: LossRequest, block: Index) -> tuple[Float64Array, NDArray[np.bool_]]:
    """Return dense targets (anchors, classes) and which anchors are not ignored."""
    if request.dense is not None:
        targets = request.dense[block].astype(np.float64)
        return targets, np.ones(len(targets), dtype=bool)
    classes = request.logits.shape[-1]
    columns = cast("Array", request.labels)[block].astype(np.int64)
    kept = ~np.isin(columns, request.ignore)
    if _is_sigmoid(request):
        nothing = columns == request.background
        if 0 <= request.background <= classes:
            columns -= columns > request.background
        columns[nothing] = -1
    return (columns[:, None] == np.arange(classes)).astype(np.float64), kept


def _weights(request: LossRequest, block: Index) -> Float64Array:
    """Return the product of all weights, (anchors, classes)."""
    weights = np.full(request.logits[block].shape, request.weight)
    if request.anchor_weight is not None:
        weights *= request.anchor_weight[block][:, None]
    if request.logit_weight is not None:
        weights *= request.logit_weight[block]
    if request.class_weight is not None:
        weights *= request.class_weight
    return weights


def _applied_weight(
    request: LossRequest, weights: Float64Array, targets: Float64Array
) -> Float64Array:
    """Return the weight of each anchor, by which the normalizer "weight" divides."""
    if _is_sigmoid(request):
        return weights.mean(axis=-1)
    return (weights * targets).sum(axis=-1)


def _has_class(request: LossRequest, targets: Float64Array) -> NDArray[np.bool_]:
    present = targets > 0
    if not _is_sigmoid(request) and request.background >= 0:
        present[:, request.background] = False
    return np.any(present, axis=-1)


# --- losses: (logits, targets, request) -> terms, all (anchors, classes) --------------------------


def _sigmoid_cross_entropy(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    keep, spread = 1 - request.label_smoothing, request.label_smoothing / 2
    positive, negative = y * keep + spread, (1 - y) * keep + spread
    if request.pos_weight is not None:
        positive *= request.pos_weight
    return _times(positive, _softplus(-z)) + _times(negative, _softplus(z))


def _softmax_cross_entropy(z: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    y = y * (1 - request.label_smoothing) + request.label_smoothing / z.shape[-1]
    return _times(y, -_log_softmax(z))


def _binary_cross_entropy(p: Float64Array, y: Float64Array, request: LossRequest) -> Float64Array:
    low, high = math.log(request.eps), math.log1p(-request.eps)
    log_p = np.clip(np.log(np.maximum(p, 0)), low, high)
    log_q = np.clip(np.log1p(-np.minimum(p, 1)), low, high)
    return -(y * log_p + (1 - y) * log_q)


def _categorical_cross_entropy(
    p: Float64Array, y: Float64Array, request: LossRequest
) -> Float64Array:
    largest = p.argmax(axis=-1)[:, None]
    total = p.sum(axis=-1, keepdims=True)
    # -log(q) = log(total / p) = log1p((total - p) / p), where total - p would cancel for the
    # largest p: the sum of the others is the same without that.
    others = total - p
    rest = p.copy()
    np.put_along_axis(rest, largest, 0.0, axis=-1)
    np.put_along_axis(others, largest, rest.sum(axis=-1, keepdims=True), axis=-1)
    surprise = np.where(p / total < request.eps, np.inf, np.log1p(others / p))
    surprise[~np.isfinite(total[:, 0])] = np.nan
    return y * np.clip(surprise, -math.log1p(-request.eps), -math.log(request.eps))


LOSSES: dict[str, Callable[[Float64Array, Float64Array, LossRequest], Float64Array]] = {
    "sigmoid_cross_entropy": _sigmoid_cross_entropy,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "categorical_cross_entropy": _categorical_cross_entropy,
}


# --- scores --------------------------------------------------------------------------------------


def _softplus(z: Float64Array) -> Float64Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _log_sigmoid(z: Float64Array) -> Float64Array:
    return -_softplus(-z)


def _sigmoid(z: Float64Array) -> Float64Array:
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1.0) / (1 + e)


def _logit(p: Float64Array) -> Float64Array:
    # The logarithms would cancel near p = 1/2, where 2p - 1 is exact.
    return np.where(np.abs(p - 0.5) < 0.25, 2 * np.arctanh(2 * p - 1), np.log(p) - np.log1p(-p))


def _odds(p: Float64Array) -> Float64Array:
    return np.where((p >= 0) & (p <= 1), p / (1 - p), np.nan)


def _partition(z: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
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


def _log_softmax(z: Float64Array) -> Float64Array:
    _, distance, others = _partition(z)
    return -(distance + np.log1p(others))


def _softmax(z: Float64Array) -> Float64Array:
    _, distance, others = _partition(z)
    return np.exp(-distance) / (1 + others)


def _logsumexp(z: Float64Array) -> Float64Array:
    top, _, others = _partition(z)
    return np.where(np.isinf(top), top, top + np.log1p(others))[:, 0]


ELEMENT_SCORES: dict[str, Callable[[Float64Array], Float64Array]] = {
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "softplus": _softplus,
    "logit": _logit,
    "odds": _odds,
}
CLASS_SCORES: dict[str, Callable[[Float64Array], Float64Array]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
}
