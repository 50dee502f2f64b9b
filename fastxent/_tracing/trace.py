"""What custom losses are compiled from: their functions run once, with placeholders for numbers."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastxent._contract import Formula
from fastxent._tracing.expressions import Expression, TraceError, Value
from fastxent._tracing.programs import (
    MOST_OPERATIONS,
    POWER_OPERATIONS,
    formula_of,
    operations_of,
    slope_of,
)

Function = Callable[..., Any]

_ADVICE = (
    "a custom loss is made of numbers, of + - * / **, comparisons, & | ~, and of the functions of "
    "fastxent.math"
)
_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"


def trace(function: Function, derivative: Function | None, count: int) -> Formula:
    """Run the function of so many parameters, and its derivative, with placeholders."""
    parameters = [Expression("parameter", number) for number in range(count)]
    arguments = Expression("logit"), Expression("target"), *parameters
    loss = _traced(function, arguments)
    _check_size(function, operations_of(loss), "without its derivative")
    slope = slope_of(loss) if derivative is None else _traced(derivative, arguments)
    _check_size(function, operations_of(loss, slope), "with its derivative")
    return formula_of(loss, slope)


def _check_size(function: Function, operations: int, of_what: str) -> None:
    """Refuse what would take minutes to compile."""
    if operations > MOST_OPERATIONS:
        raise ValueError(
            f"custom_loss cannot use {place_of(function)}: it takes {operations:,} operations "
            f"{of_what}, and at most {MOST_OPERATIONS:,} of both are compiled (a power counts as "
            f"{POWER_OPERATIONS}, unless its exponent is a small integer)"
        )


def _traced(function: Function, arguments: tuple[Expression, ...]) -> Value:
    try:
        return Expression.as_number(function(*arguments))
    except Exception as error:  # noqa: BLE001 - whatever the user's function does
        raise TypeError(_message(function, error)) from None


def _message(function: Function, error: Exception) -> str:
    """Say what went wrong, in which line, and what to do."""
    place = place_of(function)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_PACKAGE)
    ]
    if frames:
        frame = frames[-1]
        place = f"{name_of(function)} ({Path(frame.filename).name}, line {frame.lineno}"
        place += f": `{frame.line}`)" if frame.line else ")"
    reason = str(error) if isinstance(error, TraceError) else f"{error}; {_ADVICE}"
    return f"custom_loss cannot use {place}: {reason}"


def place_of(function: Function) -> str:
    """Return a function's name, and where it is defined."""
    code = getattr(function, "__code__", None)
    where = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""
    return f"{name_of(function)}{where}"


def name_of(function: Function) -> str:
    """Return what to call a function, which may be an object that can be called."""
    return getattr(function, "__name__", type(function).__name__)
