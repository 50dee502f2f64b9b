"""The parts of docstrings that several functions share.

A docstring names a part by a line of its own, ``<part>``; the decorator puts the text there.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def fill_docstring(parts: dict[str, str]) -> Callable[[Function], Function]:
    """Return a decorator that replaces each line ``<name>`` of a docstring by ``parts[name]``."""

    def decorate(function: Function) -> Function:
        if function.__doc__ is not None:  # python -OO leaves none
            lines = inspect.cleandoc(function.__doc__).splitlines()
            filled = [parts[line[1:-1]].strip() if line.startswith("<") else line for line in lines]
            function.__doc__ = "\n".join(filled) + "\n"
        return function

    return decorate


_RESOURCES = """
Memory: the result and a few KB per thread. Strided input is read where it is; only arrays that are
not aligned or of foreign byte order are copied.
Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
"""

_EXECUTION = """
num_threads : int, optional
    From 1 to 1024; see :func:`get_num_threads` for the default.
backend : {"native", "numpy"}, optional
    What computes; see :func:`set_backend` for the default.
"""

_MEAN = """
normalizer : {"valid", "weight", "positive", "count"} or float, default "valid"
    What "mean" divides the sum by. "valid": the number of anchors that are not ignored. "weight":
    the sum of the weights applied to those. "positive": the number of those that have a class.
    "count": the number of all anchors. Or a number of your own.
empty : float or "raise", default 0.0
    The mean where the normalizer is zero; "raise": a ValueError.
"""

_CLASS_WEIGHT = """
class_weight : array_like of shape (C,), optional
    Factor of each class's term; finite and not negative.
ignore_index : int or tuple of int, default -100
    Labels of ignored anchors. They contribute nothing and are not counted, whatever their logits
    and weights are. For class labels only.
"""

_OUT = """
out : ndarray, optional
    Where to put the result of "anchor" or "none": an array of its shape and dtype that shares no
    memory with the arguments.
"""

_RESULT = """
ndarray or numpy.floating
    "anchor" and "none": an array of the dtype of the first argument (or `out`); a scalar for a
    single anchor without dimensions. "sum" and "mean": a float64 scalar, accumulated in float64.
"""

_ERRORS = """
ValueError
    A label or a target is out of range, a shape does not fit, or an option has no such value. The
    message names the argument, the position and the value. Nothing has been written then.
TypeError
    An argument has the wrong type or dtype.
"""

_REFERENCES = {
    "logsumexp reference": """
.. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
   softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.
""",
    "log1p reference": """
.. [1] M. Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package Rmpfr,
   2012.
""",
}

_SIGMOID_AXIS = """
axis : int or None, default -1
    The class axis. None: a single-class head, where each element is an anchor.
"""

_AXIS = """
axis : int, default -1
    The class axis.
"""

_SIGMOID_PARAMETERS = f"""
reduction : {{"anchor", "none", "sum", "mean"}}, default "anchor"
    "anchor": one loss per anchor. "none": one per class of each anchor. "sum" and "mean": one for
    all anchors.
{_MEAN.strip()}
weight : float or array_like, optional
    Factor of the whole call (a number), of each anchor (an array of the anchors' shape), or of
    each term (an array with as many dimensions as the first argument, broadcast to it).
{_CLASS_WEIGHT.strip()}
background_index : int, optional
    The class label that means "no class"; the default is C. Labels above it are one too high:
    with 0 the classes are 1..C.
{_OUT.strip()}
{_EXECUTION.strip()}
"""

_SOFTMAX_PARAMETERS = f"""
reduction : {{"anchor", "none", "sum", "mean"}}, default "anchor"
    "anchor" and "none": one loss per anchor. "sum" and "mean": one for all anchors.
{_MEAN.strip()}
weight : float or array_like, optional
    Factor of the whole call (a number), or of each anchor (an array of the anchors' shape).
{_CLASS_WEIGHT.strip()}
background_index : int, optional
    The class that the normalizer "positive" does not count. It makes no other difference.
{_OUT.strip()}
{_EXECUTION.strip()}
"""

_SCORE_OUT = """
out : ndarray, optional
    Where to put the result: an array of its shape and dtype, which may be the very array of the
    argument but may not share its memory otherwise.
"""

SIGMOID_PARTS = {
    "axis": _SIGMOID_AXIS,
    "common parameters": _SIGMOID_PARAMETERS,
    "result": _RESULT,
    "errors": _ERRORS,
    "resources": _RESOURCES,
    **_REFERENCES,
}
SOFTMAX_PARTS = SIGMOID_PARTS | {"axis": _AXIS, "common parameters": _SOFTMAX_PARAMETERS}
SCORE_PARTS = {
    "common parameters": _SCORE_OUT.strip() + _EXECUTION,
    "axis": _AXIS,
    "result": """
ndarray or numpy.floating
    An array of the shape and dtype of the argument (or `out`); a scalar for a scalar.
""",
    "resources": _RESOURCES,
    **_REFERENCES,
}
