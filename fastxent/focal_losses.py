"""The focal losses, whose targets are classes."""

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

__all__ = ["asymmetric_loss", "sigmoid_focal_loss", "softmax_focal_loss"]

_SIGMOID_FOCAL_LOSS = LOSSES["sigmoid_focal_loss"]
_SOFTMAX_FOCAL_LOSS = LOSSES["softmax_focal_loss"]
_ASYMMETRIC_LOSS = LOSSES["asymmetric_loss"]


def sigmoid_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = 0.25,
    gamma: float = 2.0,
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
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Sigmoid focal loss from logits: cross-entropy with less weight on what is easy.

    With p = sigmoid(z), m_c = y_c (1 - p_c) + (1 - y_c) p_c (how far class c is off), and
    a_c = alpha y_c + (1 - alpha) (1 - y_c), the loss of class c of an anchor, in nats, is ::

        ce_c = -y_c log(p_c) - (1 - y_c) log(1 - p_c)
        loss_c = weight class_weight_c a_c m_c^gamma ce_c

    and the anchor's loss is the sum over its classes. Its derivative with respect to z_c is ::

        weight class_weight_c a_c m_c^gamma
            [gamma (1 - 2 y_c) p_c (1 - p_c) ce_c / m_c + p_c - y_c]

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
        0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats
        in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`;
        label 1 is positive, 0 negative.
    alpha : float or array_like of shape (C,) or None, default 0.25
        Factor of the positives, from 0 to 1; the negatives have 1 - alpha. None: both have 1.
    gamma : float, default 2.0
        The exponent; finite and not negative. With 0 it is a weighted cross-entropy.
    axis : int or None, default -1
        The class axis. None: a single-class head, where each element is an anchor.
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
    sigmoid_cross_entropy : The case gamma = 0, alpha = None.
    varifocal_loss : With qualities as targets.
    quality_focal_loss : With qualities as targets, and a modulation of both sides.
    asymmetric_loss : With an exponent for each side.
    sigmoid_focal_loss_star : The paper's variant without an exponent.
    softmax_focal_loss : One class per anchor.

    Notes
    -----
    The meaning is that of ``torchvision.ops.sigmoid_focal_loss``, soft targets included; there
    ``alpha=-1`` stands for None. mmdetection's ``FocalLoss`` is the same for class labels, with
    ``avg_factor`` as `normalizer`; so is RetinaNet's with ``normalizer="positive"``.

    Accuracy: relative error at most 4 + 3 x gamma ULP (2^-23) in float32 for losses of any size,
    and 6 + 3 x gamma ULP for gradients; below 1e-36, near the end of float32's range, the error is
    at most 1e-42. Where a target is soft (neither 0 nor 1) a gradient is the difference of two
    terms, and its error is relative to the sum of their magnitudes. The gradient of float16 or
    bfloat16 input is rounded to that dtype at the end.

    Infinite logits follow the limit, where gradients are finite:

    ===== ======== ========
    logit y = 1    y = 0
    ===== ======== ========
    +inf  0        inf
    -inf  inf      0
    nan   nan      nan
    ===== ======== ========

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
    `grad_output` multiplies the finished loss or derivative: NaN where that is 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object
       Detection", ICCV 2017, arXiv:1708.02002, equation 5.

    Examples
    --------
    Two anchors and three classes; the second anchor has none of them.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.sigmoid_focal_loss(logits, [0, 3]).round(4))
    [0.3005 0.0014]

    Divided by the number of anchors with a class, as detectors do, with the gradient:

    >>> loss, grad = fx.sigmoid_focal_loss(
    ...     logits, [0, 3], reduction="mean", normalizer="positive", return_grad=True
    ... )
    >>> print(loss.round(4), grad.shape)
    0.3019 (2, 3)
    """
    return evaluate_loss(
        _SIGMOID_FOCAL_LOSS,
        logits,
        targets,
        {"alpha": alpha, "gamma": gamma},
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


def softmax_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: float = 2.0,
    axis: SupportsIndex = -1,
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
    """Softmax focal loss from logits: cross-entropy with less weight on what is easy.

    With p = softmax(z), the loss of an anchor, in nats, is ::

        loss = weight sum_c class_weight_c alpha_c y_c (1 - p_c)^gamma [-log(p_c)]

    and its derivative with respect to z_k is ::

        b_c = weight class_weight_c alpha_c y_c
              [(1 - p_c)^gamma - gamma p_c (1 - p_c)^(gamma - 1) log(p_c)]
        grad_k = p_k sum_c b_c - b_k

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers 0..C-1 of the shape of `logits` without the class axis (the anchors'
        shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the shape of
        `logits`; they need not add up to 1.
    alpha : float or array_like of shape (C,) or None, default None
        Factor of the terms, finite and not negative; per class, or one for all. None: 1.
    gamma : float, default 2.0
        The exponent; finite and not negative.
    axis : int, default -1
        The class axis.
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
    softmax_cross_entropy : The case gamma = 0.
    sigmoid_focal_loss : Any number of classes per anchor.

    Notes
    -----
    A number as `alpha` is a factor of the whole loss: there are no negatives here that could have
    1 - alpha. It counts for no normalizer, unlike `class_weight` with ``normalizer="weight"``.

    Accuracy: relative error at most 4 + 3 x gamma ULP (2^-23) in float32 for losses of any size,
    and 6 + 3 x gamma ULP for gradients; below 1e-36, near the end of float32's range, the error is
    at most 1e-42. Where a target is soft (neither 0 nor 1) a gradient is the difference of two
    terms, and its error is relative to the sum of their magnitudes. The gradient of float16 or
    bfloat16 input is rounded to that dtype at the end.

    Infinite logits follow the limit, and so do gradients:

    ========================= ==============================================
    logits of an anchor       loss
    ========================= ==============================================
    one is +inf               0 if that is the class (y = 1), inf if another
    two or more are +inf      nan
    some are -inf             inf if one of them is the class
    all are -inf              nan
    any is nan                nan
    ========================= ==============================================

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
    `grad_output` multiplies the finished loss or derivative: NaN where that is 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object
       Detection", ICCV 2017, arXiv:1708.02002, equation 5, for a softmax.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 0.0]], dtype=np.float32)
    >>> print(fx.softmax_focal_loss(logits, [0, 1]).round(4))
    [0.0485 0.0008]

    A factor for each class:

    >>> print(fx.softmax_focal_loss(logits, [0, 1], alpha=[0.5, 2.0, 1.0]).round(4))
    [0.0242 0.0016]
    """
    return evaluate_loss(
        _SOFTMAX_FOCAL_LOSS,
        logits,
        targets,
        {"alpha": alpha, "gamma": gamma},
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


def asymmetric_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma_neg: float = 4.0,
    gamma_pos: float = 1.0,
    clip: float = 0.05,
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
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Asymmetric loss from logits: an exponent for each side, and easy negatives dropped.

    With p = sigmoid(z) and p' = max(p - clip, 0), the loss of class c of an anchor, in nats, is ::

        loss_c = weight class_weight_c [-y_c (1 - p_c)^gamma_pos log(p_c)
                                        - (1 - y_c) p'_c^gamma_neg log(1 - p'_c)]

    and the anchor's loss is the sum over its classes. Its derivative with respect to z_c is ::

        weight class_weight_c
            [y_c (1 - p_c)^gamma_pos (gamma_pos p_c log(p_c) - (1 - p_c))
             + (1 - y_c) p_c (1 - p_c) p'_c^gamma_neg
               (1 / (1 - p'_c) - gamma_neg log(1 - p'_c) / p'_c)]

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
        0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats
        in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`;
        label 1 is positive, 0 negative.
    gamma_neg : float, default 4.0
        The exponent of the negatives; finite and not negative.
    gamma_pos : float, default 1.0
        The exponent of the positives; finite and not negative.
    clip : float, default 0.05
        What is subtracted from the probability of a negative: 0, or from 1e-30 to below 1. Where p
        is not above it, a negative has neither loss nor gradient.
    axis : int or None, default -1
        The class axis. None: a single-class head, where each element is an anchor.
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
    sigmoid_focal_loss : One exponent for both sides.
    sigmoid_cross_entropy : The case of both exponents and `clip` 0.

    Notes
    -----
    The paper's targets are 0 and 1. The loss of a soft one is divided between the two sides in
    proportion: it is linear in y, like the paper's formula 7. The gradient is that of the whole
    formula, the weights (1 - p)^gamma_pos and p'^gamma_neg included, which the authors' code has as
    ``disable_torch_grad_focal_loss=False``.

    Accuracy: relative error at most 7 + 5 x the larger gamma ULP (2^-23) in float32 for losses of
    any size, and 9 + 5 x the larger gamma ULP for gradients; below 1e-36, near the end of float32's
    range, the error is at most 1e-42. Where a target is soft (neither 0 nor 1) a gradient is the
    difference of two terms, and its error is relative to the sum of their magnitudes. The gradient
    of float16 or bfloat16 input is rounded to that dtype at the end.

    Infinite logits follow the limit:

    ===== ======== ===================================================
    logit y = 1    y = 0
    ===== ======== ===================================================
    +inf  0        (1 - clip)^gamma_neg (-log(clip)); inf for clip = 0
    -inf  inf      0
    nan   nan      nan
    ===== ======== ===================================================

    Gradients are finite there.

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
    `grad_output` multiplies the finished loss or derivative: NaN where that is 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] T. Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021,
       arXiv:2009.14119, equations 4 to 7.

    Examples
    --------
    Two anchors and three classes; the second anchor has none of them, and of its probabilities
    only the second is above `clip`.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.asymmetric_loss(logits, [0, 3], reduction="none").round(6))
    [[1.5130e-02 5.6800e-04 9.1253e-02]
     [0.0000e+00 2.0000e-06 0.0000e+00]]
    """
    return evaluate_loss(
        _ASYMMETRIC_LOSS,
        logits,
        targets,
        {"gamma_neg": gamma_neg, "gamma_pos": gamma_pos, "clip": clip},
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
