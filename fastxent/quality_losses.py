"""The focal losses whose targets are qualities or positions."""

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

__all__ = ["distribution_focal_loss", "quality_focal_loss", "varifocal_loss"]

_QUALITY_FOCAL_LOSS = LOSSES["quality_focal_loss"]
_VARIFOCAL_LOSS = LOSSES["varifocal_loss"]
_DISTRIBUTION_FOCAL_LOSS = LOSSES["distribution_focal_loss"]


def quality_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    beta: float = 2.0,
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
    """Quality focal loss from logits: the target of an anchor's class is a quality.

    With p = sigmoid(z), and y_c the anchor's score for the class of its label and 0 for the others,
    the loss of class c, in nats, is ::

        ce_c = -y_c log(p_c) - (1 - y_c) log(1 - p_c)
        loss_c = weight class_weight_c |y_c - p_c|^beta ce_c

    and the anchor's loss is the sum over its classes. Its derivative with respect to z_c is ::

        weight class_weight_c |y_c - p_c|^beta
            [beta p_c (1 - p_c) ce_c / (p_c - y_c) + p_c - y_c]

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    labels : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors'
        shape). 0..C-1 are classes, C means "no class". With ``axis=None`` they have the shape of
        `logits`; 1 is positive, 0 negative.
    scores : array_like
        The quality of each anchor for its class, such as the IoU of its box: from 0 to 1, of the
        shape of `labels`. Anchors without a class and ignored ones need one too, of no importance.
    beta : float, default 2.0
        The exponent; finite and not negative.
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
    varifocal_loss : Modulates the negatives only.
    distribution_focal_loss : The loss of the boxes that goes with it.
    sigmoid_focal_loss : With classes as targets.

    Notes
    -----
    The meaning is that of mmdetection's ``QualityFocalLoss``, with ``target=(labels, scores)``. An
    anchor with a class counts as "positive" even where its score is 0.

    Accuracy: relative error at most 4 + 3 x beta ULP (2^-23) in float32 for losses of any size, and
    6 + 3 x beta ULP for gradients; below 1e-36, near the end of float32's range, the error is at
    most 1e-42. Where a target is soft (neither 0 nor 1) a gradient is the difference of two terms,
    and its error is relative to the sum of their magnitudes. The gradient of float16 or bfloat16
    input is rounded to that dtype at the end.

    Infinite logits follow the limit, where gradients are finite:

    ===== ======== ========
    logit y = 1    y = 0
    ===== ======== ========
    +inf  0        inf
    -inf  inf      0
    nan   nan      nan
    ===== ======== ========

    Where p = y the gradient is 0.

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
    `grad_output` multiplies the finished loss or derivative: NaN where that is 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] X. Li et al., "Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes
       for Dense Object Detection", NeurIPS 2020, arXiv:2006.04388, equation 5.

    Examples
    --------
    Two anchors and three classes; the second anchor has none of them.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.quality_focal_loss(logits, [0, 3], [0.7, 0.0]).round(4))
    [0.4238 0.0019]
    """
    return evaluate_loss(
        _QUALITY_FOCAL_LOSS,
        logits,
        labels,
        {"scores": scores, "beta": beta},
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


def varifocal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = 0.75,
    gamma: float = 2.0,
    iou_weighted: bool = True,
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
    """Varifocal loss from logits: targets are qualities, and only negatives are modulated.

    With p = sigmoid(z), the loss of class c of an anchor, in nats, is ::

        ce_c = -y_c log(p_c) - (1 - y_c) log(1 - p_c)
        loss_c = weight class_weight_c y_c ce_c                              where y_c > 0
        loss_c = weight class_weight_c alpha_c p_c^gamma [-log(1 - p_c)]     where y_c = 0

    and the anchor's loss is the sum over its classes. Dense targets y are qualities, such as the
    IoU of the anchor's box, at its class, and 0 elsewhere. The derivative with respect to z_c is ::

        weight class_weight_c y_c (p_c - y_c)                                where y_c > 0
        weight class_weight_c alpha_c p_c^gamma
            [p_c - gamma (1 - p_c) log(1 - p_c)]                             where y_c = 0

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
        0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats
        in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`;
        label 1 is positive, 0 negative.
    alpha : float or array_like of shape (C,) or None, default 0.75
        Factor of the negatives, finite and not negative. None: 1.
    gamma : float, default 2.0
        The exponent; finite and not negative.
    iou_weighted : bool, default True
        Whether the target is a factor of the positives; False: the factor is 1.
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
    quality_focal_loss : Modulates the positives as well.
    sigmoid_focal_loss : With classes as targets.

    Notes
    -----
    The meaning is that of mmdetection's ``VarifocalLoss``.

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
    .. [1] H. Zhang, Y. Wang, F. Dayoub and N. Suenderhauf, "VarifocalNet: An IoU-aware Dense Object
       Detector", CVPR 2021, arXiv:2008.13367, equation 2.

    Examples
    --------
    Two anchors and three classes; the first has class 0 with a quality of 0.7, the second none.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.varifocal_loss(logits, [[0.7, 0, 0], [0, 0, 0]]).round(4))
    [0.8089 0.0014]
    """
    return evaluate_loss(
        _VARIFOCAL_LOSS,
        logits,
        targets,
        {"alpha": alpha, "gamma": gamma, "iou_weighted": iou_weighted},
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


def distribution_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    return_expectation: bool = False,
    axis: SupportsIndex = -1,
    reduction: Reduction = "anchor",
    normalizer: Normalizer | float = "valid",
    empty: Literal["raise"] | float = 0.0,
    weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100,
    return_grad: bool = False,
    grad_output: ArrayLike | None = None,
    out: Array | None = None,
    grad_out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> ArrayOrScalar:
    """Distribution focal loss from logits: a softmax over bins, and a target between two of them.

    With p = softmax(z) over C bins, a target t and l = floor(t), the loss of an anchor, in nats,
    is ::

        loss = weight [-(l + 1 - t) log(p_l) - (t - l) log(p_{l+1})]

    and its derivative with respect to z_k is ::

        grad_k = weight (p_k - y_k),  y_l = l + 1 - t,  y_{l+1} = t - l,  other y_k = 0

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C bins on `axis`, two or more.
    targets : array_like
        Positions t from 0 to C - 1, integer or floating, of the shape of `logits` without the class
        axis (the anchors' shape). One that equals an `ignore_index` ignores the anchor.
    return_expectation : bool, default False
        Return the expected position sum_k k p_k too, as the last of a tuple.
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
    ignore_index : int or tuple of int, default -100
        Targets of ignored anchors. They contribute nothing and are not counted, whatever their
        logits and weights are.
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
    ndarray
        With `return_expectation`: the expected positions of all anchors, ignored ones included; of
        the anchors' shape and the dtype of a loss.

    Raises
    ------
    ValueError
        A label or a target is out of range, a shape does not fit, or an option has no such value.
        The message names the argument, the position and the value. Nothing has been written then.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    quality_focal_loss : The loss of the classes that goes with it.
    softmax_cross_entropy : The same for dense targets.

    Notes
    -----
    The meaning is that of mmdetection's ``DistributionFocalLoss``. There, the head has four
    distributions per anchor, which share its weight; logits of shape (N, 4, C) and targets of shape
    (N, 4) need no reshaping here. The expectation is the distance that such a head predicts, which
    mmdetection calls ``Integral``.

    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 6 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    The expectation has the bound of the loss.

    Infinite logits follow the limit, and so do gradients and expectations:

    ========================= ==================================================
    logits of an anchor       loss
    ========================= ==================================================
    one is +inf               0 if t is that bin, inf otherwise
    two or more are +inf      nan
    some are -inf             inf if one of them is a bin that t has a part in
    all are -inf              nan
    any is nan                nan
    ========================= ==================================================

    A NaN makes the loss of its anchor NaN, and of no other; nothing but `ignore_index` removes it.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] X. Li et al., "Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes
       for Dense Object Detection", NeurIPS 2020, arXiv:2006.04388, equation 6.

    Examples
    --------
    Two distances, each a distribution over four bins:

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[0.0, 2.0, 1.0, 0.0], [3.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    >>> loss, distance = fx.distribution_focal_loss(logits, [1.25, 0.0], return_expectation=True)
    >>> print(loss.round(4), distance.round(4))
    [0.7438 0.1392] [1.3071 0.2599]
    """
    return evaluate_loss(
        _DISTRIBUTION_FOCAL_LOSS,
        logits,
        targets,
        {"return_expectation": return_expectation},
        axis,
        reduction,
        normalizer,
        empty,
        weight,
        None,
        ignore_index,
        None,
        return_grad,
        grad_output,
        out,
        grad_out,
        num_threads,
        backend,
    )
