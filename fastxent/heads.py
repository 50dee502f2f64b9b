"""Two heads, one model: a sigmoid of one logit as a softmax of two, and back."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

import numpy as np
from numpy.typing import ArrayLike  # noqa: TC002 - typing.get_type_hints looks for it here

from fastxent import _results
from fastxent._arguments import as_array, check_out, overlap, score_dtype
from fastxent._contract import Array, ArrayOrScalar  # noqa: TC001 - likewise
from fastxent.native import call_with_default_floats

__all__ = ["sigmoid_to_softmax_logits", "softmax_to_sigmoid_logit"]


def sigmoid_to_softmax_logits(logits: ArrayLike, *, out: Array | None = None) -> Array:
    """Two softmax logits, (-z / 2, z / 2), that say the same as one sigmoid logit z.

    Class 1 is the positive and class 0 the negative of the sigmoid, and ::

        softmax(-z / 2, z / 2) = (1 - sigmoid(z), sigmoid(z))

    so the cross-entropies are equal, and so are their gradients with respect to z.

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape, each of them a head of its own.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype that shares no memory with
        `logits`.

    Returns
    -------
    ndarray
        An array of the shape of `logits` and a last axis of length 2 (or `out`), float32 for
        float32 and half-precision logits and otherwise float64.

    Raises
    ------
    ValueError
        `out` does not fit, or shares memory with `logits`.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    softmax_to_sigmoid_logit : The inverse.
    recommend_loss : Which of the two losses fits given targets.

    Notes
    -----
    Accuracy: relative error at most 1 ULP in float32; exact, except for the last bit of subnormal
    numbers. Special values: +inf becomes (-inf, +inf), of which the softmax is (0, 1), -inf the
    reverse, and NaN two NaN.

    A softmax depends on differences of logits only. Of all pairs with the difference z this is the
    one with the sum 0, and no logit can overflow.

    **It ends at two classes.** For C = 3 or more, C independent sigmoids and a softmax of the same
    logits are different models, although the opposite is often said. A constant added to all
    logits of an anchor changes every sigmoid and not the softmax, so the probabilities of one are
    no function of those of the other. Both rank the classes within an anchor alike, but not the
    anchors: the example below has two whose best scores change places. This function turns C
    logits into C softmaxes of two classes, which is what C sigmoids are. In the other direction,
    the probability of class c in a softmax is the sigmoid of z_c - log(sum_{k != c} exp(z_k)); but
    the sigmoid losses of these C logits still add up to more than the one softmax loss.

    Memory: the result.
    Threads: one.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> z = np.array([-1.0, 0.0, 3.0])
    >>> pairs = fx.sigmoid_to_softmax_logits(z)
    >>> print(pairs)
    [[ 0.5 -0.5]
     [-0.   0. ]
     [-1.5  1.5]]
    >>> print(fx.softmax(pairs)[:, 1].round(4), fx.sigmoid(z).round(4))
    [0.2689 0.5    0.9526] [0.2689 0.5    0.9526]
    >>> print(fx.softmax_cross_entropy(pairs, [0, 1, 1]).round(4))
    [0.3133 0.6931 0.0486]
    >>> print(fx.sigmoid_cross_entropy(z, [0, 1, 1], axis=None).round(4))
    [0.3133 0.6931 0.0486]

    Three classes: by its sigmoid the first anchor is the surer one, by its softmax the second.

    >>> logits = np.array([[3.0, 3.0, 0.0], [2.0, -1.0, -1.0]])
    >>> print(fx.sigmoid(logits).max(axis=1).round(2), fx.softmax(logits).max(axis=1).round(2))
    [0.95 0.88] [0.49 0.91]
    """
    values = as_array(logits, "logits")
    result = _result(values, (*values.shape, 2), out)
    with np.errstate(under="ignore"):
        call_with_default_floats(np.multiply, values, -0.5, out=result[..., 0], dtype=result.dtype)
        call_with_default_floats(np.multiply, values, 0.5, out=result[..., 1], dtype=result.dtype)
    return result if out is None else out


def softmax_to_sigmoid_logit(logits: ArrayLike, *, out: Array | None = None) -> ArrayOrScalar:
    """One sigmoid logit, z_1 - z_0, that says the same as two softmax logits.

    It is the log odds of class 1 ::

        sigmoid(z_1 - z_0) = softmax(z_0, z_1)_1

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits of shape (..., 2): class 0, the negative, and class 1, the positive.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype that shares no memory with
        `logits`.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of `logits` without its last axis (or `out`), float32 for float32
        and half-precision logits and otherwise float64; a scalar for a single pair.

    Raises
    ------
    ValueError
        The last axis does not have two classes, or `out` does not fit or shares memory with
        `logits`.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    sigmoid_to_softmax_logits : The inverse; its notes say what does not hold for more classes.

    Notes
    -----
    Accuracy: relative error at most 1 ULP in float32. Where the exact difference is larger than
    the dtype can hold, it is infinite with the right sign. Other special values:

    ========================= ====
    (z_0, z_1)                z
    ========================= ====
    z_1 = +inf, z_0 less      +inf
    z_0 = +inf, z_1 less      -inf
    z_1 = -inf, z_0 more      -inf
    z_0 = -inf, z_1 more      +inf
    both +inf or both -inf    nan
    any is nan                nan
    ========================= ====

    Only the difference of two logits counts in a softmax, so two heads that differ by a constant
    in both logits have the same sigmoid logit. From `sigmoid_to_softmax_logits` z itself comes
    back, except for the last bit of a subnormal number.

    Memory: the result.
    Threads: one.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[0.5, 2.5], [1.0, 1.0], [2.0, -1.0]])
    >>> z = fx.softmax_to_sigmoid_logit(logits)
    >>> print(z)
    [ 2.  0. -3.]
    >>> print(fx.sigmoid(z).round(4), fx.softmax(logits)[:, 1].round(4))
    [0.8808 0.5    0.0474] [0.8808 0.5    0.0474]
    """
    values = as_array(logits, "logits")
    if values.ndim == 0 or values.shape[-1] != 2:
        raise ValueError(f"logits has shape {values.shape}, expected (..., 2): two classes")
    result = _result(values, values.shape[:-1], out)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # the limits are documented
        call_with_default_floats(
            np.subtract, values[..., 1], values[..., 0], out=result, dtype=result.dtype
        )
    if out is not None:
        return out
    return result if result.ndim > 0 else result[()]


def _result(values: Array, shape: tuple[int, ...], out: Array | None) -> Array:
    """Return `out`, checked, or a new array."""
    dtype = score_dtype(values.dtype)
    if out is None:
        try:
            return _results.empty(shape, dtype)
        except ValueError as error:
            raise ValueError(f"logits has shape {values.shape}: no array is {shape}") from error
    out = check_out(out, shape, dtype)
    if overlap(out, values):
        raise ValueError("out shares memory with logits")
    return out
