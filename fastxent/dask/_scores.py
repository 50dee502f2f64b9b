"""The scores on arrays of dask."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da

import fastxent
from fastxent._arguments import axis_indices, score_dtype
from fastxent._catalogue import SCORES
from fastxent._config import backend_name, check_backend
from fastxent._contract import Array
from fastxent.dask._collections import (
    Labels,
    described,
    in_one_chunk,
    is_labelled,
    lazy_array,
    meta_of,
)
from fastxent.dask._tasks import only


def lazy_score(name: str) -> Callable[..., Any]:
    """Return a score of the package for arrays of dask."""
    public = getattr(fastxent, name)

    def score(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        bound = inspect.signature(score).bind(*args, **kwargs)
        bound.apply_defaults()
        return _evaluate(name, bound.arguments)

    return described(score, public, ("out",))


def _evaluate(name: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
    score = SCORES[name]
    given = options.pop(score.values)
    labels = Labels(given) if is_labelled(given) else None
    values = lazy_array(given, score.values, name)
    backend = options["backend"]
    options["backend"] = backend_name() if backend is None else check_backend(backend, "backend")
    axes: tuple[int, ...] = ()
    if score.over_classes:
        if labels:
            options["axis"] = labels.axis(options["axis"])
        axes = axis_indices(options["axis"], values.ndim, "logits")
        options["axis"] = axes
        values = in_one_chunk(values, axes)
    # Everything but the values is checked here, on arrays of which the class axes alone are there.
    shape = [n if i in axes else 0 for i, n in enumerate(values.shape)]
    if values.ndim > len(axes):
        getattr(fastxent, name)(meta_of(len(shape), values.dtype).reshape(shape), **options)
    options["num_threads"] = options["num_threads"] or 1
    result = _blocks(name, values, axes, options)
    if labels is None:
        return result
    dropped = axes if name == "logsumexp" else ()
    return labels.wrap(result, dropped, kept=result.ndim == values.ndim)


def _blocks(
    name: str, values: da.Array, axes: tuple[int, ...], options: dict[str, Any]
) -> da.Array:
    """Return one task for each chunk."""
    index = tuple(range(values.ndim))
    adjusted = {}
    out_index = index
    if name == "logsumexp":
        keepdims = options["keepdims"]
        out_index = index if keepdims else tuple(i for i in index if i not in axes)
        adjusted = dict.fromkeys(axes, 1) if keepdims else {}
    dtype = score_dtype(values.dtype.newbyteorder("="))
    return da.blockwise(
        partial(_run, name, options),
        out_index,
        values,
        index,
        concatenate=None,
        adjust_chunks=adjusted or None,
        token=name,
        meta=meta_of(len(out_index), dtype),
    )


def _run(name: str, options: dict[str, Any], block: Any) -> Array:  # noqa: ANN401
    result: Array = getattr(fastxent, name)(only(block), **options)
    return result
