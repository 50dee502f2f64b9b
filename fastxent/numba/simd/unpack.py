"""Copies from tiles back to strided memory; mirrors the end of native/simd/pack.h, see pack.py."""

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.branches import smaller
from fastxent.numba.simd.elements import store_as, store_first_as, store_one_as
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import read_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.shuffles import transpose
from fastxent.numba.simd.vector import load, load_first


@lane_function
def unpack_square(
    plan: Plan,
    tile: Number,
    step: Number,
    width: Number,
    count: Number,
    destination: Number,
    stride: Number,
) -> None:
    """Transpose `width` columns to `count` rows."""
    builder = tile.builder
    last = Number(builder, builder.sub(width.value, width.value.type(1)), width.type)
    columns: list[Lanes] = [load(plan, tile + smaller(i, last) * step) for i in range(plan.lanes)]
    is_full = builder.icmp_signed("==", width.value, width.value.type(plan.lanes))
    for i, row in enumerate(transpose(columns)):
        place = destination + stride * i
        is_there = builder.icmp_signed(">", count.value, count.value.type(i))
        with builder.if_then(is_there, likely=True), builder.if_else(is_full) as (full, partial):
            with full:
                store_as(plan, place, row, plan.dtype)
            with partial:
                store_first_as(plan, place, width, row, plan.dtype)


@inlined
def unpack_rows(
    plan: Plan, tile: int, tile_stride: int, anchors: int, classes: int, to: int, stride: int
) -> None:
    """Transpose back to rows of classes that lie side by side."""
    step = tile_stride * plan.size
    for a in range(0, anchors, plan.lanes):
        count = min(anchors - a, plan.lanes)
        for k in range(0, classes, plan.lanes):
            place = tile + k * step + a * plan.size
            width = min(classes - k, plan.lanes)
            unpack_square(plan, place, step, width, count, to + a * stride + k * plan.item, stride)


@inlined
def narrow(plan: Plan, values: int, count: int, destination: int) -> None:
    """Convert back numbers that lie side by side."""
    i = 0
    while i + plan.lanes <= count:
        x = load(plan, values + i * plan.size)
        store_as(plan, destination + i * plan.item, x, plan.dtype)
        i += plan.lanes
    if i < count:
        x = load_first(plan, values + i * plan.size, count - i, 0.0)
        store_first_as(plan, destination + i * plan.item, count - i, x, plan.dtype)


@inlined
def unpack(
    plan: Plan,
    destination: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    """Copy a tile back to where its numbers belong."""
    if anchor_stride == plan.item:
        for k in range(classes):
            to = destination + k * class_stride
            narrow(plan, tile + k * tile_stride * plan.size, anchors, to)
    elif class_stride == plan.item and classes > 1:
        unpack_rows(plan, tile, tile_stride, anchors, classes, destination, anchor_stride)
    else:
        for k in range(classes):
            for a in range(anchors):
                number = read_real(plan, tile + (k * tile_stride + a) * plan.size)
                place = destination + a * anchor_stride + k * class_stride
                store_one_as(plan, place, number, plan.dtype)
