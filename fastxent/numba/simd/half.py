"""16-bit floats, in vectors and one at a time; mirrors the end of simd/vector_*.h, half.h.

float16 has 5 bits of exponent and 10 of mantissa; bfloat16 is the upper half of a float. Rounding
is to the nearest, ties to even; a NaN keeps its sign and stays one.
"""

from llvmlite import ir
from numba.core import types

from fastxent.numba.simd.lanes import Number
from fastxent.numba.simd.vector import has_feature

WORD = ir.IntType(32)
SHORT = ir.IntType(16)


class Bits:
    """Integers of 32 bits, one or a vector of them, with the operators of C."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder = builder
        self.value = value

    def constant(self, number: "Bits | int") -> ir.Value:
        """Return a number like these bits."""
        if isinstance(number, Bits):
            return number.value
        kind = self.value.type
        return kind([number] * kind.count) if isinstance(kind, ir.VectorType) else kind(number)

    def _with(self, instruction: str, other: "Bits | int") -> "Bits":
        result = getattr(self.builder, instruction)(self.value, self.constant(other))
        return Bits(self.builder, result)

    def __add__(self, other: "Bits | int") -> "Bits":
        return self._with("add", other)

    def __sub__(self, other: "Bits | int") -> "Bits":
        return self._with("sub", other)

    def __and__(self, other: "Bits | int") -> "Bits":
        return self._with("and_", other)

    def __or__(self, other: "Bits | int") -> "Bits":
        return self._with("or_", other)

    def __lshift__(self, other: int) -> "Bits":
        return self._with("shl", other)

    def __rshift__(self, other: int) -> "Bits":
        return self._with("lshr", other)

    def select(self, sign: str, other: int, yes: "Bits", no: "Bits") -> "Bits":
        """Return one or the other, by a comparison without signs."""
        bit = self.builder.icmp_unsigned(sign, self.value, self.constant(other))
        return Bits(self.builder, self.builder.select(bit, yes.value, no.value))

    def as_floats(self) -> ir.Value:
        """Return the floats of these bits."""
        return self.builder.bitcast(self.value, _alike(self.value.type, ir.FloatType()))

    def cut(self) -> ir.Value:
        """Return the lower halves."""
        return self.builder.trunc(self.value, _alike(self.value.type, SHORT))


def _alike(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Return a type with as many elements as another."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _floats_like(kind: ir.Type, number: float) -> ir.Constant:
    """Return a float, or a vector of it with as many elements as another."""
    floats = _alike(kind, ir.FloatType())
    return floats([number] * kind.count) if isinstance(kind, ir.VectorType) else floats(number)


def _bits_of(builder: ir.IRBuilder, floats: ir.Value) -> Bits:
    return Bits(builder, builder.bitcast(floats, _alike(floats.type, WORD)))


def widen(builder: ir.IRBuilder, halves: ir.Value, dtype: str) -> ir.Value:
    """Return halves, as 16 bits, as floats."""
    if dtype == "float16" and has_feature("f16c"):
        numbers = builder.bitcast(halves, _alike(halves.type, ir.HalfType()))
        return builder.fpext(numbers, _alike(halves.type, ir.FloatType()))
    bits = Bits(builder, builder.zext(halves, _alike(halves.type, WORD)))
    if dtype == "bfloat16":
        return (bits << 16).as_floats()
    # Moved into a float's place, a float16 is too small by 2^112: the difference of the biases.
    sign, rest = (bits & 0x8000) << 16, (bits & 0x7FFF) << 13
    factor = _floats_like(halves.type, 2.0**112)
    size = _bits_of(builder, builder.fmul(rest.as_floats(), factor))
    size = rest.select(">=", 0x7C00 << 13, rest | 0x7F800000, size)
    return (size | sign).as_floats()


def narrow(builder: ir.IRBuilder, floats: ir.Value, dtype: str) -> ir.Value:
    """Return floats as the 16 bits of halves."""
    if dtype == "float16" and has_feature("f16c"):
        numbers = builder.fptrunc(floats, _alike(floats.type, ir.HalfType()))
        return builder.bitcast(numbers, _alike(floats.type, SHORT))
    bits = _bits_of(builder, floats)
    size = bits & 0x7FFFFFFF
    if dtype == "bfloat16":
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return size.select(">", 0x7F800000, (bits | 0x400000) >> 16, rounded).cut()
    sign = (bits >> 16) & 0x8000
    # Subnormal: the addition leaves the rounded bits at the lower end.
    middle = _floats_like(floats.type, 0.5)
    small = _bits_of(builder, builder.fadd(size.as_floats(), middle)) - 0x3F000000
    normal = (size + 0xFFF + ((size >> 13) & 1) - (112 << 23)) >> 13
    result = size.select("<", 0x38800000, small, normal)
    infinite, nan = Bits(builder, bits.constant(0x7C00)), ((size >> 13) & 0x3FF) | 0x7E00
    result = size.select(">=", 0x477FF000, infinite, result)  # rounds to 2^16 or more
    return (size.select(">", 0x7F800000, nan, result) | sign).cut()


def widened_number(builder: ir.IRBuilder, half: ir.Value, dtype: str) -> Number:
    """Return one half as a float."""
    return Number(builder, widen(builder, half, dtype), types.float32)
