"""Which anchors a loss is to be taken of: hard negatives, and the hardest examples."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

from typing import SupportsIndex

import numpy as np  # noqa: TC002 - typing.get_type_hints looks for it here
from numpy.typing import ArrayLike, NDArray  # noqa: TC002 - likewise

from fastxent._call.mining import mark_hardest, mine_negatives
from fastxent._contract import BackendName, IgnoreIndex  # noqa: TC001 - likewise

__all__ = ["hard_negatives", "ohem"]


def hard_negatives(
    losses: ArrayLike,
    labels: ArrayLike,
    *,
    ratio: float = 3.0,
    min_negatives: SupportsIndex = 0,
    background_index: SupportsIndex | None = None,
    ignore_index: IgnoreIndex = -100,
    batch_ndim: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> NDArray[np.bool_]:
    """Mask of the negatives with the largest losses, a number of them for each positive.

    Of an image with P positives and N negatives whose losses are not NaN, these are the ::

        k = min(max(floor(ratio * P), min_negatives), N)

    negatives with the largest losses; of equal losses those of the lower index.

    Parameters
    ----------
    losses : array_like of float16, bfloat16, float32 or float64
        The loss of each anchor: the first `batch_ndim` axes are images, all others their anchors.
    labels : array_like
        Of the shape of `losses`. Bool: True is a positive, False a negative. Or class labels:
        integers, where `background_index` is a negative and any other a positive.
    ratio : float, default 3.0
        Negatives for each positive; not negative. ``inf``: all negatives of an image that has a
        positive.
    min_negatives : int, default 0
        Negatives of an image with few positives or none, which otherwise has none.
    background_index : int, optional
        The class label that means "no class", literally: 0 for SSD and torchvision, the number of
        classes for mmdetection, -1 for some others. Class labels need it; bool ones have none.
    ignore_index : int or tuple of int, default -100
        Class labels of anchors that are neither positives nor negatives, even where it is the
        `background_index`.
    batch_ndim : int, default 1
        How many of the first axes are images, of which each has a choice of its own. 0: one for the
        whole batch.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default. "numba" uses the native kernels.

    Returns
    -------
    ndarray of bool
        True where an anchor is chosen, of the shape of `losses`.

    Raises
    ------
    ValueError
        A label is negative, and neither the `background_index` nor an `ignore_index`; a shape does
        not fit, or an option has no such value. The message names the argument, the position and
        the value.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    ohem : The largest losses of all anchors.
    softmax_cross_entropy : The losses that SSD mines by.

    Notes
    -----
    Positives, ignored anchors and NaN losses are never chosen, however few negatives there are. A
    loss of +inf is the largest, and one of -inf the smallest; 0.0 and -0.0 are equal.

    What is mined by is the loss, not the score of the background. The loss of an image is then the
    sum over its positives and what is chosen, divided by the number of positives::

        losses[mask | positive].sum() / max(1, positive.sum())

    `ratio` times P is rounded in float64 before it is rounded down: 0.29 times 100 is 28. With
    ``batch_ndim=0`` positives are counted, and negatives chosen, across the whole batch.

    ======================================================== =======================================
    replaced                                                 by
    ======================================================== =======================================
    torchvision, ``SSD.compute_loss``, its two sorts         ``hard_negatives(losses, labels,
                                                             background_index=0)``
    mmdetection, ``SSDHead.loss_by_feat_single``, its topk   ``hard_negatives(losses, labels,
                                                             background_index=C, ignore_index=-1)``
    Gluon CV, ``SSDMultiBoxLoss(min_hard_negatives=n)``      ``min_negatives=n``
    ======================================================== =======================================

    Where `ratio` is no whole number, torchvision's comparison rounds up. torchvision does not see
    to it that what it chooses is a negative.

    Memory: the result, and for each thread some KB and what the largest image needs; input that
    does not hold the elements of an image at an even stride is copied.
    Threads: `num_threads`, of which each takes whole images. The result is the same for any number.

    References
    ----------
    .. [1] W. Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> losses = np.float32([[0.1, 2.0, 0.4, 0.3, 0.2], [0.5, 0.1, 0.3, 0.2, 0.9]])
    >>> labels = [[0, 7, 0, 0, -100], [0, 0, 0, 0, 0]]
    >>> print(fx.hard_negatives(losses, labels, ratio=1, background_index=0).astype(int))
    [[0 0 1 0 0]
     [0 0 0 0 0]]

    The second image has no object, and nothing to learn from unless asked to.

    >>> mask = fx.hard_negatives(losses, labels, ratio=1, min_negatives=2, background_index=0)
    >>> print(mask.astype(int))
    [[0 0 1 1 0]
     [1 0 0 0 1]]
    """
    return mine_negatives(
        losses,
        labels,
        ratio=ratio,
        min_negatives=min_negatives,
        background_index=background_index,
        ignore_index=ignore_index,
        batch_ndim=batch_ndim,
        num_threads=num_threads,
        backend=backend,
    )


def ohem(
    losses: ArrayLike,
    k: ArrayLike,
    *,
    batch_ndim: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> NDArray[np.bool_]:
    """Mask of the k largest losses of each image: online hard example mining.

    Of equal losses those of the lower index are chosen.

    Parameters
    ----------
    losses : array_like of float16, bfloat16, float32 or float64
        The loss of each anchor: the first `batch_ndim` axes are images, all others their anchors.
    k : int or array_like of int
        How many of each image: a number, or an array of the shape of the images; not negative.
        Beyond the losses that are not NaN: all of those.
    batch_ndim : int, default 1
        How many of the first axes are images, of which each has a choice of its own. 0: one for the
        whole batch.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default. "numba" uses the native kernels.

    Returns
    -------
    ndarray of bool
        True where an anchor is chosen, of the shape of `losses`.

    Raises
    ------
    ValueError
        A number is negative, or a shape does not fit. The message names the argument, the position
        and the value.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    hard_negatives : A number of negatives for each positive.

    Notes
    -----
    NaN losses are never chosen. A loss of +inf is the largest, and one of -inf the smallest; 0.0
    and -0.0 are equal.

    =================================================== ==========================================
    replaced                                            by
    =================================================== ==========================================
    ``_, i = losses.topk(min(k, losses.numel()))``, and ``losses[ohem(losses, k, batch_ndim=0)]``
    ``losses[i]``
    mmdetection, ``OHEMSampler.hard_mining``            the same with the losses of the candidates
    =================================================== ==========================================

    Memory: the result, and for each thread some KB and what the largest image needs; input that
    does not hold the elements of an image at an even stride is copied.
    Threads: `num_threads`, of which each takes whole images. The result is the same for any number.

    References
    ----------
    .. [1] A. Shrivastava, A. Gupta and R. Girshick, "Training Region-based Object Detectors with
       Online Hard Example Mining", CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> losses = np.float32([[0.1, 2.0, 0.4, 0.4], [0.5, np.nan, 0.3, 0.2]])
    >>> print(fx.ohem(losses, 2).astype(int))
    [[0 1 1 0]
     [1 0 1 0]]
    >>> print(fx.ohem(losses, [1, 9]).astype(int))
    [[0 1 0 0]
     [1 0 1 1]]
    """
    return mark_hardest(losses, k, batch_ndim=batch_ndim, num_threads=num_threads, backend=backend)
