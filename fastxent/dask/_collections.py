"""Arrays of dask and xarray: what functions take, how it is cut, and what they return."""

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.layers import ArrayBlockwiseDep

from fastxent._arguments import axis_index
from fastxent._foreign import read_array

Index = tuple[int, ...]
Chunks = tuple[tuple[int, ...], ...]


class Places(ArrayBlockwiseDep):  # type: ignore[misc]
    """Where each chunk begins in the whole array."""

    def __init__(self, chunks: Chunks) -> None:
        super().__init__(chunks)
        self.starts = [np.cumsum((0, *lengths)).tolist() for lengths in chunks]

    def __getitem__(self, idx: Index) -> Index:
        return tuple(starts[i] for starts, i in zip(self.starts, idx, strict=True))


class Lengths(ArrayBlockwiseDep):  # type: ignore[misc]
    """The shape of each chunk."""

    def __getitem__(self, idx: Index) -> Index:
        return tuple(lengths[i] for lengths, i in zip(self.chunks, idx, strict=True))


# --- xarray --------------------------------------------------------------------------------------


def is_labelled(value: object) -> bool:
    """Return whether a value is a DataArray, without importing xarray."""
    module = sys.modules.get("xarray")
    return module is not None and isinstance(value, module.DataArray)


class Labels:
    """The names and coordinates of a DataArray, for what is computed from it."""

    def __init__(self, array: Any) -> None:  # noqa: ANN401 - a DataArray
        self.array = array

    def axis(self, axis: Any) -> Any:  # noqa: ANN401 - also one of several, or None
        """Return the number of the axis with this name; anything else as it is."""
        if isinstance(axis, tuple):
            return tuple(map(self.axis, axis))
        if not isinstance(axis, str):
            return axis
        if axis not in self.array.dims:
            raise ValueError(f"axis = {axis!r} is not one of the dimensions {self.array.dims}")
        return self.array.dims.index(axis)

    def aligned(self, other: Any, name: str) -> Any:  # noqa: ANN401
        """Return the data of another DataArray, with its dimensions in the order of these."""
        if not is_labelled(other):
            return other
        dims = [dim for dim in self.array.dims if dim in other.dims]
        if len(dims) < len(other.dims):
            unknown = [dim for dim in other.dims if dim not in self.array.dims]
            raise ValueError(f"{name} has the dimension {unknown[0]!r}, which logits has not")
        for dim in dims:
            mine, others = (array.indexes.get(dim) for array in (self.array, other))
            if mine is not None and others is not None and not mine.equals(others):
                raise ValueError(f"{name} has other coordinates than logits along {dim!r}")
        return other.transpose(*dims).data

    def wrap(self, data: Any, dropped: Sequence[int] = (), *, kept: bool = False) -> Any:  # noqa: ANN401
        """Return an array with these coordinates, without some dimensions or all of them."""
        dims = self.array.dims
        gone = [dims[axis] for axis in dropped]
        coords = self.array.coords.to_dataset().drop_dims(gone, errors="ignore").coords
        remaining = dims if kept else [dim for dim in dims if dim not in gone]
        return type(self.array)(data, coords, remaining, name=self.array.name)


def unlabelled(value: Any) -> Any:  # noqa: ANN401
    """Return the data of a DataArray, and anything else as it is."""
    return value.data if is_labelled(value) else value


# --- arrays --------------------------------------------------------------------------------------


def lazy_array(value: Any, name: str, function: str) -> da.Array:  # noqa: ANN401
    """Return an array of dask, or refuse what is none: it would be computed, or copied."""
    if is_labelled(value):
        if not isinstance(value.data, da.Array):
            raise TypeError(
                f"{name} is a DataArray that is not chunked: call chunk() on it, or pass its "
                f"values to fastxent.{function}"
            )
        value = value.data
    if not isinstance(value, da.Array):
        raise TypeError(
            f"{name} must be an array of dask, not {type(value).__name__}: "
            f"make it one with dask.array.from_array, or call fastxent.{function}"
        )
    if any(math.isnan(length) for length in value.shape):
        raise ValueError(f"{name} has chunks of unknown sizes: call compute_chunk_sizes() first")
    return value


def in_one_chunk(array: da.Array, axes: Sequence[int]) -> da.Array:
    """Return an array of which these axes are not cut."""
    cut = {axis: -1 for axis in axes if len(array.chunks[axis]) != 1}
    return array.rechunk(cut) if cut else array


def cut_alike(value: Any, name: str, chunks: Chunks) -> da.Array:  # noqa: ANN401
    """Return an array of dask with these chunks; axes of length 1 are there to broadcast."""
    if not isinstance(value, da.Array):
        value = read_array(value, name)
    if any(math.isnan(length) for length in value.shape):
        raise ValueError(f"{name} has chunks of unknown sizes: call compute_chunk_sizes() first")
    wanted = tuple(
        (length,) if length == 1 else lengths
        for length, lengths in zip(value.shape, chunks, strict=True)
    )
    if isinstance(value, da.Array):
        return value if value.chunks == wanted else value.rechunk(wanted)
    return da.from_array(value, chunks=wanted)


def shape_of(value: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:  # noqa: ANN401
    """Return shape and dtype of an argument, lazy or not."""
    if not isinstance(value, da.Array):
        value = read_array(value, name)
    return value.shape, value.dtype


def meta_of(ndim: int, dtype: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    """Return an array without elements, from which dask knows the type and dtype of a result."""
    return np.empty((0,) * ndim, dtype)


def class_axis(axis: Any, ndim: int, name: str) -> int | None:  # noqa: ANN401
    """Return the class axis, counted from the first, or None."""
    return None if axis is None else axis_index(axis, ndim, name)


def without(items: tuple[Any, ...], axis: int | None) -> tuple[Any, ...]:
    """Leave the class axis out of a shape, an index or chunks."""
    return tuple(item for i, item in enumerate(items) if i != axis)


def described(lazy: Any, public: Callable[..., Any], left_out: Sequence[str]) -> Callable[..., Any]:  # noqa: ANN401
    """Return a function with the name, signature and summary of one of the package."""
    signature = inspect.signature(public)
    parameters = [p for p in signature.parameters.values() if p.name not in left_out]
    lazy.__name__ = lazy.__qualname__ = public.__name__
    lazy.__module__ = "fastxent.dask"
    lazy.__signature__ = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in parameters],
        return_annotation=signature.empty,
    )
    summary = (public.__doc__ or "").strip().splitlines()[0]
    lazy.__doc__ = (
        f"{summary}\n\nOn arrays of dask, or DataArrays of xarray over dask: "
        f":func:`fastxent.{public.__name__}`\nfor each chunk, with the arguments of that but "
        f"{' and '.join(f'`{name}`' for name in left_out)}."
    )
    function: Callable[..., Any] = lazy
    return function
