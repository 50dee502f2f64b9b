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
from fastxent._docs import SIGMOID_PARTS, fill_docstring

__all__ = ["sigmoid_focal_loss_star"]

_SIGMOID_FOCAL_LOSS_STAR = LOSSES["sigmoid_focal_loss_star"]


@fill_docstring(SIGMOID_PARTS)
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
    <logits and targets>
    alpha : float or array_like of shape (C,) or None, default None
        Factor of the positives, from 0 to 1; the negatives have 1 - alpha. None: both have 1.
    gamma : float, default 2.0
        How steep the loss is; finite and above 0.
    beta : float, default 0.0
        How far it is shifted; finite. What is right by more than -beta / gamma costs little.
    <axis>
    <common parameters>

    Returns
    -------
    <result>

    Raises
    ------
    <errors>

    See Also
    --------
    sigmoid_focal_loss : Whose shape it has, with an exponent in place of the shift.
    sigmoid_cross_entropy : The case gamma = 1, beta = 0, alpha = None.

    Notes
    -----
    The meaning is that of ``fvcore.nn.sigmoid_focal_loss_star``, where ``alpha=-1`` stands for None
    and targets are 0 and 1. The loss of a soft one is divided between the two sides in proportion.

    <accuracy>

    Infinite logits follow the limit:

    ===== ===== =====
    logit y = 1 y = 0
    ===== ===== =====
    +inf  0     inf
    -inf  inf   0
    nan   nan   nan
    ===== ===== =====

    Gradients are finite there.

    <zeros and nans>

    <resources>

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
