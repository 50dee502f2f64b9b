"""exp, expm1, log, log1p and powers of vectors; mirrors native/simd/vector_math.h.

The numbers are read from the extension; the errors that were measured are in primitives.def.
"""

from typing import NamedTuple

from fastxent import native
from fastxent.numba.simd.branches import Branch, choose_case
from fastxent.numba.simd.lanes import Lanes, Number, Operand, Real, lane_function
from fastxent.numba.simd.vector import (
    exponent,
    fma,
    maximum,
    negative_abs,
    power_of_field,
    scale,
    select,
    square_root,
)


class Constants(NamedTuple):
    """The numbers of one precision: those of native/simd/constants.def."""

    round_magic: float
    log2_e: float
    ln2_high: float
    ln2_low: float
    exp_underflow: float
    expm1_limit: float
    centre_limit: float
    exp_scale: float
    exp_bias: float
    small_normal: float
    small_scale: float
    small_exponent: float
    power_underflow: float
    shifted_limit: float
    lowest_logit: float
    no_loss: float
    tiny_numerator: float
    tiny_denominator: float
    tiny_exponent: float
    tiny_scale: float
    tiny_scale_log: float
    exp_tail: tuple[float, ...]
    log1p_tail: tuple[float, ...]
    log1p_unit_tail: tuple[float, ...] = ()


FLOAT = Constants(**native.formula_constants(is_double=False))
DOUBLE = Constants(**native.formula_constants(is_double=True))


def constants_of(real: Real) -> Constants:
    """Return the numbers of a precision."""
    return FLOAT if real.size == 4 else DOUBLE


def polynomial(coefficients: tuple[float, ...], x: Lanes) -> Lanes:
    """Return the polynomial by Horner's rule."""
    total = x.like(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = fma(total, x, coefficient)
    return total


def exp_reduced(r: Lanes) -> Lanes:
    """Return exp(r) for r within half an octave."""
    p = polynomial(constants_of(r.real).exp_tail, r)
    return fma(fma(p, r, 1.0), r, 1.0)


@lane_function
def exp_nonpositive(x: Lanes) -> Lanes:
    """Return exp(x) for x <= 0 (Cody and Waite: x = n ln 2 + r); exp(-inf) = 0, NaN stays NaN."""
    c = constants_of(x.real)
    clamped = maximum(c.exp_underflow, x)
    biased = fma(clamped, c.log2_e, c.round_magic)
    n = biased - c.round_magic
    r = fma(n, -c.ln2_high, clamped)
    return scale(exp_reduced(fma(n, -c.ln2_low, r)), n, biased)


# --- exp(z - centre), scaled --------------------------------------------------------------------


class Centre(NamedTuple):
    """The multiple of ln 2 nearest to a maximum: what exponentials are relative to.

    `shift` is what is subtracted from a logit, 0 or the maximum; the rest is in the exponents, from
    `magic` on. Below `lowest` exponentials are 0.
    """

    shift: Lanes
    lowest: Lanes
    magic: Lanes


def _centre_octave(shifted_maximum: Lanes) -> Lanes:
    c = constants_of(shifted_maximum.real)
    return fma(shifted_maximum, c.log2_e, c.round_magic) - c.round_magic


@lane_function
def centre_at(largest: Lanes) -> Centre:
    """Return the centre of a maximum; of infinite ones, and of NaN, all exponentials are NaN."""
    c = constants_of(largest.real)
    bias = c.exp_bias + c.exp_scale
    shift = select(negative_abs(largest) < -c.centre_limit, largest, 0.0)
    octave = _centre_octave(largest - shift)
    lowest = (octave - bias) * (c.ln2_high + c.ln2_low)
    return Centre(shift, lowest, (c.round_magic + bias) - octave)


@lane_function
def exp_centred(z: Lanes, centre: Centre) -> Lanes:
    """Return exp(z - c) * 2^exp_scale for z up to the maximum, whose centre is c.

    Whatever the logits are, no operation meets subnormal numbers.
    """
    c = constants_of(z.real)
    x = maximum(centre.lowest, z - centre.shift)
    biased = fma(x, c.log2_e, centre.magic)
    n = biased - centre.magic
    r = fma(n, -c.ln2_high, x)
    return exp_reduced(fma(n, -c.ln2_low, r)) * power_of_field(biased)


def unscaled(x: Lanes) -> Lanes:
    """Return what has the scale of `exp_centred` without it."""
    return x * 2.0 ** -constants_of(x.real).exp_scale


@lane_function
def over_maximum(total: Lanes, largest: Lanes, centre: Centre) -> Lanes:
    """Return total * exp(c - maximum), without the scale.

    exp(-r) is 1 - r + (r^2 t(-r)), whose first sum is kept in two parts.
    """
    c = constants_of(total.real)
    x = largest - centre.shift
    octave = _centre_octave(x)
    reduced = fma(octave, -c.ln2_high, x)
    r = fma(octave, -c.ln2_low, reduced)
    lost = fma(octave, -c.ln2_low, reduced - r)
    high = 1.0 - r
    low = ((1.0 - high) - r) + ((r * r) * polynomial(c.exp_tail, -r) - lost)
    return unscaled(fma(total, high, total * low))


# --- logarithms -----------------------------------------------------------------------------------


@lane_function
def log_sum(k: Operand, f: Lanes) -> Lanes:
    """Return k ln 2 + log(1 + f) for f in [-0.25, 0.5]."""
    c = constants_of(f.real)
    exponents = f.like(k)
    if f.real.size == 8:
        s = f / (2.0 + f)
        z = s * s
        half_square = (0.5 * f) * f
        tail = z * polynomial(c.log1p_tail, z)
        tail = fma(s, half_square + tail, exponents * c.ln2_low)
        log_mantissa = f - (half_square - tail)
    else:
        tail = fma(f * f, polynomial(c.log1p_tail, f), exponents * c.ln2_low)
        log_mantissa = f + tail
    return fma(exponents, c.ln2_high, log_mantissa)


@lane_function
def log1p(x: Lanes) -> Lanes:
    """Return log(1 + x) for x >= -0.5 up to 2^126 (double: 2^1022).

    2^-k (1 + x) - 1 = 2^-k x + (2^-k - 1), and 2^-k - 1 is exact: relative accuracy down to the
    smallest x, without a division.
    """
    k, inverse_power = exponent(1.0 + x)
    return log_sum(k, fma(x, inverse_power, inverse_power - 1.0))


@lane_function
def log1p_unit(x: Lanes) -> Lanes:
    """Return log(1 + x) for x from 0 to 1, where one polynomial does."""
    if x.real.size == 8:
        return log1p(x)
    return fma(x, x * polynomial(FLOAT.log1p_unit_tail, x), x)


@lane_function
def log(x: Lanes) -> Lanes:
    """Return log(x) for normal positive x up to 2^126 (double: 2^1022)."""
    k, inverse_power = exponent(x)
    return log_sum(k, fma(x, inverse_power, -1.0))


@lane_function
def divide_by(a: Lanes, b: Lanes, inverse: Lanes) -> Lanes:
    """Return a / b from inverse = 1 / b.

    The rounding error of the first quotient is exact, and taken off it leaves what a division
    gives, for a third of its time.
    """
    quotient = a * inverse
    return fma(fma(-quotient, b, a), inverse, quotient)


# --- powers ---------------------------------------------------------------------------------------

POWER_0, POWER_HALF, POWER_1, POWER_2, POWER_3, POWER_4, POWER_ANY = range(7)


class Power(NamedTuple):
    """An exponent: the form it has of its own, and its value in two parts of the precision."""

    kind: Number | int
    exponent: Number | float
    exponent_low: Number | float


#: An exponent that the compiler knows.
SQUARE = Power(POWER_2, 2.0, 0.0)


@lane_function
def power_any(x: Lanes, power: Power) -> Lanes:
    """Return x^g for x from 0 to 1 and g > 0.

    With x = 2^k (1 + f), exp(g k ln 2 + g log(1 + f)), where g k is kept in two parts, because exp
    makes an absolute error a relative one.
    """
    c = constants_of(x.real)
    g = x.like(power.exponent)
    is_small = x < c.small_normal  # `exponent` takes no subnormals
    scaled = select(is_small, x * c.small_scale, x)
    k, inverse_power = exponent(scaled)
    k = select(is_small, k - c.small_exponent, k)
    log_mantissa = log_sum(0.0, fma(scaled, inverse_power, -1.0))
    octaves = g * k
    lost = fma(g, k, -octaves)
    rest = fma(lost, c.ln2_high, g * log_mantissa)
    log_x = fma(k, c.ln2_high, log_mantissa)
    rest = fma(power.exponent_low, log_x, rest)
    whole = maximum(c.power_underflow, fma(rest, c.log2_e, octaves))
    biased = whole + c.round_magic
    n = biased - c.round_magic
    distance = octaves - n
    r = fma(distance, c.ln2_high, fma(distance, c.ln2_low, rest))
    result = scale(exp_reduced(r), n, biased)
    result = select(whole < c.power_underflow + 1, 0.0, result)
    return select(x == 0.0, 0.0, result)


def power_or(x: Lanes, power: Power, otherwise: Branch) -> Lanes:
    """Return x^g where it has a form of its own, and what `otherwise` writes where it has none."""
    square = x * x
    forms: dict[int, Branch] = {
        POWER_0: lambda: x.like(1.0),
        POWER_HALF: lambda: square_root(x),
        POWER_1: lambda: x,
        POWER_2: lambda: square,
        POWER_3: lambda: square * x,
        POWER_4: lambda: square * square,
    }
    if isinstance(power.kind, int):
        return forms[power.kind]()
    result: Lanes = choose_case(power.kind, forms, otherwise)
    return result


@lane_function
def power_of(x: Lanes, power: Power) -> Lanes:
    """Return x^g; the exponents that losses use most have forms of their own."""
    return power_or(x, power, lambda: power_any(x, power))


@lane_function
def expm1_nonpositive(x: Lanes) -> Lanes:
    """Return exp(x) - 1 for x <= 0, relative accuracy down to the smallest x."""
    c = constants_of(x.real)
    clamped = maximum(c.expm1_limit, x)
    biased = fma(clamped, c.log2_e, c.round_magic)
    n = biased - c.round_magic
    r = fma(n, -c.ln2_high, clamped)
    r = fma(n, -c.ln2_low, r)
    p = polynomial(c.exp_tail, r)
    octave = scale(x.like(1.0), n, biased)
    return fma(fma(p * r, r, r), octave, octave - 1.0)
