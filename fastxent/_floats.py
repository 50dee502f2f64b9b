"""The floating-point control of the calling thread, outside of kernels."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from fastxent.native import call_with_default_floats

P = ParamSpec("P")
R = TypeVar("R")


def with_default_floats(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function compute as kernels do (native/float_control.h): nothing is flushed to zero.

    What Python and NumPy compute before and after the kernels would otherwise depend on what the
    caller's thread does with subnormal numbers, and how it rounds.
    """
    return partial(call_with_default_floats, function)
