"""Scores over classes that lie anyhow: from the class axes of a call to what backends read.

A backend takes one class axis, the last. Class axes that memory holds as one are given to it as a
view. Others, and integers, which it does not know, are copied block by block. An anchor with more
classes than a block or a kernel holds is computed in float64, part by part; what its scores need of
the other parts is a maximum and a sum.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent._arguments import class_last
from fastxent._call.validate import MOST_CLASSES
from fastxent._contract import Array, Backend

Index = tuple[Any, ...]

#: Values that are copied at a time, for two threads to find work in them; and that are computed at
#: a time in float64, which the second-level cache holds.
BLOCK_SIZE = 2**17
PART_SIZE = 2**16
#: Anchors of which parts are computed at a time.
BLOCK_ANCHORS = 256


def write_class_score(
    compute: Backend, name: str, logits: Array, out: Array, axes: Sequence[int], *, threads: int
) -> None:
    """Fill `out`, of the shape of `logits`, or without the class axes, or with ones there.

    The second condition is a short cut and no rule: one axis would go through all that follows.
    """
    if logits.size == 0:
        out[...] = -np.inf  # the logarithm of an empty sum; other scores have no elements
        return
    count, per_class = len(axes), name != "logsumexp"
    if not per_class and out.ndim == logits.ndim:
        out = out.squeeze(tuple(axes))
        if np.may_share_memory(out, logits):  # of one class, which a repair has to read
            logits = logits.copy()
    if count == 1 and logits.shape[axes[0]] <= MOST_CLASSES and logits.dtype.kind not in "biu":
        scores = class_last(out, axes[0]) if per_class else out
        compute.evaluate_score(name, class_last(logits, axes[0]), scores, threads)
        return
    # No order of the classes matters but that in memory.
    axes = sorted(axes, key=lambda axis: -abs(logits.strides[axis]))
    values, scores = _classes_last(logits, axes), _classes_last(out, axes) if per_class else out
    rows, row_scores = _joined(values, count), _joined(scores, count) if per_class else out
    if rows is not None and row_scores is not None and _suits_kernels(compute, rows, row_scores):
        compute.evaluate_score(name, rows, row_scores, threads)
    elif math.prod(values.shape[values.ndim - count :]) <= BLOCK_SIZE:
        _write_blocks(compute, name, values, scores, count=count, threads=threads)
    else:
        _write_parts(name, values, scores, count)


def _classes_last(array: Array, axes: Sequence[int]) -> Array:
    """Return a view with the class axes last, in this order."""
    return array.transpose(*(axis for axis in range(array.ndim) if axis not in axes), *axes)


def _joined(array: Array, count: int) -> Array | None:
    """Return a view with the last axes as one, or None where memory does not hold them so."""
    if count == 1:
        return array
    if count == 0:
        return array[..., None]
    first = array.ndim - count
    steps = zip(array.shape[first:], array.strides[first:], strict=True)
    for outer, inner in pairwise(step for step in steps if step[0] > 1):
        if outer[1] != inner[0] * inner[1]:
            return None
    return array.reshape(*array.shape[:first], -1)


def _suits_kernels(compute: Backend, values: Array, scores: Array) -> bool:
    """Return whether a backend can read all classes of an anchor at once.

    Kernels with anchors as lanes hold class numbers in floats. Those with classes as lanes need
    contiguous classes, and a copy of them to write to the same place.
    """
    if values.dtype.kind in "biu":
        return False
    classes = values.shape[-1]
    if classes <= MOST_CLASSES:
        return True
    return (
        classes <= compute.MOST_ROW_CLASSES
        and values.strides[-1] == values.itemsize
        and (scores.ndim < values.ndim or scores.strides[-1] == scores.itemsize)
        and not np.may_share_memory(values, scores)
    )


def _blocks(shape: tuple[int, ...], most: int) -> Iterator[Index]:
    """Yield indices of the blocks of an array, of up to `most` elements each, but one at least."""
    axis, size = len(shape), 1
    while axis > 0 and size * shape[axis - 1] <= most:
        axis -= 1
        size *= shape[axis]
    if axis == 0:
        yield (...,)
        return
    step = max(1, most // size)
    for outer in np.ndindex(shape[: axis - 1]):
        for start in range(0, shape[axis - 1], step):
            yield (*outer, slice(start, start + step))


def _write_blocks(
    compute: Backend, name: str, values: Array, scores: Array, *, count: int, threads: int
) -> None:
    """Compute copies of some anchors at a time."""
    first, per_class = values.ndim - count, name != "logsumexp"
    classes = math.prod(values.shape[first:])
    dtype = scores.dtype if values.dtype.kind in "biu" else values.dtype
    for index in _blocks(values.shape[:first], BLOCK_SIZE // classes):
        block = np.array(values[index], dtype, order="C").reshape(-1, classes)
        place = scores[index]
        result = np.empty(block.shape if per_class else len(block), scores.dtype)
        compute.evaluate_score(name, block, result, threads)
        place[...] = result.reshape(place.shape)


def _write_parts(name: str, values: Array, scores: Array, count: int) -> None:
    """Compute in float64, some classes of some anchors at a time."""
    with np.errstate(all="ignore"):
        for index in _blocks(values.shape[: values.ndim - count], BLOCK_ANCHORS):
            _write_anchors(name, values[index], scores[index], count)


def _write_anchors(name: str, values: Array, scores: Array, count: int) -> None:
    first = values.ndim - count
    anchors = values.shape[:first]
    parts = [
        (slice(None),) * first + index
        for index in _blocks(values.shape[first:], max(1, PART_SIZE // math.prod(anchors)))
    ]

    def read(part: Index) -> NDArray[np.float64]:
        return np.array(values[part], np.float64, order="C").reshape(*anchors, -1)

    top = np.full(anchors, -np.inf)
    for part in parts:
        top = np.maximum(top, read(part).max(axis=-1))
    others = _sum_of_others(map(read, parts), top)
    log_sum = np.log1p(others)
    if name == "logsumexp":
        scores[...] = np.where(np.isinf(top), top, top + log_sum)
        return
    for part in parts:
        z = read(part)
        is_top = z == top[..., None]
        z -= top[..., None]
        z[is_top] = 0.0  # of an infinite maximum as well
        if name == "softmax":
            np.exp(z, out=z)
            z /= 1 + others[..., None]
        else:
            z -= log_sum[..., None]
        place = scores[part]
        place[...] = z.reshape(place.shape)


def _sum_of_others(
    parts: Iterator[NDArray[np.float64]], top: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the sum of exp(z - maximum), except for one that is the maximum.

    NaN where softmax has no limit, as in `reference.score_formulas.partition`.
    """
    others, ties = np.zeros(top.shape), np.zeros(top.shape)
    for z in parts:
        is_top = z == top[..., None]
        terms = np.exp(np.subtract(z, top[..., None], out=z), out=z)
        terms[is_top] = 0.0
        others += terms.sum(axis=-1)
        ties += np.count_nonzero(is_top, axis=-1)
    return np.where(np.isinf(top) & (ties > 1), np.nan, others + (ties - 1))
