"""Regions of stored arrays: how a large array is cut into blocks, and a block into runs of bytes.

An array lies in its file with its first axis slowest (C order) or fastest (Fortran order). A
region is one slice per axis, in the order in which the user sees the axes.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeVar

Region = tuple[slice, ...]
Item = TypeVar("Item")

#: Logits in one block: large enough to keep all threads busy, small enough to stay in the cache.
BLOCK_BYTES = 4 * 2**20


def split_anchors(
    shape: Sequence[int],
    axis: int | None,
    itemsize: int,
    *,
    fortran_order: bool = False,
    grid: Sequence[int] | None = None,
    most_bytes: int = 0,
) -> Iterator[Region]:
    """Cut logits into blocks of whole anchors, in the order in which the anchors are stored.

    Parameters
    ----------
    shape : sequence of int
        Shape of the logits.
    axis : int or None
        The class axis, which is never cut.
    itemsize : int
        Bytes per logit.
    fortran_order : bool
        Whether the last axis is the slowest.
    grid : sequence of int, optional
        The lengths of the chunks in which the array is stored, which are not cut.
    most_bytes : int, optional
        Of a region, by default `BLOCK_BYTES`.

    Yields
    ------
    tuple of slice
        A region of at most `most_bytes`, unless a single anchor, or a chunk, is larger.
    """
    if grid is not None:
        yield from _split_grid(shape, axis, itemsize, grid, most_bytes)
        return
    most_bytes = most_bytes or BLOCK_BYTES
    order = [i for i in range(len(shape)) if i != axis]
    if fortran_order:
        order.reverse()
    anchor_bytes = itemsize * (1 if axis is None else shape[axis])
    # Step through the slow axes one by one, cut the first axis of which one step fits, and take
    # the fast axes whole.
    cut, step_bytes = 0, anchor_bytes * math.prod(shape[i] for i in order[1:])
    while step_bytes > most_bytes and cut < len(order) - 1:
        cut += 1
        step_bytes //= shape[order[cut]]
    step = max(1, most_bytes // max(1, step_bytes))
    steps = [1 if position < cut else step for position in range(cut + 1)]
    for starts in product(*(range(0, shape[i], s) for i, s in zip(order, steps, strict=False))):
        region = [slice(0, length) for length in shape]
        for i, start, length in zip(order, starts, steps, strict=False):
            region[i] = slice(start, min(start + length, shape[i]))
        yield tuple(region)


def _split_grid(
    shape: Sequence[int], axis: int | None, itemsize: int, grid: Sequence[int], most_bytes: int
) -> Iterator[Region]:
    """Cut logits between the chunks in which they are stored: an array of those is cut."""
    cells = [-(-n // max(1, of)) for n, of in zip(shape, grid, strict=True)]
    classes = 1 if axis is None else shape[axis]
    cell_bytes = itemsize * classes * math.prod(of for i, of in enumerate(grid) if i != axis)
    if axis is not None:
        cells[axis] = 1
    for region in split_anchors(cells, axis, cell_bytes, most_bytes=most_bytes):
        yield tuple(
            slice(0, n) if i == axis else slice(part.start * of, min(part.stop * of, n))
            for i, (part, of, n) in enumerate(zip(region, grid, shape, strict=True))
        )


def drop_axis(items: tuple[Item, ...], axis: int | None) -> tuple[Item, ...]:
    """Drop the class axis, if there is one, from a shape or a region."""
    return tuple(item for i, item in enumerate(items) if i != axis)


def region_shape(region: Region) -> tuple[int, ...]:
    """Return the shape of the values in a region."""
    return tuple(part.stop - part.start for part in region)


def find_runs(
    shape: Sequence[int], region: Region, *, fortran_order: bool
) -> Iterator[tuple[int, int]]:
    """Find where a region lies in its file.

    Yields
    ------
    offset, count : int
        A contiguous run of elements, counted from the first element of the array. Runs follow
        each other as the elements of the region do, in the order of the file.
    """
    lengths, parts = list(shape), list(region)
    if fortran_order:
        lengths.reverse()
        parts.reverse()
    strides = [math.prod(lengths[i + 1 :]) for i in range(len(lengths))]
    # Everything after the last axis that is cut belongs to the run.
    cut = max((i for i, part in enumerate(parts) if part != slice(0, lengths[i])), default=0)
    if not parts:
        yield 0, 1
        return
    count = (parts[cut].stop - parts[cut].start) * strides[cut]
    first = parts[cut].start * strides[cut]
    outer = [range(p.start * s, p.stop * s, s) for p, s in zip(parts[:cut], strides, strict=False)]
    for offsets in product(*outer):
        yield first + sum(offsets), count


def is_sequential(shape: Sequence[int], regions: Sequence[Region], *, fortran_order: bool) -> bool:
    """Return whether reading these regions one after the other only moves forward in the file."""
    position = 0
    for region in regions:
        for offset, count in find_runs(shape, region, fortran_order=fortran_order):
            if offset < position:
                return False
            position = offset + count
    return True
