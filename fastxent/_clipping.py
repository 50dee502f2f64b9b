"""Where probabilities are clipped, in the numbers of the kernels."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

#: FX_TINY_EXPONENT of native/simd/probabilities.h.
_TINY_EXPONENTS = {np.dtype(np.float32): 160, np.dtype(np.float64): 1100}


class Clipping(NamedTuple):
    """What ``[eps, 1 - eps]`` amounts to in a precision."""

    #: The smallest number that is not clipped. It may be subnormal.
    limit: float
    #: The same times a power of two, for quotients that are below all numbers.
    tiny_limit: float
    #: -log(eps) and -log(1 - eps).
    highest_loss: float
    lowest_loss: float


@lru_cache(maxsize=64)  # it would take a third of the time of a short call
def clipping_of(eps: float, precision: np.dtype[Any]) -> Clipping:
    """Return what kernels of a precision need to know."""
    smallest = float(np.finfo(precision).smallest_normal)
    scaled = math.ldexp(min(eps, smallest), _TINY_EXPONENTS[precision])
    return Clipping(
        _rounded_up(eps, precision),
        _rounded_up(scaled, precision),
        -math.log(eps),
        -math.log1p(-eps),
    )


def _rounded_up(number: float, precision: np.dtype[Any]) -> float:
    """Return the smallest number of a precision that is not below."""
    nearest = precision.type(number)
    if float(nearest) < number:
        nearest = np.nextafter(nearest, precision.type(np.inf))
    return float(nearest)
