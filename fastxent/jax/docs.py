"""Docstrings and signatures of the functions, from those of NumPy's."""

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastxent._catalogue import NUMPY_ONLY

if TYPE_CHECKING:
    from fastxent.jax.arguments import Signature

_THREADS = """\
num_threads : int, optional
    From 1 to 1024: as many of XLA's threads are used at most; by default all of them."""

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

#: A parameter of a docstring: its line, and those that are indented.
_PARAMETER = re.compile(r"^(\w+) : .*\n(?:    .*\n|\n(?=    ))*", re.MULTILINE)


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
        function.__doc__ = f"{_head(original)}\n{returns.format(**facts)}\n"
    return function


def _head(original: str) -> str:
    """Return a docstring up to its parameters, of which those stay that arrays of JAX have."""
    introduction, _, rest = original.partition("Parameters\n----------\n")
    parameters = rest.partition("\nReturns\n-------\n")[0] + "\n"
    kept = [
        _THREADS + "\n" if match[1] == "num_threads" else match[0]
        for match in _PARAMETER.finditer(parameters)
        if match[1] not in NUMPY_ONLY
    ]
    return f"{introduction}Parameters\n----------\n{''.join(kept)}"
