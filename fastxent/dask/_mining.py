"""Hard negatives of arrays of dask: some images a task."""

from typing import Any, SupportsIndex

import dask.array as da
import numpy as np

import fastxent
from fastxent._arguments import ElementError, as_integer
from fastxent._config import backend_name, check_backend
from fastxent._contract import Array, BackendName, IgnoreIndex
from fastxent.dask._collections import (
    Labels,
    Places,
    cut_alike,
    in_one_chunk,
    is_labelled,
    lazy_array,
    meta_of,
    shape_of,
)


def hard_negatives(
    losses: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    *,
    ratio: float = 3.0,
    min_negatives: SupportsIndex = 0,
    background_index: SupportsIndex | None = None,
    ignore_index: IgnoreIndex = -100,
    batch_ndim: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> Any:  # noqa: ANN401
    """Mask of the negatives with the largest losses, a number of them for each positive.

    :func:`fastxent.hard_negatives` on arrays of dask, or DataArrays of xarray over dask, with the
    same arguments. The anchors of an image are brought into one chunk; with ``batch_ndim=0`` that
    is all there are.
    """
    options = {
        "ratio": ratio,
        "min_negatives": min_negatives,
        "background_index": background_index,
        "ignore_index": ignore_index,
    }
    return _mask(
        "hard_negatives", losses, labels, "labels", options, batch_ndim, num_threads, backend
    )


def ohem(
    losses: Any,  # noqa: ANN401
    k: Any,  # noqa: ANN401
    *,
    batch_ndim: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> Any:  # noqa: ANN401
    """Mask of the k largest losses of each image: online hard example mining.

    :func:`fastxent.ohem` on arrays of dask, or DataArrays of xarray over dask, with the same
    arguments. The anchors of an image are brought into one chunk.
    """
    return _mask("ohem", losses, k, "k", {}, batch_ndim, num_threads, backend)


def _mask(  # noqa: PLR0917 - what both functions have
    name: str,
    losses: Any,  # noqa: ANN401
    other: Any,  # noqa: ANN401
    other_name: str,
    options: dict[str, Any],
    batch_ndim: SupportsIndex,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> Any:  # noqa: ANN401
    labels = Labels(losses) if is_labelled(losses) else None
    values = lazy_array(losses, "losses", name)
    other = labels.aligned(other, other_name) if labels else other
    images = as_integer(batch_ndim, "batch_ndim")
    function = getattr(fastxent, name)
    options |= {"batch_ndim": images, "num_threads": num_threads or 1}
    options["backend"] = backend_name() if backend is None else check_backend(backend, "backend")
    shape, dtype = shape_of(other, other_name)
    expected = values.shape if other_name == "labels" else values.shape[:images]
    if shape not in ({expected} if other_name == "labels" else {expected, ()}):
        what = "that of losses" if other_name == "labels" else "an integer or that of the images"
        raise ValueError(f"{other_name} has shape {shape}, expected {what}, {expected}")
    stand_in = other if not shape and other_name == "k" else np.empty((0,) * len(shape), dtype)
    function(meta_of(values.ndim, values.dtype), stand_in, **options)
    values = in_one_chunk(values, range(images, values.ndim))
    index = tuple(range(values.ndim))
    pair: tuple[Any, Any] = other, None
    if shape:
        pair = cut_alike(other, other_name, values.chunks[: len(shape)]), index[: len(shape)]
    mask = da.blockwise(
        _run,
        index,
        name,
        None,
        options,
        None,
        Places(values.chunks),
        index,
        values,
        index,
        *pair,
        align_arrays=False,
        token=name,
        meta=meta_of(values.ndim, np.bool_),
    )
    return labels.wrap(mask, kept=True) if labels else mask


def _run(
    name: str,
    options: dict[str, Any],
    place: tuple[int, ...],
    losses: Array,
    other: Any,  # noqa: ANN401
) -> Array:
    try:
        result: Array = getattr(fastxent, name)(losses, other, **options)
    except ElementError as error:
        raise error.shifted(place[: len(error.position)]) from None
    return result
