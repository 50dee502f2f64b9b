"""Sums of many terms without the rounding errors of many additions; mirrors simd/summation.h."""

from typing import NamedTuple

from fastxent.numba.simd.lanes import Lanes, lane_function
from fastxent.numba.simd.vector import select


class Compensated(NamedTuple):
    """A running sum in two parts, total + lost, so that rounding errors do not add up (Knuth)."""

    total: Lanes
    lost: Lanes


@lane_function
def rounding_error(a: Lanes, b: Lanes, total: Lanes) -> Lanes:
    """Return what the addition a + b = total rounded away."""
    shadow = total - a
    return (a - (total - shadow)) + (b - shadow)


@lane_function
def compensated_add(running: Compensated, term: Lanes) -> Compensated:
    """Return a running sum with one more term."""
    total = running.total + term
    return Compensated(total, running.lost + rounding_error(running.total, term, total))


@lane_function
def compensated_settle(running: Compensated) -> Compensated:
    """Join what was lost to the sum, except for what that rounds away.

    Of very many terms it grows so large that its own rounding errors matter.
    """
    total = running.total + running.lost
    return Compensated(total, running.lost - (total - running.total))


@lane_function
def compensated_join(running: Compensated, term: Lanes) -> Compensated:
    """Add a term that stands for so many others that settling after each costs nothing."""
    return compensated_settle(compensated_add(running, term))


@lane_function
def compensated_value(running: Compensated) -> Lanes:
    """Return both parts of a running sum as one."""
    return running.total + running.lost


@lane_function
def compensated_limit(running: Compensated) -> Lanes:
    """Return the same of terms that may be infinite: what additions lost is NaN then."""
    return running.total + select(running.lost == running.lost, running.lost, 0.0)
