"""Single numbers at an address, and calls of compiled functions by their addresses."""

from llvmlite import ir
from numba.core import cgutils, types

from fastxent.numba.simd.lanes import INDEX, REALS, Number, lane_function, real_value
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import pointer_to


@lane_function
def read_real(plan: Plan, address: Number) -> Number:
    """Return the number at an address, of the kernel's precision."""
    builder, real = address.builder, plan.real
    value = builder.load(pointer_to(builder, address, real.ir), align=real.size)
    return Number(builder, value, real.scalar)


@lane_function
def write_real(plan: Plan, address: Number, number: Number | float) -> None:
    """Write a number, rounded to the kernel's precision, to an address."""
    builder, real = address.builder, plan.real
    value = real.ir(number) if not isinstance(number, Number) else real_value(builder, real, number)
    builder.store(value, pointer_to(builder, address, real.ir), align=real.size)


def integer_at(address: Number, kind: types.Integer) -> Number:
    """Return the integer at an address, as 64 bits."""
    builder, width = address.builder, ir.IntType(kind.bitwidth)
    value = builder.load(pointer_to(builder, address, width), align=1)
    if kind.bitwidth < 64:
        value = (builder.sext if kind.signed else builder.zext)(value, INDEX)
    return Number(builder, value, types.intp)


@lane_function
def read_int32(address: Number) -> Number:
    """Return the integer at an address."""
    return integer_at(address, types.int32)


@lane_function
def write_int32(address: Number, number: Number | int) -> None:
    """Write an integer to an address."""
    builder, word = address.builder, ir.IntType(32)
    value = builder.trunc(number.value, word) if isinstance(number, Number) else word(number)
    builder.store(value, pointer_to(builder, address, word), align=4)


@lane_function
def double(number: Number) -> Number:
    """Return a number in double; Numba's own `float` leaves a float32 as it is."""
    builder = number.builder
    return Number(builder, real_value(builder, REALS["float64"], number), types.float64)


@lane_function
def read_int64(address: Number) -> Number:
    """Return the integer at an address."""
    return integer_at(address, types.int64)


@lane_function
def write_int64(address: Number, number: Number | int) -> None:
    """Write an integer to an address."""
    builder = address.builder
    value = number.value if isinstance(number, Number) else INDEX(number)
    builder.store(value, pointer_to(builder, address, INDEX), align=8)


@lane_function
def rounded(plan: Plan, number: Number) -> Number:
    """Return a number in the kernel's precision."""
    return Number(number.builder, real_value(number.builder, plan.real, number), plan.real.scalar)


def _call(function: Number, result: ir.Type, *arguments: Number | int) -> ir.Value:
    """Call the function at an address with integers."""
    builder = function.builder
    kind = ir.FunctionType(result, [INDEX] * len(arguments))
    pointer = builder.inttoptr(function.value, ir.PointerType(kind))
    values = [x.value if isinstance(x, Number) else INDEX(x) for x in arguments]
    return builder.call(pointer, values)


@lane_function
def call_kernel(function: Number, tile: Number) -> None:
    """Run a kernel on the tile at an address."""
    _call(function, ir.VoidType(), tile)


@lane_function
def call_exact(function: Number, tile: Number, anchor: Number) -> Number:
    """Return what the exact function at an address has for an anchor."""
    return Number(function.builder, _call(function, ir.DoubleType(), tile, anchor), types.float64)


@lane_function
def call_three(function: Number, first: Number, second: Number, third: Number) -> None:
    """Call a function of three integers."""
    _call(function, ir.VoidType(), first, second, third)


@lane_function
def call_six(
    function: Number, a: Number, b: Number, c: Number, d: Number, e: Number, f: Number
) -> None:
    """Call a function of six integers."""
    _call(function, ir.VoidType(), a, b, c, d, e, f)


@lane_function
def call_seven(
    function: Number, a: Number, b: Number, c: Number, d: Number, e: Number, f: Number, g: Number
) -> None:
    """Call a function of seven integers."""
    _call(function, ir.VoidType(), a, b, c, d, e, f, g)


@lane_function
def next_number(counter: Number) -> Number:
    """Count on: return the number at an address, and leave the next one there, for all threads."""
    builder = counter.builder
    pointer = pointer_to(builder, counter, INDEX)
    value = builder.atomic_rmw("add", pointer, INDEX(1), "monotonic")
    return Number(builder, value, types.intp)


@lane_function
def copy_bytes(destination: Number, source: Number, count: Number | int) -> None:
    """Copy bytes that do not overlap."""
    builder = destination.builder
    byte = ir.IntType(8)
    pointers = [pointer_to(builder, address, byte) for address in (destination, source)]
    size = count.value if isinstance(count, Number) else INDEX(count)
    cgutils.raw_memcpy(builder, *pointers, size, 1)


@lane_function
def clear_bytes(destination: Number, count: Number | int) -> None:
    """Write zeros."""
    builder = destination.builder
    size = count.value if isinstance(count, Number) else INDEX(count)
    cgutils.memset(builder, pointer_to(builder, destination, ir.IntType(8)), size, 0)
