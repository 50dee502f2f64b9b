"""Candidates of a detection head, selected image by image as one would write it in NumPy."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastxent._floats import with_default_floats
from fastxent._selection import (
    NO_SCORES,
    Array,
    Selection,
    SelectionRequest,
    ruled_out,
    tolerance,
)
from fastxent.reference.backend import evaluate_score

#: What fills `out` with a score called `name` of `values`: a backend's `evaluate_score`.
Evaluate = Callable[[str, Array, Array, int], None]


class _Image(NamedTuple):
    """The candidates of an image in their order, and two counts."""

    anchor: Array
    label: Array
    score: Array
    found: int
    nan: int


@with_default_floats
def select_candidates(request: SelectionRequest, evaluate: Evaluate = evaluate_score) -> Selection:
    """Select the candidates of all images; another backend may compute the scores."""
    level = np.repeat(np.arange(len(request.levels)), request.level_sizes)
    values = _by_image(request, request.levels, 3)
    scores = values
    if request.activation is not None:
        computed = [_evaluated(request, request.activation, z, evaluate) for z in request.levels]
        scores = _by_image(request, computed, 3)
    is_open = np.ones(values.shape[:2], bool)
    if request.objectness is not None:
        parts = list(request.objectness)
        if request.activation is not None:
            parts = [_evaluated(request, "sigmoid", part, evaluate) for part in parts]
        objectness = _by_image(request, parts, 2)
        if request.activation is None and _is_outside(request.objectness[0], objectness).any():
            return NO_SCORES
        is_open = ~ruled_out(request, objectness)
        scores = _combined(request, scores, objectness)
    if request.activation is None:
        outside = _is_outside(request.levels[0], values[is_open])
        if outside[:, np.arange(request.classes) != request.background].any():
            return NO_SCORES
    images = [
        _select(request, *image, level) for image in zip(values, scores, is_open, strict=True)
    ]
    counts = [len(image.anchor) for image in images]
    return Selection(
        image=np.repeat(np.arange(len(images)), counts).astype(np.intp),
        anchor=_joined([image.anchor for image in images], np.intp),
        label=_joined([image.label for image in images], np.intp),
        score=_joined([image.score for image in images], request.score_dtype),
        offsets=np.cumsum([0, *counts], dtype=np.intp),
        found=np.array([image.found for image in images], np.intp),
        nan=np.array([image.nan for image in images], np.intp),
    )


def _joined(arrays: list[Array], dtype: DTypeLike) -> Array:
    return np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)


def _by_image(request: SelectionRequest, levels: Sequence[Array], ndim: int) -> Array:
    """Return (images, anchors, classes), or without classes, of the dtype of the scores."""
    parts = []
    for level, size in zip(levels, request.level_sizes, strict=True):
        shape = (request.images, size, request.classes)[:ndim]
        parts.append(level.astype(request.score_dtype).reshape(shape))
    return np.concatenate(parts, axis=1)


def _evaluated(request: SelectionRequest, name: str, values: Array, evaluate: Evaluate) -> Array:
    """Return a score as the public function of this name does."""
    out = np.empty_like(values, np.float64 if values.dtype.itemsize == 8 else np.float32)
    if values.size:
        evaluate(name, values, out, request.threads)
    return out


def _combined(request: SelectionRequest, scores: Array, objectness: Array) -> Array:
    with np.errstate(all="ignore"):
        product: Array = scores * objectness[..., None]
        return np.sqrt(np.maximum(product, 0)) if request.combine == "sqrt" else product


def _is_outside(array: Array, values: Array) -> NDArray[np.bool_]:
    """Tell which values are no scores; `array` is what they come from."""
    margin = tolerance(array.dtype)
    outside: NDArray[np.bool_] = (values < -margin) | (values > 1 + margin)
    return outside


def _select(
    request: SelectionRequest,
    values: Array,
    scores: Array,
    is_open: NDArray[np.bool_],
    level: Array,
) -> _Image:
    """Select the candidates of an image; `is_open` are the anchors that may have some."""
    numbers = np.arange(request.classes)
    able = numbers != request.background
    nan = int(np.count_nonzero(np.isnan(scores[is_open][:, able])))
    thresholds = request.thresholds
    passes = ~np.isnan(scores) if thresholds is None else scores > thresholds
    if not request.multi_label:
        passes &= numbers == _best_classes(values, able)[:, None]
    anchor, label = np.nonzero(passes & request.returned)
    score, value = scores[anchor, label], values[anchor, label]
    order = np.lexsort((label, anchor, -value, -score))
    anchor, label, score = anchor[order], label[order], score[order]
    if request.top_k is not None:
        groups = {"image": np.zeros_like(anchor), "level": level[anchor], "class": label}
        kept = _ranks(groups[request.top_k_per]) < request.top_k
        anchor, label, score = anchor[kept], label[kept], score[kept]
    return _Image(anchor, label, score, len(order), nan)


def _best_classes(values: Array, able: NDArray[np.bool_]) -> Array:
    """Return of each anchor the class of the largest value, or -1 where there is none."""
    usable = able & ~np.isnan(values)
    largest = np.max(values, axis=-1, keepdims=True, where=usable, initial=-np.inf)
    best: Array = (usable & (values == largest)).argmax(axis=-1)
    return np.where(usable.any(axis=-1), best, -1)


def _ranks(groups: Array) -> Array:
    """Return how many elements of the same group come before each."""
    order = np.argsort(groups, kind="stable")
    in_order = groups[order]
    starts = np.searchsorted(in_order, in_order, side="left")
    ranks = np.empty(len(groups), np.intp)
    ranks[order] = np.arange(len(groups)) - starts
    return ranks
