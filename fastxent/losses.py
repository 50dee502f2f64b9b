"""The cross-entropies of logits: what each one means, and one call."""

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

__all__ = ["poly1_cross_entropy", "sigmoid_cross_entropy", "softmax_cross_entropy"]

_SIGMOID_CROSS_ENTROPY = LOSSES["sigmoid_cross_entropy"]
_SOFTMAX_CROSS_ENTROPY = LOSSES["softmax_cross_entropy"]
_POLY1_CROSS_ENTROPY = LOSSES["poly1_cross_entropy"]


def sigmoid_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
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
    """Sigmoid (binary) cross-entropy from logits: each class is a question of its own.

    With softplus(z) = log(1 + exp(z)), the loss of class c of an anchor, in nats, is ::

        loss_c = weight class_weight_c [(1 - y_c) softplus(z_c) + pos_weight_c y_c softplus(-z_c)]

    and the anchor's loss is the sum over its classes. With p = sigmoid(z), its derivative with
    respect to z_c is ::

        grad_c = weight class_weight_c [(1 - y_c) p_c - pos_weight_c y_c (1 - p_c)]

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
        0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats
        in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`;
        label 1 is positive, 0 negative.
    pos_weight : float or array_like of shape (C,), optional
        Factor of the positive terms; finite and not negative.
    label_smoothing : float, default 0.0
        With s, from 0 to 1, targets become y (1 - s) + s / 2.
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
    softmax_cross_entropy : One class per anchor.
    sigmoid_focal_loss : The same with less weight on what is easy.
    binary_cross_entropy : The same from probabilities.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 4 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    Infinite logits follow the limit:

    ===== ======== ======== ============== ==============
    logit y = 1    y = 0    gradient y = 1 gradient y = 0
    ===== ======== ======== ============== ==============
    +inf  0        inf      0              1
    -inf  inf      0        -1             0
    nan   nan      nan      nan            nan
    ===== ======== ======== ============== ==============

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it. An infinite weight or
    `grad_output` multiplies the finished loss or derivative: NaN where that is 0.

    Memory: the results and a few KB per thread. Strided input is read where it is; only arrays that
    are not aligned or of foreign byte order are copied.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.
    Dense targets with `out` take memory for one loss an anchor.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", Springer, 2006, section 4.3.
    .. [2] J. Redmon and A. Farhadi, "YOLOv3: An Incremental Improvement", arXiv:1804.02767, 2018,
       which replaces the softmax of a detector by independent sigmoids.

    Examples
    --------
    Two anchors and three classes; the second anchor has none of them.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.sigmoid_cross_entropy(logits, [0, 3]).round(4))
    [1.4143 0.1937]

    The same with dense targets, averaged over the anchors:

    >>> dense = [[1, 0, 0], [0, 0, 0]]
    >>> print(fx.sigmoid_cross_entropy(logits, dense, reduction="mean").round(4))
    0.804

    The loss and its gradient in one pass:

    >>> loss, grad = fx.sigmoid_cross_entropy(logits, [0, 3], return_grad=True)
    >>> print(grad.round(4))
    [[-0.1192  0.2689  0.6225]
     [ 0.0474  0.1192  0.018 ]]
    """
    return evaluate_loss(
        _SIGMOID_CROSS_ENTROPY,
        logits,
        targets,
        {"pos_weight": pos_weight, "label_smoothing": label_smoothing},
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


def softmax_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
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
    """Softmax cross-entropy from logits: each anchor has one of C classes.

    The loss of an anchor, in nats, is ::

        loss = weight sum_c class_weight_c y_c [log(sum_k exp(z_k)) - z_c]

    With p = softmax(z) and b_c = weight class_weight_c y_c, its derivative with respect to z_k
    is ::

        grad_k = p_k sum_c b_c - b_k

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers 0..C-1 of the shape of `logits` without the class axis (the anchors'
        shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the shape of
        `logits`; they need not add up to 1.
    label_smoothing : float, default 0.0
        With s, from 0 to 1, targets become y (1 - s) + s / C.
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
    sigmoid_cross_entropy : Any number of classes per anchor.
    categorical_cross_entropy : The same from probabilities.
    poly1_cross_entropy : The same with one more coefficient.
    log_softmax : The logarithms that this is made of.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 6 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

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
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.
    .. [2] C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR
       2016, for `label_smoothing`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 0.0]], dtype=np.float32)
    >>> print(fx.softmax_cross_entropy(logits, [0, 1]).round(4))
    [0.417  0.0949]

    A confident prediction has a tiny loss, not zero:

    >>> print(fx.softmax_cross_entropy(np.float32([[20, 0]]), [0]))
    [2.0611537e-09]
    """
    return evaluate_loss(
        _SOFTMAX_CROSS_ENTROPY,
        logits,
        targets,
        {"label_smoothing": label_smoothing},
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


def poly1_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: float = 1.0,
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
    """Poly-1 cross-entropy from logits: softmax cross-entropy with one coefficient more.

    Cross-entropy is the series sum_j (1 - p)^j / j, with the probability p of the class; this loss
    changes the first coefficient from 1 to 1 + epsilon. With p = softmax(z), the loss of an
    anchor, in nats, is ::

        loss = weight sum_c class_weight_c y_c [-log(p_c) + epsilon (1 - p_c)]

    and with b_c = weight class_weight_c y_c (1 + epsilon p_c), its derivative with respect to z_k
    is ::

        grad_k = p_k sum_c b_c - b_k

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers 0..C-1 of the shape of `logits` without the class axis (the anchors'
        shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the shape of
        `logits`; they need not add up to 1.
    epsilon : float, default 1.0
        The additional coefficient, finite: -1 removes the first term of the series, 0 is
        :func:`softmax_cross_entropy`.
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
    softmax_cross_entropy : The case epsilon = 0.
    softmax_focal_loss : Another change of the same series.

    Notes
    -----
    Accuracy: relative error at most 4 ULP (2^-23) in float32 for losses of any size, and 6 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    With a negative `epsilon` the loss is a difference of two terms, too, and its error is relative
    to the sum of their magnitudes.

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
    .. [1] Z. Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss
       Functions", ICLR 2022, arXiv:2204.12511, equation 6.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, 1.0, 0.1], [0.0, 3.0, 0.0]], dtype=np.float32)
    >>> print(fx.poly1_cross_entropy(logits, [0, 1]).round(4))
    [0.758  0.1855]
    >>> print(fx.poly1_cross_entropy(logits, [0, 1], epsilon=0.0).round(4))
    [0.417  0.0949]
    """
    return evaluate_loss(
        _POLY1_CROSS_ENTROPY,
        logits,
        targets,
        {"epsilon": epsilon},
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
