"""The losses of probabilities, with Keras's meaning."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

from typing import Literal, SupportsIndex

from numpy.typing import ArrayLike  # noqa: TC002 - typing.get_type_hints looks for it here

from fastxent._call.evaluate import evaluate_loss
from fastxent._catalogue import LOSSES
from fastxent._contract import (  # noqa: TC001 - typing.get_type_hints looks for them here
    Array,
    ArrayOrScalar,
    BackendName,
    IgnoreIndex,
    Normalizer,
    Reduction,
)

__all__ = ["binary_cross_entropy", "categorical_cross_entropy"]

_BINARY_CROSS_ENTROPY = LOSSES["binary_cross_entropy"]
_CATEGORICAL_CROSS_ENTROPY = LOSSES["categorical_cross_entropy"]


def binary_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    axis: SupportsIndex | None = -1,
    eps: float = 1e-7,
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
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Binary cross-entropy from probabilities, with Keras's meaning: the mean over the classes.

    With p clipped to [eps, 1 - eps], the loss of class c of an anchor, in nats, is ::

        loss_c = weight class_weight_c [-y_c log(p_c) - (1 - y_c) log(1 - p_c)]

    and the anchor's loss is the mean over its classes. The derivative of
    loss_c with respect to p_c is ::

        weight class_weight_c [(1 - y_c) / (1 - p_c) - y_c / p_c]

    and 0 where p was clipped; the derivative of the anchor's loss is 1 / C of that.

    Where the logits are at hand, :func:`sigmoid_cross_entropy` is faster and knows no clipping.

    Parameters
    ----------
    probs : array_like of float16, bfloat16, float32 or float64
        Probabilities p of any shape, with C classes on `axis`. Numbers outside [0, 1] by more than
        rounding (1e-6, float16 1e-3, bfloat16 1e-2) are logits rather, and a ValueError; NaN, and
        whatever ignored anchors and missing labels have, is accepted.
    targets : array_like
        Class labels: integers of the shape of `probs` without the class axis (the anchors'
        shape). 0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1
        or floats in [0, 1], of the shape of `probs`. With ``axis=None`` both have the shape of
        `probs`; label 1 is positive, 0 negative.
    label_smoothing : float, default 0.0
        With s, from 0 to 1, targets become y (1 - s) + s / 2.
    axis : int or None, default -1
        The class axis. None: a single-class head, where each element is an anchor.
    eps : float, default 1e-7
        Between 0 and 0.5. It may be smaller than all numbers of the dtype.
    reduction : {"anchor", "none", "sum", "mean"}, default "anchor"
        "anchor": one loss per anchor. "none": one per class of each anchor. "sum" and "mean": one
        for all anchors.
    normalizer : {"valid", "weight", "positive", "count"} or float, default "valid"
        What "mean" divides the sum by. "valid": the number of anchors that are not ignored.
        "weight": the sum of the weights applied to those (sigmoids: of each the mean over its
        labelled classes). "positive": the number of those that have a class. "count": the number of
        all anchors. Or a number of your own.
    empty : float or "raise", default 0.0
        The mean where the normalizer is zero; "raise": a ValueError. Like `normalizer`, for "mean"
        only.
    weight : float or array_like, optional
        Factor of the whole call (a number), of each anchor (an array of the anchors' shape), or of
        each term (an array with as many dimensions as the first argument, broadcast to it).
    class_weight : array_like of shape (C,), optional
        Factor of each class's term; finite and not negative.
    ignore_index : int or tuple of int, default -100
        Targets of ignored anchors. They contribute nothing and are not counted, whatever their
        logits and weights are. In dense targets, where it is neither 0 nor 1, it marks single
        missing labels: they contribute nothing either, nor do their weights, and a mean over
        classes is one over the others. An anchor without any label is ignored.
    background_index : int, optional
        The class label that means "no class"; the default is C. Labels above it are one too high:
        with 0 the classes are 1..C.
    return_grad : bool, default False
        Return the gradient too: ``(loss, grad)``, from one pass.
    grad_output : float or array_like, optional
        Factor of the gradient: a number; or, for "anchor" and "none", an array of the shape of the
        loss that is returned.
    out : ndarray, optional
        Where to put the loss of "anchor" or "none": an array of its shape and dtype that shares no
        memory with the arguments.
    grad_out : ndarray, optional
        Where to put the gradient: an array of the shape and dtype of the first argument that shares
        no memory with the arguments, nor with `out`.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        The loss. "anchor" and "none": an array (or `out`), float64 for float64 input and otherwise
        float32; a scalar for a single anchor without dimensions. "sum" and "mean": a float64
        scalar, accumulated in float64.
    ndarray
        With `return_grad`: the derivatives of the loss that is returned with respect to the first
        argument, times `grad_output`; of its shape and dtype (or `grad_out`). Of "sum" and "mean"
        as a whole, otherwise of the loss that the element belongs to. Zero for ignored anchors and
        missing labels, and for all where a mean is `empty`. A NaN logit has a NaN gradient.

    Raises
    ------
    ValueError
        A label or a target is out of range, a shape does not fit, or an option has no such value.
        The message names the argument, the position and the value. Nothing has been written then.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    sigmoid_cross_entropy : The same from logits, as the sum over the classes.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 4 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    Gradients are with respect to the probabilities as given, and 0 in the first two rows:

    ============== ======================= =======================
    probability    y = 1                   y = 0
    ============== ======================= =======================
    0 and below    -log(eps)               -log(1 - eps)
    1 and above    -log(1 - eps)           -log(eps)
    nan            nan                     nan
    ============== ======================= =======================

    A NaN makes the loss of its anchor NaN, and of no other.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] F. Chollet et al., "Keras", ``keras.losses.binary_crossentropy``, https://keras.io.

    Examples
    --------
    >>> import fastxent as fx
    >>> print(fx.binary_cross_entropy([0.8, 0.2, 0.9], [1, 0, 1], axis=None).round(8))
    [0.22314355 0.22314355 0.10536052]
    """
    return evaluate_loss(
        _BINARY_CROSS_ENTROPY,
        probs,
        targets,
        {"label_smoothing": label_smoothing, "eps": eps},
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
        backend,
    )


def categorical_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    axis: SupportsIndex = -1,
    eps: float = 1e-7,
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
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Categorical cross-entropy from probabilities, with Keras's meaning.

    With q = p / sum_k p_k clipped to [eps, 1 - eps], the loss of an anchor, in nats, is ::

        loss = weight sum_c class_weight_c y_c [-log(q_c)]

    With s = sum_k p_k, and b_c = weight class_weight_c y_c, or 0 where q_c was clipped, its
    derivative with respect to p_k is ::

        grad_k = sum_c b_c / s - b_k / p_k

    Where the logits are at hand, :func:`softmax_cross_entropy` is faster and knows no clipping.

    Parameters
    ----------
    probs : array_like of float16, bfloat16, float32 or float64
        Probabilities p of any shape, with C classes on `axis`; they need not add up to 1. Numbers
        below 0 by more than rounding (1e-6, float16 1e-3, bfloat16 1e-2) are logits rather, and a
        ValueError; NaN, and whatever ignored anchors have, is accepted.
    targets : array_like
        Class labels: integers 0..C-1 of the shape of `probs` without the class axis (the anchors'
        shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the shape of
        `probs`; they need not add up to 1.
    label_smoothing : float, default 0.0
        With a, from 0 to 1, targets become y (1 - a) + a / C.
    axis : int, default -1
        The class axis.
    eps : float, default 1e-7
        Between 0 and 0.5. It may be smaller than all numbers of the dtype.
    reduction : {"anchor", "none", "sum", "mean"}, default "anchor"
        "anchor" and "none": one loss per anchor. "sum" and "mean": one for all anchors.
    normalizer : {"valid", "weight", "positive", "count"} or float, default "valid"
        What "mean" divides the sum by. "valid": the number of anchors that are not ignored.
        "weight": the sum of the weights applied to those (sigmoids: of each the mean over its
        labelled classes). "positive": the number of those that have a class. "count": the number of
        all anchors. Or a number of your own.
    empty : float or "raise", default 0.0
        The mean where the normalizer is zero; "raise": a ValueError. Like `normalizer`, for "mean"
        only.
    weight : float or array_like, optional
        Factor of the whole call (a number), or of each anchor (an array of the anchors' shape).
    class_weight : array_like of shape (C,), optional
        Factor of each class's term; finite and not negative.
    ignore_index : int or tuple of int, default -100
        Targets of ignored anchors. They contribute nothing and are not counted, whatever their
        logits and weights are. In dense targets, where it is neither 0 nor 1, it marks the missing
        labels of an ignored anchor: those of all classes.
    background_index : int, optional
        The class that the normalizer "positive" does not count. It makes no other difference.
    return_grad : bool, default False
        Return the gradient too: ``(loss, grad)``, from one pass.
    grad_output : float or array_like, optional
        Factor of the gradient: a number; or, for "anchor" and "none", an array of the anchors'
        shape.
    out : ndarray, optional
        Where to put the loss of "anchor" or "none": an array of its shape and dtype that shares no
        memory with the arguments.
    grad_out : ndarray, optional
        Where to put the gradient: an array of the shape and dtype of the first argument that shares
        no memory with the arguments, nor with `out`.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default.

    Returns
    -------
    ndarray or numpy.floating
        The loss. "anchor" and "none": an array (or `out`), float64 for float64 input and otherwise
        float32; a scalar for a single anchor without dimensions. "sum" and "mean": a float64
        scalar, accumulated in float64.
    ndarray
        With `return_grad`: the derivatives of the loss that is returned with respect to the first
        argument, times `grad_output`; of its shape and dtype (or `grad_out`). Of "sum" and "mean"
        as a whole, otherwise of the loss that the element belongs to. Zero for ignored anchors and
        missing labels, and for all where a mean is `empty`. NaN where the loss of the anchor is.

    Raises
    ------
    ValueError
        A label or a target is out of range, a shape does not fit, or an option has no such value.
        The message names the argument, the position and the value. Nothing has been written then.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    softmax_cross_entropy : The same from logits.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 6 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    ======================= =============================
    q of the class (y = 1)  loss
    ======================= =============================
    0 and below             -log(eps)
    1 and above             -log(1 - eps)
    ======================= =============================

    Probabilities of an anchor whose sum is 0, infinite or NaN make its loss NaN, and that of no
    other anchor.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] F. Chollet et al., "Keras", ``keras.losses.categorical_crossentropy`` and
       ``sparse_categorical_crossentropy``, https://keras.io.

    Examples
    --------
    >>> import fastxent as fx
    >>> probs = [[0.1, 0.7, 0.2], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]]
    >>> print(fx.categorical_cross_entropy(probs, [1, 0, 2]).round(8))
    [0.35667494 0.91629073 0.35667494]
    """
    return evaluate_loss(
        _CATEGORICAL_CROSS_ENTROPY,
        probs,
        targets,
        {"label_smoothing": label_smoothing, "eps": eps},
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
        backend,
    )
