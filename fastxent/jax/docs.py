"""Docstrings and signatures of the functions, from those of NumPy's."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastxent._docstrings import adapt_docstring

if TYPE_CHECKING:
    from fastxent.jax.arguments import Signature

_THREADS = "as many of XLA's threads are used at most; by default all of them"

_LOSS = """\
Returns
-------
jax.Array
    The loss: float64 for float64 input and otherwise float32, also of "sum" and "mean", which
    are accumulated in float64 and rounded once.

Notes
-----
Differentiable once, in reverse mode, with respect to `{differentiable}`. Arguments that are not
arrays are constants of a compiled function. Limits, accuracy and examples are those of
:func:`fastxent.{name}`."""

_SCORE = """\
Returns
-------
jax.Array
    float32 for float32 and half-precision input, and otherwise of JAX's default float.

Notes
-----
Differentiable, any number of times. Limits, accuracy and examples are those of
:func:`fastxent.{name}`."""


def document(function: Callable[..., Any], signature: "Signature") -> Callable[..., Any]:
    """Give a function the name, the parameters and the documentation of NumPy's."""
    name = signature.name
    function.__name__ = function.__qualname__ = name
    function.__module__ = "fastxent.jax"
    function.__signature__ = signature.python.replace(  # type: ignore[attr-defined]
        return_annotation="jax.Array"
    )
    original = inspect.getdoc(signature.function)
    if original is not None:  # python -OO leaves none
        returns = _LOSS if "reduction" in signature.python.parameters else _SCORE
        facts = {"name": name, "differentiable": signature.positional[0]}
        function.__doc__ = adapt_docstring(
            original,
            array="array_like",
            threads=_THREADS,
            results=returns.format(**facts),
        )
    return function
