"""Single numbers at an address, and calls of compiled functions by their addresses."""

from llvmlite import ir
from numba.core import types

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


@lane_function
def read_int32(address: Number) -> Number:
    """Return the integer at an address, as 64 bits."""
    builder, word = address.builder, ir.IntType(32)
    value = builder.load(pointer_to(builder, address, word), align=4)
    return Number(builder, builder.sext(value, INDEX), types.intp)


@lane_function
def read_double(address: Number) -> Number:
    """Return the number at an address, in double whatever the kernel's precision."""
    builder = address.builder
    value = builder.load(pointer_to(builder, address, ir.DoubleType()), align=8)
    return Number(builder, value, types.float64)


@lane_function
def write_double(address: Number, number: Number) -> None:
    """Write a double to an address."""
    builder = address.builder
    builder.store(number.value, pointer_to(builder, address, ir.DoubleType()), align=8)


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


def _call(function: Number, result: ir.Type, *arguments: Number) -> ir.Value:
    """Call the function at an address with integers and doubles."""
    builder = function.builder
    values = [argument.value for argument in arguments]
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(builder.inttoptr(function.value, ir.PointerType(kind)), values)


@lane_function
def call_exact(function: Number, tile: Number, anchor: Number) -> Number:
    """Return what the exact function at an address has for an anchor."""
    return Number(function.builder, _call(function, ir.DoubleType(), tile, anchor), types.float64)


@lane_function
def call_value(
    function: Number, tile: Number, z: Number, y: Number, k: Number, loss_and_slope: Number
) -> None:
    """Have a function write the loss and the slope of a logit."""
    _call(function, ir.VoidType(), tile, z, y, k, loss_and_slope)


@lane_function
def call_worker(function: Number, call: Number, worker: Number) -> None:
    """Let a worker compute blocks of a call."""
    _call(function, ir.VoidType(), call, worker)
