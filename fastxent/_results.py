"""Arrays for results, and the memory of large ones that is kept for later calls.

The operating system clears memory that it hands to a process, which takes as long as many a kernel.
glibc recycles blocks of up to 32 MiB by itself. Above that, `native/result_cache.c` keeps blocks
that are no longer used, if it is given a limit; by default it has none.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastxent import native

#: glibc recycles what is smaller (the highest value of its M_MMAP_THRESHOLD by itself).
LEAST_BYTES = 32 << 20


class _Cache:
    """How many bytes of unused results are kept at most."""

    limit = 0


def set_limit(limit: int) -> bool:
    """Keep at most so many bytes of unused results; return whether this platform can."""
    if not native.set_result_cache(limit):
        return False
    _Cache.limit = limit
    return True


def get_limit() -> int:
    """Return how many bytes of unused results are kept at most."""
    return _Cache.limit


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return `np.empty`, in the memory of an earlier result if it is large and such is kept."""
    if not _Cache.limit:
        return np.empty(shape, dtype)
    block = _kept_block(math.prod(shape) * np.dtype(dtype).itemsize)
    if block is not None:
        return np.ndarray(shape, dtype, buffer=block)
    return _try_twice(partial(np.empty, shape, dtype))


def empty_like(values: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return `np.empty_like`, in the same way."""
    if not _Cache.limit:
        return np.empty_like(values, dtype=dtype)
    own = values.dtype if dtype is None else np.dtype(dtype)
    block = _kept_block(values.size * own.itemsize)
    if block is not None:
        strides = _strides_like(values, own.itemsize)
        return np.ndarray(values.shape, own, buffer=block, strides=strides)
    return _try_twice(partial(np.empty_like, values, own))


def _kept_block(size: int) -> memoryview | None:
    """Return memory for a large result; None where it is not large, or would not be kept."""
    return native.take_result(size) if size >= LEAST_BYTES else None


def _try_twice(make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Return a new array, for which what is kept is given back if there is no memory."""
    try:
        return make()
    except MemoryError:
        if not native.held_by_result_cache():
            raise
    native.clear_result_cache()
    return make()


def _strides_like(values: NDArray[Any], itemsize: int) -> tuple[int, ...]:
    """Return the strides of contiguous memory with the axes in the order of the array's."""
    axes = list(range(values.ndim))
    if not values.flags.c_contiguous:
        axes.sort(key=lambda axis: -abs(values.strides[axis]))
    strides, step = [0] * values.ndim, itemsize
    for axis in reversed(axes):
        strides[axis] = step
        step *= values.shape[axis]
    return tuple(strides)
