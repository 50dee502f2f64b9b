"""The softmax family in scalar double, with its limits; mirrors native/simd/softmax_exact.h."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.exact import (
    grad_put,
    grad_scale_at,
    logit_at,
    positive_factor,
    target_at,
)
from fastxent.numba.simd.memory import write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import matrix_put


class ExactNormalizer(NamedTuple):
    """logsumexp = maximum + log_sum."""

    maximum: float
    log_sum: float
    has_nan: bool


@inlined
def exact_normalizer(plan: Plan, tile: Any, anchor: int) -> ExactNormalizer:
    """Return the normalizer of an anchor: the maximum's term is left out of the sum once."""
    maximum, has_nan, largest, others = -math.inf, False, 0, 0.0
    for k in range(tile.classes):
        z = logit_at(plan, tile, anchor, k)
        has_nan |= math.isnan(z)
        if z > maximum:
            maximum, largest = z, k
    for k in range(tile.classes):
        z = logit_at(plan, tile, anchor, k)
        if k != largest and z > -math.inf:
            others += math.exp(z - maximum)
    if has_nan or maximum == -math.inf:
        return ExactNormalizer(maximum, math.nan, has_nan)
    return ExactNormalizer(maximum, math.log1p(others), has_nan)


class ExactClass(NamedTuple):
    """One class, before its target: the loss as a function of log p, and -d loss / d log p."""

    loss: float
    slope: float


def _cross_entropy(
    plan: Plan,  # noqa: ARG001 - all of these have the same parameters
    tile: Any,  # noqa: ARG001
    surprise: float,
    p: float,  # noqa: ARG001
    q: float,  # noqa: ARG001
) -> ExactClass:
    return ExactClass(surprise, 1.0)


def _focal(
    plan: Plan,  # noqa: ARG001
    tile: Any,
    surprise: float,
    p: float,
    q: float,
) -> ExactClass:
    gamma = tile.gamma_positive.value
    modulation = math.pow(q, gamma)
    ratio = surprise / q if q > 0 else 1.0
    loss = 0.0 if modulation == 0 else modulation * surprise
    return ExactClass(loss, modulation * (1 + gamma * (0.0 if p == 0 else p * ratio)))


def _poly1(
    plan: Plan,  # noqa: ARG001
    tile: Any,
    surprise: float,
    p: float,
    q: float,
) -> ExactClass:
    return ExactClass(surprise + tile.epsilon * q, 1 + tile.epsilon * p)


_CLASSES: dict[str, Callable[..., ExactClass]] = {
    "softmax_focal_loss": _focal,
    "poly1_cross_entropy": _poly1,
}


@chosen_by(lambda plan: _CLASSES.get(plan.loss, _cross_entropy))
def _exact_class(plan: Plan, tile: Any, surprise: float, p: float, q: float) -> ExactClass:
    raise NotImplementedError


class ExactShare(NamedTuple):
    """What a class has of an anchor's loss, and what of its gradient that is not p_k times all."""

    loss: float
    pull: float
    p: float
    q: float


@inlined
def exact_share(
    plan: Plan, tile: Any, anchor: int, k: int, normalizer: ExactNormalizer
) -> ExactShare:
    """Return the share of a class."""
    keep, spread = 1 - tile.label_smoothing, tile.label_smoothing / float(tile.classes)
    z = logit_at(plan, tile, anchor, k)
    gap = 0.0 if z == normalizer.maximum else normalizer.maximum - z
    surprise = gap + normalizer.log_sum
    mass = target_at(plan, tile, anchor, k) * keep + spread
    p, q = math.exp(-surprise), -math.expm1(-surprise)
    value = _exact_class(plan, tile, surprise, p, q)
    mass *= positive_factor(plan, tile, k)
    return ExactShare(0.0 if mass == 0 else mass * value.loss, mass * value.slope, p, q)


@inlined
def softmax_exact(plan: Plan, tile: Any, anchor: int) -> float:
    """Return the loss of an anchor; its gradients and expected class are written."""
    normalizer = exact_normalizer(plan, tile, anchor)
    loss, pull, expectation = normalizer.log_sum * 0, 0.0, 0.0
    for k in range(tile.classes):
        share = exact_share(plan, tile, anchor, k, normalizer)
        loss += share.loss
        pull += share.pull
        expectation += float(k) * share.p
    if tile.grads.data != 0:
        scale = grad_scale_at(plan, tile, anchor)
        for k in range(tile.classes):
            share = exact_share(plan, tile, anchor, k, normalizer)
            slope = share.p * (pull - share.pull) - share.q * share.pull
            grad_put(plan, tile, anchor, k, slope * scale)
    if tile.expectations != 0:
        write_real(plan, tile.expectations + anchor * plan.size, expectation)
    return loss


# --- scores ---------------------------------------------------------------------------------------


@inlined
def exact_scores(plan: Plan, tile: Any, anchor: int) -> float:
    """Write softmax or log_softmax of an anchor."""
    normalizer = exact_normalizer(plan, tile, anchor)
    for k in range(tile.classes):
        z = logit_at(plan, tile, anchor, k)
        gap = 0.0 if z == normalizer.maximum else z - normalizer.maximum
        score = gap - normalizer.log_sum
        if plan.is_softmax:
            score = math.exp(score)
        matrix_put(plan, tile.results, anchor, k, score)
    return 0.0


@inlined
def logsumexp_exact(plan: Plan, tile: Any, anchor: int) -> float:
    """Return logsumexp of an anchor."""
    normalizer = exact_normalizer(plan, tile, anchor)
    if normalizer.has_nan:
        return math.nan
    if math.isinf(normalizer.maximum):
        return normalizer.maximum
    return normalizer.maximum + normalizer.log_sum
