"""How the row kernels see a tile: a vector's worth of anchors, their classes as lanes; rows.h.

A loop over a row is written once, `over_row`: it takes the lane function of a step, and the running
sum. The partial sums of several vectors of anchors, `plan.block` of them, wait for each other, so
that the reductions of one vector overlap those of the next.
"""

from typing import Any, NamedTuple

from fastxent import native
from fastxent.numba.compilation import called, inlined
from fastxent.numba.simd.elements import (
    load_as,
    load_first_as,
    load_one_as,
    store_as,
    store_first_as,
)
from fastxent.numba.simd.lanes import Lanes, Number, Operand, lane_function, splat_value
from fastxent.numba.simd.memory import read_int32, read_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.summation import Compensated, compensated_join, compensated_value
from fastxent.numba.simd.tile import NO_CLASS, settings_of
from fastxent.numba.simd.vector import (
    PREFETCH_BYTES,
    bits_and,
    load,
    load_first,
    prefetch,
    splat,
    store,
)
from fastxent.numba.simd.vector_math import FLOAT

#: Classes of a row that the table of `others_than` serves.
ROW_CHUNK: int = native.kernel_constants()["row_chunk"]
MASK_CENTRE: int = native.kernel_constants()["mask_centre"]
#: Every term of a row's padding is 0: exp(-2^100) = 0, and its target is 0.
PADDING = FLOAT.no_loss
#: Vectors of classes whose terms are added up before they join the others: errors grow with the
#: additions. And so do the sums of ROW_CHUNK classes, without their rounding errors: a row may have
#: millions.
PIECE_VECTORS = 8


class ClassRow(NamedTuple):
    """Where one anchor's row lies: the addresses of a class, and of what masks its label out."""

    logits: Number
    targets: Number
    grads: Number
    others: Number


@inlined
def others_than(plan: Plan, tile: Any, label: int, start: int) -> Any:
    """Return an address in the table that masks the label out, for classes from `start` on."""
    column = label - start
    if 0 <= column < ROW_CHUNK:
        return settings_of(tile).others + (MASK_CENTRE - column) * plan.size
    return settings_of(tile).others


@inlined
def label_of(tile: Any, anchor: int) -> int:
    """Return the column of an anchor's label."""
    if tile.labels == 0:
        return NO_CLASS
    return read_int32(tile.labels + 4 * anchor)


@inlined
def class_row(plan: Plan, tile: Any, anchor: int, label: int, start: int) -> ClassRow:
    """Return the row of an anchor, from a class on."""
    grads = tile.results if plan.is_softmax else tile.grads  # where exponentials are kept
    return ClassRow(
        tile.logits.data + (anchor * tile.logits.anchor_stride + start) * plan.item,
        tile.targets.data + (anchor * tile.targets.anchor_stride + start) * plan.size,
        grads.data + (anchor * grads.anchor_stride + start) * plan.grad_item,
        others_than(plan, tile, label, start),
    )


@inlined
def row_logit(plan: Plan, tile: Any, anchor: int, k: int) -> float:
    """Return one logit."""
    place = anchor * tile.logits.anchor_stride + k
    return load_one_as(plan, tile.logits.data + place * plan.item, plan.dtype)


@lane_function
def row_logits(plan: Plan, row: ClassRow, k: Number, count: int | Number, fill: Operand) -> Lanes:
    """Return the logits of some classes; `count` is the literal 0 where the vector is full."""
    place = row.logits + k * plan.item
    if isinstance(count, int):
        return load_as(plan, place, plan.dtype)
    return load_first_as(plan, place, count, fill, plan.dtype)


@lane_function
def row_targets(plan: Plan, row: ClassRow, k: Number, count: int | Number) -> Lanes:
    """Return the targets of some classes, 0 after the last."""
    place = row.targets + k * plan.size
    return load(plan, place) if isinstance(count, int) else load_first(plan, place, count, 0.0)


@lane_function
def but_label(plan: Plan, row: ClassRow, k: Number, x: Lanes) -> Lanes:
    """Return the terms of some classes, but 0 at the label."""
    return bits_and(x, load(plan, row.others + k * plan.size))


@lane_function
def row_put_grads(plan: Plan, row: ClassRow, k: Number, count: int | Number, x: Lanes) -> None:
    """Write the gradients of some classes."""
    place = row.grads + k * plan.grad_item
    if isinstance(count, int):
        store_as(plan, place, x, plan.grad_dtype)
    else:
        store_first_as(plan, place, count, x, plan.grad_dtype)


@lane_function
def row_prefetch(plan: Plan, row: ClassRow, k: Number) -> None:
    """Ask for what is read soon."""
    prefetch(row.logits + k * plan.item, PREFETCH_BYTES)


@inlined
def over_row(plan: Plan, step: Any, options: Any, row: ClassRow, classes: int, sums: Any) -> Any:
    """Return the sums over a row, of step(plan, options, row, k, count, sums).

    The last step is apart, for masks would cost the others their registers.
    """
    k = 0
    while k + plan.lanes <= classes:
        row_prefetch(plan, row, k)
        sums = step(plan, options, row, k, 0, sums)
        k += plan.lanes
    if k < classes:
        row_prefetch(plan, row, k)
        sums = step(plan, options, row, k, classes - k, sums)
    return sums


@inlined
def sum_over_chunk(
    plan: Plan, tile: Any, anchor: int, label: int, step: Any, options: Any, start: int, end: int
) -> Lanes:
    """Return the sum over some classes of a row, of a step of `over_row`, piece by piece."""
    piece = PIECE_VECTORS * plan.lanes
    total = splat(plan, 0.0, anchor)
    for k in range(start, end, piece):
        row, length = class_row(plan, tile, anchor, label, k), min(end - k, piece)
        total = total + over_row(plan, step, options, row, length, splat(plan, 0.0, anchor))
    return total


@called
def sum_over_long_row(
    plan: Plan, tile: Any, anchor: int, label: int, step: Any, options: Any
) -> Lanes:
    """Return the sum over a row of any length, chunk by chunk."""
    zero = splat(plan, 0.0, anchor)
    running = Compensated(zero, zero)
    for start in range(0, tile.classes, ROW_CHUNK):
        end = min(start + ROW_CHUNK, tile.classes)
        total = sum_over_chunk(plan, tile, anchor, label, step, options, start, end)
        running = compensated_join(running, total)
    return compensated_value(running)


@inlined
def sum_over_row(plan: Plan, tile: Any, anchor: int, label: int, step: Any, options: Any) -> Lanes:
    """Return the sum over a whole row, of a step of `over_row`."""
    if tile.classes > ROW_CHUNK:
        return sum_over_long_row(plan, tile, anchor, label, step, options)
    return sum_over_chunk(plan, tile, anchor, label, step, options, 0, tile.classes)


@inlined
def group_has_labels(tile: Any, first: int, count: int) -> bool:
    """Return whether an anchor of a vector has a label."""
    highest = NO_CLASS
    for i in range(count):
        highest = max(highest, label_of(tile, first + i))
    return highest >= 0


@inlined
def clear_rest(plan: Plan, partial: int, count: int) -> None:
    """Clear the partial sums of anchors that are not there, up to a whole vector of anchors."""
    while count % plan.lanes:
        store(partial + count * plan.lanes * plan.size, splat(plan, 0.0, count))
        count += 1


@lane_function
def anchor_scale(plan: Plan, scales: Number) -> Lanes:
    """Return the factor of an anchor's gradient in all lanes."""
    return splat_value(scales.builder, plan.real, read_real(plan, scales))
