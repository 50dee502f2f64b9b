"""From the logits of a detection head to the pairs of anchor and class that count."""

from __future__ import annotations  # signatures shall read "ArrayLike", not what that stands for

import operator
from collections.abc import Sequence  # noqa: TC003 - typing.get_type_hints looks for it here
from dataclasses import dataclass
from typing import Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike  # noqa: TC002 - likewise

from fastxent._call.selection import refuse_scores, selection_request
from fastxent._config import backend_module
from fastxent._contract import Array, BackendName  # noqa: TC001 - likewise

__all__ = ["Candidates", "select_candidates"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs of anchor and class that :func:`select_candidates` returns, the best of an image first.

    Parameters
    ----------
    image : ndarray of intp, shape (N,)
        Of each candidate the number of its image, ascending.
    anchor : ndarray of intp, shape (N,)
        The number of its anchor within its image, all levels one after the other.
    label : ndarray of intp, shape (N,)
        Its class.
    score : ndarray of float32 or float64, shape (N,)
        Its score: float64 for float64 logits.
    offsets : ndarray of intp, shape (B + 1,)
        The candidates of image i are those from ``offsets[i]`` to before ``offsets[i + 1]``.
    found : ndarray of intp, shape (B,)
        Of each image the pairs above the threshold, of which `top_k` leaves the best: where
        ``found > counts`` it has left some out.
    nan : ndarray of intp, shape (B,)
        Of each image the scores that are NaN, among all classes but the background.
    level_sizes : tuple of int
        The number of anchors that an image has on each level.

    Attributes
    ----------
    counts : ndarray of intp, shape (B,)
        Of each image the number of its candidates.
    level : ndarray of intp, shape (N,)
        Of each candidate the number of its level.
    index : ndarray of intp, shape (N,)
        Of each candidate the number of its anchor within its level.

    See Also
    --------
    select_candidates : Where they come from.

    Notes
    -----
    Frozen; `len` is the number of candidates. Arrays are empty, and of the same dtypes, where
    nothing was selected.
    """

    image: Array
    anchor: Array
    label: Array
    score: Array
    offsets: Array
    found: Array
    nan: Array
    level_sizes: tuple[int, ...]

    @property
    def counts(self) -> Array:
        """Of each image, the number of its candidates."""
        return np.diff(self.offsets)

    @property
    def level(self) -> Array:
        """Of each candidate, the number of its level."""
        return np.searchsorted(self._level_starts, self.anchor, side="right") - 1

    @property
    def index(self) -> Array:
        """Of each candidate, the number of its anchor within its level."""
        return self.anchor - self._level_starts[self.level]

    @property
    def _level_starts(self) -> Array:
        return np.cumsum((0, *self.level_sizes), dtype=np.intp)[:-1]

    def __len__(self) -> int:
        return len(self.anchor)

    def per_image(self, i: SupportsIndex) -> Candidates:
        """Return the candidates of one image.

        Parameters
        ----------
        i : int
            The number of the image; negative numbers count from the last.

        Returns
        -------
        Candidates
            Views of the arrays; `image` keeps i.

        Raises
        ------
        IndexError
            There is no such image.
        """
        images, number = len(self.found), operator.index(i)
        if not -images <= number < images:
            raise IndexError(f"i = {number} is out of range for {images} images")
        number %= images
        start, stop = (int(offset) for offset in self.offsets[number : number + 2])
        part, one = slice(start, stop), slice(number, number + 1)
        return Candidates(
            image=self.image[part],
            anchor=self.anchor[part],
            label=self.label[part],
            score=self.score[part],
            offsets=np.array([0, stop - start], np.intp),
            found=self.found[one],
            nan=self.nan[one],
            level_sizes=self.level_sizes,
        )


def select_candidates(
    logits: ArrayLike | Sequence[ArrayLike],
    *,
    score_threshold: ArrayLike | None = 0.05,
    top_k: SupportsIndex | None = 1000,
    top_k_per: Literal["image", "level", "class"] = "image",
    activation: Literal["sigmoid", "softmax"] | None = "sigmoid",
    axis: SupportsIndex | None = -1,
    batch_ndim: SupportsIndex = 1,
    objectness: ArrayLike | Sequence[ArrayLike] | None = None,
    combine: Literal["product", "sqrt"] = "product",
    background_index: SupportsIndex | None = None,
    multi_label: bool = True,
    classes: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> Candidates:
    """Select the pairs of anchor and class above a threshold, and of those the best k.

    What a detector does with its logits before boxes are decoded and non-maximum suppression runs.
    The score of a pair is p = sigmoid(z) or p = softmax(z)_c, or with an objectness o the product
    p * o or its root sqrt(p * o).

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64, or list or tuple of them
        Logits z of one level, or a list of levels of one dtype, batch and number of classes. The
        first `batch_ndim` axes are images, `axis` the classes, and all others, in their order,
        the anchors. Strides do not matter: a transposed view is not copied.
    score_threshold : float, array_like of shape (C,) or None, default 0.05
        Scores above it, strictly, are selected: a number in [0, 1] or one for each of the classes
        (1: never), rounded to the dtype of the scores. None: all scores but NaN, also 0.
    top_k : int or None, default 1000
        How many candidates to return at most, the best; None: all.
    top_k_per : {"image", "level", "class"}, default "image"
        Of what `top_k` is the limit: an image, a level of it, or a class of it.
    activation : {"sigmoid", "softmax"} or None, default "sigmoid"
        How logits become scores. None: `logits` and `objectness` are scores already, as at the end
        of most exported models.
    axis : int or None, default -1
        The class axis. None: a single-class head, where each element is an anchor.
    batch_ndim : int, default 1
        How many leading axes are images; 0: one image.
    objectness : array_like of float, or list or tuple of them, optional
        Logits (with ``activation=None``: scores) of the shape of `logits` without the class axis,
        level by level, that become scores with a sigmoid.
    combine : {"product", "sqrt"}, default "product"
        What makes one score of two: p * o, or sqrt(p * o) as in FCOS.
    background_index : int, optional
        A class that is never returned, nor ever the best; it takes part in the softmax. Negative
        numbers count from the last.
    multi_label : bool, default True
        Whether an anchor may be returned with several classes. False: only with that of its largest
        logit (the lowest of equals, NaN left out), if the score of that passes.
    classes : array_like of int, or of bool and shape (C,), optional
        Which classes to return, before `top_k` counts. The others still take part in the softmax
        and in the choice of the best class.
    num_threads : int, optional
        From 1 to 1024; see :func:`get_num_threads` for the default.
    backend : {"native", "numba", "numpy"}, optional
        What computes; see :func:`set_backend` for the default. "numba" uses the kernels of
        "native".

    Returns
    -------
    Candidates
        A frozen dataclass: `image`, `anchor`, `label` and `score` of each candidate, the `offsets`
        of the images, and per image how many pairs were `found` above the threshold and how many
        scores are `nan`.

    Raises
    ------
    ValueError
        A shape, a class or an option does not fit, or with ``activation=None`` a value lies outside
        [0, 1] by more than rounding (1e-6; float16 1e-3; bfloat16 1e-2) where that could matter.
        The message names the argument, the position and the value.
    TypeError
        An argument has the wrong type or dtype.

    See Also
    --------
    Candidates : The result.
    sigmoid : The scores, bit for bit.
    softmax : Likewise, of contiguous arrays.

    Notes
    -----
    Candidates are in the order of their image; then of the score, descending; then of the logit,
    descending, for scores are rounded and many are 1; then of the anchor, then of the class. The
    cut of `top_k` follows the same order, so nothing is left to chance among ties.

    NaN is never selected. ``Candidates.nan`` counts NaN scores of all classes but the background,
    also outside `classes`; not those of anchors that their objectness rules out: if p was 1, the
    score would not exceed the smallest threshold of the classes to be returned. The sigmoid of -inf
    is 0 and of +inf 1; for the softmax see :func:`softmax`.

    What others write by hand, up to the boxes:

    ==================================== ==========================================================
    written by hand                      as a call
    ==================================== ==========================================================
    torchvision RetinaNet, both loops    ``levels, top_k_per="level"``
    torchvision FCOS                     ``levels, objectness=[c[..., 0] for c in centerness],
                                         combine="sqrt", score_threshold=0.2, top_k_per="level"``
    torchvision SSD, loop over classes   ``activation="softmax", background_index=0,
                                         score_threshold=0.01, top_k=400, top_k_per="class"``
    detectron2 RetinaNet, up to NMS      ``[np.moveaxis(x.reshape(B, A, K, H, W), 1, -1)
                                         for x in levels], axis=1, top_k_per="level"``
    mmdet `filter_scores_and_topk`       the same, or with one anchor a cell (B, C, H, W) and
                                         ``axis=1``; softmax heads with ``activation="softmax",
                                         background_index=-1``; afterwards
                                         ``score * sigmoid(factor)[image, anchor]``
    ultralytics, up to `max_nms`         ``out[:, 4:], activation=None, axis=1, multi_label=False,
                                         score_threshold=0.25, top_k=30000, classes=...``
    YOLOX `postprocess` up to NMS        ``y[..., 5:], activation=None, objectness=y[..., 4],
                                         multi_label=False, score_threshold=..., top_k=None``
                                         (theirs is ``>=``)
    DETR `PostProcess`                   ``activation="softmax", background_index=-1,
                                         multi_label=False, score_threshold=None, top_k=None``
    Deformable DETR, RT-DETR             ``score_threshold=None, top_k=300``
    rapid-layout PicoDet                 ``levels, axis=1, score_threshold=0.4,
                                         top_k_per="level"``, of (1, 10, H, W) each
    ==================================== ==========================================================

    Backends and instruction sets differ in the last bits of scores; of pairs that close to the
    threshold, one may select what another does not.

    Memory: the result and, in backend "numpy", a few arrays of the size of the logits.
    Threads: `num_threads`; short calls use fewer. The result is the same for any number.

    References
    ----------
    .. [1] T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object
       Detection", ICCV 2017, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastxent as fx
    >>> logits = np.array([[[-4.0, 1.0], [2.0, -9.0], [-5.0, -1.0]]], np.float32)
    >>> best = fx.select_candidates(logits, score_threshold=0.2, top_k=2)
    >>> best.anchor, best.label, best.score.round(2)
    (array([1, 0]), array([0, 1]), array([0.88, 0.73], dtype=float32))
    >>> best.found
    array([3])
    """
    compute = backend_module(backend)
    request = selection_request(
        logits,
        score_threshold=score_threshold,
        top_k=top_k,
        top_k_per=top_k_per,
        activation=activation,
        axis=axis,
        batch_ndim=batch_ndim,
        objectness=objectness,
        combine=combine,
        background_index=background_index,
        multi_label=multi_label,
        classes=classes,
        num_threads=num_threads,
    )
    selection = compute.select_candidates(request)
    if selection.has_outside:
        refuse_scores(request)
    return Candidates(
        image=selection.image,
        anchor=selection.anchor,
        label=selection.label,
        score=selection.score,
        offsets=selection.offsets,
        found=selection.found,
        nan=selection.nan,
        level_sizes=request.level_sizes,
    )
