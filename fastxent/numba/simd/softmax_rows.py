"""The softmax family with classes as lanes and labels; mirrors native/simd/softmax_rows.h.

A vector's worth of anchors at a time: one reduction and one logarithm for all of them.
"""

import math
from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.exact import positive_factor
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import (
    PIECE_VECTORS,
    ClassRow,
    anchor_scale,
    class_row,
    label_of,
    over_row,
    row_logit,
    row_logits,
    row_others,
    row_put_grads,
)
from fastxent.numba.simd.softmax import softmax_loss, softmax_options_of, softmax_value_of
from fastxent.numba.simd.tile import repair
from fastxent.numba.simd.vector import (
    any_lane,
    fma,
    load,
    load_first,
    maximum,
    reduce_add,
    reduce_maximum,
    splat,
    stack,
    store,
    store_first,
)
from fastxent.numba.simd.vector_math import (
    Centre,
    Exponential,
    centre_at,
    exp_far,
    exp_near,
    exp_nonpositive,
    is_far,
    on_grid,
)


@lane_function
def maximum_step(
    plan: Plan,
    options: Number,  # noqa: ARG001 - the interface of a step
    row: ClassRow,
    k: Number,
    count: int | Number,
    largest: Lanes,
) -> Lanes:
    """Join some classes to a running maximum."""
    return maximum(largest, row_logits(plan, row, k, count, -math.inf))


@inlined
def row_maximum(plan: Plan, tile: Any, anchor: int) -> Lanes:
    """Return a vector whose maximum is that of the row."""
    row = class_row(plan, tile, anchor, -1, 0)
    lowest = splat(plan, -math.inf, anchor)
    even, odd = over_row(plan, maximum_step, anchor, row, tile.classes, lowest)
    return maximum(even, odd)


def _others_step(
    plan: Plan, centre: Centre, row: ClassRow, place: tuple[Any, Any, Lanes], exp: Exponential
) -> Lanes:
    k, count, total = place
    e = exp(row_logits(plan, row, k, count, -math.inf), centre)
    if plan.has_grads:
        row_put_grads(plan, row, k, count, e)
    return fma(e, row_others(plan, row, k), total)


@lane_function
def near_step(
    plan: Plan, centre: Centre, row: ClassRow, k: Number, count: int | Number, total: Lanes
) -> Lanes:
    """Add exp(z_k - c) of some classes other than the label; keep them for the gradient."""
    return _others_step(plan, centre, row, (k, count, total), exp_near)


@lane_function
def far_step(
    plan: Plan, centre: Centre, row: ClassRow, k: Number, count: int | Number, total: Lanes
) -> Lanes:
    """Return the same wherever the centre is."""
    return _others_step(plan, centre, row, (k, count, total), exp_far)


@inlined
def rows_others(plan: Plan, tile: Any, first: int, count: int, centres: int, step: Any) -> Lanes:
    """Return the sums of exp(z_k - c) over the classes other than the label, of all anchors."""
    partial = stack(plan, plan.lanes, first)
    piece = PIECE_VECTORS * plan.lanes
    for i in range(plan.lanes):
        anchor = first + min(i, count - 1)
        centre = centre_at(anchor_scale(plan, centres + i * plan.size))
        label = label_of(tile, anchor)
        total = splat(plan, 0.0, anchor)
        for start in range(0, tile.classes, piece):
            row = class_row(plan, tile, anchor, label, start)
            length = min(tile.classes - start, piece)
            even, odd = over_row(plan, step, centre, row, length, splat(plan, 0.0, anchor))
            total = total + (even + odd)
        store(partial + i * plan.lanes * plan.size, total)
    return reduce_add(plan, partial)


@inlined
def rows_centres(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return the maxima of a vector's worth of anchors, rounded to the grid."""
    partial = stack(plan, plan.lanes, first)
    for i in range(plan.lanes):
        largest = row_maximum(plan, tile, first + min(i, count - 1))
        store(partial + i * plan.lanes * plan.size, largest)
    return on_grid(reduce_maximum(plan, partial))


@inlined
def rows_sums(plan: Plan, tile: Any, first: int, count: int, rounded: Lanes) -> Lanes:
    """Return the sums of exp(z_k - c), by way of the step that suits the centres."""
    centres = stack(plan, 1, first)
    store(centres, rounded)
    if any_lane(is_far(rounded)):
        return rows_others(plan, tile, first, count, centres, far_step)
    return rows_others(plan, tile, first, count, centres, near_step)


@inlined
def scale_row(plan: Plan, place: int, classes: int, factor: Lanes) -> None:
    """Multiply a row by a factor."""
    vector = plan.lanes * plan.size
    k = 0
    while k + plan.lanes <= classes:
        store(place, load(plan, place) * factor)
        place += vector
        k += plan.lanes
    if k < classes:
        rest = classes - k
        store_first(place, rest, load_first(plan, place, rest, 0.0) * factor)


@inlined
def softmax_row_grads(
    plan: Plan, tile: Any, first: int, count: int, factor: Lanes, own: Lanes
) -> None:
    """Turn exponentials into gradients: pull p_k, but `own` at the label."""
    factors, at_labels = stack(plan, 1, first), stack(plan, 1, first)
    store(factors, factor)
    store(at_labels, own)
    for i in range(count):
        place = tile.grads.data + (first + i) * tile.grads.anchor_stride * plan.size
        scale_row(plan, place, tile.classes, anchor_scale(plan, factors + i * plan.size))
        label = label_of(tile, first + i)
        if label >= 0:
            slope = read_real(plan, at_labels + i * plan.size)
            write_real(plan, place + label * plan.size, slope)


@inlined
def softmax_rows_block(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Work off a vector's worth of anchors."""
    rounded = rows_centres(plan, tile, first, count)
    own_logits, factors = stack(plan, 1, first), stack(plan, 1, first)
    store(own_logits, rounded)
    store(factors, splat(plan, 1.0, first))
    for i in range(plan.lanes):
        anchor = first + min(i, count - 1)
        label = label_of(tile, anchor)
        if label >= 0:
            write_real(plan, own_logits + i * plan.size, row_logit(plan, tile, anchor, label))
            write_real(plan, factors + i * plan.size, positive_factor(plan, tile, label))
    others = rows_sums(plan, tile, first, count, rounded)
    own = load(plan, own_logits) - rounded
    e = exp_nonpositive(own)
    total = others + e
    value = softmax_value_of(
        plan, softmax_options_of(tile), softmax_loss(others, own), e / total, others / total
    )
    factor = load(plan, factors)
    loss = value.loss * factor
    if plan.has_grads:
        scale = factor * load(plan, tile.grad_scales + first * plan.size)
        pull = (value.slope * scale) / total
        softmax_row_grads(plan, tile, first, count, pull, -(others * pull))
    store(tile.losses + first * plan.size, loss)
    repair(plan, tile, first, count, loss)


@inlined
def softmax_rows(plan: Plan, tile: Any) -> None:
    """Labels."""
    for first in range(0, tile.anchors, plan.lanes):
        softmax_rows_block(plan, tile, first, min(plan.lanes, tile.anchors - first))
