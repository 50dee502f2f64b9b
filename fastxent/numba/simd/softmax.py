"""The softmax family with anchors as lanes; mirrors native/simd/softmax.h.

With m the maximum and l the label: loss = (m - z_l) + log(sum_k exp(z_k - m)). The sum holds an
exact 1 for the maximum; taking it out and log1p of the rest keep the accuracy of tiny losses, and
both terms are non-negative, so nothing cancels. For labels the term taken out is the label's own.
"""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.sigmoid import no_terms
from fastxent.numba.simd.summation import (
    compensated_add,
    compensated_limit,
    compensated_value,
)
from fastxent.numba.simd.tile import (
    Flow,
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
    repair_infinite,
    settings_of,
    stream_of,
    targets_of,
)
from fastxent.numba.simd.vector import (
    fma,
    load,
    maximum,
    minimum,
    select,
    splat,
    store,
)
from fastxent.numba.simd.vector_math import (
    Centre,
    Power,
    centre_at,
    exp_centred,
    log1p,
    over_maximum,
    power_of,
)


@inlined
def lanes_maximum(plan: Plan, logits: Flow, classes: int) -> Lanes:
    """Return the largest logit of each anchor."""
    largest = lanes_load(plan, logits, 0)
    for k in range(1, classes):
        largest = maximum(largest, lanes_load(plan, logits, k))
    return largest


@lane_function
def softmax_loss(others: Lanes, own: Lanes, of_own: Lanes, largest: Lanes, centre: Centre) -> Lanes:
    """Return the loss from the sum of the other classes' exponentials, and the label's own.

    Where the label is the maximum, log1p(others / own); elsewhere others hold the maximum.
    """
    of_maximum = exp_centred(largest, centre)
    rest = select(own == largest, others, others + (of_own - of_maximum))
    return (largest - own) + log1p(over_maximum(rest, largest, centre))


# --- the normalizer -------------------------------------------------------------------------------


class Normalizer(NamedTuple):
    """The maximum of each lane, where it first stands, and the others' sum of exponentials."""

    maximum: Lanes
    largest: Lanes
    others: Lanes
    centre: Centre


class Largest(NamedTuple):
    """The maximum so far, and its class."""

    maximum: Lanes
    largest: Lanes


@lane_function
def take_larger(running: Largest, z: Lanes, k: Number) -> Largest:
    """Return the larger logit, and its class."""
    largest = select(running.maximum < z, z.like(k), running.largest)
    return Largest(maximum(running.maximum, z), largest)


@inlined
def find_largest(plan: Plan, logits: Flow, classes: int) -> Largest:
    """Return the maximum of each lane, and the class where it first stands."""
    running = Largest(lanes_stream(plan, logits, 0), splat(plan, 0.0, classes))
    for k in range(1, classes):
        running = take_larger(running, lanes_stream(plan, logits, k), k)
    return running


@lane_function
def normalizer_term(z: Lanes, largest: Lanes, k: Number, centre: Centre) -> Lanes:
    """Return the term of a class, but 0 at the largest."""
    e = exp_centred(z, centre)
    # z - z is 0, or NaN where the first class, which is the largest so far, is NaN.
    return select(largest == k, z - z, e)


@inlined
def normalize(plan: Plan, logits: Flow, classes: int) -> Normalizer:
    """Return the normalizer of a vector of anchors."""
    running = find_largest(plan, logits, classes)
    centre = centre_at(running.maximum)
    others = no_terms(plan, classes)
    for k in range(classes):
        z = lanes_load(plan, logits, k)
        others = compensated_add(others, normalizer_term(z, running.largest, k, centre))
    return Normalizer(running.maximum, running.largest, compensated_value(others), centre)


@lane_function
def normalizer_log_sum(normalizer: Normalizer) -> Lanes:
    """Return log of the sum of exp(z - maximum)."""
    return log1p(over_maximum(normalizer.others, normalizer.maximum, normalizer.centre))


@lane_function
def normalizer_inverse(normalizer: Normalizer) -> Lanes:
    """Return 1 / sum of the exponentials."""
    return 1.0 / (normalizer.others + exp_centred(normalizer.maximum, normalizer.centre))


# --- every option ---------------------------------------------------------------------------------


class SoftmaxValue(NamedTuple):
    """One class, before its target: the loss, and the slope -d loss / d log p."""

    loss: Lanes
    slope: Lanes


class SoftmaxOptions(NamedTuple):
    """What the parameters of a call amount to."""

    gamma: Power
    epsilon: Number
    keep: Number
    spread: Number


@inlined
def softmax_options_of(tile: Any) -> SoftmaxOptions:
    """Read the parameters of a tile."""
    gamma = settings_of(tile).gamma_positive
    return SoftmaxOptions(
        Power(gamma.kind, gamma.exponent, gamma.exponent_low),
        tile.epsilon,
        1 - tile.label_smoothing,
        tile.label_smoothing / float(tile.classes),
    )


@lane_function
def softmax_value_of(
    plan: Plan, options: SoftmaxOptions, nll: Lanes, p: Lanes, q: Lanes
) -> SoftmaxValue:
    """Return a class's loss from nll = -log p, p and q = 1 - p."""
    if plan.loss == "softmax_focal_loss":
        modulation = power_of(q, options.gamma)
        ratio = nll / maximum(q, q.real.smallest)
        # p log p is 0 for p = 0.
        log_factor_slope = (p.like(options.gamma.exponent) * p) * ratio
        log_factor_slope = select(p == 0.0, 0.0, log_factor_slope)
        return SoftmaxValue(modulation * nll, fma(modulation, log_factor_slope, modulation))
    if plan.loss == "poly1_cross_entropy":
        epsilon = p.like(options.epsilon)
        # 1 + epsilon p, for negative epsilon too without cancelling at p = 1.
        from_p = fma(epsilon, p, 1.0)
        from_q = p.like(_one_more(options.epsilon)) - epsilon * q
        return SoftmaxValue(fma(epsilon, q, nll), select(p < 0.5, from_p, from_q))
    if plan.loss in {"softmax_cross_entropy", "distribution_focal_loss"}:
        return SoftmaxValue(nll, nll.like(1.0))
    raise ValueError(f"{plan.loss} has no formula of a class")


def _one_more(number: Number) -> Number:
    """Return 1 + a double, in double."""
    one = number.value.type(1.0)
    return Number(number.builder, number.builder.fadd(one, number.value), number.type)


@lane_function
def weighted(weight: Lanes, loss: Lanes) -> Lanes:
    """Return a weighted loss: a weight of 0 takes even an infinite one away; NaN stays."""
    return weight * select(weight == 0.0, minimum(1.0, loss), loss)


class Probability(NamedTuple):
    """p of a class, and 1 - p."""

    p: Lanes
    q: Lanes


@lane_function
def probability_of(z: Lanes, k: Number, normalizer: Normalizer, inverse: Lanes) -> Probability:
    """Return the probability of a class."""
    p = exp_centred(z, normalizer.centre) * inverse
    q = select(normalizer.largest == k, normalizer.others * inverse, 1.0 - p)
    return Probability(p, q)


@lane_function
def class_terms(
    plan: Plan, options: SoftmaxOptions, y: Lanes, factor: Lanes, nll: Lanes, odds: Probability
) -> SoftmaxValue:
    """Return the loss and the slope by log p, times the weight, of a class with its target."""
    target_weight = fma(y, options.keep, options.spread) * factor
    value = softmax_value_of(plan, options, nll, odds.p, odds.q)
    return SoftmaxValue(weighted(target_weight, value.loss), target_weight * value.slope)


@lane_function
def nll_of(z: Lanes, normalizer: Normalizer, log_sum: Lanes) -> Lanes:
    """Return -log p."""
    return (normalizer.maximum - z) + log_sum


@inlined
def softmax_general(plan: Plan, tile: Any, first: int, options: SoftmaxOptions) -> None:
    """sum_k weight_k loss(-log p_k); the gradient is p_k sum_c b_c - b_k.

    Here -b is the slope by log p, times the weight.
    Where only the label has a weight, the sum less its own is exactly 0.
    """
    logits, targets = logits_of(plan, tile, first), targets_of(plan, tile, first)
    grads, factors = stream_of(plan, tile.grads, first), factors_of(plan, tile)
    labels = labels_of(plan, tile, first)
    normalizer = normalize(plan, logits, tile.classes)
    log_sum, inverse = normalizer_log_sum(normalizer), normalizer_inverse(normalizer)
    has_grads, has_expectations = tile.grads.data != 0, tile.expectations != 0
    needs_p = plan.needs_p or has_expectations
    total = no_terms(plan, first)
    log_p_slopes, expectation = total, total
    odds = Probability(splat(plan, 1.0, first), splat(plan, 1.0, first))
    for k in range(tile.classes):
        z = lanes_load(plan, logits, k)
        if needs_p:
            odds = probability_of(z, k, normalizer, inverse)
        y = lanes_target(plan, targets, k, labels)
        nll = nll_of(z, normalizer, log_sum)
        factor = lanes_positive(plan, factors, k)
        terms = class_terms(plan, options, y, factor, nll, odds)
        total = compensated_add(total, terms.loss)
        log_p_slopes = compensated_add(log_p_slopes, terms.slope)
        if has_expectations:
            expectation = compensated_add(expectation, odds.p * k)
        if has_grads:
            lanes_store(grads, k, terms.slope)
    if has_grads:
        everything = compensated_value(log_p_slopes)
        scale = load(plan, tile.grad_scales + first * plan.size)
        anchors = first_anchors(plan, min(plan.lanes, tile.anchors - first))
        for k in range(tile.classes):
            odds = probability_of(lanes_load(plan, logits, k), k, normalizer, inverse)
            log_p_slope = lanes_load(plan, grads, k)
            slope = odds.p * (everything - log_p_slope) - odds.q * log_p_slope
            lanes_rewrite(grads, k, slope * scale, log_p_slope, anchors)
    if has_expectations:
        store(tile.expectations + first * plan.size, compensated_value(expectation))
    store(tile.losses + first * plan.size, compensated_limit(total))
    count = min(plan.lanes, tile.anchors - first)
    repair_infinite(plan, tile, first, count, normalizer.maximum)


@inlined
def softmax_lanes(plan: Plan, tile: Any) -> None:
    """Every option."""
    options = softmax_options_of(tile)
    for first in range(0, tile.anchors, plan.lanes):
        softmax_general(plan, tile, first, options)
