"""Losses of the user's own."""

import functools
import inspect
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

from numpy.typing import ArrayLike

from fastxent._arguments import as_number, shown
from fastxent._docs import SIGMOID_PARTS
from fastxent._evaluate import evaluate_loss
from fastxent._expressions import Expression, TraceError, Value
from fastxent._programs import Formula, formula_of
from fastxent._request import Array, ArrayOrScalar, CustomCall, IgnoreIndex, Loss

__all__ = ["custom_loss"]

Function = Callable[..., Any]

_ADVICE = (
    "a custom loss is made of numbers, of + - * / **, comparisons, & | ~, and of the functions of "
    "fastxent.math"
)
_PACKAGE = f"{Path(__file__).parent}{os.sep}"


def custom_loss(
    function: Function | None = None, /, *, derivative: Function | None = None
) -> Function:
    """Make a loss of a function of one logit and its target.

    The function says what one class of an anchor costs, in nats or whatever it likes. It is written
    with ``fastxent.math`` and ordinary arithmetic, as a formula is::

        loss(logit, target, *parameters)

    What comes back has the arguments of :func:`sigmoid_focal_loss`, but for `backend`, with the
    function's parameters as keywords: class labels or dense targets, ignored anchors, weights,
    reductions and their normalizers, gradients. It adds the function up over the classes of each
    anchor, in one parallel pass that Numba compiles (``fastxent[numba]``), whatever backend is set.

    Parameters
    ----------
    function : callable
        The loss of a class, of its logit and of its target y from 0 to 1. All further parameters
        are numbers that a call may change, with or without a default.
    derivative : callable, optional
        The derivative of the loss with respect to the logit, of the same parameters. Without one
        it is found from the function itself, operation by operation.

    Returns
    -------
    callable
        The loss ``(logits, targets, *, **parameters, axis=-1, reduction="anchor", ...)``; or, where
        only a derivative is given, a decorator.

    Raises
    ------
    TypeError
        The function is no formula: it branches (``if``) on values that differ from logit to logit,
        calls what is not known for them, or its parameters are not what they should be. The
        message names the line.

    See Also
    --------
    sigmoid_focal_loss : The arguments that all losses have in common.

    Notes
    -----
    The function runs once, at the first call, with placeholders in place of numbers: so numbers
    that it takes from elsewhere are fixed then, while parameters are not. Python's ``if`` cannot
    follow a placeholder, ``where`` can. Loops over known numbers and calls of other functions
    are welcome. The first call compiles, for up to three seconds, and keeps the result on disk.

    With class labels, all targets are 0 or 1, and the function is compiled for each of them apart:
    terms with a factor of 0 are left out. Such a factor removes a term even if it is infinite, and
    a function of the logit alone that is not selected by ``where`` has no part in the gradient. At
    a kink the slope is that of one side.

    Float32 logits are computed in float32, so the formula decides about the accuracy:
    ``softplus(-logit)`` is right to the last digits for any logit, ``-log(sigmoid(logit))`` is
    taken for it, and so is ``sigmoid(-x)`` for ``1 - sigmoid(x)``; other differences of nearly
    equal numbers are as inaccurate as they always are. Where an anchor's loss or gradient
    overflows, or is NaN, it is computed again in float64. A NaN logit makes the loss of its anchor
    NaN, and of no other.

    ``__wrapped__`` of the result is the function itself, to be called with numbers or arrays.

    Examples
    --------
    >>> import fastxent as fx
    >>> import fastxent.math as fxm
    >>> @fx.custom_loss
    ... def squared_hinge(logit, target, margin=1.0):
    ...     distance = margin - fxm.where(target == 1, logit, -logit)
    ...     return fxm.maximum(distance, 0) ** 2
    >>> logits = [[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]]
    >>> print(squared_hinge(logits, [0, 3]))  # the second anchor has no class
    [2.25 0.  ]
    >>> loss, grad = squared_hinge(logits, [0, 3], margin=2.0, reduction="mean", return_grad=True)
    >>> print(loss, grad[0])
    3.625 [0.  1.  2.5]
    >>> print(squared_hinge.__wrapped__(0.5, 0.0))
    2.25
    """
    if function is None:
        return functools.partial(custom_loss, derivative=derivative)
    return _as_loss(_Definition(function, derivative, _parameters_of(function, derivative)))


class _Definition(NamedTuple):
    """What the user gave."""

    function: Function
    derivative: Function | None
    #: The parameters behind logit and target.
    parameters: tuple[inspect.Parameter, ...]


def _as_loss(definition: _Definition) -> Function:
    """Return the public function of a loss."""
    parameters = definition.parameters

    @functools.cache
    def loss_of() -> tuple[Loss, Formula]:
        formula = _trace(definition)
        return Loss(formula.name, "logits", sigmoid=True), formula

    @functools.wraps(definition.function)
    def evaluate(
        logits: ArrayLike,
        targets: ArrayLike,
        *,
        axis: SupportsIndex | None = -1,
        reduction: str = "anchor",
        normalizer: str | float = "valid",
        empty: str | float = 0.0,
        weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None,
        ignore_index: IgnoreIndex = -100,
        background_index: SupportsIndex | None = None,
        return_grad: bool = False,
        grad_output: ArrayLike | None = None,
        out: Array | None = None,
        grad_out: Array | None = None,
        num_threads: SupportsIndex | None = None,
        **values: float,
    ) -> ArrayOrScalar:
        loss, formula = loss_of()
        numbers = _numbers(evaluate.__name__, parameters, values)
        return evaluate_loss(
            loss,
            logits,
            targets,
            {"custom": CustomCall(formula, numbers)},
            axis,
            reduction,
            normalizer,
            empty,
            weight,
            class_weight,
            ignore_index,
            background_index,
            return_grad,
            grad_output,
            out,
            grad_out,
            num_threads,
            "numba",
        )

    common = list(inspect.signature(evaluate, follow_wrapped=False).parameters.values())[:-1]
    _check_names(definition, {parameter.name for parameter in common})
    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
    evaluate.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*common[:2], *own, *common[2:]]
    )
    evaluate.__doc__ = _docstring(definition)
    return evaluate


def _numbers(
    name: str, parameters: tuple[inspect.Parameter, ...], values: Mapping[str, Any]
) -> tuple[float, ...]:
    """Return the numbers of the parameters in their order."""
    unknown = values.keys() - {parameter.name for parameter in parameters}
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {min(unknown)!r}")
    numbers = []
    for parameter in parameters:
        value = values.get(parameter.name, parameter.default)
        if value is parameter.empty:
            raise TypeError(f"{name}() needs the keyword argument {parameter.name!r}")
        numbers.append(as_number(value, parameter.name))
    return tuple(numbers)


# --- what the user gave ---------------------------------------------------------------------------


def _parameters_of(
    function: Function, derivative: Function | None
) -> tuple[inspect.Parameter, ...]:
    """Return the parameters behind logit and target, or say what is wrong with them."""
    parameters = _signature_of(function, "function")
    allowed = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(parameters) < 2 or any(parameter.kind not in allowed for parameter in parameters):
        raise TypeError(
            f"custom_loss: {_place(function)} has the parameters {_listed(parameters)}, expected "
            "(logit, target, ...) with numbers behind them, and no * or **"
        )
    if derivative is not None:
        others = _signature_of(derivative, "derivative")
        if [p.name for p in others] != [p.name for p in parameters]:
            raise TypeError(
                f"custom_loss: the derivative {_place(derivative)} has the parameters "
                f"{_listed(others)}, expected those of {_name(function)}: {_listed(parameters)}"
            )
    return parameters[2:]


def _signature_of(function: Function, name: str) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of an argument, which may not be a function, or hide them."""
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        message = f"custom_loss takes a {name} of logit and target, not {shown(function)}"
        raise TypeError(message) from error


def _check_names(definition: _Definition, taken: set[str]) -> None:
    for parameter in definition.parameters:
        if parameter.name in taken:
            raise TypeError(
                f"custom_loss: {_place(definition.function)} has a parameter {parameter.name!r}, "
                "which all losses have: give it another name"
            )


def _listed(parameters: tuple[inspect.Parameter, ...]) -> str:
    return f"({', '.join(map(str, parameters))})"


def _place(function: Function) -> str:
    """Return a function's name, and where it is defined."""
    code = getattr(function, "__code__", None)
    where = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""
    return f"{_name(function)}{where}"


def _name(function: Function) -> str:
    """Return what to call a function, which may be an object that can be called."""
    return getattr(function, "__name__", type(function).__name__)


def _trace(definition: _Definition) -> Formula:
    """Run the function, and its derivative, with placeholders."""
    count = len(definition.parameters)
    parameters = [Expression("parameter", number) for number in range(count)]
    arguments = Expression("logit"), Expression("target"), *parameters
    loss = _traced(definition.function, arguments)
    slope = _traced(definition.derivative, arguments) if definition.derivative else None
    return formula_of(loss, slope)


def _traced(function: Function, arguments: tuple[Expression, ...]) -> Value:
    try:
        return Expression.as_number(function(*arguments))
    except Exception as error:  # noqa: BLE001 - whatever the user's function does
        raise TypeError(_message(function, error)) from None


def _message(function: Function, error: Exception) -> str:
    """Say what went wrong, in which line, and what to do."""
    place = _place(function)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_PACKAGE)
    ]
    if frames:
        frame = frames[-1]
        place = f"{_name(function)} ({Path(frame.filename).name}, line {frame.lineno}"
        place += f": `{frame.line}`)" if frame.line else ")"
    reason = str(error) if isinstance(error, TraceError) else f"{error}; {_ADVICE}"
    return f"custom_loss cannot use {place}: {reason}"


# --- docstring ------------------------------------------------------------------------------------


def _docstring(definition: _Definition) -> str | None:
    """Return the user's text, with the sections that losses have, unless it has its own."""
    text = inspect.getdoc(definition.function) or "Custom loss from logits, made of a function."
    if "\nParameters\n---" in text:
        return text
    own = [
        f"{p.name} : float\n    Parameter of the formula."
        if p.default is p.empty
        else f"{p.name} : float, default {p.default}\n    Parameter of the formula."
        for p in definition.parameters
    ]
    shared = SIGMOID_PARTS["common parameters"].partition("backend : ")[0]
    parameters = (SIGMOID_PARTS["logits and targets"], *own, SIGMOID_PARTS["axis"], shared)
    sections = {
        "Parameters": "\n".join(part.strip() for part in parameters),
        "Returns": SIGMOID_PARTS["result"].strip(),
        "Raises": SIGMOID_PARTS["errors"].strip(),
        "See Also": "fastxent.custom_loss : How such a loss is made.",
    }
    filled = [f"{title}\n{'-' * len(title)}\n{body}\n" for title, body in sections.items()]
    return "\n".join([text.rstrip() + "\n", *filled])
