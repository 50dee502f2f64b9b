"""Places in strided arrays; mirrors the end of native/_arrays.pxd.

A cursor is the address of one index for each dimension that all operands share.
"""

from typing import Any

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.memory import read_int64, write_int64


@inlined
def cursor_at(job: Any, position: int, cursor: int) -> None:
    """Point a cursor at a position in C order."""
    for axis in range(job.dimensions - 1, -1, -1):
        extent = read_int64(job.shape + 8 * axis)
        write_int64(cursor + 8 * axis, position % extent)
        position //= extent


@inlined
def cursor_advance(job: Any, cursor: int, run: int) -> None:
    """Go on by some anchors, which do not reach beyond the innermost dimension."""
    axis = job.dimensions - 1
    write_int64(cursor + 8 * axis, read_int64(cursor + 8 * axis) + run)
    while axis > 0 and read_int64(cursor + 8 * axis) == read_int64(job.shape + 8 * axis):
        write_int64(cursor + 8 * axis, 0)
        axis -= 1
        write_int64(cursor + 8 * axis, read_int64(cursor + 8 * axis) + 1)


@inlined
def run_length(job: Any, cursor: int, limit: int) -> int:
    """Return how many anchors, up to a limit, follow in the innermost dimension."""
    axis = job.dimensions - 1
    return min(limit, read_int64(job.shape + 8 * axis) - read_int64(cursor + 8 * axis))


@inlined
def operand_at(job: Any, operand: Any, cursor: int) -> int:
    """Return the address of an operand's numbers at a cursor; 0 where it is absent."""
    place = operand.data
    if place != 0:
        for axis in range(job.dimensions):
            place += read_int64(cursor + 8 * axis) * read_int64(operand.strides + 8 * axis)
    return place
