"""Operations of vectors; mirrors native/simd/vector.h and its three implementations.

What has an instruction on AVX-512 alone is written as the AVX2 kernels do it, where the CPU that
the code is compiled for lacks it; the results are the same bits.
"""

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target

from fastxent import native
from fastxent.numba.simd.lanes import (
    INDEX,
    Lanes,
    Mask,
    Number,
    Operand,
    Real,
    lane_function,
    splat_value,
)
from fastxent.numba.simd.plan import Plan

Address = Number | int


@functools.cache
def has_feature(name: str) -> bool:
    """Return whether the CPU that code is compiled for has a feature."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    return f"+{name}" in features.split(",")


def _call(lanes: Lanes, name: str, *arguments: ir.Value, suffix: str = "") -> ir.Value:
    """Call a function of LLVM's from vectors to one like `lanes`."""
    kind = ir.FunctionType(lanes.value.type, [argument.type for argument in arguments])
    suffix = suffix or f".v{lanes.real.lanes}f{lanes.real.bits.width}"
    function = cgutils.get_or_insert_function(lanes.builder.module, kind, f"{name}{suffix}")
    return lanes.builder.call(function, arguments)


def _integers(lanes: Lanes) -> ir.VectorType:
    return ir.VectorType(lanes.real.bits, lanes.real.lanes)


def _constant(lanes: Lanes, number: int) -> ir.Constant:
    return _integers(lanes)([number] * lanes.real.lanes)


# --- memory ---------------------------------------------------------------------------------------


def pointer_to(builder: ir.IRBuilder, address: Address, pointee: ir.Type) -> ir.Value:
    """Return an address as a pointer."""
    value = address.value if isinstance(address, Number) else INDEX(address)
    return builder.inttoptr(value, ir.PointerType(pointee))


def _builder_of(*values: Any) -> ir.IRBuilder:
    return next(value.builder for value in values if hasattr(value, "builder"))


def _lanes_at(builder: ir.IRBuilder, address: Address, real: Real) -> ir.Value:
    return pointer_to(builder, address, ir.VectorType(real.ir, real.lanes))


@lane_function
def load(plan: Plan, address: Number) -> Lanes:
    """Return the numbers at an address."""
    builder, real = address.builder, plan.real
    pointer = _lanes_at(builder, address, real)
    return Lanes(builder, builder.load(pointer, align=real.size), real)


@lane_function
def store(address: Number, x: Lanes) -> None:
    """Write all lanes to an address."""
    x.builder.store(x.value, _lanes_at(x.builder, address, x.real), align=x.real.size)


def first_lanes(builder: ir.IRBuilder, real: Real, count: Number) -> Mask:
    """Return a mask of the first lanes."""
    kind = ir.VectorType(ir.IntType(32), real.lanes)
    narrow = builder.trunc(count.value, ir.IntType(32))
    one = builder.insert_element(kind(ir.Undefined), narrow, ir.IntType(32)(0))
    all_alike = builder.shuffle_vector(one, one, kind([0] * real.lanes))
    numbers = kind(list(range(real.lanes)))
    return Mask(builder, builder.icmp_unsigned("<", numbers, all_alike), real)


@lane_function
def load_first(plan: Plan, address: Number, count: Number, fill: Operand) -> Lanes:
    """Return the first numbers at an address, reading nothing after them."""
    builder, real = address.builder, plan.real
    pointer = _lanes_at(builder, address, real)
    otherwise = fill if isinstance(fill, Lanes) else splat_value(builder, real, fill)
    mask = first_lanes(builder, real, count)
    kind = ir.FunctionType(
        otherwise.value.type, [pointer.type, ir.IntType(32), mask.value.type, otherwise.value.type]
    )
    name = f"llvm.masked.load.v{real.lanes}f{real.bits.width}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    arguments = [pointer, ir.IntType(32)(real.size), mask.value, otherwise.value]
    return Lanes(builder, builder.call(function, arguments), real)


@lane_function
def store_first(address: Number, count: Number, x: Lanes) -> None:
    """Write the first lanes to an address, and nothing after them."""
    pointer = _lanes_at(x.builder, address, x.real)
    mask = first_lanes(x.builder, x.real, count)
    kind = ir.FunctionType(
        ir.VoidType(), [x.value.type, pointer.type, ir.IntType(32), mask.value.type]
    )
    name = f"llvm.masked.store.v{x.real.lanes}f{x.real.bits.width}.p0"
    function = cgutils.get_or_insert_function(x.builder.module, kind, name)
    x.builder.call(function, [x.value, pointer, ir.IntType(32)(x.real.size), mask.value])


@lane_function
def stack(plan: Plan, count: int, like: Number) -> Number:
    """Return the address of room for `count` vectors on the stack; `like` may be any number."""
    room = ir.ArrayType(ir.VectorType(plan.real.ir, plan.real.lanes), count)
    place = cgutils.alloca_once(like.builder, room)
    place.align = 64
    return Number(like.builder, like.builder.ptrtoint(place, INDEX), types.intp)


#: Ask for memory that is read soon, a page ahead: the hardware sees a stream end at every page.
PREFETCH_BYTES: int = native.kernel_constants()["rows_ahead"]
#: The same where lanes are anchors: each class is a stream of its own, in a page of its own.
LANES_AHEAD: int = native.kernel_constants()["lanes_ahead"]


def _ask_for(address: Number, locality: int) -> None:
    builder = address.builder
    pointer = builder.bitcast(pointer_to(builder, address, ir.IntType(8)), cgutils.voidptr_t)
    word = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, word(0), word(locality), word(1)])


@lane_function
def prefetch(address: Number, ahead: int) -> None:
    """Ask for the memory some bytes ahead; reaching past an array is harmless."""
    _ask_for(address + ahead, 3)


@lane_function
def prefetch_later(address: Number, ahead: Number) -> None:
    """Do so for the second-level cache: the first one holds what is read until then."""
    _ask_for(address + ahead, 2)


@lane_function
def load_int32(plan: Plan, address: Number) -> Lanes:
    """Return integers as reals."""
    builder, real = address.builder, plan.real
    integers = ir.VectorType(ir.IntType(32), real.lanes)
    numbers = builder.load(pointer_to(builder, address, integers), align=4)
    return Lanes(builder, builder.sitofp(numbers, ir.VectorType(real.ir, real.lanes)), real)


# --- arithmetic -----------------------------------------------------------------------------------


@lane_function
def splat(plan: Plan, number: Number, like: Number) -> Lanes:
    """Return a number in all lanes; `like` may be any number that is not a constant."""
    return splat_value(like.builder, plan.real, number)


def _lifted(*operands: Operand) -> list[Lanes]:
    """Return vectors and numbers as vectors."""
    model = next(operand for operand in operands if isinstance(operand, Lanes))
    return [model.like(operand) for operand in operands]


@lane_function
def fma(a: Operand, b: Operand, c: Operand) -> Lanes:
    """Return a * b + c with one rounding."""
    operands = _lifted(a, b, c)
    return operands[0].make(_call(operands[0], "llvm.fma", *(x.value for x in operands)))


@lane_function
def square_root(x: Lanes) -> Lanes:
    """Return the square root of each lane."""
    return x.make(_call(x, "llvm.sqrt", x.value))


@lane_function
def select(mask: Mask, yes: Operand, no: Operand) -> Lanes:
    """Return one of two vectors in each lane."""
    model = splat_value(mask.builder, mask.real, 0.0)
    values = model.like(yes).value, model.like(no).value
    return model.make(mask.builder.select(mask.value, *values))


@lane_function
def maximum(a: Operand, b: Operand) -> Lanes:
    """Return the larger; b where either is NaN: put the value to propagate second."""
    left, right = _lifted(a, b)
    return select(left > right, left, right)


@lane_function
def minimum(a: Operand, b: Operand) -> Lanes:
    """Return the smaller; b where either is NaN."""
    left, right = _lifted(a, b)
    return select(left < right, left, right)


@lane_function
def relu(x: Lanes) -> Lanes:
    """Return x where it is positive, and 0 elsewhere."""
    return maximum(0.0, x)


@lane_function
def negative_abs(x: Lanes) -> Lanes:
    """Return -|x|."""
    bits = x.builder.bitcast(x.value, _integers(x))
    signed = x.builder.or_(bits, _constant(x, 1 << (x.real.bits.width - 1)))
    return x.make(x.builder.bitcast(signed, x.value.type))


@lane_function
def bits_and(a: Lanes, b: Lanes) -> Lanes:
    """Return the bits that are set in both."""
    left, right = (x.builder.bitcast(x.value, _integers(x)) for x in (a, b))
    return a.make(a.builder.bitcast(a.builder.and_(left, right), a.value.type))


@lane_function
def any_lane(mask: Mask) -> Number:
    """Return whether the mask holds anywhere."""
    word = ir.IntType(mask.real.lanes)
    bits = mask.builder.bitcast(mask.value, word)
    return Number(mask.builder, mask.builder.icmp_unsigned("!=", bits, word(0)), types.boolean)


@lane_function
def all_lanes(mask: Mask) -> Number:
    """Return whether the mask holds everywhere."""
    word = ir.IntType(mask.real.lanes)
    bits = mask.builder.bitcast(mask.value, word)
    full = word((1 << mask.real.lanes) - 1)
    return Number(mask.builder, mask.builder.icmp_unsigned("==", bits, full), types.boolean)


@lane_function
def all_finite(x: Lanes) -> Number:
    """Return whether no lane is infinite or NaN."""
    return all_lanes(x - x == 0.0)


# --- exponents ------------------------------------------------------------------------------------


@lane_function
def scale(p: Lanes, n: Lanes, biased: Lanes) -> Lanes:
    """Return p * 2^n for n <= 0, correctly rounded down into the subnormals.

    `biased` is n + ROUND_MAGIC.
    """
    real = p.real
    if has_feature("avx512f"):
        # The operands; what lanes outside of the mask become, and the mask; the current rounding.
        lanes_mask = ir.IntType(real.lanes)((1 << real.lanes) - 1)
        suffix = "ps.512" if real.size == 4 else "pd.512"
        arguments = [p.value, n.value, p.value, lanes_mask, ir.IntType(32)(4)]
        return p.make(_call(p, "llvm.x86.avx512.mask.scalef.", *arguments, suffix=suffix))
    # The low bits of `biased` hold n, and shifted into an exponent field they are a power of two;
    # the guard keeps that field in range, and one multiplication by its inverse rounds once.
    guard = _guard(real)
    builder = p.builder
    field = builder.add(
        builder.bitcast(biased.value, _integers(p)), _constant(p, real.bias + guard)
    )
    power = builder.shl(field, _constant(p, real.mantissa))
    return p * p.make(builder.bitcast(power, p.value.type)) * 2.0**-guard


@lane_function
def power_of_field(biased: Lanes) -> Lanes:
    """Return the power of two whose exponent field the low bits of `biased` are."""
    builder = biased.builder
    bits = builder.bitcast(biased.value, _integers(biased))
    field = builder.shl(bits, _constant(biased, biased.real.mantissa))
    return biased.make(builder.bitcast(field, biased.value.type))


def _guard(real: Real) -> int:
    return 24 if real.size == 4 else 53


@lane_function
def exponent(x: Lanes) -> tuple[Lanes, Lanes]:
    """Return k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x."""
    real, builder = x.real, x.builder
    bits = builder.bitcast(x.value, _integers(x))
    three_quarters = (real.bias - 1 << real.mantissa) + (1 << (real.mantissa - 1))
    if real.size == 4:
        offset = builder.sub(bits, _constant(x, three_quarters))
        k = builder.ashr(offset, _constant(x, real.mantissa))
        field = builder.sub(_constant(x, real.bias), k)
        number = x.make(builder.sitofp(k, x.value.type))
    else:
        # Few CPUs convert or shift signed 64-bit integers: k + 1023 is not negative, and the magic
        # number of round-to-nearest converts it.
        offset = builder.sub(bits, _constant(x, three_quarters - (real.bias << real.mantissa)))
        biased = builder.lshr(offset, _constant(x, real.mantissa))
        field = builder.sub(_constant(x, 2 * real.bias), biased)
        magic = builder.add(biased, _constant(x, 0x4338000000000000))
        number = x.make(builder.bitcast(magic, x.value.type)) - (1.5 * 2.0**52 + real.bias)
    power = builder.shl(field, _constant(x, real.mantissa))
    return number, x.make(builder.bitcast(power, x.value.type))
