"""The sigmoid family in scalar double, with its limits; mirrors native/simd/sigmoid_exact.h.

For anchors whose vector result is not finite, and where a float would not do.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.custom_terms import exact_custom_value
from fastxent.numba.simd.exact import (
    grad_put,
    grad_scale_at,
    logit_at,
    negative_factor,
    positive_factor,
    target_at,
    vanishing,
    weighted,
)
from fastxent.numba.simd.memory import double
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import matrix_at, matrix_put


class ExactValue(NamedTuple):
    """A loss and its slope."""

    loss: float
    slope: float


class ExactParts(NamedTuple):
    """sigmoid(z), sigmoid(-z), softplus(z) and softplus(-z)."""

    p: float
    q: float
    softplus: float
    softplus_negated: float


@inlined
def exact_parts(z: float) -> ExactParts:
    """Return what all losses are made of."""
    e = math.exp(-abs(z))
    tail, larger, smaller = math.log1p(e), 1 / (1 + e), e / (1 + e)
    if z < 0:
        return ExactParts(smaller, larger, tail, -z + tail)
    return ExactParts(larger, smaller, z + tail, tail)


@inlined
def exact_modulated(z: float, gamma: float) -> ExactValue:
    """Return p^gamma softplus(z)."""
    parts = exact_parts(z)
    modulation = math.pow(parts.p, gamma)
    growth = gamma * vanishing(parts.q, parts.softplus)
    return ExactValue(vanishing(modulation, parts.softplus), modulation * (growth + parts.p))


@inlined
def exact_shifted(z: float, gamma: float, clip: float) -> ExactValue:
    """Return the same with the probability shifted down."""
    if clip == 0:
        return exact_modulated(z, gamma)
    parts = exact_parts(z)
    m = parts.p - clip
    if m <= 0:
        return ExactValue(0.0, 0.0)
    size = -math.log1p(-m) if m < 0.5 else -math.log(parts.q + clip)
    growth = gamma * size / m + 1 / (parts.q + clip)
    modulation = math.pow(m, gamma)
    return ExactValue(modulation * size, modulation * parts.p * parts.q * growth)


@inlined
def exact_cross_entropy(parts: ExactParts, positive: float, negative: float) -> ExactValue:
    """Return the loss of target masses: the factor 0 removes even an infinite term."""
    loss = weighted(negative, parts.softplus) + weighted(positive, parts.softplus_negated)
    return ExactValue(loss, negative * parts.p - positive * parts.q)


@inlined
def exact_product(modulation: float, drift: float, entropy: ExactValue) -> ExactValue:
    """Return modulation(miss) ce: the derivative of ln modulation is `drift`."""
    slope = modulation * (vanishing(drift, entropy.loss) + entropy.slope)
    return ExactValue(vanishing(modulation, entropy.loss), slope)


@inlined
def scaled(value: ExactValue, factor: float) -> ExactValue:
    """Return a value times a factor."""
    return ExactValue(weighted(factor, value.loss), value.slope * factor)


# --- each loss: of class k, before the weights that are not part of the formula -------------------


def _cross_entropy(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    keep, spread = 1 - tile.label_smoothing, tile.label_smoothing / 2
    positive = (y * keep + spread) * positive_factor(plan, tile, k)
    negative = ((1 - y) * keep + spread) * negative_factor(plan, tile, k)
    return exact_cross_entropy(exact_parts(z), positive, negative)


def _focal(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    parts, gamma = exact_parts(z), tile.gamma_negative.value
    miss = y * parts.q + (1 - y) * parts.p
    drift = gamma * (1 - 2 * y) * (parts.p * parts.q / miss if miss > 0 else 0.0)
    value = exact_product(math.pow(miss, gamma), drift, exact_cross_entropy(parts, y, 1 - y))
    factor = y * positive_factor(plan, tile, k) + (1 - y) * negative_factor(plan, tile, k)
    return scaled(value, factor)


def _quality(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    parts, gamma = exact_parts(z), tile.gamma_negative.value
    miss = (1 - y) * parts.p - y * parts.q  # p - y, right to the last digit at y = 1 too
    drift = gamma * (parts.p * parts.q / miss if miss != 0 else 0.0)
    value = exact_product(math.pow(abs(miss), gamma), drift, exact_cross_entropy(parts, y, 1 - y))
    return scaled(value, positive_factor(plan, tile, k))


def _varifocal(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    if y > 0:
        factor = positive_factor(plan, tile, k) * (y if tile.iou_weighted else 1.0)
        return scaled(exact_cross_entropy(exact_parts(z), y, 1 - y), factor)
    value = exact_modulated(z, tile.gamma_negative.value)
    return scaled(value, negative_factor(plan, tile, k))


def _asymmetric(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    positive, negative = positive_factor(plan, tile, k), negative_factor(plan, tile, k)
    value = exact_modulated(-z, tile.gamma_positive.value)
    other = exact_shifted(z, tile.gamma_negative.value, tile.clip)
    loss = weighted(y * positive, value.loss) + weighted((1 - y) * negative, other.loss)
    return ExactValue(loss, (1 - y) * negative * other.slope - y * positive * value.slope)


_VALUES: dict[str, Callable[..., ExactValue]] = {
    "sigmoid_cross_entropy": _cross_entropy,
    "sigmoid_focal_loss": _focal,
    "quality_focal_loss": _quality,
    "varifocal_loss": _varifocal,
    "asymmetric_loss": _asymmetric,
}


def _custom(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    loss, slope = exact_custom_value(plan, tile.parameters, z, y)
    return scaled(ExactValue(loss, slope), positive_factor(plan, tile, k))


@chosen_by(lambda plan: _custom if plan.is_custom else _VALUES[plan.loss])
def _exact_value(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    raise NotImplementedError


@inlined
def exact_sigmoid_value(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    """Return the loss of class k, before weights that are not part of the formula."""
    if math.isnan(z) or math.isnan(y):
        return ExactValue(math.nan, math.nan)
    return _exact_value(plan, tile, z, y, k)


@inlined
def sigmoid_exact(plan: Plan, tile: Any, anchor: int) -> float:
    """Return the loss of an anchor; its per-logit results and gradients are written."""
    total = 0.0
    for k in range(tile.classes):
        z, y = logit_at(plan, tile, anchor, k), target_at(plan, tile, anchor, k)
        loss, slope = exact_sigmoid_value(plan, tile, z, y, k)
        slope *= grad_scale_at(plan, tile, anchor)
        if tile.weights.data != 0:
            weight = double(matrix_at(plan, tile.weights, anchor, k))
            loss, slope = weighted(weight, loss), slope * weight
        if tile.grad_weights.data != 0:
            slope *= double(matrix_at(plan, tile.grad_weights, anchor, k))
        matrix_put(plan, tile.results, anchor, k, loss)
        grad_put(plan, tile, anchor, k, slope)
        total += loss
    return total
