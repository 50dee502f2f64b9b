"""Costs of matching, from the arguments of a public function to arrays of costs."""

import math
from itertools import pairwise
from typing import SupportsIndex, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastxent import _results
from fastxent._arguments import (
    FLOAT_DTYPES,
    as_array,
    as_number,
    axis_index,
    class_last,
    format_position,
    listed,
    position_of,
    result_dtype,
    shown,
)
from fastxent._call.images import count_batch_axes
from fastxent._call.validate import MOST_CLASSES
from fastxent._config import backend_module, thread_count
from fastxent._contract import Array, BackendName, CostKind, CostRequest
from fastxent._floats import with_default_floats

KINDS = get_args(CostKind)
#: The parameters of some kinds, and their defaults, which say nothing to the others.
DEFAULT_ALPHA, DEFAULT_GAMMA = 0.25, 2.0


@with_default_floats
def match_cost(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    kind: CostKind,
    alpha: float | None,
    gamma: float,
    objectness: ArrayLike | None,
    axis: SupportsIndex,
    batch_ndim: SupportsIndex,
    num_threads: SupportsIndex | None,
    backend: BackendName | None,
) -> Array | list[Array]:
    """Return the costs of each image's queries and ground truths."""
    compute = backend_module(backend)
    threads = thread_count(num_threads)
    _check_kind(kind)
    factor, exponent = _focal_parameters(kind, alpha, gamma)
    batch_axes = count_batch_axes(batch_ndim)
    values = _read_logits(logits, axis, batch_axes)
    scores = _read_objectness(kind, objectness, values.shape[:-1])
    shape, class_count = values.shape[:batch_axes], values.shape[-1]
    queries = math.prod(values.shape[batch_axes:-1])
    is_list = batch_axes > 0 and isinstance(labels, list | tuple)
    images = _read_lists(labels, shape) if is_list else _read_array(labels, shape)  # type: ignore[arg-type]
    classes, starts = _join(images, math.prod(shape))
    _check_classes(images, classes, starts, class_count)
    costs = _results.empty((queries * len(classes),), result_dtype(values.dtype))
    if costs.size:
        compute.evaluate_cost(
            CostRequest(
                kind, values, batch_axes, classes, starts, scores, factor, exponent, costs, threads
            )
        )
    if isinstance(images, np.ndarray):
        return costs.reshape(*shape, queries, images.shape[-1])
    return [
        costs[queries * start : queries * stop].reshape(queries, stop - start)
        for start, stop in pairwise(starts.tolist())
    ]


def _check_kind(kind: object) -> None:
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind = {shown(kind)} is not one of {listed(KINDS)}")


def _focal_parameters(
    kind: CostKind, alpha: float | None, gamma: float
) -> tuple[float | None, float]:
    """Return the parameters of the kind "focal"; the other kinds have none."""
    factor = None if alpha is None else as_number(alpha, "alpha")
    exponent = as_number(gamma, "gamma")
    if kind != "focal":
        for name, value, default in (
            ("alpha", factor, DEFAULT_ALPHA),
            ("gamma", exponent, DEFAULT_GAMMA),
        ):
            if value != default:
                raise ValueError(f"{name} is for kind='focal', not for {kind!r}")
    if factor is not None and not 0 <= factor <= 1:
        raise ValueError(f"alpha = {factor} is outside [0, 1]")
    if not 0 <= exponent < math.inf:
        raise ValueError(f"gamma = {exponent} is negative or not finite")
    return factor, exponent


def _read_logits(logits: ArrayLike, axis: SupportsIndex, batch_axes: int) -> Array:
    """Return a view (*images, *queries, classes)."""
    values = as_array(logits, "logits", FLOAT_DTYPES)
    shape = values.shape
    class_axis = axis_index(axis, values.ndim, "logits")
    if values.ndim < batch_axes + 2:
        raise ValueError(
            f"logits has shape {shape}, of which batch_ndim={batch_axes} leaves no axis for the "
            "queries: " + _cure(values.ndim, batch_axes)
        )
    if class_axis < batch_axes:
        raise ValueError(
            f"axis {class_axis} of logits with batch_ndim={batch_axes} is one of images, not of "
            "classes"
        )
    if not 0 < shape[class_axis] <= MOST_CLASSES:
        count = f"more than {MOST_CLASSES:,}" if shape[class_axis] else "no"
        raise ValueError(f"logits has shape {shape}: {count} classes on axis {class_axis}")
    return class_last(values, class_axis)


def _cure(ndim: int, batch_axes: int) -> str:
    if ndim < 2:
        return "expected (images, queries, classes)"
    if batch_axes == 1:
        return "pass batch_ndim=0 for a single image, or logits[None]"
    return f"pass batch_ndim={ndim - 2}"


def _read_objectness(
    kind: CostKind, objectness: ArrayLike | None, shape: tuple[int, ...]
) -> Array | None:
    if kind != "simota":
        if objectness is not None:
            raise ValueError(f"objectness is for kind='simota', not for {kind!r}")
        return None
    if objectness is None:
        raise ValueError("objectness is missing: kind='simota' needs its logits")
    values = as_array(objectness, "objectness", FLOAT_DTYPES)
    if values.shape != shape:
        raise ValueError(
            f"objectness has shape {values.shape}, expected {shape}, that of logits without the "
            "class axis"
        )
    return values


# --- labels --------------------------------------------------------------------------------------


def _as_integers(labels: Array, name: str) -> Array:
    if labels.dtype.kind in "iu":
        return labels
    if labels.size:
        raise TypeError(f"{name} has dtype {labels.dtype}, but class labels are integers")
    return np.empty(labels.shape, np.int64)  # NumPy makes floats of []


def _read_array(labels: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return labels (*images, ground truths)."""
    array = _as_integers(as_array(labels, "labels"), "labels")
    if array.ndim != len(shape) + 1 or array.shape[:-1] != shape:
        expected = ", ".join([*map(str, shape), "T"]) + ("" if shape else ",")
        ragged = ", or a list of one sequence for each image" if shape else ""
        raise ValueError(f"labels has shape {array.shape}, expected ({expected}){ragged}")
    return array


def _read_lists(labels: list[object] | tuple[object, ...], shape: tuple[int, ...]) -> list[Array]:
    """Return the labels of each image."""
    count = math.prod(shape)
    if len(labels) != count:
        raise ValueError(f"labels has {len(labels)} sequences, but logits has {count} images")
    arrays = []
    for image, one in enumerate(labels):
        name = f"labels[{image}]"
        array = as_array(one, name)  # type: ignore[arg-type]
        if array.ndim != 1:
            hint = "; batch_ndim=0 is for the labels of a single image" if array.ndim == 0 else ""
            raise ValueError(f"{name} has shape {array.shape}, expected one axis{hint}")
        arrays.append(_as_integers(array, name))
    return arrays


def _join(images: Array | list[Array], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a copy of all labels, which nothing changes any more, and where each image's begin."""
    if isinstance(images, np.ndarray):
        return images.astype(np.int64).ravel(), np.arange(count + 1) * images.shape[-1]
    nothing = np.zeros(0, np.int64)
    starts = np.cumsum([0, *map(len, images)], dtype=np.int64)
    return np.concatenate([nothing, *images], dtype=np.int64, casting="unsafe"), starts


def _check_classes(
    images: Array | list[Array],
    classes: NDArray[np.int64],
    starts: NDArray[np.int64],
    class_count: int,
) -> None:
    """Refuse labels of no class, with their image and place."""
    is_outside = (classes < 0) | (classes >= class_count)
    if not is_outside.any():
        return
    index = int(is_outside.argmax())
    if isinstance(images, np.ndarray):
        position = np.unravel_index(index, images.shape)
        name, label = format_position(position_of(index, images.shape)), images[position]
    else:
        image = int(np.searchsorted(starts, index, side="right")) - 1
        place = index - int(starts[image])
        name, label = f"[{image}][{place}]", images[image][place]
    raise ValueError(f"labels{name} = {label} is not a class label: expected 0..{class_count - 1}")
