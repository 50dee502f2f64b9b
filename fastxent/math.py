"""What custom losses are made of; see :func:`fastxent.custom_loss`.

Within a custom loss the functions below, ``+ - * / **``, comparisons and ``& | ~`` write down what
a kernel will do. On numbers and arrays they compute at once, in float64, so that a loss can be
tried, plotted and tested as the function that it is.

Examples
--------
>>> import fastxent.math as fxm
>>> def squared_hinge(logit, target):
...     margin = fxm.where(target == 1, 1 - logit, 1 + logit)
...     return fxm.maximum(margin, 0) ** 2
>>> print(squared_hinge(0.5, 1.0))
0.25
"""

from fastxent._tracing.expressions import Value, apply

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
    """Return e^x.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("exp", x)


def expm1(x: Value) -> Value:
    """Return e^x - 1, right for small x too.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("expm1", x)


def log(x: Value) -> Value:
    """Return the natural logarithm: -inf for 0, NaN for negative x.

    Within a custom loss, log(sigmoid(x)) is log_sigmoid(x).

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("log", x)


def log1p(x: Value) -> Value:
    """Return log(1 + x), right for small x too.

    Within a custom loss, log1p(exp(x)) is softplus(x).

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("log1p", x)


def sqrt(x: Value) -> Value:
    """Return the square root; its slope at 0 is infinite.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("sqrt", x)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("tanh", x)


def sigmoid(x: Value) -> Value:
    """Return 1 / (1 + exp(-x)).

    Within a custom loss, 1 - sigmoid(x) is sigmoid(-x), which does not cancel.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("sigmoid", x)


def softplus(x: Value) -> Value:
    """Return log(1 + exp(x)), within 2 ULP in float32 for any x.

    It is the cross-entropy of a target of 0; that of 1 is softplus(-x).

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("softplus", x)


def log_sigmoid(x: Value) -> Value:
    """Return log(sigmoid(x)), within 2 ULP in float32 for any x.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("log_sigmoid", x)


def absolute(x: Value) -> Value:
    """Return the size of x, as ``abs`` does too; its slope at 0 is 0.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("absolute", x)


abs = absolute  # noqa: A001 - NumPy has both names, and so does this module


def maximum(a: Value, b: Value) -> Value:
    """Return the larger number, and its slope; of equal ones, that of the second.

    Parameters
    ----------
    a : float or array_like
        A number, an array, or a value within a custom loss.
    b : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("maximum", a, b)


def minimum(a: Value, b: Value) -> Value:
    """Return the smaller number, and its slope; of equal ones, that of the second.

    Parameters
    ----------
    a : float or array_like
        A number, an array, or a value within a custom loss.
    b : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("minimum", a, b)


def clip(x: Value, low: Value, high: Value) -> Value:
    """Return x within bounds; at them and beyond, the slope is that of the bound.

    Parameters
    ----------
    x : float or array_like
        A number, an array, or a value within a custom loss.
    low : float or array_like
        A number, an array, or a value within a custom loss.
    high : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return minimum(maximum(x, low), high)


def power(base: Value, exponent: Value) -> Value:
    """Return a power, as ``**`` does too.

    Within a custom loss, a negative base has powers with the exponents 0, 1, 2, 3 and 4, and with
    integers up to 32 that are written as numbers; all others are NaN.

    Parameters
    ----------
    base : float or array_like
        A number, an array, or a value within a custom loss.
    exponent : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("power", base, exponent)


def where(condition: Value, yes: Value, no: Value) -> Value:
    """Return `yes` where the condition holds and `no` elsewhere, and the slope of that alone.

    Parameters
    ----------
    condition : bool or array_like
        A comparison, or several with ``& | ~``.
    yes : float or array_like
        A number, an array, or a value within a custom loss.
    no : float or array_like
        A number, an array, or a value within a custom loss.

    Returns
    -------
    float or ndarray
        The result in float64, or a value within a custom loss.
    """
    return apply("where", condition, yes, no)
