"""The losses of logits: what each one means, and one call."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

from typing import SupportsIndex

from numpy.typing import ArrayLike  # noqa: TC002 - typing.get_type_hints looks for it here

from fastxent._docs import SIGMOID_PARTS, SOFTMAX_PARTS, fill_docstring
from fastxent._evaluate import evaluate_loss
from fastxent._request import Array, ArrayOrScalar, IgnoreIndex, Loss

__all__ = ["sigmoid_cross_entropy", "softmax_cross_entropy"]

_SIGMOID_CROSS_ENTROPY = Loss("sigmoid_cross_entropy", "logits", sigmoid=True)
_SOFTMAX_CROSS_ENTROPY = Loss("softmax_cross_entropy", "logits", sigmoid=False)


@fill_docstring(SIGMOID_PARTS)
def sigmoid_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    axis: SupportsIndex | None = -1,
    reduction: str = "anchor",
    normalizer: str | float = "valid",
    empty: str | float = 0.0,
    weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: str | None = None,
) -> ArrayOrScalar:
    """Sigmoid (binary) cross-entropy from logits: each class is a question of its own.

    With softplus(z) = log(1 + exp(z)), the loss of class c of an anchor, in nats, is ::

        loss_c = weight class_weight_c [(1 - y_c) softplus(z_c) + pos_weight_c y_c softplus(-z_c)]

    and the anchor's loss is the sum over its classes.

    Parameters
    ----------
    logits : array_like of float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers of the shape of `logits` without the class axis (the anchors'
        shape). 0..C-1 are classes, C means "no class". Or dense targets y: bool, integers 0 and 1
        or floats in [0, 1], of the shape of `logits`. With ``axis=None`` both have the shape of
        `logits`; label 1 is positive, 0 negative.
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
    binary_cross_entropy : The same from probabilities.

    Notes
    -----
    Accuracy: relative error at most 4 ULP in float32, for losses of any size.

    Infinite logits follow the limit:

    ===== ======== ========
    logit y = 1    y = 0
    ===== ======== ========
    +inf  0        inf
    -inf  inf      0
    nan   nan      nan
    ===== ======== ========

    A factor of 0 (a target, a weight) removes a term even if it is infinite. A NaN makes the loss
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it.

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
    """
    return evaluate_loss(
        _SIGMOID_CROSS_ENTROPY,
        logits,
        targets,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        axis=axis,
        reduction=reduction,
        normalizer=normalizer,
        empty=empty,
        weight=weight,
        class_weight=class_weight,
        ignore_index=ignore_index,
        background_index=background_index,
        out=out,
        num_threads=num_threads,
        backend=backend,
    )


@fill_docstring(SOFTMAX_PARTS)
def softmax_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    axis: SupportsIndex = -1,
    reduction: str = "anchor",
    normalizer: str | float = "valid",
    empty: str | float = 0.0,
    weight: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: IgnoreIndex = -100,
    background_index: SupportsIndex | None = None,
    out: Array | None = None,
    num_threads: SupportsIndex | None = None,
    backend: str | None = None,
) -> ArrayOrScalar:
    """Softmax cross-entropy from logits: each anchor has one of C classes.

    The loss of an anchor, in nats, is ::

        loss = weight sum_c class_weight_c y_c [log(sum_k exp(z_k)) - z_c]

    Parameters
    ----------
    logits : array_like of float32 or float64
        Logits z of any shape, with C classes on `axis`.
    targets : array_like
        Class labels: integers 0..C-1 of the shape of `logits` without the class axis (the
        anchors' shape). Or dense targets y: bool, integers 0 and 1 or floats in [0, 1], of the
        shape of `logits`; they need not add up to 1.
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
    log_softmax : The logarithms that this is made of.

    Notes
    -----
    Accuracy: relative error at most 4 ULP in float32, for losses of any size.

    Infinite logits follow the limit:

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
    of its anchor NaN, and of no other; nothing but `ignore_index` removes it.

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
        label_smoothing=label_smoothing,
        axis=axis,
        reduction=reduction,
        normalizer=normalizer,
        empty=empty,
        weight=weight,
        class_weight=class_weight,
        ignore_index=ignore_index,
        background_index=background_index,
        out=out,
        num_threads=num_threads,
        backend=backend,
    )
