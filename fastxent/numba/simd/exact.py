"""What the scalar double code of both families needs; mirrors parts of native/simd/tile.h."""

import math
from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.elements import load_one_as, store_one_as
from fastxent.numba.simd.memory import double, read_int32, read_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import matrix_at


@inlined
def logit_at(plan: Plan, tile: Any, anchor: int, k: int) -> float:
    """Return a logit, which row kernels may find as a half."""
    logits = tile.logits
    place = anchor * logits.anchor_stride + k * logits.class_stride
    return double(load_one_as(plan, logits.data + place * plan.item, plan.dtype))


@inlined
def grad_put(plan: Plan, tile: Any, anchor: int, k: int, slope: float) -> None:
    """Write a gradient, if one is wanted."""
    grads = tile.grads
    if grads.data != 0:
        place = anchor * grads.anchor_stride + k * grads.class_stride
        store_one_as(plan, grads.data + place * plan.grad_item, slope, plan.grad_dtype)


@inlined
def share_at(plan: Plan, tile: Any, anchor: int) -> float:
    """Return the number that comes with a label."""
    return double(read_real(plan, tile.shares + anchor * plan.size))


@inlined
def target_at(plan: Plan, tile: Any, anchor: int, k: int) -> float:
    """Return the target of a class."""
    if plan.has_targets:
        return double(matrix_at(plan, tile.targets, anchor, k))
    label = read_int32(tile.labels + 4 * anchor)
    if plan.is_distribution:
        share = share_at(plan, tile, anchor)
        if label == k:
            return 1 - share
        return share if label >= 0 and label + 1 == k else 0.0
    if label != k:
        return 0.0
    return share_at(plan, tile, anchor) if plan.has_shares else 1.0


@inlined
def grad_scale_at(plan: Plan, tile: Any, anchor: int) -> float:
    """Return the factor of an anchor's gradient."""
    if tile.grads.data == 0:
        return 1.0
    return double(read_real(plan, tile.grad_scales + anchor * plan.size))


@inlined
def positive_factor(plan: Plan, tile: Any, k: int) -> float:
    """Return the factor of targets y of a class."""
    if tile.factor_step == 0:
        return tile.positive_value
    return double(read_real(plan, tile.positive + k * tile.factor_step))


@inlined
def negative_factor(plan: Plan, tile: Any, k: int) -> float:
    """Return the factor of 1 - y of a class."""
    if tile.factor_step == 0:
        return tile.negative_value
    return double(read_real(plan, tile.negative + k * tile.factor_step))


@inlined
def weighted(weight: float, loss: float) -> float:
    """Return a product in which a weight of zero takes even an infinite loss away."""
    return 0.0 if weight == 0 and math.isinf(loss) else weight * loss


@inlined
def vanishing(factor: float, value: float) -> float:
    """Return a product in which 0 times an infinite softplus is its limit, 0."""
    return 0.0 if factor == 0 else factor * value
