"""Copies between strided memory and tiles; mirrors native/simd/pack.h.

A tile holds class k of lane a at [k * tile_stride + a]: square blocks are transposed in registers
where the classes lie side by side, and anything else goes element by element. Strides of tiles are
in elements, all others in bytes. The dtype of what is not a tile is that of the plan.
"""

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.branches import choose_if
from fastxent.numba.simd.elements import (
    load_as,
    load_first_as,
    load_one_as,
    store_as,
    store_first_as,
    store_one_as,
)
from fastxent.numba.simd.lanes import Lanes, Number, lane_function, real_value
from fastxent.numba.simd.memory import read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.shuffles import shuffle, transpose
from fastxent.numba.simd.vector import PREFETCH_BYTES, load, load_first, pointer_to, prefetch, store


@lane_function
def read_element(plan: Plan, address: Number) -> Number:
    """Return a number of the plan's dtype in its precision."""
    builder, real = address.builder, plan.real
    if plan.dtype in {"float16", "bfloat16"}:
        number = load_one_as(plan, address, plan.dtype)
    elif plan.dtype in {"float32", "float64"}:
        kind = ir.FloatType() if plan.dtype == "float32" else ir.DoubleType()
        value = builder.load(pointer_to(builder, address, kind), align=1)
        number = Number(builder, value, getattr(types, plan.dtype))
    else:
        kind = types.uint8 if plan.dtype == "bool" else getattr(types, plan.dtype)
        value = builder.load(pointer_to(builder, address, ir.IntType(kind.bitwidth)), align=1)
        convert = builder.sitofp if kind.signed else builder.uitofp
        return Number(builder, convert(value, real.ir), real.scalar)
    return Number(builder, real_value(builder, real, number), real.scalar)


@lane_function
def read_elements(plan: Plan, address: Number) -> Lanes:
    """Return as many numbers as lanes that lie side by side."""
    if plan.is_real:
        return load_as(plan, address, plan.dtype)
    builder, lanes = address.builder, plan.real.lanes
    is_signed = not plan.dtype.startswith(("u", "bool"))
    kind = ir.VectorType(ir.IntType(8 * plan.item), lanes)
    integers = builder.load(pointer_to(builder, address, kind), align=1)
    convert = builder.sitofp if is_signed else builder.uitofp
    return Lanes(builder, convert(integers, ir.VectorType(plan.real.ir, lanes)), plan.real)


@inlined
def pack_elements(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    """Copy one by one."""
    for k in range(classes):
        place = source + k * class_stride
        to = tile + k * tile_stride * plan.size
        for a in range(anchors):
            write_real(plan, to + a * plan.size, read_element(plan, place + a * anchor_stride))


# --- rows, transposed -----------------------------------------------------------------------------


def _smaller(number: int, limit: Number) -> Number:
    """Return a constant, or the limit where that is smaller."""
    builder, constant = limit.builder, limit.value.type(number)
    is_less = builder.icmp_signed("<", constant, limit.value)
    return Number(builder, builder.select(is_less, constant, limit.value), limit.type)


@lane_function
def pack_square(
    plan: Plan,
    source: Number,
    stride: Number,
    last: Number,
    width: Number,
    may_read_on: Number,
    tile: Number,
    step: Number,
) -> None:
    """Transpose rows to `width` columns; rows behind the last repeat it.

    Where the following rows lie behind a row, reading into them is several times faster than a
    masked load.
    """
    places = [source + _smaller(i, last) * stride for i in range(plan.lanes)]
    for place in places:
        prefetch(place, PREFETCH_BYTES)
    rows = choose_if(
        may_read_on,
        lambda: tuple(load_as(plan, place, plan.dtype) for place in places),
        lambda: tuple(load_first_as(plan, place, width, 0.0, plan.dtype) for place in places),
    )
    builder = tile.builder
    for i, column in enumerate(transpose(rows)):
        is_there = builder.icmp_signed(">", width.value, width.value.type(i))
        with builder.if_then(is_there, likely=True):
            store(tile + step * i, column)


@inlined
def pack_rows(
    plan: Plan, source: int, stride: int, anchors: int, classes: int, tile: int, tile_stride: int
) -> None:
    """Transpose rows of classes that lie side by side."""
    end = source + (anchors - 1) * stride + classes * plan.item
    step = tile_stride * plan.size
    for a in range(0, anchors, plan.lanes):
        last = min(anchors - a, plan.lanes) - 1
        for k in range(0, classes, plan.lanes):
            place = source + a * stride + k * plan.item
            width = min(classes - k, plan.lanes)
            furthest = place + last * stride + plan.lanes * plan.item
            may_read_on = width == plan.lanes or furthest <= end
            to = tile + k * step + a * plan.size
            pack_square(plan, place, stride, last, width, may_read_on, to, step)


@lane_function
def split_rows(plan: Plan, rows: Number, classes: int, tile: Number, step: Number) -> None:
    """Take apart rows of so few classes that lie one behind the other."""
    lanes, size = plan.lanes, plan.size
    vectors = [load(plan, rows + i * lanes * size) for i in range(classes)]
    for k in range(classes):
        column = vectors[0]
        for number, vector in enumerate(vectors):
            places = []
            for lane in range(lanes):
                source, place = divmod(lane * classes + k, lanes)
                places.append(lanes + place if source == number else lane)
            column = shuffle(column, vector, places)
        store(tile + step * k, column)


@inlined
def pack_few(
    plan: Plan, rows: int, anchors: int, classes: int, tile: int, tile_stride: int
) -> None:
    """Take apart rows of two, three or four classes."""
    step = tile_stride * plan.size
    a = 0
    while a + plan.lanes <= anchors:
        place, to = rows + a * classes * plan.size, tile + a * plan.size
        if classes == 2:
            split_rows(plan, place, 2, to, step)
        elif classes == 3:
            split_rows(plan, place, 3, to, step)
        else:
            split_rows(plan, place, 4, to, step)
        a += plan.lanes
    for rest in range(a, anchors):
        for k in range(classes):
            number = read_real(plan, rows + (rest * classes + k) * plan.size)
            write_real(plan, tile + k * step + rest * plan.size, number)


@inlined
def widen(plan: Plan, source: int, count: int, values: int) -> None:
    """Convert numbers that lie side by side."""
    i = 0
    while i + plan.lanes <= count:
        prefetch(source + i * plan.item, PREFETCH_BYTES)
        store(values + i * plan.size, read_elements(plan, source + i * plan.item))
        i += plan.lanes
    for rest in range(i, count):
        number = read_element(plan, source + rest * plan.item)
        write_real(plan, values + rest * plan.size, number)


def _pack_others(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    pack_elements(plan, source, anchor_stride, class_stride, anchors, classes, tile, tile_stride)


def _pack_integers(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    if anchor_stride == plan.item:
        for k in range(classes):
            widen(plan, source + k * class_stride, anchors, tile + k * tile_stride * plan.size)
    else:
        pack_elements(
            plan, source, anchor_stride, class_stride, anchors, classes, tile, tile_stride
        )


def _pack_reals(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    if anchor_stride == plan.item and (plan.is_half or classes == 1):
        for k in range(classes):
            widen(plan, source + k * class_stride, anchors, tile + k * tile_stride * plan.size)
    elif class_stride != plan.item or classes == 1:
        pack_elements(
            plan, source, anchor_stride, class_stride, anchors, classes, tile, tile_stride
        )
    elif classes <= 4 and not plan.is_half and anchor_stride == classes * class_stride:
        pack_few(plan, source, anchors, classes, tile, tile_stride)
    else:
        pack_rows(plan, source, anchor_stride, anchors, classes, tile, tile_stride)


def _packer_of(plan: Plan) -> Callable[..., None]:
    if plan.is_real:
        return _pack_reals
    return _pack_others if "float" in plan.dtype else _pack_integers


@chosen_by(_packer_of)
def pack(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    """Copy strided memory to a tile; up to a vector of anchors more than there are is written."""
    raise NotImplementedError


@chosen_by(lambda plan: _gather_reals if plan.is_real else _gather_elements)
def _gather(plan: Plan, source: int, stride: int, count: int, values: int) -> None:
    raise NotImplementedError


def _gather_elements(plan: Plan, source: int, stride: int, count: int, values: int) -> None:
    pack_elements(plan, source, stride, 0, count, 1, values, count)


def _gather_reals(plan: Plan, source: int, stride: int, count: int, values: int) -> None:
    if stride == plan.item:
        widen(plan, source, count, values)
    else:
        pack_elements(plan, source, stride, 0, count, 1, values, count)


@inlined
def gather(
    plan: Plan,
    source: int,
    stride: int,
    class_stride: int,  # noqa: ARG001 - the interface of pack
    count: int,
    classes: int,  # noqa: ARG001
    values: int,
    tile_stride: int,  # noqa: ARG001
) -> None:
    """Copy what anchors have one of each."""
    _gather(plan, source, stride, count, values)


# --- back -----------------------------------------------------------------------------------------


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
    columns: list[Lanes] = [load(plan, tile + _smaller(i, last) * step) for i in range(plan.lanes)]
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
