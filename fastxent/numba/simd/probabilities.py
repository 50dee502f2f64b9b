"""Cross-entropies of probabilities, clipped as Keras does; mirrors native/simd/probabilities.h."""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.clipping import Clipping, NegativeLogs, clipped_logs, clipping_of
from fastxent.numba.simd.lanes import Lanes, Mask, Number, lane_function
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
    first_anchors,
    labels_of,
    lanes_load,
    lanes_positive,
    lanes_rewrite,
    lanes_store,
    lanes_stream,
    lanes_target,
    logits_of,
    stream_of,
    targets_of,
)
from fastxent.numba.simd.vector import fma, load, maximum, select, splat, store


class Smoothing(NamedTuple):
    """Smoothed targets are y keep + spread."""

    keep: Number
    spread: Number


@inlined
def smoothing_of(tile: Any, classes: int) -> Smoothing:
    """Return the smoothing of targets among some classes."""
    return Smoothing(1 - tile.label_smoothing, tile.label_smoothing / float(classes))


@lane_function
def smoothed(plan: Plan, y: Lanes, smoothing: Smoothing) -> Lanes:
    """Return smoothed targets."""
    return fma(y, smoothing.keep, smoothing.spread) if plan.smooths else y


class BinaryTargets(NamedTuple):
    """y and 1 - y."""

    y: Lanes
    rest: Lanes


@lane_function
def binary_targets(plan: Plan, y: Lanes, smoothing: Smoothing) -> BinaryTargets:
    """Return smoothed targets, and what they leave to 1."""
    return BinaryTargets(smoothed(plan, y, smoothing), smoothed(plan, 1.0 - y, smoothing))


@lane_function
def binary_logs(plan: Plan, p: Lanes, clipping: Clipping) -> NegativeLogs:
    """Return -log(p) and -log(1 - p)."""
    return clipped_logs(plan, p, 1.0 - p, 1.0, clipping)


@lane_function
def binary_loss(p: Lanes, targets: BinaryTargets, logs: NegativeLogs, weight: Lanes) -> Lanes:
    """Return the loss of a class."""
    loss = fma(targets.y, logs.of_p, targets.rest * logs.of_rest)
    # The exponent field of a NaN would pass for a number.
    return select(p == p, loss, p) * weight


class BinaryFactors(NamedTuple):
    """What a slope is multiplied by."""

    weight: Lanes
    grad_weight: Lanes
    scale: Lanes


@lane_function
def binary_grad(
    plan: Plan, p: Lanes, targets: BinaryTargets, factors: BinaryFactors, is_clipped: Mask
) -> Lanes:
    """Return the gradient of a class: clipping stops it."""
    q = 1.0 - p
    weight, grad_weight, scale = factors
    if plan.clips_at_tiny:  # quotients may overflow, and come last
        factor = (weight * grad_weight) * scale
        slope = (targets.rest * factor) / q - (targets.y * factor) / p
    else:
        slope = (((targets.rest / q - targets.y / p) * weight) * grad_weight) * scale
    return select(p == p, select(is_clipped, 0.0, slope), p)


@lane_function
def value_or_nan(total: Lanes, value: Lanes) -> Lanes:
    """Return the value of a sum, NaN where it is not a number."""
    return select(total == total, value, total)


@inlined
def label_counts_of(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return how many classes of a vector of anchors have a label: 1 for none, as a divisor."""
    if tile.label_counts == 0:
        return splat(plan, float(tile.classes), first)
    return maximum(1.0, load(plan, tile.label_counts + first * plan.size))


@inlined
def binary_vector(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return the means over the classes of a vector of anchors, or fill in each element's loss."""
    probs, targets = stream_of(plan, tile.logits, first), targets_of(plan, tile, first)
    weights, results = stream_of(plan, tile.weights, first), stream_of(plan, tile.results, first)
    grads = stream_of(plan, tile.grads, first)
    grad_weights = stream_of(plan, tile.grad_weights, first)
    has_grads, has_results = tile.grads.data != 0, tile.results.data != 0
    labels, factors = labels_of(plan, tile, first), factors_of(plan, tile)
    clipping, smoothing = clipping_of(tile), smoothing_of(tile, 2)
    counts = label_counts_of(plan, tile, first)
    scale = splat(plan, 1.0, first)
    if not has_results:
        scale = scale / counts
    if has_grads:
        scale = load(plan, tile.grad_scales + first * plan.size) * scale
    total = no_terms(plan, first)
    for k in range(tile.classes):
        p = lanes_load(plan, probs, k)
        y = binary_targets(plan, lanes_target(plan, targets, k, labels), smoothing)
        weight = lanes_positive(plan, factors, k)
        if tile.weights.data != 0:
            weight = weight * lanes_load(plan, weights, k)
        logs = binary_logs(plan, p, clipping)
        loss = binary_loss(p, y, logs, weight)
        if has_results:
            lanes_store(results, k, loss)
        total = compensated_add(total, loss)
        if has_grads:
            grad_weight = splat(plan, 1.0, first)
            if tile.grad_weights.data != 0:
                grad_weight = lanes_load(plan, grad_weights, k)
            scales = BinaryFactors(weight, grad_weight, scale)
            lanes_store(grads, k, binary_grad(plan, p, y, scales, logs.is_clipped))
    value = value_or_nan(total.total, compensated_value(total))
    return value / counts


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
    log_p_slope: Lanes


@lane_function
def categorical_term(
    plan: Plan, p: Lanes, y: Lanes, k: Number, probabilities: Probabilities, clipping: Clipping
) -> CategoricalTerm:
    """Return the term of a class."""
    complement = complement_of(p, k, probabilities)
    return share_term(plan, p, complement, probabilities.total, y, clipping)


def complement_of(p: Lanes, k: Number, probabilities: Probabilities) -> Lanes:
    """Return what the other classes add up to."""
    is_largest = probabilities.largest == k
    return select(is_largest, probabilities.rest, probabilities.total - p)


def share_term(
    plan: Plan, p: Lanes, complement: Lanes, total: Lanes, y: Lanes, clipping: Clipping
) -> CategoricalTerm:
    """Return the term of a probability that is divided by the sum."""
    logs = clipped_logs(plan, p, complement, total, clipping)
    return CategoricalTerm(y * logs.of_p, select(logs.is_clipped, 0.0, y))


@lane_function
def categorical_grad(
    plan: Plan,
    p: Lanes,
    log_p_slope: Lanes,
    k: Number,
    probabilities: Probabilities,
    everything: Lanes,
    scale: Lanes,
) -> Lanes:
    """Return the gradient of a class."""
    complement, total = complement_of(p, k, probabilities), probabilities.total
    return categorical_slope(plan, everything, log_p_slope, p, complement, total, scale)


def categorical_slope(
    plan: Plan,
    everything: Lanes,
    log_p_slope: Lanes,
    p: Lanes,
    complement: Lanes,
    total: Lanes,
    scale: Lanes,
) -> Lanes:
    """Return (sum_c y_c / sum - y_k / p_k) scale.

    Where only the label has a target, the first difference is exactly 0.
    """
    others = everything - log_p_slope
    own = select(log_p_slope == 0.0, 0.0, log_p_slope * (complement / p))
    slope = ((others - own) / total) * scale
    if plan.clips_at_tiny:  # the quotient by p may overflow, and comes last
        own = select(log_p_slope == 0.0, 0.0, ((log_p_slope * scale) * (complement / total)) / p)
        overflows = p < total * p.real.smallest
        slope = select(overflows, (others / total) * scale - own, slope)
    return slope


@lane_function
def undefined_sum(total: Lanes) -> Lanes:
    """Return 0, but NaN where the probabilities' sum is not finite, and where it is 0."""
    return (total - total) + 0.0 / total


@inlined
def categorical_vector(plan: Plan, tile: Any, first: int) -> Lanes:
    """Return the losses of a vector of anchors."""
    probs, targets = logits_of(plan, tile, first), targets_of(plan, tile, first)
    grads, factors = stream_of(plan, tile.grads, first), factors_of(plan, tile)
    labels, clipping = labels_of(plan, tile, first), clipping_of(tile)
    smoothing = smoothing_of(tile, tile.classes)
    probabilities = probabilities_of(plan, probs, tile.classes)
    undefined = undefined_sum(probabilities.total)
    total = no_terms(plan, first)
    log_p_slopes = total
    for k in range(tile.classes):
        y = smoothed(plan, lanes_target(plan, targets, k, labels), smoothing)
        y = y * lanes_positive(plan, factors, k)
        p = lanes_load(plan, probs, k)
        term = categorical_term(plan, p, y, k, probabilities, clipping)
        total = compensated_add(total, term.loss)
        if tile.grads.data != 0:
            log_p_slopes = compensated_add(log_p_slopes, term.log_p_slope)
            lanes_store(grads, k, term.log_p_slope)
    if tile.grads.data != 0:
        everything = compensated_value(log_p_slopes) + undefined
        scale = load(plan, tile.grad_scales + first * plan.size)
        anchors = first_anchors(plan, min(plan.lanes, tile.anchors - first))
        for k in range(tile.classes):
            p, log_p_slope = lanes_load(plan, probs, k), lanes_load(plan, grads, k)
            slope = categorical_grad(plan, p, log_p_slope, k, probabilities, everything, scale)
            lanes_rewrite(grads, k, slope, log_p_slope, anchors)
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
    plan: Plan, columns: Lanes, p: Lanes, others: Lanes, factor: Number, clipping: Clipping
) -> CategoricalTerm:
    """Return the term of labels, from p and what the other classes add up to."""
    total = others + p
    y = select(columns < 0.0, 0.0, columns.like(factor))
    term = share_term(plan, p, others, total, y, clipping)
    return CategoricalTerm(term.loss + undefined_sum(total), term.log_p_slope)


@lane_function
def label_slopes(
    plan: Plan, p: Lanes, others: Lanes, log_p_slope: Lanes, scale: Lanes
) -> LabelSlopes:
    """Return the gradients of the same."""
    total = others + p
    everything = log_p_slope + undefined_sum(total)
    own = categorical_slope(plan, everything, log_p_slope, p, others, total, scale)
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
        clipping = clipping_of(tile)
        term = label_term(plan, columns, p, others, tile.positive, clipping)
        store(tile.losses + first * plan.size, term.loss)
        if tile.grads.data != 0:
            scale = load(plan, tile.grad_scales + first * plan.size)
            slopes = label_slopes(plan, p, others, term.log_p_slope, scale)
            grads = stream_of(plan, tile.grads, first)
            for k in range(tile.classes):
                put_label_slope(grads, k, columns, slopes)
