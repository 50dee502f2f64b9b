"""Scores and links: what is computed from logits or probabilities alone."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

from typing import SupportsIndex

from numpy.typing import ArrayLike  # noqa: TC002 - typing.get_type_hints looks for it here

from fastxent._call.evaluate import evaluate_class_score, evaluate_element_score
from fastxent._contract import Array, ArrayOrScalar, BackendName  # noqa: TC001 - likewise

__all__ = [
    "log_sigmoid",
    "log_softmax",
    "logit",
    "logsumexp",
    "odds",
    "sigmoid",
    "softmax",
    "softplus",
]


def sigmoid(
    logits: ArrayLike,
    *,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Sigmoid, 1 / (1 + exp(-z)): the probability of a logit.

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    logit : The inverse.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    At -inf it is 0, at +inf 1.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.2.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.sigmoid([-2.0, 0.0, 2.0]).round(4))
    [0.1192 0.5    0.8808]
    """
    return evaluate_element_score(
        "sigmoid", logits, "logits", out=out, num_threads=num_threads, backend=backend
    )


def log_sigmoid(
    logits: ArrayLike,
    *,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Logarithm of the sigmoid, -log(1 + exp(-z)).

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    softplus : The same with both signs turned.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    At -inf it is -inf, at +inf 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] M. Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package
       Rmpfr, 2012.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.log_sigmoid([-2.0, 0.0, 2.0]).round(4))
    [-2.1269 -0.6931 -0.1269]
    """
    return evaluate_element_score(
        "log_sigmoid", logits, "logits", out=out, num_threads=num_threads, backend=backend
    )


def softplus(
    logits: ArrayLike,
    *,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Softplus, log(1 + exp(z)): the sigmoid cross-entropy of a negative.

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    sigmoid_cross_entropy : Sums of this.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    At -inf it is 0, at +inf +inf.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] M. Maechler, "Accurately Computing log(1 - exp(-abs(a)))", vignette of the R package
       Rmpfr, 2012.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.softplus([-2.0, 0.0, 2.0]).round(4))
    [0.1269 0.6931 2.1269]
    """
    return evaluate_element_score(
        "softplus", logits, "logits", out=out, num_threads=num_threads, backend=backend
    )


def logit(
    probs: ArrayLike,
    *,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Logit, log(p / (1 - p)): the inverse of the sigmoid.

    Parameters
    ----------
    probs : array_like of bool, int, float16, bfloat16, float32 or float64
        Probabilities p of any shape.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    sigmoid : The inverse.
    odds : What this is the logarithm of.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    It is -inf at 0, +inf at 1, NaN outside.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.2.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.logit([0.0, 0.5, 0.9]).round(4))
    [  -inf 0.     2.1972]
    """
    return evaluate_element_score(
        "logit", probs, "probs", out=out, num_threads=num_threads, backend=backend
    )


def odds(
    probs: ArrayLike,
    *,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Odds, p / (1 - p).

    Parameters
    ----------
    probs : array_like of bool, int, float16, bfloat16, float32 or float64
        Probabilities p of any shape.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    logit : The logarithm of this.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    At 1 it is +inf, and outside [0, 1] NaN.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] D. R. Cox and E. J. Snell, "Analysis of Binary Data", Chapman and Hall, 1989.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.odds([0.0, 0.5, 0.75]))
    [0. 1. 3.]
    """
    return evaluate_element_score(
        "odds", probs, "probs", out=out, num_threads=num_threads, backend=backend
    )


def softmax(
    logits: ArrayLike,
    *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Softmax, exp(z_c) / sum_k exp(z_k): the probabilities of an anchor's classes.

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape, with the classes on `axis`.
    axis : int, tuple of int or None, default -1
        The class axis, or several: all their elements are classes of one anchor. None: all axes.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    log_softmax : The logarithm of this.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    One logit of +inf has probability 1; two or more, or nothing but -inf, or a NaN make all
    probabilities of the anchor NaN. Without classes there are none.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Integers, and several class axes that memory does not hold as one, are copied a MiB at a time.
    Anchors of more than 2^17 classes that are to be copied, and of more than 2^24 that do not lie
    side by side or are replaced by their scores, are computed in float64 by NumPy, on one thread.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.softmax([2.0, 1.0, 0.1]).round(4))
    [0.659  0.2424 0.0986]
    """
    return evaluate_class_score(
        "softmax", logits, axis=axis, out=out, num_threads=num_threads, backend=backend
    )


def log_softmax(
    logits: ArrayLike,
    *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Logarithm of the softmax, z_c - log(sum_k exp(z_k)).

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape, with the classes on `axis`.
    axis : int, tuple of int or None, default -1
        The class axis, or several: all their elements are classes of one anchor. None: all axes.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of the argument (or `out`), float32 for float32 and half-precision
        input and otherwise float64; a scalar for a scalar.

    See Also
    --------
    softmax_cross_entropy : Minus this, for the class of each anchor.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    One logit of +inf has 0 and the others of its anchor -inf; two or more, or nothing but -inf, or
    a NaN make the anchor NaN. Without classes there is nothing.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Integers, and several class axes that memory does not hold as one, are copied a MiB at a time.
    Anchors of more than 2^17 classes that are to be copied, and of more than 2^24 that do not lie
    side by side or are replaced by their scores, are computed in float64 by NumPy, on one thread.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.log_softmax([2.0, 1.0, 0.1]).round(4))
    [-0.417 -1.417 -2.317]
    """
    return evaluate_class_score(
        "log_softmax", logits, axis=axis, out=out, num_threads=num_threads, backend=backend
    )


def logsumexp(
    logits: ArrayLike,
    *,
    axis: SupportsIndex | tuple[SupportsIndex, ...] | None = -1,
    keepdims: bool = False,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Logarithm of the sum of exponentials, log(sum_k exp(z_k)).

    Parameters
    ----------
    logits : array_like of bool, int, float16, bfloat16, float32 or float64
        Logits z of any shape, with the classes on `axis`.
    axis : int, tuple of int or None, default -1
        The class axis, or several: all their elements are classes of one anchor. None: all axes.
    keepdims : bool, default False
        Keep the class axes, with the length 1.
    out : ndarray, optional
        Where to put the result: an array of its shape and dtype, which may be the very array of the
        argument but may not share its memory otherwise.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        An array of the shape of `logits` without the class axes (or `out`), or a scalar.

    See Also
    --------
    log_softmax : The logits minus this.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32.

    It is relative to the result or to the largest logit, whichever is larger.
    Any logit of +inf makes it +inf, nothing but -inf -inf, and a NaN NaN. Without classes it is
    -inf, the logarithm of an empty sum.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Integers, and several class axes that memory does not hold as one, are copied a MiB at a time.
    Anchors of more than 2^17 classes that are to be copied, and of more than 2^24 that do not lie
    side by side or are replaced by their scores, are computed in float64 by NumPy, on one thread.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.logsumexp([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]]).round(4))
    [2.417  1.0986]
    >>> print(fx.logsumexp([[2.0, 1.0, 0.1], [0.0, 0.0, 0.0]], axis=None).round(4))
    2.6541
    """
    return evaluate_class_score(
        "logsumexp",
        logits,
        axis=axis,
        keepdims=keepdims,
        out=out,
        num_threads=num_threads,
        backend=backend,
    )
