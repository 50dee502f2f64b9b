"""Losses of the user's own."""

import functools
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, overload

from numpy.typing import ArrayLike

from fastxent._arguments import as_number, shown
from fastxent._call.evaluate import evaluate_loss
from fastxent._catalogue import Loss
from fastxent._contract import (
    Array,
    ArrayOrScalar,
    CustomCall,
    Formula,
    IgnoreIndex,
    Normalizer,
    Reduction,
)
from fastxent._docs import SIGMOID_PARTS
from fastxent._tracing.trace import Function, name_of, place_of, trace

__all__ = ["custom_loss"]


@overload
def custom_loss(function: Function, /, *, derivative: Function | None = None) -> "CustomLoss": ...


@overload
def custom_loss(
    function: None = None, /, *, derivative: Function | None = None
) -> Callable[[Function], "CustomLoss"]: ...


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
    ValueError
        The function and its derivative take more than 1,000 operations.

    See Also
    --------
    sigmoid_focal_loss : The arguments that all losses have in common.

    Notes
    -----
    The function runs once, at the first call, with placeholders in place of numbers: so numbers
    that it takes from elsewhere are fixed then, while parameters are not. Python's ``if`` cannot
    follow a placeholder, ``where`` can. Loops over known numbers and calls of other functions
    are welcome. The first call compiles, for up to three seconds, and keeps the result on disk.
    Of a loss and its derivative at most 1,000 operations are compiled, which takes half a minute at
    worst; losses of papers have up to 100. A power counts as ten, unless its exponent is an integer
    from -32 to 32.

    With class labels, all targets are 0 or 1, and the function is compiled for each of them apart:
    terms with a factor of 0 are left out. Such a factor removes a term even if it is infinite, and
    a function of the logit alone that is not selected by ``where`` has no part in the gradient. At
    a kink the slope is that of one side.

    Float32 logits are computed in float32, so the formula decides about the accuracy:
    ``softplus(-logit)`` is within 2 ULP for any logit, ``-log(sigmoid(logit))`` is taken for it,
    and so is ``sigmoid(-x)`` for ``1 - sigmoid(x)``; other differences of nearly equal numbers are
    as inaccurate as they always are. Where an anchor's loss or gradient overflows, or is NaN, it is
    computed again in float64. A NaN logit makes the loss of its anchor NaN, and of no other.

    ``__wrapped__`` of the result is the function itself, to be called with numbers or arrays.

    A loss is pickled as its function would be: by name where it can be imported, else by its
    function, which only cloudpickle takes along (so joblib and dask do). What the first call has
    fixed goes with it, and so it gives the same bits in other processes.

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
    return CustomLoss(_Definition(function, derivative))


@dataclass
class _Definition:
    """What a loss is made of: all of it that another process needs."""

    function: Function
    derivative: Function | None
    #: What is compiled, from the first call on.
    formula: Formula | None = None


class CustomLoss:
    """A loss that :func:`custom_loss` made; it is called like the functions of the package.

    Like a function it has a name, a module, a docstring and a signature, and is copied and pickled
    by reference; with cloudpickle it takes its function along where that is not to be imported.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Function

    def __init__(self, definition: _Definition) -> None:
        function = definition.function
        parameters = _parameters_of(function, definition.derivative)
        functools.update_wrapper(self, function)
        # An object that can be called has no name of its own.
        self.__name__ = name_of(function)
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__doc__ = _docstring(function, parameters)
        self.__signature__ = _public_signature(function, parameters)
        self._definition = definition
        self._parameters = parameters
        self._source = lambda: definition

    def __call__(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        *,
        axis: SupportsIndex | None = -1,
        reduction: Reduction = "anchor",
        normalizer: Normalizer | float = "valid",
        empty: Literal["raise"] | float = 0.0,
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
        definition = self._definition
        formula = definition.formula
        if formula is None:
            formula = trace(definition.function, definition.derivative, len(self._parameters))
            definition.formula = formula
        numbers = _numbers(self.__name__, self._parameters, values)
        return evaluate_loss(
            Loss(formula.name, "sigmoid"),
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

    def __repr__(self) -> str:
        own = "".join(f"{p.replace(annotation=p.empty)}, " for p in self._parameters)
        return f"<custom loss {self.__qualname__}(logits, targets, *, {own}...)>"

    # --- copies, here and in other processes ---

    def __copy__(self) -> "CustomLoss":
        return self

    def __deepcopy__(self, memo: object) -> "CustomLoss":
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Be pickled as a function is: by name, or by its function where its name is another's.

        What has to be sent by value, as cloudpickle sends what `__main__` has, only pickle knows,
        and only of functions. So it is given one that is an attribute of this loss: found by name
        it leads back to the loss, and sent by value it takes along what the loss is made of.
        """
        if _object_named(self.__module__, self.__qualname__) is not self:
            return CustomLoss, (self._definition,)
        if operator.index(protocol) < 4:  # dotted names are found via the loss itself
            return self.__qualname__
        self._source.__module__ = self.__module__
        self._source.__qualname__ = f"{self.__qualname__}.{_SOURCE}"
        return _loss_of_source, (self._source,)


#: The name of the attribute that is pickled in place of a loss.
_SOURCE = "_source"


def _loss_of_source(source: Callable[[], _Definition]) -> CustomLoss:
    """Return the loss that a function is an attribute of, or make another one."""
    owner = _object_named(source.__module__, source.__qualname__.removesuffix(f".{_SOURCE}"))
    if isinstance(owner, CustomLoss) and owner._source is source:
        return owner
    return CustomLoss(source())


def _object_named(module: str, name: str) -> object:
    """Return what pickle finds under a name, or None."""
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


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
    """Return the parameters after logit and target, or say what is wrong with them."""
    parameters = _signature_of(function, "function")
    allowed = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(parameters) < 2 or any(parameter.kind not in allowed for parameter in parameters):
        raise TypeError(
            f"custom_loss: {place_of(function)} has the parameters {_listed(parameters)}, expected "
            "(logit, target, ...) followed by numbers, and no * or **"
        )
    if derivative is not None:
        others = _signature_of(derivative, "derivative")
        if [p.name for p in others] != [p.name for p in parameters]:
            raise TypeError(
                f"custom_loss: the derivative {place_of(derivative)} has the parameters "
                f"{_listed(others)}, expected those of {name_of(function)}: {_listed(parameters)}"
            )
    return parameters[2:]


def _signature_of(function: Function, name: str) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of an argument, which may not be a function, or hide them."""
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        message = f"custom_loss takes a {name} of logit and target, not {shown(function)}"
        raise TypeError(message) from error


def _public_signature(
    function: Function, parameters: tuple[inspect.Parameter, ...]
) -> inspect.Signature:
    """Return the signature of the loss, unless one of its parameters has a name that is taken."""
    common = list(inspect.signature(CustomLoss.__call__).parameters.values())[1:-1]
    taken = {parameter.name for parameter in common}
    for parameter in parameters:
        if parameter.name in taken:
            raise TypeError(
                f"custom_loss: {place_of(function)} has a parameter {parameter.name!r}, "
                "which all losses have: give it another name"
            )
    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters]
    return inspect.Signature([*common[:2], *own, *common[2:]])


def _listed(parameters: tuple[inspect.Parameter, ...]) -> str:
    return f"({', '.join(map(str, parameters))})"


# --- docstring ------------------------------------------------------------------------------------


def _docstring(function: Function, parameters: tuple[inspect.Parameter, ...]) -> str:
    """Return the user's text, with the sections that losses have, unless it has its own."""
    text = inspect.getdoc(function) or "Custom loss from logits, made of a function."
    if "\nParameters\n---" in text:
        return text
    own = [
        f"{p.name} : float\n    Parameter of the formula."
        if p.default is p.empty
        else f"{p.name} : float, default {p.default}\n    Parameter of the formula."
        for p in parameters
    ]
    shared = SIGMOID_PARTS["common parameters"].partition("backend : ")[0]
    described = (SIGMOID_PARTS["logits and targets"], *own, SIGMOID_PARTS["axis"], shared)
    sections = {
        "Parameters": "\n".join(part.strip() for part in described),
        "Returns": SIGMOID_PARTS["result"].strip(),
        "Raises": SIGMOID_PARTS["errors"].strip(),
        "See Also": "fastxent.custom_loss : How such a loss is made.",
    }
    filled = [f"{title}\n{'-' * len(title)}\n{body}\n" for title, body in sections.items()]
    return "\n".join([text.rstrip() + "\n", *filled])
