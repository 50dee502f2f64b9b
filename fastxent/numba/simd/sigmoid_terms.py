"""One logit of the losses of the sigmoid family; mirrors native/simd/sigmoid_terms.h.

All of them are made of p = sigmoid(z), q = 1 - p and softplus(z), and these of e = exp(-|z|), none
by subtracting nearly equal numbers.
"""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.branches import choose_if
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import settings_of
from fastxent.numba.simd.vector import (
    all_lanes,
    exponent,
    fma,
    maximum,
    minimum,
    negative_abs,
    relu,
    scale,
    select,
)
from fastxent.numba.simd.vector_math import (
    SQUARE,
    Power,
    constants_of,
    exp_nonpositive,
    exp_reduced,
    expm1_nonpositive,
    log1p_unit,
    log_sum,
    power_any,
    power_of,
    power_or,
)


class SigmoidValue(NamedTuple):
    """A loss, and its slope d loss / d z."""

    loss: Lanes
    slope: Lanes


class SigmoidParts(NamedTuple):
    """sigmoid(z), sigmoid(-z) and log1p(exp(-|z|))."""

    p: Lanes
    q: Lanes
    tail: Lanes


class SigmoidOptions(NamedTuple):
    """What the parameters of a call amount to."""

    gamma_positive: Power
    gamma_negative: Power
    keep: Number  # smoothed targets are y keep + spread
    spread: Number
    clip: Number  # clip = sigmoid(threshold), in two parts
    threshold: Number
    threshold_low: Number
    is_clipped: Number
    slope: Number  # these two, too
    slope_low: Number
    shift: Number
    shift_low: Number
    inverse_slope: Number
    iou_weighted: Number
    parameters: Number  # the address of those of a custom loss


@inlined
def sigmoid_options_of(tile: Any) -> SigmoidOptions:
    """Read the parameters of a tile."""
    settings = settings_of(tile)
    positive, negative = settings.gamma_positive, settings.gamma_negative
    return SigmoidOptions(
        Power(positive.kind, positive.exponent, positive.exponent_low),
        Power(negative.kind, negative.exponent, negative.exponent_low),
        1 - tile.label_smoothing,
        tile.label_smoothing / 2,
        tile.clip,
        settings.threshold,
        settings.threshold_low,
        tile.clip > 0,
        settings.slope,
        settings.slope_low,
        settings.shift,
        settings.shift_low,
        settings.inverse_slope,
        tile.iou_weighted != 0,
        settings.parameters,
    )


@lane_function
def sigmoid_parts(z: Lanes) -> SigmoidParts:
    """Return what all losses are made of."""
    e = exp_nonpositive(negative_abs(z))
    larger = 1.0 / (1.0 + e)
    smaller = e * larger
    is_negative = z < 0.0
    return SigmoidParts(
        select(is_negative, smaller, larger), select(is_negative, larger, smaller), log1p_unit(e)
    )


def size_on_side(z: Lanes, side: Lanes) -> Lanes:
    """Return -|z|, but 0 where its factor is 0: of an infinite logit, too."""
    return select(side == 0.0, 0.0, negative_abs(z))


def cross_entropy_value(
    z: Lanes, parts: SigmoidParts, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    """Return positive softplus(-z) + negative softplus(z)."""
    side = select(z < 0.0, positive, negative)
    both = (positive + negative) * parts.tail
    loss = fma(size_on_side(z, side), -side, both)
    return SigmoidValue(loss, negative * parts.p - positive * parts.q)


def sigmoid_power_any(z: Lanes, tail: Lanes, power: Power) -> Lanes:
    """Return sigmoid(z)^g = exp(g (min(z, 0) - tail)), for g > 0.

    The product g min(z, 0) may be large, and exp makes an absolute error a relative one: it is kept
    in two parts, and reduced before g tail joins it.
    """
    c = constants_of(z.real)
    g = z.like(power.exponent)
    below = maximum(c.lowest_logit, minimum(0.0, z))
    product = g * below
    lost = fma(power.exponent_low, below, fma(g, below, -product))
    whole = maximum(c.exp_underflow, fma(-g, tail, product))
    biased = fma(whole, c.log2_e, c.round_magic)
    n = biased - c.round_magic
    r = fma(n, -c.ln2_low, fma(n, -c.ln2_high, product))
    r = maximum(-1.0, fma(-g, tail, r + lost))  # where the power underflows, r is far off
    return scale(exp_reduced(r), n, biased)


def sigmoid_power(z: Lanes, parts: SigmoidParts, gamma: Power) -> Lanes:
    """Return sigmoid(z)^gamma."""
    return power_or(parts.p, gamma, lambda: sigmoid_power_any(z, parts.tail, gamma))


@lane_function
def modulated_value(z: Lanes, gamma: Power) -> SigmoidValue:
    """Return p^gamma softplus(z): the focal loss of a negative; of a positive, for -z."""
    parts = sigmoid_parts(z)
    softplus = relu(z) + parts.tail
    modulation = sigmoid_power(z, parts, gamma)
    log_factor_slope = (z.like(gamma.exponent) * parts.q) * softplus
    return SigmoidValue(modulation * softplus, modulation * (log_factor_slope + parts.p))


@lane_function
def shifted_value(plan: Plan, z: Lanes, options: SigmoidOptions) -> SigmoidValue:
    """Return a focal negative with its probability shifted down, m = max(p - clip, 0)."""
    if plan.is_square:
        return modulated_value(z, SQUARE)
    if not plan.may_be_clipped:
        return modulated_value(z, options.gamma_negative)
    return SigmoidValue(
        *choose_if(
            options.is_clipped,
            lambda: _clipped_value(z, options),
            lambda: modulated_value(z, options.gamma_negative),
        )
    )


def _clipped_value(z: Lanes, options: SigmoidOptions) -> SigmoidValue:
    """Return m^gamma (-log(1 - m)).

    p - clip would cancel near clip = sigmoid(threshold). There
    sigmoid(z) - sigmoid(t) = sigmoid(z) (1 - sigmoid(t)) (1 - exp(t - z)).
    """
    parts = sigmoid_parts(z)
    above = (z - options.threshold) - options.threshold_low
    share = -expm1_nonpositive(-relu(above))
    m = (parts.p * (1.0 - z.like(options.clip))) * share
    rest = parts.q + options.clip
    # log(1 - m), of whichever of m and 1 - m is the smaller.
    is_small = m < 0.5
    k, inverse_power = exponent(select(is_small, 1.0 - m, rest))
    of_small = fma(-m, inverse_power, inverse_power - 1.0)
    of_rest = fma(rest, inverse_power, -1.0)
    size = -log_sum(k, select(is_small, of_small, of_rest))
    modulation = power_of(m, options.gamma_negative)
    ratio = size / maximum(m, z.real.smallest)
    log_factor_slope = fma(options.gamma_negative.exponent, ratio, 1.0 / rest)
    slope = (modulation * (parts.p * parts.q)) * log_factor_slope
    # The exponent field of a NaN would pass for a number.
    loss = select(z == z, modulation * size, z)
    return SigmoidValue(loss, select(above > 0.0, slope, 0.0))


# --- the losses of a logit with any target --------------------------------------------------------


def _focal_modulation(z: Lanes, y: Lanes, m: Lanes, tail: Lanes, gamma: Power) -> Lanes:
    """Return m^gamma with m = y q + (1 - y) p, which is a sigmoid where y is 0 or 1."""

    def of_any() -> Lanes:
        hard = sigmoid_power_any(select(y == 1.0, -z, z), tail, gamma)
        is_hard = y * y == y
        soft: Lanes = select(
            is_hard, hard, choose_if(all_lanes(is_hard), lambda: m, lambda: power_any(m, gamma))
        )
        return soft

    return power_or(m, gamma, of_any)


def _focal_value(
    options: SigmoidOptions, z: Lanes, y: Lanes, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    """Return factor m^gamma ce with m = y q + (1 - y) p, as torchvision has it."""
    gamma = options.gamma_positive
    rest = 1.0 - y
    parts = sigmoid_parts(z)
    entropy = cross_entropy_value(z, parts, y, rest)
    one_minus_pt = fma(y, parts.q, rest * parts.p)
    modulation = _focal_modulation(z, y, one_minus_pt, parts.tail, gamma)
    factor = fma(y, positive, rest * negative) * modulation
    log_base_slope = (parts.p * parts.q) / maximum(one_minus_pt, z.real.smallest)
    log_factor_slope = (z.like(gamma.exponent) * (rest - y)) * log_base_slope
    return SigmoidValue(
        factor * entropy.loss, factor * fma(log_factor_slope, entropy.loss, entropy.slope)
    )


def _varifocal_value(
    options: SigmoidOptions, z: Lanes, y: Lanes, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    gamma = options.gamma_negative
    is_positive = y > 0.0
    parts = sigmoid_parts(z)
    entropy = cross_entropy_value(z, parts, y, 1.0 - y)
    of_positive = positive * choose_if(options.iou_weighted, lambda: y, lambda: y.like(1.0))
    of_negative = negative * sigmoid_power(z, parts, gamma)
    factor = select(is_positive, of_positive, of_negative)
    log_factor_slope = (z.like(gamma.exponent) * parts.q) * entropy.loss
    log_factor_slope = select(is_positive, 0.0, log_factor_slope)
    return SigmoidValue(factor * entropy.loss, factor * (log_factor_slope + entropy.slope))


def _asymmetric_value(
    plan: Plan, options: SigmoidOptions, z: Lanes, y: Lanes, factors: tuple[Lanes, Lanes]
) -> SigmoidValue:
    """Return y times the loss of a positive, and 1 - y times that of a negative."""
    of_positive = modulated_value(-z, options.gamma_positive)
    of_negative = shifted_value(plan, z, options)
    positive = y * factors[0]
    negative = (1.0 - y) * factors[1]
    return SigmoidValue(
        fma(positive, of_positive.loss, negative * of_negative.loss),
        negative * of_negative.slope - positive * of_positive.slope,
    )


@lane_function
def shifted_softplus(x: Lanes, options: SigmoidOptions) -> SigmoidValue:
    """Return softplus(-u) / slope with u = slope x + shift, and sigmoid(-u).

    exp(-|u|) makes the absolute error of u a relative one, so u has two parts.
    """
    slope, shift = x.like(options.slope), x.like(options.shift)
    product = slope * x
    total = product + shift
    added = total - product
    low = (product - (total - added)) + (shift - added)
    low = low + fma(slope, x, -product)
    low = low + fma(x.like(options.slope_low), x, options.shift_low)
    is_far = negative_abs(total) < -constants_of(total.real).shifted_limit
    low = select(is_far, 0.0, low)
    u = total + low
    low = select(is_far, 0.0, (total - u) + low)
    is_negative = u < 0.0
    e = exp_nonpositive(negative_abs(u))
    e = fma(e, select(is_negative, low, -low), e)
    larger = 1.0 / (1.0 + e)
    softplus = relu(-u) + log1p_unit(e)
    return SigmoidValue(softplus * options.inverse_slope, select(is_negative, larger, e * larger))


def _focal_star_value(
    options: SigmoidOptions, z: Lanes, y: Lanes, factors: tuple[Lanes, Lanes]
) -> SigmoidValue:
    """Return y times the loss of a positive, and 1 - y times that of a negative."""
    of_positive, of_negative = shifted_softplus(z, options), shifted_softplus(-z, options)
    positive = y * factors[0]
    negative = (1.0 - y) * factors[1]
    return SigmoidValue(
        fma(positive, of_positive.loss, negative * of_negative.loss),
        negative * of_negative.slope - positive * of_positive.slope,
    )


def _smoothed_value(
    options: SigmoidOptions, z: Lanes, y: Lanes, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    rest = 1.0 - y
    of_positive = fma(y, options.keep, options.spread) * positive
    of_negative = fma(rest, options.keep, options.spread) * negative
    return cross_entropy_value(z, sigmoid_parts(z), of_positive, of_negative)


def _quality_value(options: SigmoidOptions, z: Lanes, positive: Lanes) -> SigmoidValue:
    """Return the loss of a target of 0; where it is a score, the caller puts the exact value."""
    value = modulated_value(z, options.gamma_negative)
    return SigmoidValue(value.loss * positive, value.slope * positive)


@lane_function
def sigmoid_value_of(
    plan: Plan, options: SigmoidOptions, z: Lanes, y: Lanes, positive: Lanes, negative: Lanes
) -> SigmoidValue:
    """Return loss and slope of a logit."""
    match plan.loss:
        case "sigmoid_focal_loss":
            return _focal_value(options, z, y, positive, negative)
        case "sigmoid_focal_loss_star":
            return _focal_star_value(options, z, y, (positive, negative))
        case "quality_focal_loss":
            return _quality_value(options, z, positive)
        case "varifocal_loss":
            return _varifocal_value(options, z, y, positive, negative)
        case "asymmetric_loss":
            return _asymmetric_value(plan, options, z, y, (positive, negative))
        case "sigmoid_cross_entropy":
            return _smoothed_value(options, z, y, positive, negative)
        case _:
            raise ValueError(f"{plan.loss} has no formula of a logit")
