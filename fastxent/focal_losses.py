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
from fastxent._docs import SIGMOID_PARTS, SOFTMAX_PARTS, fill_docstring

__all__ = ["asymmetric_loss", "sigmoid_focal_loss", "softmax_focal_loss"]

_SIGMOID_FOCAL_LOSS = LOSSES["sigmoid_focal_loss"]
_SOFTMAX_FOCAL_LOSS = LOSSES["softmax_focal_loss"]
_ASYMMETRIC_LOSS = LOSSES["asymmetric_loss"]


@fill_docstring(SIGMOID_PARTS)
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
    <logits and targets>
    alpha : float or array_like of shape (C,) or None, default 0.25
        Factor of the positives, from 0 to 1; the negatives have 1 - alpha. None: both have 1.
    gamma : float, default 2.0
        The exponent; finite and not negative. With 0 it is a weighted cross-entropy.
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

    <accuracy>

    <limits>

    <zeros and nans>

    <resources>

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


@fill_docstring(SOFTMAX_PARTS)
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
    <logits and targets>
    alpha : float or array_like of shape (C,) or None, default None
        Factor of the terms, finite and not negative; per class, or one for all. None: 1.
    gamma : float, default 2.0
        The exponent; finite and not negative.
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
    softmax_cross_entropy : The case gamma = 0.
    sigmoid_focal_loss : Any number of classes per anchor.

    Notes
    -----
    A number as `alpha` is a factor of the whole loss: there are no negatives here that could have
    1 - alpha. It counts for no normalizer, unlike `class_weight` with ``normalizer="weight"``.

    <accuracy>

    <limits>

    <zeros and nans>

    <resources>

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


@fill_docstring(SIGMOID_PARTS)
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
    <logits and targets>
    gamma_neg : float, default 4.0
        The exponent of the negatives; finite and not negative.
    gamma_pos : float, default 1.0
        The exponent of the positives; finite and not negative.
    clip : float, default 0.05
        What is subtracted from the probability of a negative: 0, or from 1e-30 to below 1. Where p
        is not above it, a negative has neither loss nor gradient.
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
    sigmoid_focal_loss : One exponent for both sides.
    sigmoid_cross_entropy : The case of both exponents and `clip` 0.

    Notes
    -----
    The paper's targets are 0 and 1. The loss of a soft one is divided between the two sides in
    proportion: it is linear in y, like the paper's formula 7. The gradient is that of the whole
    formula, the weights (1 - p)^gamma_pos and p'^gamma_neg included, which the authors' code has as
    ``disable_torch_grad_focal_loss=False``.

    <accuracy>

    Infinite logits follow the limit:

    ===== ======== ===================================================
    logit y = 1    y = 0
    ===== ======== ===================================================
    +inf  0        (1 - clip)^gamma_neg (-log(clip)); inf for clip = 0
    -inf  inf      0
    nan   nan      nan
    ===== ======== ===================================================

    Gradients are finite there.

    <zeros and nans>

    <resources>

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
