"""Docstrings and signatures of the functions, from those of NumPy's."""

import inspect
from collections.abc import Callable
from typing import Any

from fastxent._docstrings import adapt_docstring
from fastxent.torch.arguments import Signature

_THREADS = "by default ``torch.get_num_threads()`` at the time of the call"

_LOSS = """\
Returns
-------
Tensor
    The loss: float64 for float64 input and otherwise float32, also of "sum" and "mean", which
    are accumulated in float64 and rounded once.

Notes
-----
Differentiable once, with respect to `{differentiable}`. Limits, accuracy and examples are those of
:func:`fastxent.{name}`."""

_SCORE = """\
Returns
-------
Tensor
    float32 for float32 and half-precision input, otherwise float64.

Notes
-----
Differentiable, any number of times. Limits, accuracy and examples are those of
:func:`fastxent.{name}`."""


def document(function: Callable[..., Any], signature: Signature) -> Callable[..., Any]:
    """Give a function the name, the parameters and the documentation of NumPy's."""
    name = signature.name
    function.__name__ = function.__qualname__ = name
    function.__module__ = "fastxent.torch"
    function.__signature__ = signature.python.replace(  # type: ignore[attr-defined]
        parameters=[
            parameter.replace(annotation=_annotation(parameter, signature))
            for parameter in signature.python.parameters.values()
        ],
        return_annotation="Tensor",
    )
    original = inspect.getdoc(signature.function)
    if original is not None:  # python -OO leaves none
        returns = _LOSS if "reduction" in signature.defaults else _SCORE
        facts = {"name": name, "differentiable": signature.differentiable}
        function.__doc__ = adapt_docstring(
            original,
            array="Tensor",
            threads=_THREADS,
            results=returns.format(**facts),
        )
    return function


def _annotation(parameter: inspect.Parameter, signature: Signature) -> str:
    if parameter.name in signature.positional:
        return "Tensor"
    annotation = str(parameter.annotation).replace("ArrayLike", "Tensor | float")
    return f"{annotation} | Tensor" if parameter.name == "normalizer" else annotation
