"""Functions of vectors for any argument: what custom losses may ask for.

``vector_math`` has the same for the arguments that the losses of the package have. Here infinities,
zeros, NaN, subnormal and huge numbers get what NumPy returns for them, at the cost of a few
selections.
"""

import math
from typing import NamedTuple

import numpy as np

from fastxent._tracing.programs import is_product
from fastxent.numba.simd.branches import choose_case
from fastxent.numba.simd.lanes import Lanes, Number, Operand, lane_function
from fastxent.numba.simd.summation import rounding_error
from fastxent.numba.simd.vector import (
    exponent,
    fma,
    has_feature,
    maximum,
    minimum,
    negative_abs,
    scale,
    select,
    square_root,
)
from fastxent.numba.simd.vector_math import (
    POWER_0,
    POWER_1,
    POWER_2,
    POWER_3,
    POWER_4,
    POWER_HALF,
    Power,
    constants_of,
    expm1_nonpositive,
    log_sum,
    polynomial,
)

#: Above the first exp overflows, above the second exp(x) - 1 rounds to exp(x); by bytes.
_EXP_OVERFLOW = {4: 89.0, 8: 710.0}
_EXPM1_LIMIT = {4: 30.0, 8: 50.0}
#: Above it the octave of a power is beyond the largest number.
_POWER_OVERFLOW = {4: 129.0, 8: 1025.0}


def _reduced(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """Return n, n + ROUND_MAGIC and r of x = n ln 2 + r."""
    c = constants_of(x.real)
    biased = fma(x, c.log2_e, c.round_magic)
    n = biased - c.round_magic
    r = fma(n, -c.ln2_high, x)
    return n, biased, fma(n, -c.ln2_low, r)


def exp_scaled(n: Lanes, biased: Lanes, r: Lanes) -> Lanes:
    """Return 2^n exp(r)."""
    p = polynomial(constants_of(r.real).exp_tail, r)
    p = fma(fma(p, r, 1.0), r, 1.0)
    return scale_any(p, n, biased)


def scale_any(p: Lanes, n: Lanes, biased: Lanes) -> Lanes:
    """Return p * 2^n, up to overflow; `biased` is n + ROUND_MAGIC."""
    if has_feature("avx512f"):
        return scale(p, n, biased)
    # The power of `scale` leaves room for subnormals, and has none for n > 63 (511). Numbers that
    # are larger than 1 have no use for that room: half of n first.
    shift = 100.0 if p.real.size == 4 else 1000.0
    is_large = n > shift / 2
    lower = scale(p, select(is_large, n - shift, n), select(is_large, biased - shift, biased))
    return lower * select(is_large, 2.0**shift, 1.0)


@lane_function
def exp(x: Lanes) -> Lanes:
    """Return e^x."""
    limit = _EXP_OVERFLOW[x.real.size]
    clamped = minimum(limit, maximum(constants_of(x.real).exp_underflow, x))
    return exp_scaled(*_reduced(clamped))


@lane_function
def expm1(x: Lanes) -> Lanes:
    """Return e^x - 1, right for small x too."""
    c, limit = constants_of(x.real), _EXPM1_LIMIT[x.real.size]
    n, biased, r = _reduced(minimum(limit, maximum(c.expm1_limit, x)))
    p = polynomial(c.exp_tail, r)
    octave = scale_any(x.like(1.0), n, biased)
    result = fma(fma(p * r, r, r), octave, octave - 1.0)
    return select(x > limit, exp(x), result)


@lane_function
def tanh(x: Lanes) -> Lanes:
    """Return the hyperbolic tangent, -m / (2 + m) of m = exp(-2 |x|) - 1."""
    m = expm1_nonpositive(negative_abs(x) * 2.0)
    size = -m / (m + 2.0)
    return select(x < 0.0, -size, size)


def _within_range(x: Lanes) -> tuple[Lanes, Lanes]:
    """Return x * 2^-s, which is neither subnormal nor huge, and s."""
    c = constants_of(x.real)
    is_small, is_large = x < c.small_normal, x > 1.0 / c.small_normal
    factor = select(is_small, c.small_scale, select(is_large, 1.0 / c.small_scale, 1.0))
    shift = select(is_small, -c.small_exponent, select(is_large, c.small_exponent, 0.0))
    return x * factor, shift


def _at_limits(x: Lanes, zero: float, result: Lanes) -> Lanes:
    """Return a logarithm's limits where its argument has no exponent."""
    result = select(x < math.inf, result, x)  # +inf and NaN
    result = select(x == 0.0, zero, result)
    return select(x < 0.0, math.nan, result)


@lane_function
def log(x: Lanes) -> Lanes:
    """Return the natural logarithm."""
    scaled, shift = _within_range(x)
    k, inverse_power = exponent(scaled)
    return _at_limits(x, -math.inf, log_sum(k + shift, fma(scaled, inverse_power, -1.0)))


@lane_function
def log1p(x: Lanes) -> Lanes:
    """Return log(1 + x), right for small x too."""
    c = constants_of(x.real)
    is_large = x > 1.0 / c.small_normal  # there 1 + x is x
    scaled = select(is_large, x * (1.0 / c.small_scale), x)
    one = select(is_large, 0.0, 1.0)
    k, inverse_power = exponent(one + scaled)
    k = select(is_large, k + c.small_exponent, k)
    rest = select(is_large, -1.0, inverse_power - 1.0)
    result = log_sum(k, fma(scaled, inverse_power, rest))
    result = select(x < math.inf, result, x)
    result = select(x == -1.0, -math.inf, result)
    return select(x < -1.0, math.nan, result)


# --- powers: x^g, and the derivative g x^(g - 1) --------------------------------------------------


class PowerValue(NamedTuple):
    """x^g, and its derivative g x^(g - 1)."""

    value: Lanes
    slope: Lanes


def _integer_power(x: Lanes, n: int) -> Lanes:
    """Return x^n by squaring."""
    result, square = x.like(1.0), x if n > 0 else 1.0 / x
    rest = abs(n)
    while rest:
        if rest & 1:
            result = result * square
        rest >>= 1
        square = square * square
    return result


def _power_of_two(octaves: Lanes, rest: Lanes) -> Lanes:
    """Return 2^octaves exp(rest), from 0 to infinity."""
    c, limit = constants_of(rest.real), _POWER_OVERFLOW[rest.real.size]
    whole = minimum(limit, maximum(c.power_underflow, fma(rest, c.log2_e, octaves)))
    biased = whole + c.round_magic
    n = biased - c.round_magic
    distance = octaves - n
    r = fma(distance, c.ln2_high, fma(distance, c.ln2_low, rest))
    result = exp_scaled(n, biased, r)
    result = select(whole < c.power_underflow + 1, 0.0, result)
    return select(whole > limit - 0.5, math.inf, result)


def power_any(x: Lanes, g: Operand, g_low: Operand) -> PowerValue:
    """Return the power g + g_low of x >= 0, in the way of vector_math.power_any; NaN elsewhere.

    x^(g - 1) has an exponential of its own: x^g may underflow where its slope does not.
    """
    c, exponents = constants_of(x.real), x.like(g)
    scaled, shift = _within_range(x)
    k, inverse_power = exponent(scaled)
    k = k + shift
    log_mantissa = log_sum(0.0, fma(scaled, inverse_power, -1.0))
    octaves = exponents * k
    lost = fma(exponents, k, -octaves)
    rest = fma(lost, c.ln2_high, exponents * log_mantissa)
    rest = fma(g_low, fma(k, c.ln2_high, log_mantissa), rest)
    value = _power_limits(x, exponents, _power_of_two(octaves, rest))
    fewer = octaves - k
    lost = rounding_error(octaves, -k, fewer)
    rest = fma(lost, c.ln2_high, rest - log_mantissa)
    slope = exponents * _power_limits(x, exponents - 1.0, _power_of_two(fewer, rest))
    return PowerValue(value, select(exponents == 0.0, 0.0, slope))


def _power_limits(x: Lanes, exponents: Lanes, result: Lanes) -> Lanes:
    """Return a power where x has no exponent, or is negative."""
    falls, rises = exponents < 0.0, exponents > 0.0
    of_zero = select(rises, 0.0, math.inf)
    of_infinity = select(falls, 0.0, math.inf)
    result = select(x == 0.0, of_zero, select(x == math.inf, of_infinity, result))
    result = select(exponents == 0.0, 1.0, result)
    return select((x >= 0.0) & (exponents == exponents), result, math.nan)


def power_known(x: Lanes, g: float) -> PowerValue:
    """Return a power whose exponent the compiler knows."""
    if is_product(g):
        n = int(g)
        return PowerValue(_integer_power(x, n), _integer_power(x, n - 1) * g)
    if g == 0.5:
        return _root(x)
    high = float(np.dtype(x.real.name).type(g))
    return power_any(x, high, g - high)


def _root(x: Lanes) -> PowerValue:
    root = square_root(x)
    return PowerValue(root, 0.5 / root)


def power_given(x: Lanes, g: Power) -> PowerValue:
    """Return a power whose exponent is known when the kernel runs."""
    square = x * x
    forms = {
        POWER_0: lambda: PowerValue(x.like(1.0), x.like(0.0)),
        POWER_HALF: lambda: _root(x),
        POWER_1: lambda: PowerValue(x, x.like(1.0)),
        POWER_2: lambda: PowerValue(square, x * 2.0),
        POWER_3: lambda: PowerValue(square * x, square * 3.0),
        POWER_4: lambda: PowerValue(square * square, (square * x) * 4.0),
    }
    assert isinstance(g.kind, Number)  # noqa: S101 - for the type checker
    result: PowerValue = choose_case(
        g.kind, forms, lambda: power_any(x, g.exponent, g.exponent_low)
    )
    return result
