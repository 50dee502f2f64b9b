"""Checks of the arguments of ``select_candidates``, which become a request."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, SupportsIndex, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastxent._arguments import (
    FLOAT_DTYPES,
    ElementError,
    as_array,
    as_flag,
    as_integer,
    as_number,
    axis_index,
    class_last,
    listed,
    shown,
)
from fastxent._call.validate import MOST_CLASSES
from fastxent._config import thread_count
from fastxent._contract import Array
from fastxent._selection import (
    Activation,
    Combine,
    SelectionRequest,
    TopKPer,
    ruled_out,
    tolerance,
)

Index = tuple[Array, ...]

_ACTIVATIONS, _GROUPS, _COMBINES = get_args(Activation), get_args(TopKPer), get_args(Combine)

#: Values that are looked through at a time for one that is no score.
_PART_SIZE = 2**16


def selection_request(
    logits: ArrayLike | Sequence[ArrayLike],
    *,
    score_threshold: ArrayLike | None,
    top_k: SupportsIndex | None,
    top_k_per: TopKPer,
    activation: Activation | None,
    axis: SupportsIndex | None,
    batch_ndim: SupportsIndex,
    objectness: ArrayLike | Sequence[ArrayLike] | None,
    combine: Combine,
    background_index: SupportsIndex | None,
    multi_label: bool,
    classes: ArrayLike | None,
    num_threads: SupportsIndex | None,
) -> SelectionRequest:
    """Return what a backend needs to know; the arguments are those of the public function."""
    if activation is not None:
        _check_choice(activation, _ACTIVATIONS, "activation", " or None")
    _check_choice(top_k_per, _GROUPS, "top_k_per")
    _check_choice(combine, _COMBINES, "combine")
    if objectness is None and combine != "product":
        raise ValueError(f"combine = {combine!r} is for scores with objectness, which is None")
    if axis is None and activation == "softmax":
        raise ValueError("axis=None is for single-class heads, but a softmax needs classes")
    arrays, names = _read_levels(logits, "logits")
    images = as_integer(batch_ndim, "batch_ndim")
    axes = tuple([_class_axis(*level, axis, images) for level in zip(arrays, names, strict=True)])
    levels = tuple(map(_class_last, arrays, axes, names))
    _check_alike(levels, names, images)
    count = levels[0].shape[-1]
    if not 0 < count <= MOST_CLASSES:
        number = f"more than {MOST_CLASSES:,}" if count else "no"
        raise ValueError(f"{names[0]} has shape {arrays[0].shape}: {number} classes on axis {axis}")
    objects, object_names = _read_objectness(objectness, levels, names)
    background = _background(background_index, count)
    returned = _wanted(classes, count)
    thresholds, has_one = _thresholds(score_threshold, count, background, levels[0].dtype)
    if background >= 0:
        returned[background] = False
    return SelectionRequest(
        levels=levels,
        batch_ndim=images,
        axes=axes,
        names=names,
        objectness=objects,
        objectness_names=object_names,
        activation=activation,
        combine=combine,
        thresholds=thresholds,
        returned=returned,
        is_even=has_one and background < 0 and classes is None,
        background=background,
        multi_label=as_flag(multi_label, "multi_label"),
        top_k=_top_k(top_k),
        top_k_per=top_k_per,
        threads=thread_count(num_threads),
    )


def _check_choice(value: object, choices: Sequence[str], name: str, others: str = "") -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} = {shown(value)} is not one of {listed(choices)}{others}")


# --- levels --------------------------------------------------------------------------------------


def _read_levels(
    value: ArrayLike | Sequence[ArrayLike], name: str
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """Return the arrays of all levels, and what error messages call them."""
    if not isinstance(value, list | tuple):
        return (as_array(value, name, FLOAT_DTYPES),), (name,)  # type: ignore[arg-type]
    if not value:
        raise ValueError(f"{name} is an empty {type(value).__name__}: it has no levels")
    names = tuple(f"{name}[{number}]" for number in range(len(value)))
    arrays = []
    for level, level_name in zip(value, names, strict=True):
        if isinstance(level, list | tuple | int | float):
            raise TypeError(
                f"{level_name} is {shown(level)}: the elements of a list are levels, each an array"
            )
        arrays.append(as_array(level, level_name, FLOAT_DTYPES))
    return tuple(arrays), names


def _class_axis(array: Array, name: str, axis: SupportsIndex | None, images: int) -> int | None:
    """Return the class axis of a level; axes of images come first, and some of anchors are left."""
    if not 0 <= images <= array.ndim:
        raise ValueError(
            f"batch_ndim = {images} is out of range for {name} with {array.ndim} dimensions"
        )
    index = None if axis is None else axis_index(axis, array.ndim, name)
    if index is not None and index < images:
        raise ValueError(
            f"axis {shown(axis)} of {name}, with shape {array.shape}, is one of the first "
            f"batch_ndim = {images}, which are images"
        )
    if array.ndim - images - (index is not None) == 0:
        cure = f"one anchor of an image: {name}[None] with batch_ndim=0"
        if images:
            cure = f"one image: batch_ndim=0, or {name}[None]"
        raise ValueError(
            f"{name} has shape {array.shape}, and no axis of anchors with axis={shown(axis)} and "
            f"batch_ndim={images}; if it is {cure}"
        )
    return index


def _class_last(array: Array, axis: int | None, name: str) -> Array:
    try:
        return class_last(array, axis)
    except IndexError as error:
        message = f"{name} has {array.ndim} dimensions, and axis=None adds one too many"
        raise ValueError(message) from error


def _check_alike(levels: Sequence[Array], names: Sequence[str], images: int) -> None:
    first = levels[0]
    for level, name in zip(levels[1:], names[1:], strict=True):
        if level.dtype != first.dtype:
            raise TypeError(f"{name} has dtype {level.dtype}, but {names[0]} {first.dtype}")
        if level.shape[:images] != first.shape[:images]:
            raise ValueError(
                f"{name} has images of shape {level.shape[:images]}, but {names[0]} of "
                f"{first.shape[:images]}"
            )
        if level.shape[-1] != first.shape[-1]:
            raise ValueError(
                f"{name} has {level.shape[-1]} classes, but {names[0]} has {first.shape[-1]}"
            )


def _read_objectness(
    value: ArrayLike | Sequence[ArrayLike] | None, levels: Sequence[Array], names: Sequence[str]
) -> tuple[tuple[Array, ...] | None, tuple[str, ...]]:
    if value is None:
        return None, ()
    arrays, object_names = _read_levels(value, "objectness")
    if (object_names == ("objectness",)) != (names == ("logits",)) or len(arrays) != len(levels):
        raise ValueError(
            f"objectness is {_described(object_names)}, but logits is {_described(names)}"
        )
    for array, name, level in zip(arrays, object_names, levels, strict=True):
        if array.shape != level.shape[:-1]:
            raise ValueError(f"{name} has shape {array.shape}, expected {level.shape[:-1]}")
    return arrays, object_names


def _described(names: Sequence[str]) -> str:
    if not names[0].endswith("]"):
        return "one array"
    return f"a list of {len(names)} level{'s' if len(names) > 1 else ''}"


# --- options -------------------------------------------------------------------------------------


def _background(value: SupportsIndex | None, count: int) -> int:
    if value is None:
        return -1
    index = as_integer(value, "background_index")
    if not -count <= index < count:
        raise ValueError(f"background_index = {index} is not a class of the {count}")
    return index % count


def _top_k(value: SupportsIndex | None) -> int | None:
    if value is None:
        return None
    number = as_integer(value, "top_k", "an integer or None")
    if number < 0:
        raise ValueError(f"top_k = {number} is negative")
    return number


def _wanted(value: ArrayLike | None, count: int) -> Array:
    """Return a mask of the classes to return."""
    if value is None:
        return _filled(count, True, np.bool_)
    array = as_array(value, "classes")
    if array.ndim != 1:
        raise ValueError(
            f"classes has shape {array.shape}, expected class numbers, or a bool mask ({count},)"
        )
    if array.dtype == bool:
        if len(array) != count:
            raise ValueError(f"classes has shape {array.shape}, expected a bool mask ({count},)")
        return array.copy()
    wanted = np.zeros(count, bool)
    if array.size == 0:
        return wanted
    if array.dtype.kind not in "iu":
        raise TypeError(f"classes has dtype {array.dtype}, expected integers or bool")
    for place, number in enumerate(array.tolist()):
        if not 0 <= number < count:
            raise ValueError(f"classes[{place}] = {number} is not in 0..{count - 1}")
        if wanted[number]:
            raise ValueError(f"classes[{place}] = {number} is there twice")
        wanted[number] = True
    return wanted


def _thresholds(
    value: ArrayLike | None, count: int, background: int, dtype: np.dtype[Any]
) -> tuple[Array | None, bool]:
    """Return one threshold per class, of the dtype of the scores, and whether all are the same.

    That of the background is of no use.
    """
    if value is None:
        return None, True
    score_dtype = np.float64 if dtype.itemsize == 8 else np.float32
    if isinstance(value, float | int):
        number = as_number(value, "score_threshold")
        if not 0 <= number <= 1:
            raise ValueError(f"score_threshold = {number} is outside [0, 1]")
        return _filled(count, number, score_dtype), True
    array = as_array(value, "score_threshold")
    if array.ndim == 0:
        return _thresholds(as_number(array, "score_threshold"), count, background, dtype)
    if array.shape != (count,):
        raise ValueError(
            f"score_threshold has shape {array.shape}, expected a number or ({count},), all classes"
        )
    if array.dtype == bool:
        raise TypeError("score_threshold has dtype bool, expected numbers")
    thresholds = array.astype(np.float64)
    if background >= 0:
        thresholds[background] = 1.0
    wrong = np.flatnonzero(~((thresholds >= 0) & (thresholds <= 1)))
    if wrong.size:
        raise ValueError(f"score_threshold[{wrong[0]}] = {array[wrong[0]]} is outside [0, 1]")
    return thresholds.astype(score_dtype), False


def _filled(count: int, value: float, dtype: DTypeLike) -> Array:
    """Return what `np.full` does, in half of the time."""
    array = np.empty(count, dtype)
    array.fill(value)
    return array


# --- scores that are given -----------------------------------------------------------------------


def refuse_scores(request: SelectionRequest) -> NoReturn:
    """Raise the error of the first value that is no score, when a backend has met one."""
    objects = request.objectness or ()
    for array, name in zip(objects, request.objectness_names, strict=True):
        for index in _parts(array.shape):
            values = array[index]
            _refuse_first(_is_outside(values, array), values, index, name)
    for number, level in enumerate(request.levels):
        axis = request.axes[number]
        array = level[..., 0] if axis is None else np.moveaxis(level, -1, axis)
        for index in _parts(array.shape):
            values = array[index]
            outside = _is_outside(values, array)
            anchors = index
            if axis is not None:
                outside &= index[axis] != request.background
                anchors = index[:axis] + index[axis + 1 :]
            if objects:
                outside &= ~ruled_out(request, objects[number][anchors])
            _refuse_first(outside, values, index, request.names[number])
    raise RuntimeError("a backend met a score outside [0, 1] that is not there")


def _parts(shape: tuple[int, ...]) -> Iterator[Index]:
    """Yield indices of some elements at a time, in C order."""
    size = math.prod(shape)
    for start in range(0, size, _PART_SIZE):
        yield np.unravel_index(np.arange(start, min(start + _PART_SIZE, size)), shape)


def _is_outside(values: Array, array: Array) -> NDArray[np.bool_]:
    numbers, margin = values.astype(np.float64), tolerance(array.dtype)
    outside: NDArray[np.bool_] = (numbers < -margin) | (numbers > 1 + margin)
    return outside


def _refuse_first(outside: NDArray[np.bool_], values: Array, index: Index, name: str) -> None:
    if outside.any():
        first = int(outside.argmax())
        position = tuple(int(along[first]) for along in index)
        raise ElementError(
            name,
            position,
            f"= {values[first]} is outside [0, 1], and activation=None is for scores; logits take "
            "activation='sigmoid' or 'softmax'",
        )
