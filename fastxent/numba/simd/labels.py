"""Class labels as the user holds them: any integer type, any stride; mirrors simd/labels.h."""

from llvmlite import ir
from numba.core import types

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import INDEX, Number, lane_function
from fastxent.numba.simd.memory import integer_at, read_int64, write_int32
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED, NO_CLASS
from fastxent.numba.simd.vector import pointer_to


@lane_function
def read_label(plan: Plan, address: Number) -> Number:
    """Return an integer of the plan's dtype."""
    return integer_at(address, getattr(types, plan.dtype))


@lane_function
def put_columns(
    plan: Plan,
    source: Number,
    nothing: Number,
    gap: Number,
    classes: Number,
    ignored: Number,
    columns: Number,
) -> None:
    """Write the columns of a vector of labels that lie side by side; one label may be ignored."""
    builder, count = source.builder, plan.real.lanes
    kind = getattr(types, plan.dtype)
    narrow = ir.VectorType(ir.IntType(kind.bitwidth), count)
    labels = builder.load(pointer_to(builder, source, narrow), align=1)
    if kind.bitwidth < 64:
        extend = builder.sext if kind.signed else builder.zext
        labels = extend(labels, ir.VectorType(INDEX, count))
    columns_of = ir.VectorType(ir.IntType(32), count)
    beyond = builder.icmp_signed(">", labels, _in_all(gap, count))
    column = builder.sub(builder.trunc(labels, columns_of), builder.zext(beyond, columns_of))
    limit = builder.trunc(_in_all(classes, count), columns_of)
    is_class = builder.icmp_unsigned("<", column, limit)
    column = builder.select(is_class, column, columns_of([NO_CLASS] * count))
    for special, meaning in ((nothing, NO_CLASS), (ignored, IGNORED)):
        is_special = builder.icmp_signed("==", labels, _in_all(special, count))
        column = builder.select(is_special, columns_of([meaning] * count), column)
    builder.store(column, pointer_to(builder, columns, columns_of), align=4)


def _in_all(number: Number, count: int) -> ir.Value:
    """Return a vector of one integer."""
    builder, kind, word = number.builder, ir.VectorType(INDEX, count), ir.IntType(32)
    one = builder.insert_element(kind(ir.Undefined), number.value, word(0))
    return builder.shuffle_vector(one, one, ir.VectorType(word, count)([0] * count))


@inlined
def column_of(label: int, nothing: int, gap: int, classes: int) -> int:
    """Return the column of a label that is not ignored; those above the gap move to the left."""
    column = label - 1 if label > gap else label
    return column if label != nothing and 0 <= column < classes else NO_CLASS


#: Above which no label is.
NO_GAP = 2**63 - 1


@inlined
def label_columns(
    plan: Plan,
    source: int,
    stride: int,
    count: int,
    nothing: int,
    classes: int,
    ignored: int,
    columns: int,
) -> None:
    """Write the column of each label: -1 where it means "no class", -2 where it is ignored.

    Kernels take columns for indices, so there are no others but those of classes, whatever the
    labels have become since they were checked. `ignored` is the address of a count, and the labels
    after it.
    """
    first, gap = 0, nothing if nothing >= 0 else NO_GAP
    if stride == plan.item and read_int64(ignored) >= 1:
        number = read_int64(ignored + 8)
        while first + plan.lanes <= count:
            place = source + first * stride
            put_columns(plan, place, nothing, gap, classes, number, columns + 4 * first)
            first += plan.lanes
    for i in range(first, count):
        label = read_label(plan, source + i * stride)
        write_int32(columns + 4 * i, column_of(label, nothing, gap, classes))
    for j in range(read_int64(ignored)):
        number = read_int64(ignored + 8 * (j + 1))
        start = first if j == 0 else 0
        for i in range(start, count):
            if read_label(plan, source + i * stride) == number:
                write_int32(columns + 4 * i, IGNORED)
