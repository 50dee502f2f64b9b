"""The focal loss* of the RetinaNet paper: a cross-entropy of stretched and shifted logits."""

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

__all__ = ["sigmoid_focal_loss_star"]

_SIGMOID_FOCAL_LOSS_STAR = LOSSES["sigmoid_focal_loss_star"]


def sigmoid_focal_loss_star(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: float = 2.0,
    beta: float = 0.0,
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
    """Sigmoid focal loss* from logits: the cross-entropy of stretched and shifted logits.

    With x = z for the positive and x = -z for the negative side of a class, the loss of class c of
    an anchor, in nats, is ::

        star(x) = log(1 + exp(-(gamma x + beta))) / gamma
        loss_c = weight class_weight_c [alpha y_c star(z_c) + (1 - alpha) (1 - y_c) star(-z_c)]

    and the anchor's loss is the sum over its classes. Its derivative with respect to z_c is ::

        weight class_weight_c [(1 - alpha) (1 - y_c) sigmoid(gamma z_c - beta)
                               - alpha y_c sigmoid(-gamma z_c - beta)]

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors' shape).
        0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1 or floats
        in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of `logits`;
        label 1 is positive, 0 negative.
    alpha : float or array_like of shape (C,) or None, default None
        Factor of the positives, from 0 to 1; the negatives have 1 - alpha. None: both have 1.
    gamma : float, default 2.0
        How steep the loss is; finite and above 0.
    beta : float, default 0.0
        How far it is shifted; finite. What is right by more than -beta / gamma costs little.
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
    sigmoid_focal_loss : Whose shape it has, with an exponent in place of the shift.
    sigmoid_cross_entropy : The case gamma = 1, beta = 0, alpha = None.

    Notes
    -----
    The meaning is that of ``fvcore.nn.sigmoid_focal_loss_star``, where ``alpha=-1`` stands for None
    and targets are 0 and 1. The loss of a soft one is divided between the two sides in proportion.

    Accuracy: relative error at most 6 ULP (2^-23) in float32 for losses of any size, and 6 ULP for
    gradients; below 1e-36, near the end of float32's range, the error is at most 1e-42. Where a
    target is soft (neither 0 nor 1) a gradient is the difference of two terms, and its error is
    relative to the sum of their magnitudes. The gradient of float16 or bfloat16 input is rounded to
    that dtype at the end.

    Infinite logits follow the limit:

    ===== ===== =====
    logit y = 1 y = 0
    ===== ===== =====
    +inf  0     inf
    -inf  inf   0
    nan   nan   nan
    ===== ===== =====

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
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object
       Detection", ICCV 2017, arXiv:1708.02002, appendix A.

    Examples
    --------
    Two anchors and three classes; the second anchor has none of them.

    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, -4.0]], dtype=np.float32)
    >>> print(fx.sigmoid_focal_loss_star(logits, [0, 3]).round(4))
    [0.7292 0.0105]

    With the paper's other choice of parameters, and the gradient:

    >>> loss, grad = fx.sigmoid_focal_loss_star(
    ...     logits, [0, 3], gamma=4.0, beta=0.0, reduction="mean", return_grad=True
    ... )
    >>> print(loss.round(4), grad.shape)
    0.2682 (2, 3)
    """
    return evaluate_loss(
        _SIGMOID_FOCAL_LOSS_STAR,
        logits,
        targets,
        {"alpha": alpha, "gamma": gamma, "beta": beta},
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
