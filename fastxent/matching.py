"""What it costs to match a query with a ground truth, as far as its class says."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

from typing import Any, Literal, SupportsIndex, overload

from numpy.typing import ArrayLike  # noqa: TC002 - typing.get_type_hints looks for it here

from fastxent._call.matching import match_cost
from fastxent._contract import Array, BackendName, CostKind  # noqa: TC001 - likewise

__all__ = ["class_cost"]


@overload
def class_cost(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    kind: CostKind = ...,
    alpha: float | None = ...,
    gamma: float = ...,
    objectness: ArrayLike | None = ...,
    axis: SupportsIndex = ...,
    batch_ndim: Literal[0],
    num_threads: SupportsIndex | None = ...,
    backend: BackendName | None = ...,
) -> Array: ...
@overload
def class_cost(
    logits: ArrayLike,
    labels: list[Any] | tuple[Any, ...],
    *,
    kind: CostKind = ...,
    alpha: float | None = ...,
    gamma: float = ...,
    objectness: ArrayLike | None = ...,
    axis: SupportsIndex = ...,
    batch_ndim: SupportsIndex = ...,
    num_threads: SupportsIndex | None = ...,
    backend: BackendName | None = ...,
) -> list[Array]: ...
@overload
def class_cost(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    kind: CostKind = ...,
    alpha: float | None = ...,
    gamma: float = ...,
    objectness: ArrayLike | None = ...,
    axis: SupportsIndex = ...,
    batch_ndim: SupportsIndex = ...,
    num_threads: SupportsIndex | None = ...,
    backend: BackendName | None = ...,
) -> Array: ...
def class_cost(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    kind: CostKind = "focal",
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    objectness: ArrayLike | None = None,
    axis: SupportsIndex = -1,
    batch_ndim: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> Array | list[Array]:
    """Classification costs of queries and ground truths, for the matching of a detector.

    Of a query with logits z, probabilities p of their sigmoids, and a ground truth of class t::

        focal    alpha (1 - p_t)^gamma (-log p_t) - (1 - alpha) p_t^gamma (-log(1 - p_t))
        sigmoid  -p_t
        softmax  -softmax(z)_t
        simota   sum_c BCE(q_c, [c = t]) with q_c = sqrt(p_c sigmoid(objectness))

    Only an image's own queries and ground truths are combined.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Logits z with C classes on `axis`. The first `batch_ndim` axes are images; all other axes
        are the Q queries of an image, in C order: (B, Q, C), or (B, C, H, W) with ``axis=1``.
    labels : sequence of array_like, or array_like
        Class labels 0..C-1 of the ground truths. A list or a tuple of a sequence of integers for
        each image, which may differ in length, or be empty. Or an array (B, T). With
        ``batch_ndim=0`` an array or a list (T,).
    kind : {"focal", "softmax", "sigmoid", "simota"}, default "focal"
        The formula.
    alpha : float or None, default 0.25
        Weight of the positive cost in [0, 1], and 1 minus that of the negative; None: both have
        the factor 1. For "focal" only.
    gamma : float, default 2.0
        Exponent; not negative. For "focal" only.
    objectness : array_like of float16, bfloat16, float32 or float64, optional
        Logits, of the shape of `logits` without the class axis. For "simota", which needs them,
        and no other.
    axis : int, default -1
        The class axis.
    batch_ndim : int, default 1
        How many of the first axes are images. 0: there is one image, without an axis.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default. "numba" uses the native kernels.

    Returns
    -------
    list of ndarray, or ndarray
        For a list of labels, a list of B arrays (Q, T_b), which are views of one buffer; of several
        axes of images, in C order. For an array, one of shape (B, Q, T); with ``batch_ndim=0`` (Q,
        T). float64 for float64 logits, otherwise float32.

    Raises
    ------
    ValueError
        A label is out of range, a shape does not fit, or an option has no such value. The message
        names the argument, the image, the place and the value. Nothing has been computed then.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    sigmoid_focal_loss : The loss that "focal" goes with.

    Notes
    -----
    It is the term of the class alone; weights and costs of boxes are the caller's::

        cost = 2 * fx.class_cost(logits, labels)[b] + 5 * l1 + 2 * giou
        rows, columns = scipy.optimize.linear_sum_assignment(np.nan_to_num(cost, nan=1e9))

    All costs are computed from logits, without a 1e-8 in a logarithm and without a bound: they are
    finite for all finite logits, in every dtype, up to where the exact sum overflows, and do not
    end where a probability rounds to 0 or 1. The form with ``log(p + 1e-8)`` in float32 differs by
    up to 3e-3 where abs(z) < 11.5, and by more beyond, where it is flat; in float16 its 1e-8 is
    zero, and its costs are infinite or NaN.

    A NaN logit makes NaN of the costs of its query that depend on it: those of its class for
    "focal" and "sigmoid", of all classes otherwise. Infinite logits follow the limit; "softmax" is
    NaN where two or more logits of a query are +inf, or all of them -inf.

    Accuracy: relative error at most 4 ULP (2^-23) in float32; of "focal" 3 + `gamma`, relative to
    the larger of its two terms.

    ==================================================== ===========================================
    replaced                                             by
    ==================================================== ===========================================
    DETR, ``-out_prob[:, tgt_ids]``, softmax, ``split``  ``kind="softmax"``
    Deformable DETR, DINO, RT-DETR with the focal loss   ``kind="focal"``
    RT-DETR without the focal loss                       ``kind="sigmoid"``
    mmdetection ``FocalLossCost(weight=w)``              ``w * class_cost(logits, labels)``
    mmdetection ``ClassificationCost``                   ``kind="softmax"``
    YOLOX, mmdetection ``SimOTAAssigner``, class cost    ``kind="simota", objectness=...``
    ==================================================== ===========================================

    Memory: the result, and for each thread the logits of some queries; no array of queries, ground
    truths and classes. Strided input is read where it is.
    Threads: `num_threads`; short calls use fewer. The result has the same bits for any number.

    References
    ----------
    .. [1] N. Carion et al., "End-to-End Object Detection with Transformers", ECCV 2020.
    .. [2] X. Zhu et al., "Deformable DETR: Deformable Transformers for End-to-End Object
       Detection", ICLR 2021.
    .. [3] Z. Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.float32([[[2.0, -1.0], [0.0, 0.0]], [[-3.0, 3.0], [1.0, 1.0]]])
    >>> for cost in fx.class_cost(logits, [[0, 1, 1], []], kind="sigmoid"):
    ...     print(cost.shape, *cost.round(2))
    (2, 3) [-0.88 -0.27 -0.27] [-0.5 -0.5 -0.5]
    (2, 0) [] []
    >>> print(fx.class_cost(logits[0], [0, 1], batch_ndim=0).round(3))
    [[-1.237  0.158]
     [-0.087 -0.087]]
    """
    return match_cost(
        logits,
        labels,
        kind=kind,
        alpha=alpha,
        gamma=gamma,
        objectness=objectness,
        axis=axis,
        batch_ndim=batch_ndim,
        num_threads=num_threads,
        backend=backend,
    )
