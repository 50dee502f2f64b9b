"""Backend "numpy": the float64 formulas, block by block.

Everything is computed in float64 from blocks of a few thousand anchors, so that no temporary is as
large as the input. Slow, and right; the tests compare the other backends with it.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastxent._contract import Array, LossRequest, LossTotals
from fastxent._floats import with_default_floats
from fastxent.reference.formulas import LOSSES, times
from fastxent.reference.score_formulas import CLASS_SCORES, ELEMENT_SCORES, Float64Array, softmax

BoolArray = NDArray[np.bool_]
Index = tuple[Any, ...]
#: Finite factors, and those that are not, with 1 elsewhere.
Factors = tuple[Float64Array, Float64Array]

#: Values in a block: 512 KB of float64 stay in the cache.
BLOCK_SIZE = 65536
#: Temporaries are as large as the scores of an anchor.
MOST_ROW_CLASSES = 2**24
_NOTHING = LossTotals(0.0, 0, 0.0, 0)


class _Block(NamedTuple):
    """Targets and weights of some anchors, (anchors, classes)."""

    targets: Float64Array
    #: The targets that count as a class of their anchor.
    present: BoolArray
    #: Which classes have a label: none of an ignored anchor.
    labelled: BoolArray
    weights: Float64Array
    #: Factors of whole anchors that are not finite, (anchors, 1); 1 where they are.
    infinite: Float64Array


@with_default_floats
def evaluate_loss(request: LossRequest) -> LossTotals:
    """Evaluate a loss block by block."""
    formula = LOSSES[request.loss.name]
    totals = _NOTHING
    for index in _blocks(request):
        with np.errstate(all="ignore"):
            block = _read(request, index)
            values = request.logits[index].astype(np.float64)
            terms = times(block.weights, formula.terms(values, block.targets, request))
            terms[~block.labelled] = 0.0
            losses = terms.sum(axis=-1) / _terms_per_loss(request, block)
            terms, losses = terms * block.infinite, losses * block.infinite[:, 0]
            terms[~block.labelled] = losses[~block.labelled.any(axis=-1)] = 0.0
            if request.out is not None:
                request.out[index] = terms if request.per_logit else losses
            if request.grad is not None:
                factors, infinite = _grad_factors(request, index, block)
                factors, infinite = block.weights * factors, block.infinite * infinite
                if request.loss.sigmoid:  # a derivative is that of one term
                    factors, infinite = factors * infinite, np.ones_like(infinite)
                gradient = formula.gradient(values, block.targets, factors, request)
                gradient *= infinite
                gradient[~block.labelled] = 0.0
                request.grad[index] = gradient
            if request.expectation is not None:
                numbers = np.arange(values.shape[-1])
                request.expectation[index] = (softmax(values) * numbers).sum(axis=-1)
            totals = _add(totals, _count(request, block)._replace(loss=float(losses.sum())))
    return totals


@with_default_floats
def count_anchors(request: LossRequest) -> LossTotals:
    """Add up everything but the loss, without a look at the logits."""
    totals = _NOTHING
    for index in _blocks(request):
        with np.errstate(all="ignore"):
            totals = _add(totals, _count(request, _read(request, index)))
    return totals


@with_default_floats
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
        values, out = values.squeeze(), out.squeeze()  # which makes room for a 65th dimension
        score, anchors, classes = ELEMENT_SCORES[name], values.shape, 1
    for block in _blocks_of(anchors, classes):
        with np.errstate(all="ignore"):
            out[block] = score(values[block].astype(np.float64))


def _blocks(request: LossRequest) -> Iterator[Index]:
    *anchors, classes = request.logits.shape
    return _blocks_of(tuple(anchors), classes)


def _blocks_of(anchors: tuple[int, ...], classes: int) -> Iterator[Index]:
    """Yield indices of blocks of anchors; what they index has these anchors as its first axis."""
    if not anchors:
        yield (None,)
        return
    count = math.prod(anchors)
    step = max(1, BLOCK_SIZE // classes)
    for start in range(0, count, step):
        yield np.unravel_index(np.arange(start, min(start + step, count)), anchors)


# --- what a block holds --------------------------------------------------------------------------


def _read(request: LossRequest, index: Index) -> _Block:
    weights = _weights(request, index)
    if request.dense is not None:
        targets = request.dense[index].astype(np.float64)
        labelled = ~np.isin(targets, request.ignore)
        targets[~labelled] = 0.0
        return _Block(targets, targets > 0, labelled, *weights)
    if request.positions is not None:
        return _read_positions(request, request.positions[index].astype(np.float64), weights)
    numbers = np.arange(request.logits.shape[-1])
    columns = cast("Array", request.labels)[index].astype(np.int64)
    labelled = _of_all_classes(~np.isin(columns, request.ignore), numbers)
    if request.loss.sigmoid:
        nothing = columns == request.background
        if 0 <= request.background <= len(numbers):
            columns -= columns > request.background
        columns[nothing] = -1
    present = columns[:, None] == numbers
    if request.scores is None:
        return _Block(present.astype(np.float64), present & labelled, labelled, *weights)
    scores = request.scores[index].astype(np.float64)[:, None]
    return _Block(np.where(present, scores, 0.0), present & labelled, labelled, *weights)


def _read_positions(request: LossRequest, positions: Float64Array, weights: Factors) -> _Block:
    """Share 1 among the two classes next to each position."""
    numbers = np.arange(request.logits.shape[-1])
    labelled = _of_all_classes(~np.isin(positions, request.ignore), numbers)
    left = np.floor(positions)[:, None]
    right_share = positions[:, None] - left
    targets = np.where(numbers == left, 1 - right_share, 0.0)
    targets += np.where(numbers == left + 1, right_share, 0.0)
    return _Block(targets, (targets > 0) & labelled, labelled, *weights)


def _of_all_classes(of_anchors: BoolArray, numbers: Array) -> BoolArray:
    """Return what is true of anchors for each of their classes."""
    return np.broadcast_to(of_anchors[:, None], (len(of_anchors), len(numbers)))


def _weights(request: LossRequest, index: Index) -> Factors:
    """Return the product of all weights, (anchors, classes), and those that are not finite."""
    count = 1 if index[0] is None else len(index[0])
    of_anchors = np.full((count, 1), request.weight)
    if request.anchor_weight is not None:
        of_anchors *= request.anchor_weight[index].astype(np.float64)[:, None]
    of_anchors, infinite = _split(of_anchors)
    weights = np.repeat(of_anchors, request.logits.shape[-1], axis=1)
    if request.logit_weight is not None:
        weights *= request.logit_weight[index].astype(np.float64)
    if request.class_weight is not None:
        weights *= request.class_weight
    return weights, infinite


def _split(factors: Float64Array) -> Factors:
    """Return factors with 1 for those that are not finite, and these with 1 for the others.

    An infinite factor is that of a finished result, not of its terms, some of which are 0.
    """
    is_finite = np.isfinite(factors)
    return np.where(is_finite, factors, 1.0), np.where(is_finite, 1.0, factors)


def _terms_per_loss(request: LossRequest, block: _Block) -> Float64Array:
    """Return what the sum over each anchor's classes is divided by: Keras takes the mean."""
    if request.loss.name != "binary_cross_entropy":
        return np.ones(len(block.labelled))
    return _label_counts(block)


def _label_counts(block: _Block) -> Float64Array:
    """Return how many classes of each anchor have a label; 1 for those with none, a divisor."""
    counts: Float64Array = np.maximum(block.labelled.sum(axis=-1), 1.0)
    return counts


def _grad_factors(request: LossRequest, index: Index, block: _Block) -> Factors:
    """Return what the gradient of the terms is multiplied by, and what is not finite of it."""
    factors = np.full((1, 1), request.grad_scale)
    if not request.per_logit:
        factors = factors / _terms_per_loss(request, block)[:, None]
    if request.anchor_grad_output is not None:
        factors = factors * request.anchor_grad_output[index].astype(np.float64)[:, None]
    if request.logit_grad_output is not None:
        factors = factors * request.logit_grad_output[index].astype(np.float64)
    return _split(factors)


# --- totals --------------------------------------------------------------------------------------


def _count(request: LossRequest, block: _Block) -> LossTotals:
    """Return the totals of a block, except for the loss."""
    kept, has_class = block.labelled.any(axis=-1), block.present
    weights = np.where(block.labelled, block.weights * block.infinite, 0.0)
    if request.loss.sigmoid:
        applied = weights.sum(axis=-1) / _label_counts(block)
    else:
        applied = np.where(block.targets == 0, 0.0, weights * block.targets).sum(axis=-1)
        has_class = has_class & (np.arange(has_class.shape[-1]) != request.background)
    positive = np.any(has_class, axis=-1)
    return LossTotals(0.0, int(kept.sum()), float(applied.sum()), int(positive.sum()))


def _add(first: LossTotals, second: LossTotals) -> LossTotals:
    return LossTotals(
        first.loss + second.loss,
        first.valid + second.valid,
        first.weight + second.weight,
        first.positive + second.positive,
    )
