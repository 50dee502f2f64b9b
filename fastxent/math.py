"""What custom losses are made of; see :func:`fastxent.custom_loss`.

Within a custom loss the functions below, ``+ - * / **``, comparisons and ``& | ~`` write down what
a kernel will do. On numbers and arrays they compute at once, in float64, so that a loss can be
tried, plotted and tested as the function that it is.

Examples
--------
>>> from fastxent import math
>>> def squared_hinge(logit, target):
...     margin = math.where(target == 1, 1 - logit, 1 + logit)
...     return math.maximum(margin, 0) ** 2
>>> print(squared_hinge(0.5, 1.0))
0.25
"""

from fastxent._expressions import Value, apply

__all__ = [
    "abs",
    "absolute",
    "clip",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log_sigmoid",
    "maximum",
    "minimum",
    "power",
    "sigmoid",
    "softplus",
    "sqrt",
    "tanh",
    "where",
]


def exp(x: Value) -> Value:
    """Return e^x."""
    return apply("exp", x)


def expm1(x: Value) -> Value:
    """Return e^x - 1, right for small x too."""
    return apply("expm1", x)


def log(x: Value) -> Value:
    """Return the natural logarithm; -inf for 0, NaN for negative x."""
    return apply("log", x)


def log1p(x: Value) -> Value:
    """Return log(1 + x), right for small x too."""
    return apply("log1p", x)


def sqrt(x: Value) -> Value:
    """Return the square root; its slope at 0 is infinite."""
    return apply("sqrt", x)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent."""
    return apply("tanh", x)


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + exp(-x)); within a custom loss, 1 - sigmoid(x) is sigmoid(-x)."""
    return apply("sigmoid", x)


def softplus(x: Value) -> Value:
    """Return log(1 + exp(x)), right to the last digits for any x: the loss of a negative."""
    return apply("softplus", x)


def log_sigmoid(x: Value) -> Value:
    """Return log(sigmoid(x)), right to the last digits for any x."""
    return apply("log_sigmoid", x)


def absolute(x: Value) -> Value:
    """Return |x|; its slope at 0 is 0."""
    return apply("absolute", x)


abs = absolute  # noqa: A001 - NumPy has both names, and so does this module


def maximum(a: Value, b: Value) -> Value:
    """Return the larger number, and its slope; where they are equal, the slope of the second."""
    return apply("maximum", a, b)


def minimum(a: Value, b: Value) -> Value:
    """Return the smaller number, and its slope; where they are equal, the slope of the second."""
    return apply("minimum", a, b)


def clip(x: Value, low: Value, high: Value) -> Value:
    """Return x within bounds; at them and beyond, the slope is that of the bound."""
    return minimum(maximum(x, low), high)


def power(base: Value, exponent: Value) -> Value:
    """Return base to the power of exponent, which ``**`` does too.

    Within a custom loss, a negative base has powers with the exponents 0, 1, 2, 3 and 4 and with
    integers that are written as numbers; all others are NaN.
    """
    return apply("power", base, exponent)


def where(condition: Value, yes: Value, no: Value) -> Value:
    """Return `yes` where the condition holds and `no` elsewhere, and the slope of that alone."""
    return apply("where", condition, yes, no)
