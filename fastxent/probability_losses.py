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
from fastxent._docs import SIGMOID_PARTS, SOFTMAX_PARTS, fill_docstring

__all__ = ["binary_cross_entropy", "categorical_cross_entropy"]

_BINARY_CROSS_ENTROPY = LOSSES["binary_cross_entropy"]
_CATEGORICAL_CROSS_ENTROPY = LOSSES["categorical_cross_entropy"]


@fill_docstring(SIGMOID_PARTS)
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
    <axis>
    eps : float, default 1e-7
        Between 0 and 0.5. It may be smaller than all numbers of the dtype.
    <common parameters>

    Returns
    -------
    <result>

    Raises
    ------
    <errors>

    See Also
    --------
    sigmoid_cross_entropy : The same from logits, as the sum over the classes.

    Notes
    -----
    <accuracy>

    Gradients are with respect to the probabilities as given, and 0 in the first two rows:

    ============== ======================= =======================
    probability    y = 1                   y = 0
    ============== ======================= =======================
    0 and below    -log(eps)               -log(1 - eps)
    1 and above    -log(1 - eps)           -log(eps)
    nan            nan                     nan
    ============== ======================= =======================

    A NaN makes the loss of its anchor NaN, and of no other.

    <resources>

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


@fill_docstring(SOFTMAX_PARTS)
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
    <axis>
    eps : float, default 1e-7
        Between 0 and 0.5. It may be smaller than all numbers of the dtype.
    <common parameters>

    Returns
    -------
    <result>

    Raises
    ------
    <errors>

    See Also
    --------
    softmax_cross_entropy : The same from logits.

    Notes
    -----
    <accuracy>

    ======================= =============================
    q of the class (y = 1)  loss
    ======================= =============================
    0 and below             -log(eps)
    1 and above             -log(1 - eps)
    ======================= =============================

    Probabilities of an anchor whose sum is 0, infinite or NaN make its loss NaN, and that of no
    other anchor.

    <resources>

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
