"""Fit the polynomials of fastxent/native/simd/vector_math.h and print their coefficients.

Run ``python scripts/fit_polynomials.py`` (needs mpmath and NumPy). The float polynomials have the
smallest largest error relative to the whole function (Lawson's weighted least squares, which
float64 is enough for); the double ones are Chebyshev fits in 60 digits. All are rounded to the
working precision; the printed error is the largest one of the rounded polynomial over its interval,
relative to the whole function, in units of the last place.
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 60

# Half an octave, with room for the rounding of the reduced argument.
HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0001")


#: Lawson's iteration: points, steps, and how fast weights follow the errors.
POINTS, STEPS, SPEED = 400, 3000, 0.3


def exp_tail(r):
    """Return g(r) of exp(r) = 1 + r + r*r*g(r)."""
    if abs(r) < mp.mpf("1e-15"):
        return mp.mpf("0.5") + r / 6
    return (mp.expm1(r) - r) / (r * r)


def exp_cubic_tail(r):
    """Return g(r) of exp(r) = 1 + r + r*r/2 + r*r*r*g(r)."""
    if abs(r) < mp.mpf("1e-15"):
        return mp.mpf(1) / 6 + r / 24
    return (mp.expm1(r) - r - r * r / 2) / r**3


def log1p_tail(f):
    """Return h(f) of log1p(f) = f + f*f*h(f)."""
    if abs(f) < mp.mpf("1e-15"):
        return mp.mpf("-0.5") + f / 3
    return (mp.log1p(f) - f) / (f * f)


def atanh_tail(z):
    """Return q(z) of log1p(f) = 2*s + s*z*q(z), with s = f/(2+f) and z = s*s."""
    if z < mp.mpf("1e-30"):
        return mp.mpf(2) / 3
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


def rounded(value, bits):
    """Round to a binary floating-point number of ``bits`` bits of mantissa."""
    mantissa, exponent = mp.frexp(value)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits)


def lawson_fit(tail, interval, degree, relative_weight):
    """Return the coefficients, highest first, with the smallest largest weighted error."""
    low, high = map(float, interval)
    angles = np.pi * (np.arange(POINTS) + 0.5) / POINTS
    x = low + (high - low) * (1 + np.cos(angles)) / 2
    values = np.array([float(tail(mp.mpf(v))) for v in x])
    scale = np.array([float(relative_weight(mp.mpf(v))) for v in x])
    powers = np.vander(x, degree + 1)
    weights = np.ones_like(x)
    for _ in range(STEPS):
        factors = scale * np.sqrt(weights)
        coefficients = np.linalg.lstsq(powers * factors[:, None], values * factors, rcond=None)[0]
        errors = scale * np.abs(powers @ coefficients - values)
        # A floor keeps every point in the fit.
        weights *= (errors / errors.max() + 1e-3) ** SPEED
        weights /= weights.sum()
    return [mp.mpf(c) for c in coefficients]


def report(name, tail, interval, degree, bits, relative_weight):
    """Fit ``tail`` on ``interval`` and print the coefficients, the lowest degree first."""
    if bits == 24:
        fitted = lawson_fit(tail, interval, degree, relative_weight)
    else:
        fitted = mp.chebyfit(tail, interval, degree + 1)
    coefficients = [rounded(c, bits) for c in fitted]
    low, high = interval
    points = [low + (high - low) * mp.mpf(i) / 2000 for i in range(2001)]
    worst = max(
        abs(mp.polyval(coefficients, x) - tail(x)) * relative_weight(x) * mp.mpf(2) ** bits
        for x in points
    )
    print(f"{name}: degree {degree}, worst {mp.nstr(worst, 3)} units in the last of {bits} bits")
    for coefficient in reversed(coefficients):
        print(f"    {float(coefficient).hex()}  {mp.nstr(coefficient, 20)}")


def weight_exp(r):
    return r * r / mp.exp(r)


def weight_exp_cubic(r):
    return abs(r**3) / mp.exp(r)


def weight_log1p(f):
    return abs(f * f / mp.log1p(f)) if f else mp.mpf(0)


def weight_atanh(z):
    return z / 2


if __name__ == "__main__":
    octave = [-HALF_LN2, HALF_LN2]
    mantissa = [mp.mpf("-0.25"), mp.mpf("0.5")]
    report("exp after 1/2, float", exp_cubic_tail, octave, 3, 24, weight_exp_cubic)
    report("exp, double", exp_tail, octave, 9, 53, weight_exp)
    report("log1p, float", log1p_tail, mantissa, 8, 24, weight_log1p)
    report("log1p of 0 to 1, float", log1p_tail, [mp.mpf(0), mp.mpf(1)], 7, 24, weight_log1p)
    report("log1p, double", atanh_tail, [mp.mpf(0), mp.mpf("0.04")], 7, 53, weight_atanh)
    ln2 = mp.log(2)
    for name, bits, high_bits in (("float", 24, 15), ("double", 53, 41)):
        high = rounded(ln2, high_bits)
        low = rounded(ln2 - high, bits)
        print(f"ln 2, {name}: high {float(high).hex()}, low {float(low).hex()}")
