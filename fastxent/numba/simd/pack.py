"""Copies from strided memory to tiles; mirrors native/simd/pack.h.

A tile holds class k of lane a at [k * tile_stride + a]: where the classes lie side by side, rows
are taken apart in registers, and anything else goes element by element. Strides of tiles are in
elements, all others in bytes. The dtype of what is not a tile is that of the plan.
"""

from collections.abc import Callable

from llvmlite import ir
from numba.core import types

from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.branches import smaller
from fastxent.numba.simd.elements import (
    load_as,
    load_one_as,
    pick_halves,
    split_pairs,
)
from fastxent.numba.simd.lanes import Lanes, Number, lane_function, real_value
from fastxent.numba.simd.memory import write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.shuffles import load_columns, shuffle
from fastxent.numba.simd.vector import PREFETCH_BYTES, pointer_to, prefetch, store


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


# --- rows, taken apart ----------------------------------------------------------------------------


@lane_function
def pack_chunk(
    plan: Plan, source: Number, stride: Number, last: Number, tile: Number, step: Number
) -> None:
    """Take apart 16 bytes of as many rows as lanes; rows behind the last repeat it."""
    columns = load_columns(plan, [source + smaller(i, last) * stride for i in range(plan.lanes)])
    if plan.is_half:
        columns = [column for pairs in columns for column in split_pairs(pairs, plan.dtype)]
    for i, column in enumerate(columns):
        store(tile + step * i, column)


@inlined
def pack_chunks(
    plan: Plan, source: int, stride: int, last: int, classes: int, tile: int, step: int
) -> None:
    """Take apart as many rows as lanes, by chunks: the last one overlaps the one before."""
    width = plan.chunk
    for start in range(0, classes, width):
        k = min(start, classes - width)
        pack_chunk(plan, source + k * plan.item, stride, last, tile + k * step, step)


@inlined
def pack_rows(
    plan: Plan, source: int, stride: int, anchors: int, classes: int, tile: int, tile_stride: int
) -> None:
    """Take apart rows of a chunk or more: whole vectors of anchors, or fewer than one holds."""
    step = tile_stride * plan.size
    if anchors < plan.lanes:
        pack_chunks(plan, source, stride, anchors - 1, classes, tile, step)
        return
    for a in range(0, anchors, plan.lanes):
        place, to = source + a * stride, tile + a * plan.size
        pack_chunks(plan, place, stride, plan.lanes - 1, classes, to, step)


@lane_function
def split_rows(plan: Plan, rows: Number, classes: int, tile: Number, step: Number) -> None:
    """Take apart rows of so few classes that lie one behind the other."""
    lanes = plan.lanes
    vectors = [load_as(plan, rows + i * lanes * plan.item, plan.dtype) for i in range(classes)]
    for k in range(classes):
        column = vectors[0]
        for number, vector in enumerate(vectors):
            places = []
            for lane in range(lanes):
                source, place = divmod(lane * classes + k, lanes)
                places.append(lanes + place if source == number else lane)
            column = shuffle(column, vector, places)
        store(tile + step * k, column)


@lane_function
def split_few(plan: Plan, rows: Number, classes: Number, tile: Number, step: Number) -> None:
    """Take apart rows of any number of few classes, each of which has its own shuffles."""
    for number in range(2, plan.few + 1):
        with rows.builder.if_then(classes.equals(number).value):
            split_rows(plan, rows, number, tile, step)


@inlined
def pack_few(
    plan: Plan, rows: int, anchors: int, classes: int, tile: int, tile_stride: int
) -> None:
    """Take apart rows of few classes that lie one behind the other."""
    step, stride = tile_stride * plan.size, classes * plan.item
    a = 0
    while a + plan.lanes <= anchors:
        split_few(plan, rows + a * stride, classes, tile + a * plan.size, step)
        a += plan.lanes
    place, to = rows + a * stride, tile + a * plan.size
    pack_elements(plan, place, stride, plan.item, anchors - a, classes, to, tile_stride)


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
    lies_in_rows = class_stride == plan.item and classes > 1
    if anchor_stride == plan.item and (plan.is_half or classes == 1):
        for k in range(classes):
            widen(plan, source + k * class_stride, anchors, tile + k * tile_stride * plan.size)
    elif lies_in_rows and classes <= plan.few and anchor_stride == classes * plan.item:
        pack_few(plan, source, anchors, classes, tile, tile_stride)
    elif lies_in_rows and classes >= plan.chunk:
        pack_rows(plan, source, anchor_stride, anchors, classes, tile, tile_stride)
    else:
        _pack_apart(plan, source, anchor_stride, class_stride, anchors, classes, tile, tile_stride)


def _pack_halves(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    """Convert a vector at a time: a single conversion waits for the one before."""
    rest = anchors % plan.lanes
    for k in range(classes):
        place, to = source + k * class_stride, tile + k * tile_stride * plan.size
        for a in range(0, anchors - rest, plan.lanes):
            halves = pick_halves(plan, place + a * anchor_stride, anchor_stride)
            store(to + a * plan.size, halves)
    place, to = source + (anchors - rest) * anchor_stride, tile + (anchors - rest) * plan.size
    pack_elements(plan, place, anchor_stride, class_stride, rest, classes, to, tile_stride)


@chosen_by(lambda plan: _pack_halves if plan.is_half else _pack_others)
def _pack_apart(
    plan: Plan,
    source: int,
    anchor_stride: int,
    class_stride: int,
    anchors: int,
    classes: int,
    tile: int,
    tile_stride: int,
) -> None:
    raise NotImplementedError


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
