"""Hard negatives, from the arguments of a public function to its mask."""

from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastxent import _results
from fastxent._arguments import (
    FLOAT_DTYPES,
    ElementError,
    as_array,
    as_integer,
    as_number,
    position_of,
)
from fastxent._call.images import count_batch_axes, split_shape
from fastxent._call.targets import ignored_labels, missing_values
from fastxent._config import backend_module, thread_count
from fastxent._contract import Array, Backend, BackendName, IgnoreIndex, LargestRequest
from fastxent._floats import with_default_floats

BoolArray = NDArray[np.bool_]


@with_default_floats
def mine_negatives(
    losses: ArrayLike,
    labels: ArrayLike,
    *,
    ratio: float,
    min_negatives: SupportsIndex,
    background_index: SupportsIndex | None,
    ignore_index: IgnoreIndex,
    batch_ndim: SupportsIndex,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> BoolArray:
    """Return the mask of the hardest negatives of each image."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    values, axes = _losses(losses, batch_ndim)
    most = as_number(ratio, "ratio")
    if not most >= 0:
        raise ValueError(f"ratio = {most} is negative or NaN")
    least = as_integer(min_negatives, "min_negatives")
    if least < 0:
        raise ValueError(f"min_negatives = {least} is negative")
    array = as_array(labels, "labels")
    if array.shape != values.shape:
        raise ValueError(f"labels has shape {array.shape}, expected that of losses, {values.shape}")
    array, background, ignored = _read_labels(array, background_index, ignore_index)
    images, anchors = split_shape(values.shape, axes)
    array = array.reshape(images, anchors)
    positives = compute.count_positives(array, background, ignored, threads)
    if images and positives.min() < 0:
        raise _negative_label_error(array, values.shape, background, ignored)
    counts = _negative_counts(positives, most, least, anchors)
    if background in ignored:
        counts[:] = 0  # there are no negatives then
    return _mark(compute, values, array, background, counts, threads)


@with_default_floats
def mark_hardest(
    losses: ArrayLike,
    k: ArrayLike,
    *,
    batch_ndim: SupportsIndex,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> BoolArray:
    """Return the mask of the k largest losses of each image."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    values, axes = _losses(losses, batch_ndim)
    images, anchors = split_shape(values.shape, axes)
    counts = _wanted_counts(k, values.shape[:axes], anchors)
    return _mark(compute, values, None, 0, np.broadcast_to(counts.ravel(), images), threads)


def _mark(  # noqa: PLR0917 - what both functions have come to
    compute: Backend,
    losses: Array,
    labels: Array | None,
    background: int,
    counts: Array,
    threads: int,
) -> BoolArray:
    images = len(counts)
    mask = _results.empty(losses.shape, np.bool_)
    out = mask.reshape(images, -1) if images else mask.reshape(0, 0)
    if mask.size:
        counts = np.ascontiguousarray(counts, np.int64)
        rows = losses.reshape(out.shape)
        compute.mark_largest(LargestRequest(rows, labels, background, counts, out, threads))
    return mask


def _losses(losses: ArrayLike, batch_ndim: SupportsIndex) -> tuple[Array, int]:
    """Return the losses, and how many leading axes are images."""
    axes = count_batch_axes(batch_ndim)
    array = as_array(losses, "losses", FLOAT_DTYPES)
    if array.ndim == 0:
        raise ValueError("losses has shape (): expected one loss for each anchor")
    if array.ndim <= axes:
        raise ValueError(
            f"losses has shape {array.shape}, of which batch_ndim={axes} leaves no axis for the "
            f"anchors: pass batch_ndim={array.ndim - 1}"
        )
    return array, axes


def _read_labels(
    labels: Array, background_index: SupportsIndex | None, ignore_index: IgnoreIndex
) -> tuple[Array, int, tuple[int, ...]]:
    """Return labels, the one of negatives, and those of anchors that are neither."""
    kind = labels.dtype.kind
    if labels.size == 0 and kind not in "biu":  # NumPy makes floats of []
        labels = np.empty(labels.shape, np.bool_ if background_index is None else np.int64)
        kind = labels.dtype.kind
    if kind == "b":
        if background_index is not None:
            raise ValueError("background_index is for class labels, but these are bool")
        missing_values(ignore_index)
        return labels, 0, ()
    if kind not in "iu":
        raise TypeError(f"labels has dtype {labels.dtype}, but class labels are integers, or bool")
    if background_index is None:
        raise ValueError(
            "background_index is missing: class labels need the one that means "
            '"no class", such as 0 (SSD) or the number of classes (mmdetection)'
        )
    background = as_integer(background_index, "background_index")
    return labels, background, ignored_labels(ignore_index)


def _negative_label_error(
    labels: Array, shape: tuple[int, ...], background: int, ignored: tuple[int, ...]
) -> ValueError:
    """Name the first label that is negative and means nothing."""
    labels = labels.copy()  # np.isin fails where another thread changes what it sorts
    is_invalid = (labels < 0) & ~np.isin(labels, (background, *ignored))
    index = int(is_invalid.argmax())
    problem = (
        f"= {labels.flat[index]} is negative, and neither the background_index ({background}) "
        f"nor an ignore_index ({', '.join(map(str, ignored))})"
    )
    return ElementError("labels", position_of(index, shape), problem)


def _negative_counts(
    positives: NDArray[np.int64], ratio: float, least: int, anchors: int
) -> NDArray[np.int64]:
    """Return how many negatives each image is to have; fewer where there are fewer."""
    wanted = np.zeros(positives.shape)
    np.multiply(positives, ratio, out=wanted, where=positives > 0)  # inf times 0 is 0 here
    return np.maximum(np.minimum(np.floor(wanted), anchors).astype(np.int64), min(least, anchors))


def _wanted_counts(k: object, shape: tuple[int, ...], anchors: int) -> NDArray[np.int64]:
    """Return how many anchors each image is to have, or one number for all."""
    value = as_integer(k, "k") if isinstance(k, int) else k
    counts = as_array(value, "k")  # type: ignore[arg-type]
    if counts.dtype.kind not in "iu" and counts.size:
        raise TypeError(f"k has dtype {counts.dtype}, expected integers")
    if counts.shape not in {(), shape}:
        expected = f" or an array of the shape of the images, {shape}" if shape else ""
        raise ValueError(f"k has shape {counts.shape}, expected an integer{expected}")
    if counts.size and counts.min() < 0:
        place = int(np.argmax(counts.ravel() < 0))
        problem = f"= {counts.flat[place]} is negative"
        raise ElementError("k", position_of(place, counts.shape), problem)
    return np.asarray(np.minimum(counts, anchors), np.int64)
