"""categorical_cross_entropy of labels, classes as lanes; mirrors native/simd/probability_rows.h.

Rows are a vector long at least. What is left of one besides whole vectors comes first, with the
classes after it, which are cleared: loads and stores under a mask cost several others.
"""

from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.clipping import clipping_of
from fastxent.numba.simd.elements import store_one_as
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.probabilities import LabelSlopes, label_slopes, label_term
from fastxent.numba.simd.rows import (
    PIECE_VECTORS,
    ClassRow,
    anchor_scale,
    but_label,
    class_row,
    clear_rest,
    label_of,
    row_logit,
    row_logits,
    row_prefetch,
    row_put_grads,
)
from fastxent.numba.simd.shuffles import reduce_add
from fastxent.numba.simd.summation import Compensated, compensated_add, compensated_value
from fastxent.numba.simd.tile import labels_of
from fastxent.numba.simd.vector import first_lanes, load, select, splat, stack, store


@lane_function
def other_classes(plan: Plan, row: ClassRow, k: Number) -> Lanes:
    """Return a vector of classes, but 0 at the label."""
    row_prefetch(plan, row, k)
    return but_label(plan, row, k, row_logits(plan, row, k, 0, 0.0))


@lane_function
def first_others(plan: Plan, row: ClassRow, k: Number, count: Number) -> Lanes:
    """Return the first classes of a vector."""
    return select(first_lanes(count.builder, plan.real, count), other_classes(plan, row, k), 0.0)


@inlined
def vectors_of_others(plan: Plan, row: ClassRow, first: int, classes: int, total: Lanes) -> Lanes:
    """Add all classes from `first` on but the label, which are whole vectors, to a sum."""
    k = first
    while k < classes:
        total = total + other_classes(plan, row, k)
        k += plan.lanes
    return total


@inlined
def row_of_others(plan: Plan, tile: Any, anchor: int) -> Lanes:
    """Return what the classes of a row other than the label add up to."""
    rest, piece = tile.classes % plan.lanes, PIECE_VECTORS * plan.lanes
    label = label_of(tile, anchor)
    row, zero = class_row(plan, tile, anchor, label, 0), splat(plan, 0.0, anchor)
    total = zero
    if rest > 0:
        total = first_others(plan, row, 0, rest)
    if tile.classes <= piece:
        return vectors_of_others(plan, row, rest, tile.classes, total)
    running = Compensated(total, zero)
    for start in range(rest, tile.classes, piece):
        row, length = class_row(plan, tile, anchor, label, start), min(tile.classes - start, piece)
        running = compensated_add(running, vectors_of_others(plan, row, 0, length, zero))
    return compensated_value(running)


@inlined
def rows_of_others(plan: Plan, tile: Any, first: int, count: int, own: int, others: int) -> None:
    """Write the labels' probabilities, and what the other classes add up to.

    The first class stands for the label where there is none.
    """
    for i in range(count):
        anchor = first + i
        p = row_logit(plan, tile, anchor, max(label_of(tile, anchor), 0))
        write_real(plan, own + i * plan.size, p)
        store(others + i * plan.lanes * plan.size, row_of_others(plan, tile, anchor))
    clear_rest(plan, others, count)
    while count % plan.lanes:
        write_real(plan, own + count * plan.size, 0.0)
        count += 1


@inlined
def categorical_row_grads(
    plan: Plan, tile: Any, first: int, count: int, slopes: LabelSlopes
) -> None:
    """Write gradients: a row's is one number, but at the label."""
    own, others = stack(plan, 1, first), stack(plan, 1, first)
    store(own, slopes.own)
    store(others, slopes.others)
    rest = tile.classes % plan.lanes
    for i in range(count):
        label = label_of(tile, first + i)
        row = class_row(plan, tile, first + i, label, 0)
        slope = anchor_scale(plan, others + i * plan.size)
        if rest > 0:
            row_put_grads(plan, row, 0, 0, slope)
        k = rest
        while k < tile.classes:
            row_put_grads(plan, row, k, 0, slope)
            k += plan.lanes
        if label >= 0:
            place = row.grads + label * plan.grad_item
            store_one_as(plan, place, read_real(plan, own + i * plan.size), plan.grad_dtype)


@inlined
def probability_rows_block(plan: Plan, tile: Any, first: int, count: int) -> None:
    """Process a block of anchors."""
    own, others = stack(plan, plan.block_vectors, first), stack(plan, plan.block, first)
    rows_of_others(plan, tile, first, count, own, others)
    for start in range(0, count, plan.lanes):
        group, length = first + start, min(count - start, plan.lanes)
        columns = labels_of(plan, tile, group).columns
        p = load(plan, own + start * plan.size)
        total = reduce_add(plan, others + start * plan.lanes * plan.size)
        clipping = clipping_of(tile)
        term = label_term(plan, columns, p, total, tile.positive, clipping)
        store(tile.losses + group * plan.size, term.loss)
        if plan.has_grads:
            scale = load(plan, tile.grad_scales + group * plan.size)
            slopes = label_slopes(plan, p, total, term.log_p_slope, scale)
            categorical_row_grads(plan, tile, group, length, slopes)


@inlined
def probability_rows(plan: Plan, tile: Any) -> None:
    """Labels, without weights of classes."""
    for first in range(0, tile.anchors, plan.block):
        probability_rows_block(plan, tile, first, min(plan.block, tile.anchors - first))
