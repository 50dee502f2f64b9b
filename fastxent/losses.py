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
from fastxent._docs import SIGMOID_PARTS, SOFTMAX_PARTS, fill_docstring

__all__ = ["poly1_cross_entropy", "sigmoid_cross_entropy", "softmax_cross_entropy"]

_SIGMOID_CROSS_ENTROPY = LOSSES["sigmoid_cross_entropy"]
_SOFTMAX_CROSS_ENTROPY = LOSSES["softmax_cross_entropy"]
_POLY1_CROSS_ENTROPY = LOSSES["poly1_cross_entropy"]


@fill_docstring(SIGMOID_PARTS)
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
    <logits and targets>
    pos_weight : float or array_like of shape (C,), optional
        Factor of the positive terms; finite and not negative.
    label_smoothing : float, default 0.0
        With s, from 0 to 1, targets become y (1 - s) + s / 2.
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
    softmax_cross_entropy : One class per anchor.
    sigmoid_focal_loss : The same with less weight on what is easy.
    binary_cross_entropy : The same from probabilities.

    Notes
    -----
    <accuracy>

    Infinite logits follow the limit:

    ===== ======== ======== ============== ==============
    logit y = 1    y = 0    gradient y = 1 gradient y = 0
    ===== ======== ======== ============== ==============
    +inf  0        inf      0              1
    -inf  inf      0        -1             0
    nan   nan      nan      nan            nan
    ===== ======== ======== ============== ==============

    <zeros and nans>

    <resources>

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


@fill_docstring(SOFTMAX_PARTS)
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
    <logits and targets>
    label_smoothing : float, default 0.0
        With s, from 0 to 1, targets become y (1 - s) + s / C.
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
    sigmoid_cross_entropy : Any number of classes per anchor.
    categorical_cross_entropy : The same from probabilities.
    poly1_cross_entropy : The same with one more coefficient.
    log_softmax : The logarithms that this is made of.

    Notes
    -----
    <accuracy>

    <limits>

    <zeros and nans>

    <resources>

    References
    ----------
    <logsumexp reference>
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


@fill_docstring(SOFTMAX_PARTS)
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
    <logits and targets>
    epsilon : float, default 1.0
        The additional coefficient, finite: -1 removes the first term of the series, 0 is
        :func:`softmax_cross_entropy`.
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
    softmax_cross_entropy : The case epsilon = 0.
    softmax_focal_loss : Another change of the same series.

    Notes
    -----
    <accuracy>

    With a negative `epsilon` the loss is a difference of two terms, too, and its error is relative
    to the sum of their magnitudes.

    <limits>

    <zeros and nans>

    <resources>

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
