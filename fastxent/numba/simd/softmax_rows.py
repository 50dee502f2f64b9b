"""The softmax family with classes as lanes and labels; mirrors native/simd/softmax_rows.h.

One reduction and one logarithm for a vector of anchors. As in softmax_plain.py, sums start from the
labels' logits, and vectors of anchors whose sums are out of range are processed again, from their
maxima.
"""

import math
from typing import Any, NamedTuple

from fastxent.numba.compilation import called, inlined
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
from fastxent.numba.simd.softmax import softmax_loss, softmax_options_of, softmax_value_of
from fastxent.numba.simd.tile import NO_CLASS, repair
from fastxent.numba.simd.vector import (
    any_lane,
    load,
    load_first,
    maximum,
    splat,
    stack,
    store,
    store_first,
)
from fastxent.numba.simd.vector_math import (
    Centre,
    Exponential,
    all_summed,
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
    return over_row(plan, maximum_step, anchor, row, tile.classes, lowest)


def _others_step(
    plan: Plan, centre: Centre, row: ClassRow, place: tuple[Any, Any, Lanes], exp: Exponential
) -> Lanes:
    k, count, total = place
    e = exp(row_logits(plan, row, k, count, -math.inf), centre)
    if plan.has_grads:
        row_put_grads(plan, row, k, count, e)
    return total + but_label(plan, row, k, e)


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
def row_others(plan: Plan, tile: Any, anchor: int, centre: Centre, step: Any) -> Lanes:
    """Return the sum of exp(z_k - c) over the classes other than the label."""
    return sum_over_row(plan, tile, anchor, label_of(tile, anchor), step, centre)


@inlined
def rows_from_labels(
    plan: Plan, tile: Any, first: int, count: int, own_logits: int, others: int
) -> None:
    """Write the labels' logits, those of the first class where there is none; and sums from there.

    The sums of anchors whose logits are far will be replaced.
    """
    for i in range(count):
        anchor = first + i
        logit = row_logit(plan, tile, anchor, max(label_of(tile, anchor), 0))
        write_real(plan, own_logits + i * plan.size, logit)
        centre = centre_at(on_grid(splat(plan, logit, anchor)))
        total = row_others(plan, tile, anchor, centre, near_step)
        store(others + i * plan.lanes * plan.size, total)
    clear_rest(plan, others, count)
    rest = count
    while rest % plan.lanes:
        write_real(plan, own_logits + rest * plan.size, 0.0)
        rest += 1


@called
def rows_from(plan: Plan, tile: Any, first: int, count: int, centres: Lanes, others: int) -> None:
    """Write the sums of a vector of anchors from any centres."""
    places = stack(plan, 1, first)
    store(places, centres)
    for i in range(count):
        centre = centre_at(anchor_scale(plan, places + i * plan.size))
        total = row_others(plan, tile, first + i, centre, far_step)
        store(others + i * plan.lanes * plan.size, total)


@called
def group_centres(plan: Plan, tile: Any, first: int, count: int) -> Lanes:
    """Return the maxima of a vector of anchors, rounded to the grid."""
    partial = stack(plan, plan.lanes, first)
    for i in range(count):
        largest = row_maximum(plan, tile, first + i)
        store(partial + i * plan.lanes * plan.size, largest)
    clear_rest(plan, partial, count)
    return on_grid(reduce_maximum(plan, partial))


class GroupSums(NamedTuple):
    """Where the sums of a vector of anchors start from, and what they are."""

    centres: Lanes
    others: Lanes


@inlined
def group_sums(
    plan: Plan, tile: Any, first: int, count: int, own_logits: int, others: int
) -> GroupSums:
    """Return the sums of a vector of anchors, after `rows_from_labels`."""
    centres = on_grid(load(plan, own_logits))
    if any_lane(is_far(centres)):
        rows_from(plan, tile, first, count, centres, others)
    total = reduce_add(plan, others)
    if not all_summed(total, count):
        centres = group_centres(plan, tile, first, count)
        rows_from(plan, tile, first, count, centres, others)
        total = reduce_add(plan, others)
    return GroupSums(centres, total)


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
def softmax_rows_group(
    plan: Plan, tile: Any, first: int, count: int, own: Lanes, others: Lanes
) -> None:
    """From the sums of the other classes' exponentials to losses and gradients."""
    e = exp_nonpositive(own)
    total = others + e
    value = softmax_value_of(
        plan, softmax_options_of(tile), softmax_loss(others, own), e / total, others / total
    )
    factors = label_factors(plan, tile, first, count)
    loss = value.loss * factors
    if plan.has_grads:
        scale = factors * load(plan, tile.grad_scales + first * plan.size)
        factor = (value.slope * scale) / total
        softmax_row_grads(plan, tile, first, count, factor, -(others * factor))
    store(tile.losses + first * plan.size, loss)
    repair(plan, tile, first, count, loss)


@inlined
def softmax_rows_block(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Process a block of anchors."""
    own_logits = stack(plan, plan.block_vectors, first)
    others = stack(plan, plan.block, first)
    rows_from_labels(plan, tile, first, count, own_logits, others)
    for start in range(0, count, plan.lanes):
        group, length = first + start, min(count - start, plan.lanes)
        logits, partial = own_logits + start * plan.size, others + start * plan.lanes * plan.size
        sums = group_sums(plan, tile, group, length, logits, partial)
        own = load(plan, logits) - sums.centres
        softmax_rows_group(plan, tile, group, length, own, sums.others)


@inlined
def softmax_rows(plan: Plan, tile: Any) -> None:
    """Labels."""
    for first in range(0, tile.anchors, plan.block):
        softmax_rows_block(plan, tile, first, min(plan.block, tile.anchors - first))
