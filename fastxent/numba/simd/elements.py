"""Numbers as they lie in memory, of the kernel's precision or of 16 bits; mirrors simd/elements.h.

`dtype` is the precision's own name, "float16" or "bfloat16", and always known to the compiler.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from fastxent.numba.simd.branches import smaller
from fastxent.numba.simd.half import SHORT, WORD, narrow, widen, widened_number
from fastxent.numba.simd.lanes import (
    BIT,
    INDEX,
    Lanes,
    Number,
    Operand,
    lane_function,
    real_value,
    splat_value,
)
from fastxent.numba.simd.memory import read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import (
    first_lanes,
    has_feature,
    load,
    load_first,
    pointer_to,
    select,
    stack,
    store,
    store_first,
)


def _halves_at(plan: Plan, address: Number) -> ir.Value:
    return pointer_to(address.builder, address, ir.VectorType(SHORT, plan.real.lanes))


@lane_function
def load_as(plan: Plan, address: Number, dtype: str) -> Lanes:
    """Return the numbers at an address."""
    if dtype == plan.precision:
        return load(plan, address)
    builder = address.builder
    halves = builder.load(_halves_at(plan, address), align=2)
    return Lanes(builder, widen(builder, halves, dtype), plan.real)


def _halves_from(plan: Plan, places: Sequence[Number]) -> ir.Value:
    """Return the 16-bit floats at as many addresses as lanes."""
    builder = places[0].builder
    halves = ir.VectorType(SHORT, plan.lanes)(ir.Undefined)
    for i, place in enumerate(places):
        half = builder.load(pointer_to(builder, place, SHORT), align=2)
        halves = builder.insert_element(halves, half, WORD(i))
    return halves


@lane_function
def store_as(plan: Plan, address: Number, x: Lanes, dtype: str) -> None:
    """Write all lanes to an address."""
    if dtype == plan.precision:
        store(address, x)
        return
    halves = narrow(x.builder, x.value, dtype)
    x.builder.store(halves, _halves_at(plan, address), align=2)


def _copy_pieces(to: Number, source: Number, count: Number) -> None:
    """Copy fewer 16-bit floats than a vector holds, by pieces whose lengths are known."""
    builder = count.builder
    for piece in (8, 4, 2, 1):
        is_there = builder.trunc(builder.lshr(count.value, INDEX(piece.bit_length() - 1)), BIT)
        before = Number(builder, builder.and_(count.value, INDEX(-2 * piece)), count.type) * 2
        kind = ir.VectorType(SHORT, piece)
        with builder.if_then(is_there):
            numbers = builder.load(pointer_to(builder, source + before, kind), align=2)
            builder.store(numbers, pointer_to(builder, to + before, kind), align=2)


def _load_first_halves(plan: Plan, address: Number, count: Number) -> ir.Value:
    """Return the first 16-bit floats at an address, and whatever follows.

    Masks of 16 bits a lane need AVX-512; without it, each lane would be a branch.
    """
    builder, lanes = address.builder, plan.lanes
    if not has_feature("avx512bw"):
        last = count + -1
        return _halves_from(plan, [address + smaller(i, last) * 2 for i in range(lanes)])
    mask = first_lanes(builder, plan.real, count)
    pointer = _halves_at(plan, address)
    zeros = ir.VectorType(SHORT, lanes)([0] * lanes)
    kind = ir.FunctionType(zeros.type, [pointer.type, WORD, mask.value.type, zeros.type])
    name = f"llvm.masked.load.v{lanes}i16.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [pointer, WORD(2), mask.value, zeros])


@lane_function
def load_first_as(plan: Plan, address: Number, count: Number, fill: Operand, dtype: str) -> Lanes:
    """Return the first numbers at an address, reading nothing after them."""
    if dtype == plan.precision:
        return load_first(plan, address, count, fill)
    builder = address.builder
    halves = _load_first_halves(plan, address, count)
    otherwise = splat_value(builder, plan.real, 0.0).like(fill)
    mask = first_lanes(builder, plan.real, count)
    return select(mask, Lanes(builder, widen(builder, halves, dtype), plan.real), otherwise)


@lane_function
def store_first_as(plan: Plan, address: Number, count: Number, x: Lanes, dtype: str) -> None:
    """Write the first lanes to an address, and nothing after them."""
    if dtype == plan.precision:
        store_first(address, count, x)
        return
    builder, lanes = x.builder, plan.lanes
    halves = narrow(builder, x.value, dtype)
    if not has_feature("avx512bw"):
        buffer = stack(plan, 1, count)
        builder.store(halves, _halves_at(plan, buffer), align=2)
        _copy_pieces(address, buffer, count)
        return
    mask = first_lanes(builder, plan.real, count)
    pointer = _halves_at(plan, address)
    kind = ir.FunctionType(ir.VoidType(), [halves.type, pointer.type, WORD, mask.value.type])
    name = f"llvm.masked.store.v{lanes}i16.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [halves, pointer, WORD(2), mask.value])


@lane_function
def load_one_as(plan: Plan, address: Number, dtype: str) -> Number:
    """Return one number."""
    if dtype == plan.precision:
        return read_real(plan, address)
    builder = address.builder
    half = builder.load(pointer_to(builder, address, SHORT), align=2)
    return widened_number(builder, half, dtype)


@lane_function
def store_one_as(plan: Plan, address: Number, number: Number, dtype: str) -> None:
    """Write one number."""
    if dtype == plan.precision:
        write_real(plan, address, number)
        return
    builder = address.builder
    half = narrow(builder, real_value(builder, plan.real, number), dtype)
    builder.store(half, pointer_to(builder, address, SHORT), align=2)
