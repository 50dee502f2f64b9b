"""The softmax family with classes as lanes and labels; mirrors native/simd/softmax_rows.h.

One reduction and one logarithm for a vector of anchors, whose maxima come first.
"""

import math
from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import double, read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import (
    ClassRow,
    anchor_scale,
    but_label,
    class_row,
    clear_rest,
    label_of,
    over_row,
    row_logit,
    row_logits,
    row_put_grads,
    sum_over_row,
)
from fastxent.numba.simd.shuffles import reduce_add, reduce_maximum
from fastxent.numba.simd.softmax import (
    softmax_loss,
    softmax_options_of,
    softmax_value_of,
    weighted,
)
from fastxent.numba.simd.tile import NO_CLASS, repair_infinite
from fastxent.numba.simd.vector import (
    load,
    load_first,
    maximum,
    splat,
    stack,
    store,
    store_first,
)
from fastxent.numba.simd.vector_math import Centre, centre_at, exp_centred


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
    return over_row(plan, maximum_step, anchor, row, tile.classes, lowest)


@lane_function
def others_step(
    plan: Plan, centre: Centre, row: ClassRow, k: Number, count: int | Number, total: Lanes
) -> Lanes:
    """Add the exponentials of some classes other than the label; keep them for the gradient."""
    e = exp_centred(row_logits(plan, row, k, count, -math.inf), centre)
    if plan.has_grads:
        row_put_grads(plan, row, k, count, e)
    return total + but_label(plan, row, k, e)


@inlined
def group_maxima(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return the maxima of a vector of anchors."""
    partial = stack(plan, plan.lanes, first)
    for i in range(count):
        store(partial + i * plan.lanes * plan.size, row_maximum(plan, tile, first + i))
    clear_rest(plan, partial, count)
    return reduce_maximum(plan, partial)


@inlined
def group_others(plan: Plan, tile: Any, first: int, count: int, largest: Lanes) -> Lanes:
    """Return the sums of the exponentials of a vector of anchors."""
    partial, maxima = stack(plan, plan.lanes, first), stack(plan, 1, first)
    store(maxima, largest)
    for i in range(count):
        centre = centre_at(anchor_scale(plan, maxima + i * plan.size))
        label = label_of(tile, first + i)
        total = sum_over_row(plan, tile, first + i, label, others_step, centre)
        store(partial + i * plan.lanes * plan.size, total)
    clear_rest(plan, partial, count)
    return reduce_add(plan, partial)


@inlined
def group_label_logits(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return the labels' logits, those of the first class where there is none."""
    logits = stack(plan, 1, first)
    store(logits, splat(plan, 0.0, first))
    for i in range(count):
        logit = row_logit(plan, tile, first + i, max(label_of(tile, first + i), 0))
        write_real(plan, logits + i * plan.size, logit)
    return load(plan, logits)


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
    """Turn exponentials into gradients: b p_k with the slope b by log p, but `own` at the label."""
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
def label_factors(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return alpha of the labels' classes."""
    if tile.positive_weight == 0:
        return splat(plan, tile.positive, first)
    factors = stack(plan, 1, first)
    for i in range(plan.lanes):
        label = label_of(tile, first + i) if i < count else NO_CLASS
        factor = 1.0
        if label >= 0:
            factor = double(read_real(plan, tile.positive_weight + label * plan.size))
        write_real(plan, factors + i * plan.size, factor)
    return load(plan, factors)


@inlined
def softmax_rows_group(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Process a vector of anchors."""
    largest = group_maxima(plan, tile, first, count)
    others = group_others(plan, tile, first, count, largest)
    own, centre = group_label_logits(plan, tile, first, count), centre_at(largest)
    e = exp_centred(own, centre)
    total = others + e
    loss = softmax_loss(others, own, e, largest, centre)
    value = softmax_value_of(plan, softmax_options_of(tile), loss, e / total, others / total)
    factors = label_factors(plan, tile, first, count)
    if plan.has_grads:
        scale = factors * load(plan, tile.grad_scales + first * plan.size)
        factor = (value.slope * scale) / total
        softmax_row_grads(plan, tile, first, count, factor, -(others * factor))
    store(tile.losses + first * plan.size, weighted(factors, value.loss))
    repair_infinite(plan, tile, first, count, largest)


@inlined
def softmax_rows(plan: Plan, tile: Any) -> None:
    """Labels."""
    for first in range(0, tile.anchors, plan.lanes):
        softmax_rows_group(plan, tile, first, min(plan.lanes, tile.anchors - first))
