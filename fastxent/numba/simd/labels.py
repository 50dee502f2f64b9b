"""Class labels as the user holds them: any integer type, any stride; mirrors simd/labels.h."""

from numba.core import types

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Number, lane_function
from fastxent.numba.simd.memory import integer_at, read_int64, write_int32
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED, NO_CLASS


@lane_function
def read_label(plan: Plan, address: Number) -> Number:
    """Return an integer of the plan's dtype."""
    return integer_at(address, getattr(types, plan.dtype))


@inlined
def column_of(label: int, nothing: int, gap: int) -> int:
    """Return the column of a label that is not ignored; those above the gap move to the left."""
    if label == nothing:
        return NO_CLASS
    return label - 1 if label > gap else label


@inlined
def label_columns(
    plan: Plan,
    source: int,
    stride: int,
    count: int,
    nothing: int,
    gap: int,
    ignored: int,
    columns: int,
) -> None:
    """Write the column of each label: -1 where it means "no class", -2 where it is ignored.

    `ignored` is the address of a count, with the labels behind it.
    """
    for i in range(count):
        label = read_label(plan, source + i * stride)
        write_int32(columns + 4 * i, column_of(label, nothing, gap))
    for j in range(read_int64(ignored)):
        number = read_int64(ignored + 8 * (j + 1))
        for i in range(count):
            if read_label(plan, source + i * stride) == number:
                write_int32(columns + 4 * i, IGNORED)
