"""Candidates of arrays of dask: those of each chunk, merged image by image."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, SupportsIndex

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

import fastxent
from fastxent._arguments import ElementError
from fastxent._call.selection import selection_request
from fastxent._config import backend_name, check_backend
from fastxent._contract import Array, BackendName
from fastxent._selection import SelectionRequest
from fastxent.dask._collections import (
    Labels,
    Places,
    cut_alike,
    in_one_chunk,
    is_labelled,
    lazy_array,
    meta_of,
    without,
)
from fastxent.dask._tasks import only, placed

#: Parts that a task joins, image after image.
_FAN_IN = 64


class _Found(NamedTuple):
    """Candidates of some anchors of some images, numbered as in the whole."""

    image: Array
    anchor: Array
    label: Array
    score: Array
    #: What decides among equal scores.
    logit: Array
    #: The images that were looked at, and what was counted of each.
    images: Array
    found: Array
    nan: Array


class _Level(NamedTuple):
    """What the chunks of a level have in common."""

    name: str
    objectness_name: str
    #: The shape of the whole level, and its class axis.
    shape: tuple[int, ...]
    axis: int | None
    batch_ndim: int
    #: The number of the level's first anchor.
    first_anchor: int


class _Merge(NamedTuple):
    """How many candidates are left, and of what."""

    top_k: int | None
    top_k_per: str
    level_starts: tuple[int, ...]


def select_candidates(
    logits: Any,  # noqa: ANN401
    *,
    score_threshold: Any = 0.05,  # noqa: ANN401
    top_k: SupportsIndex | None = 1000,
    top_k_per: Literal["image", "level", "class"] = "image",
    activation: Literal["sigmoid", "softmax"] | None = "sigmoid",
    axis: SupportsIndex | str | None = -1,
    batch_ndim: SupportsIndex = 1,
    objectness: Any = None,  # noqa: ANN401
    combine: Literal["product", "sqrt"] = "product",
    background_index: SupportsIndex | None = None,
    multi_label: bool = True,
    classes: Any = None,  # noqa: ANN401
    num_threads: SupportsIndex | None = None,
    backend: BackendName | None = None,
) -> Any:  # noqa: ANN401 - a Delayed
    """Select the pairs of anchor and class above a threshold, and of those the best k.

    :func:`fastxent.select_candidates` on arrays of dask, or DataArrays of xarray over dask, with
    the same arguments. How many candidates there are is not known before they are computed, so the
    result is a Delayed: its ``compute()`` returns the `Candidates` of the whole, the same that one
    call on the whole arrays returns. Images and anchors may be cut into chunks; classes are brought
    into one.
    """
    levels = list(logits) if isinstance(logits, list | tuple) else [logits]
    names = [f"logits[{i}]" for i in range(len(levels))] if _is_list(logits) else ["logits"]
    if is_labelled(levels[0]):
        axis = Labels(levels[0]).axis(axis)
    arrays = [
        lazy_array(level, name, "select_candidates")
        for level, name in zip(levels, names, strict=True)
    ]
    objects = _read_objectness(objectness)
    options: dict[str, Any] = {
        "score_threshold": score_threshold,
        "top_k": top_k,
        "activation": activation,
        "combine": combine,
        "background_index": background_index,
        "multi_label": multi_label,
        "classes": classes,
    }
    request = selection_request(
        _as_given(list(map(_without_values, arrays)), logits),
        objectness=_as_given(list(map(_without_values, objects)), objectness),
        axis=axis,  # type: ignore[arg-type]
        batch_ndim=batch_ndim,
        top_k_per=top_k_per,
        num_threads=num_threads,
        **options,
    )
    options["top_k_per"] = request.top_k_per
    options["num_threads"] = num_threads or 1
    options["backend"] = backend_name() if backend is None else check_backend(backend, "backend")
    return _build(request, arrays, objects, options)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _as_given(levels: Sequence[Any], given: Any) -> Any:  # noqa: ANN401
    return None if given is None else list(levels) if _is_list(given) else levels[0]


def _read_objectness(value: Any) -> list[Any]:  # noqa: ANN401
    if value is None:
        return []
    levels = list(value) if _is_list(value) else [value]
    return [level.data if is_labelled(level) else level for level in levels]


def _without_values(array: Any) -> Any:  # noqa: ANN401
    """Return an array of the same shape and dtype that takes no memory, or what is no lazy one."""
    if not isinstance(array, da.Array):
        return array
    return np.broadcast_to(np.zeros((), array.dtype.newbyteorder("=")), array.shape)


# --- graph ---------------------------------------------------------------------------------------


def _build(
    request: SelectionRequest, arrays: list[da.Array], objects: list[Any], options: dict[str, Any]
) -> Any:  # noqa: ANN401
    images = request.batch_ndim
    batch_chunks = arrays[0].chunks[:images]
    level_starts = np.cumsum((0, *request.level_sizes))[:-1].tolist()
    levels = []
    for number, array in enumerate(arrays):
        axis = request.axes[number]
        level = array if axis is None else in_one_chunk(array, [axis])
        if level.chunks[:images] != batch_chunks:
            level = level.rechunk((*batch_chunks, *level.chunks[images:]))
        name = request.objectness_names[number] if objects else ""
        scores = cut_alike(objects[number], name, without(level.chunks, axis)) if objects else None
        about = _Level(request.names[number], name, level.shape, axis, images, level_starts[number])
        levels.append(_parts(about, level, scores, options))
    return _merged(request, levels, _Merge(request.top_k, request.top_k_per, tuple(level_starts)))


def _parts(
    about: _Level, level: da.Array, scores: da.Array | None, options: dict[str, Any]
) -> da.Array:
    """Return one task for each chunk of a level."""
    everywhere = tuple(range(level.ndim))
    anchors = without(everywhere, about.axis)
    pair: tuple[Any, Any] = (None, None) if scores is None else (scores, anchors)
    return da.blockwise(
        _select,
        anchors,
        about,
        None,
        options,
        None,
        Places(without(level.chunks, about.axis)),
        anchors,
        level,
        everywhere,
        *pair,
        concatenate=None,
        align_arrays=False,
        token="candidates",  # noqa: S106
        meta=meta_of(len(anchors), object),
    )


def _merged(request: SelectionRequest, levels: list[da.Array], rule: _Merge) -> Any:  # noqa: ANN401
    """Merge the chunks of the same images, and put all images one after the other."""
    images = request.batch_ndim
    name = f"candidates-{tokenize(rule, [level.name for level in levels])}"
    tasks: dict[Any, Any] = {}
    nodes: list[Any] = []
    for number, batch in enumerate(np.ndindex(levels[0].numblocks[:images])):
        parts = [
            (level.name, *batch, *inside)
            for level in levels
            for inside in np.ndindex(level.numblocks[images:])
        ]
        nodes.append((f"{name}-images", number))
        tasks[nodes[-1]] = (partial(_merge, rule), parts)
    depth = 0
    while len(nodes) > _FAN_IN:
        keys = [(f"{name}-{depth}", number) for number in range(-(-len(nodes) // _FAN_IN))]
        for number, key in enumerate(keys):
            tasks[key] = (_join, nodes[number * _FAN_IN : (number + 1) * _FAN_IN])
        nodes, depth = keys, depth + 1
    tasks[name] = (partial(_candidates, request.images, request.level_sizes), nodes)
    return Delayed(name, HighLevelGraph.from_collections(name, tasks, dependencies=levels))


# --- tasks ---------------------------------------------------------------------------------------


def _select(
    level: _Level,
    options: dict[str, Any],
    start: tuple[int, ...],
    block: Any,  # noqa: ANN401 - an array in lists
    objectness: Array | None,
) -> _Found:
    """Select the candidates of a chunk, whose anchors begin at `start`; `top_k` of each group."""
    block, images, axis = np.ascontiguousarray(only(block)), level.batch_ndim, level.axis
    try:
        found = fastxent.select_candidates(
            block, objectness=objectness, axis=axis, batch_ndim=images, **options
        )
    except ElementError as error:
        is_level = error.argument == "logits"
        name = level.name if is_level else level.objectness_name
        named = ElementError(name, error.position, error.problem)
        raise placed(named, start, axis) from None
    index = np.unravel_index(found.image, block.shape[:images]) if images else ()
    inside = [*index, *np.unravel_index(found.anchor, without(block.shape, axis)[images:])]
    where = inside if axis is None else [*inside[:axis], found.label, *inside[axis:]]
    shape = without(level.shape, axis)
    whole = [along + first for along, first in zip(inside, start, strict=True)]
    return _Found(
        _numbers(whole[:images], shape[:images], len(found)),
        _numbers(whole[images:], shape[images:], len(found)) + level.first_anchor,
        found.label,
        found.score,
        block[tuple(where)].astype(np.float64),
        _images(block.shape[:images], start[:images], shape[:images]),
        found.found,
        found.nan,
    )


def _numbers(index: Sequence[Array], shape: tuple[int, ...], count: int) -> Array:
    """Return the numbers of elements in C order."""
    if not shape:
        return np.zeros(count, np.intp)
    return np.asarray(np.ravel_multi_index(tuple(index), shape), np.intp)


def _images(lengths: tuple[int, ...], start: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return the numbers of a chunk's images."""
    count = math.prod(lengths)
    local = np.indices(lengths).reshape(len(lengths), count)
    whole = [along + first for along, first in zip(local, start, strict=True)]
    return _numbers(whole, shape, count)


def _merge(rule: _Merge, parts: list[_Found]) -> _Found:
    """Merge the chunks of the same images, and keep the best of each group."""
    image, anchor, label, score, logit = (
        np.concatenate([part[i] for part in parts]) for i in range(5)
    )
    order = np.lexsort((label, anchor, -logit, -score, image))
    if rule.top_k is not None:
        groups: list[Array] = [image[order]]
        if rule.top_k_per == "class":
            groups.append(label[order])
        elif rule.top_k_per == "level":
            groups.append(np.searchsorted(rule.level_starts, anchor[order], side="right"))
        order = order[_ranks(groups) < rule.top_k]
    counts = [np.sum([part[i] for part in parts], axis=0, dtype=np.intp) for i in (6, 7)]
    columns = (values[order] for values in (image, anchor, label, score, logit))
    return _Found(*columns, parts[0].images, *counts)  # type: ignore[call-arg]


def _ranks(groups: list[Array]) -> Array:
    """Return of each element how many of its group come before it."""
    order = np.lexsort(groups)  # which keeps the order within a group
    is_first = np.zeros(len(order), bool)
    is_first[:1] = True
    for group in groups:
        is_first[1:] |= np.diff(group[order]) != 0
    numbers = np.arange(len(order))
    ranks = np.empty(len(order), np.intp)
    ranks[order] = numbers - np.maximum.accumulate(np.where(is_first, numbers, 0))
    return ranks


def _join(parts: list[_Found]) -> _Found:
    """Put the candidates of different images one after the other."""
    return _Found(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _candidates(
    images: int, level_sizes: tuple[int, ...], parts: list[_Found]
) -> fastxent.Candidates:
    found = _join(parts)
    order = np.argsort(found.image, kind="stable")
    by_image = np.argsort(found.images)
    counts = np.bincount(found.image, minlength=images)
    return fastxent.Candidates(
        image=found.image[order],
        anchor=found.anchor[order],
        label=found.label[order],
        score=found.score[order],
        offsets=np.cumsum((0, *counts), dtype=np.intp),
        found=found.found[by_image],
        nan=found.nan[by_image],
        level_sizes=level_sizes,
    )
