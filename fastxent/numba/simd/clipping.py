"""Logarithms of clipped probabilities; mirrors native/simd/clipping.h."""

import math
from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Mask, Number, Operand, lane_function
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import exponent, fma, maximum, select
from fastxent.numba.simd.vector_math import constants_of, log, log1p, log_sum


class Clipping(NamedTuple):
    """Where probabilities are clipped; see fastxent/_clipping.py."""

    eps: Number
    limit: Number
    tiny_limit: Number
    highest_loss: Number
    lowest_loss: Number


@inlined
def clipping_of(tile: Any) -> Clipping:
    """Read where probabilities are clipped."""
    return Clipping(tile.eps, tile.limit, tile.tiny_limit, tile.highest_loss, tile.lowest_loss)


class NegativeLogs(NamedTuple):
    """-log(p) and -log(1 - p) of a clipped probability; clipping stops the gradient."""

    of_p: Lanes
    of_rest: Lanes
    is_clipped: Mask


@lane_function
def clipped_logs(
    plan: Plan, own: Lanes, others: Lanes, total: Operand, clipping: Clipping
) -> NegativeLogs:
    """Return the logarithms of p = own / total and of 1 - p = others / total."""
    if plan.clips_at_tiny:
        return _logs_at_tiny(own, others, own.like(total), clipping)
    return _logs(own / total, others / total, clipping.eps, clipping.limit)


def _logs(p: Lanes, rest: Lanes, eps: Operand, limit: Operand) -> NegativeLogs:
    """Take the logarithms of the smaller of p and 1 - p, which carries the information."""
    p_is_smaller = p < rest
    smaller = select(p_is_smaller, p, rest)
    inside = maximum(eps, smaller)
    log_smaller = -log(inside)
    log_larger = -log1p(-inside)
    return NegativeLogs(
        select(p_is_smaller, log_smaller, log_larger),
        select(p_is_smaller, log_larger, log_smaller),
        smaller < limit,
    )


# --- an eps that is no normal number --------------------------------------------------------------


def _logs_at_tiny(own: Lanes, others: Lanes, total: Lanes, clipping: Clipping) -> NegativeLogs:
    """Return the same where own / total may be below all numbers."""
    p, rest = own / total, others / total
    smallest = p.real.smallest
    logs = _logs(p, rest, smallest, 0.0)
    p_is_smaller = p < rest
    smaller = select(p_is_smaller, p, rest)
    is_tiny = smaller < smallest
    quotient = _tiny_quotient(select(p_is_smaller, own, others), total)
    is_clipped = select(is_tiny, quotient, math.inf) < clipping.tiny_limit
    log_smaller = select(is_clipped, clipping.highest_loss, -_log_of_tiny(quotient))
    log_larger = select(is_clipped, clipping.lowest_loss, smaller)
    of_p = select(p_is_smaller, log_smaller, log_larger)
    of_rest = select(p_is_smaller, log_larger, log_smaller)
    return NegativeLogs(
        select(is_tiny, of_p, logs.of_p), select(is_tiny, of_rest, logs.of_rest), is_clipped
    )


def _tiny_quotient(a: Lanes, b: Lanes) -> Lanes:
    """Return a / b times a power of two."""
    c = constants_of(a.real)
    return (a * c.tiny_numerator) / maximum(a.real.smallest, b * c.tiny_denominator)


def _log_of_tiny(quotient: Lanes) -> Lanes:
    """Return log(a / b) of such a quotient."""
    k, inverse_power = exponent(quotient)
    return log_sum(
        k - constants_of(quotient.real).tiny_exponent, fma(quotient, inverse_power, -1.0)
    )
