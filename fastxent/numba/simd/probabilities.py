"""Cross-entropies of probabilities, clipped as Keras does; mirrors native/simd/probabilities.h."""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.sigmoid import no_terms
from fastxent.numba.simd.softmax import find_largest
from fastxent.numba.simd.softmax_plain import label_logits
from fastxent.numba.simd.summation import compensated_add, compensated_value
from fastxent.numba.simd.tile import (
    CLASS_GROUP,
    Flow,
    Stream,
    factors_of,
    labels_of,
    lanes_load,
    lanes_positive,
    lanes_store,
    lanes_stream,
    lanes_target,
    logits_of,
    stream_of,
    targets_of,
)
from fastxent.numba.simd.vector import fma, load, maximum, minimum, select, splat, store
from fastxent.numba.simd.vector_math import log, log1p


class NegativeLogs(NamedTuple):
    """-log(p) and -log(1 - p) of a clipped probability."""

    of_p: Lanes
    of_rest: Lanes


@lane_function
def clipped_logs(p: Lanes, rest: Lanes, eps: Number) -> NegativeLogs:
    """Take the logarithms of the smaller of p and 1 - p, which carries the information."""
    p_is_smaller = p < rest
    smaller = maximum(eps, select(p_is_smaller, p, rest))
    log_smaller = -log(smaller)
    log_larger = -log1p(-smaller)
    return NegativeLogs(
        select(p_is_smaller, log_smaller, log_larger), select(p_is_smaller, log_larger, log_smaller)
    )


@lane_function
def binary_loss(p: Lanes, y: Lanes, weight: Lanes, eps: Number) -> Lanes:
    """Return the loss of a class."""
    logs = clipped_logs(p, 1.0 - p, eps)
    loss = fma(y, logs.of_p, (1.0 - y) * logs.of_rest)
    # The exponent field of a NaN would pass for a number.
    return select(p == p, loss, p) * weight


@lane_function
def binary_slope(p: Lanes, y: Lanes, weight: Lanes) -> Lanes:
    """Return the slope of a class that is not clipped."""
    return ((1.0 - y) / (1.0 - p) - y / p) * weight


@lane_function
def binary_grad(p: Lanes, slope: Lanes, eps: Number, scale: Lanes) -> Lanes:
    """Return the gradient of a class: clipping stops it."""
    smaller = minimum(p, 1.0 - p)
    slope = select(smaller < p.like(eps), 0.0, slope * scale)
    return select(p == p, slope, p)


@lane_function
def value_or_nan(total: Lanes, value: Lanes) -> Lanes:
    """Return the value of a sum, NaN where it is not a number."""
    return select(total == total, value, total)


@inlined
def binary_vector(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return the means over the classes of a vector of anchors, or fill in each element's loss."""
    probs, targets = stream_of(plan, tile.logits, first), targets_of(plan, tile, first)
    weights, results = stream_of(plan, tile.weights, first), stream_of(plan, tile.results, first)
    grads = stream_of(plan, tile.grads, first)
    grad_weights = stream_of(plan, tile.grad_weights, first)
    has_grads, has_results = tile.grads.data != 0, tile.results.data != 0
    labels, factors = labels_of(plan, tile, first), factors_of(tile)
    scale = splat(plan, 1.0 if has_results else 1 / float(tile.classes), first)
    if has_grads:
        scale = load(plan, tile.grad_scales + first * plan.size) * scale
    total = no_terms(plan, first)
    for k in range(tile.classes):
        p, y = lanes_load(plan, probs, k), lanes_target(plan, targets, k, labels)
        weight = lanes_positive(plan, factors, k)
        if tile.weights.data != 0:
            weight = weight * lanes_load(plan, weights, k)
        loss = binary_loss(p, y, weight, tile.eps)
        if has_results:
            lanes_store(results, k, loss)
        total = compensated_add(total, loss)
        if has_grads:
            slope = binary_slope(p, y, weight)
            if tile.grad_weights.data != 0:
                slope = slope * lanes_load(plan, grad_weights, k)
            lanes_store(grads, k, binary_grad(p, slope, tile.eps, scale))
    value = value_or_nan(total.total, compensated_value(total))
    return value / tile.classes


@inlined
def binary_lanes(plan: Plan, tile: Any) -> None:
    """binary_cross_entropy."""
    for first in range(0, tile.anchors, plan.lanes):
        mean = binary_vector(plan, tile, first)
        if tile.losses != 0:
            store(tile.losses + first * plan.size, mean)


# --- probabilities that are divided by their sum --------------------------------------------------


class Probabilities(NamedTuple):
    """The largest one, its class, what the others add up to, and the sum of all.

    The largest one's complement is the sum of the others, added up without it: all others are at
    most one half and need no complement.
    """

    maximum: Lanes
    largest: Lanes
    rest: Lanes
    total: Lanes


@lane_function
def other_term(p: Lanes, largest: Lanes, k: Number, highest: Lanes) -> Lanes:
    """Return the term of a class, but 0 (or NaN) at the largest."""
    return select(largest == k, p - highest, p)


@inlined
def probabilities_of(plan: Plan, probs: Flow, classes: int) -> Probabilities:
    """Look at all classes of a vector of anchors."""
    running = find_largest(plan, probs, classes)
    others = no_terms(plan, classes)
    for k in range(classes):
        p = lanes_load(plan, probs, k)
        others = compensated_add(others, other_term(p, running.largest, k, running.maximum))
    rest = compensated_value(others)
    return Probabilities(running.maximum, running.largest, rest, rest + running.maximum)


class CategoricalTerm(NamedTuple):
    """The loss of a class, and the target that the gradient sees: clipping stops it."""

    loss: Lanes
    pull: Lanes


@lane_function
def categorical_term(
    p: Lanes, y: Lanes, k: Number, probabilities: Probabilities, eps: Number
) -> CategoricalTerm:
    """Return the term of a class."""
    total = probabilities.total
    is_largest = probabilities.largest == k
    complement = select(is_largest, probabilities.rest, total - p) / total
    share = p / total
    return share_term(share, complement, y, eps)


def share_term(share: Lanes, complement: Lanes, y: Lanes, eps: Number) -> CategoricalTerm:
    """Return the term of a probability that is divided by the sum."""
    logs = clipped_logs(share, complement, eps)
    pull = select(minimum(share, complement) < share.like(eps), 0.0, y)
    return CategoricalTerm(y * logs.of_p, pull)


@lane_function
def categorical_grad(
    p: Lanes, pull: Lanes, k: Number, probabilities: Probabilities, everything: Lanes
) -> Lanes:
    """Return the gradient of a class."""
    total = probabilities.total
    complement = select(probabilities.largest == k, probabilities.rest, total - p)
    return categorical_slope(everything, pull, p, complement, total)


def categorical_slope(
    everything: Lanes, pull: Lanes, p: Lanes, complement: Lanes, total: Lanes
) -> Lanes:
    """Return sum_c y_c / sum - y_k / p_k.

    Where only the label has a target, the first difference is exactly 0.
    """
    own = select(pull == 0.0, 0.0, pull * (complement / p))
    return ((everything - pull) - own) / total


@lane_function
def undefined_sum(total: Lanes) -> Lanes:
    """Return 0, but NaN where the probabilities' sum is not finite, and where it is 0."""
    return (total - total) + 0.0 / total


@inlined
def categorical_vector(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return the losses of a vector of anchors."""
    probs, targets = logits_of(plan, tile, first), targets_of(plan, tile, first)
    grads, factors = stream_of(plan, tile.grads, first), factors_of(tile)
    labels = labels_of(plan, tile, first)
    probabilities = probabilities_of(plan, probs, tile.classes)
    undefined = undefined_sum(probabilities.total)
    total = no_terms(plan, first)
    pulls = total
    for k in range(tile.classes):
        y = lanes_target(plan, targets, k, labels) * lanes_positive(plan, factors, k)
        term = categorical_term(lanes_load(plan, probs, k), y, k, probabilities, tile.eps)
        total = compensated_add(total, term.loss)
        if tile.grads.data != 0:
            pulls = compensated_add(pulls, term.pull)
            lanes_store(grads, k, term.pull)
    if tile.grads.data != 0:
        everything = compensated_value(pulls) + undefined
        scale = load(plan, tile.grad_scales + first * plan.size)
        for k in range(tile.classes):
            p, pull = lanes_load(plan, probs, k), lanes_load(plan, grads, k)
            slope = categorical_grad(p, pull, k, probabilities, everything)
            lanes_store(grads, k, slope * scale)
    return compensated_value(total) + undefined


@inlined
def categorical_lanes(plan: Plan, tile: Any) -> None:
    """categorical_cross_entropy."""
    for first in range(0, tile.anchors, plan.lanes):
        store(tile.losses + first * plan.size, categorical_vector(plan, tile, first))


# --- labels without weights of classes ------------------------------------------------------------
#
# Only the label's probability needs a logarithm; its complement is what all other classes add up
# to, whichever is the largest; and these have one slope.


class LabelSlopes(NamedTuple):
    """The gradient at the label, and at the other classes."""

    own: Lanes
    others: Lanes


@lane_function
def label_term(
    columns: Lanes, p: Lanes, others: Lanes, factor: Number, eps: Number
) -> CategoricalTerm:
    """Return the term of labels, from p and what the other classes add up to."""
    total = others + p
    y = select(columns < 0.0, 0.0, columns.like(factor))
    term = share_term(p / total, others / total, y, eps)
    return CategoricalTerm(term.loss + undefined_sum(total), term.pull)


@lane_function
def label_slopes(p: Lanes, others: Lanes, pull: Lanes, scale: Lanes) -> LabelSlopes:
    """Return the gradients of the same."""
    total = others + p
    everything = pull + undefined_sum(total)
    own = categorical_slope(everything, pull, p, others, total) * scale
    return LabelSlopes(own, (everything / total) * scale)


@lane_function
def add_classes(
    plan: Plan, probs: Flow, first: Number, count: int, columns: Lanes, total: Lanes
) -> Lanes:
    """Add some classes other than the label to a sum."""
    column = columns - first
    for i in range(count):
        p = lanes_stream(plan, probs, first + i)
        total = total + select(column == float(i), 0.0, p)
    return total


@inlined
def sum_of_others(plan: Plan, probs: Flow, classes: int, columns: Lanes) -> Lanes:
    """Return what all classes other than the label add up to."""
    others, zero = no_terms(plan, classes), splat(plan, 0.0, classes)
    k = 0
    while k + CLASS_GROUP <= classes:
        others = compensated_add(others, add_classes(plan, probs, k, 8, columns, zero))
        k += CLASS_GROUP
    if k < classes:
        terms = zero
        while k < classes:
            terms = add_classes(plan, probs, k, 1, columns, terms)
            k += 1
        others = compensated_add(others, terms)
    return compensated_value(others)


@lane_function
def put_label_slope(grads: Stream, k: Number, columns: Lanes, slopes: LabelSlopes) -> None:
    """Write the gradient of a class."""
    lanes_store(grads, k, select(columns == k, slopes.own, slopes.others))


@inlined
def categorical_label_lanes(plan: Plan, tile: Any) -> None:
    """categorical_cross_entropy of labels, without weights of classes."""
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        probs, columns = logits_of(plan, tile, first), labels_of(plan, tile, first).columns
        others = sum_of_others(plan, probs, tile.classes, columns)
        p = label_logits(plan, tile, probs, columns, first, count)
        term = label_term(columns, p, others, tile.positive_value, tile.eps)
        store(tile.losses + first * plan.size, term.loss)
        if tile.grads.data != 0:
            scale = load(plan, tile.grad_scales + first * plan.size)
            slopes = label_slopes(p, others, term.pull, scale)
            grads = stream_of(plan, tile.grads, first)
            for k in range(tile.classes):
                put_label_slope(grads, k, columns, slopes)
