"""Softmax cross-entropy of labels, with anchors as lanes; mirrors parts of native/simd/softmax.h.

No weights, no smoothing, no gradient.
"""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import read_int32, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.sigmoid import no_terms
from fastxent.numba.simd.softmax import lanes_maximum, softmax_loss
from fastxent.numba.simd.summation import (
    compensated_add,
    compensated_settle,
    compensated_value,
    rounding_error,
)
from fastxent.numba.simd.tile import (
    CLASS_GROUP,
    SETTLED_CLASSES,
    Flow,
    labels_of,
    lanes_load,
    lanes_stream,
    logits_of,
    matrix_at,
    repair_infinite,
)
from fastxent.numba.simd.vector import (
    fma,
    load,
    maximum,
    negative_abs,
    relu,
    select,
    splat,
    stack,
    store,
)
from fastxent.numba.simd.vector_math import (
    Centre,
    centre_at,
    exp_centred,
    log1p_unit,
    unscaled,
)


@lane_function
def softmax_add_classes(
    plan: Plan,
    logits: Flow,
    first: Number,
    count: int,
    columns: Lanes,
    centre: Centre,
    total: Lanes,
) -> Lanes:
    """Add the exponentials of some classes other than the label to a sum.

    Two terms are added up before they join the others: half of the roundings.
    """
    column = columns - first

    def term(i: int) -> Lanes:
        z = lanes_stream(plan, logits, first + i)
        return select(column == float(i), 0.0, exp_centred(z, centre))

    for i in range(0, count - 1, 2):
        total = total + (term(i) + term(i + 1))
    return total + term(count - 1) if count % 2 else total


@inlined
def softmax_others(plan: Plan, logits: Flow, classes: int, columns: Lanes, centre: Centre) -> Lanes:
    """Return the sum of the exponentials of all classes other than the label."""
    others, zero = no_terms(plan, classes), splat(plan, 0.0, classes)
    k = 0
    while k + CLASS_GROUP <= classes:
        terms = softmax_add_classes(plan, logits, k, 8, columns, centre, zero)
        others = compensated_add(others, terms)
        k += CLASS_GROUP
        if k % SETTLED_CLASSES == 0:
            others = compensated_settle(others)
    if k < classes:
        terms = zero
        while k + 2 <= classes:
            terms = softmax_add_classes(plan, logits, k, 2, columns, centre, terms)
            k += 2
        if k < classes:
            terms = softmax_add_classes(plan, logits, k, 1, columns, centre, terms)
        others = compensated_add(others, terms)
    return compensated_value(others)


#: For more classes, the logits of labels are read one by one.
SELECTED_CLASSES = 16


@lane_function
def take_label(plan: Plan, logits: Flow, k: Number | int, columns: Lanes, own: Lanes) -> Lanes:
    """Return the logits of a class, where it is the label."""
    return select(columns == k, lanes_load(plan, logits, k), own)


@inlined
def label_logits(
    plan: Plan, tile: Any, logits: Flow, columns: Lanes, first: int, count: int
) -> Lanes:
    """Return the logits of the labels; those of the first class where there is none."""
    own = lanes_load(plan, logits, 0)
    if tile.classes <= SELECTED_CLASSES:
        for k in range(1, tile.classes):
            own = take_label(plan, logits, k, columns, own)
        return own
    places = stack(plan, 1, first)
    store(places, own)
    for i in range(count):
        label = read_int32(tile.labels + 4 * (first + i))
        if label > 0:
            number = matrix_at(plan, tile.logits, first + i, label)
            write_real(plan, places + i * plan.size, number)
    return load(plan, places)


@inlined
def finish_vector(
    plan: Plan, tile: Any, first: int, others: Lanes, own: Lanes, largest: Lanes, centre: Centre
) -> None:
    """Write the losses of a vector of anchors."""
    loss = softmax_loss(others, own, exp_centred(own, centre), largest, centre)
    store(tile.losses + first * plan.size, loss)
    repair_infinite(plan, tile, first, min(plan.lanes, tile.anchors - first), largest)


@inlined
def softmax_plain_lanes(plan: Plan, tile: Any) -> None:
    """Any number of classes."""
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        logits, columns = logits_of(plan, tile, first), labels_of(plan, tile, first).columns
        largest = lanes_maximum(plan, logits, tile.classes)
        centre = centre_at(largest)
        others = softmax_others(plan, logits, tile.classes, columns, centre)
        own = label_logits(plan, tile, logits, columns, first, count)
        finish_vector(plan, tile, first, others, own, largest, centre)


# --- few classes ----------------------------------------------------------------------------------


class FewSums(NamedTuple):
    """The labels' logits, the maxima, and the sums of the other classes' exponentials."""

    own: Lanes
    maximum: Lanes
    centre: Centre
    others: Lanes


@lane_function
def few_term(plan: Plan, logits: Flow, columns: Lanes, centre: Centre, k: int) -> Lanes:
    """Return the exponential of a class, but 0 for the label."""
    return select(columns == k, 0.0, exp_centred(lanes_stream(plan, logits, k), centre))


@lane_function
def few_sums(plan: Plan, logits: Flow, columns: Lanes, classes: int) -> FewSums:
    """Return the sums of so few classes that they need no compensation."""
    own = largest = lanes_load(plan, logits, 0)
    for k in range(1, classes):
        own = take_label(plan, logits, k, columns, own)
        largest = maximum(largest, lanes_load(plan, logits, k))
    centre = centre_at(largest)
    total = own.like(0.0)
    for k in range(0, classes - 1, 2):
        total = total + (
            few_term(plan, logits, columns, centre, k)
            + few_term(plan, logits, columns, centre, k + 1)
        )
    if classes % 2:
        total = total + few_term(plan, logits, columns, centre, classes - 1)
    return FewSums(own, largest, centre, total)


@inlined
def softmax_few_lanes(plan: Plan, tile: Any) -> None:
    """Three or four classes."""
    for first in range(0, tile.anchors, plan.lanes):
        logits, columns = logits_of(plan, tile, first), labels_of(plan, tile, first).columns
        if tile.classes == 3:
            sums = few_sums(plan, logits, columns, 3)
        else:
            sums = few_sums(plan, logits, columns, 4)
        finish_vector(plan, tile, first, sums.others, sums.own, sums.maximum, sums.centre)


@lane_function
def pair_loss(plan: Plan, logits: Flow, columns: Lanes) -> Lanes:
    """Return softplus(d) with d = z_other - z_label.

    Its rounding error is kept, for exp would make it the relative error of a tiny loss; that of an
    infinite distance is NaN.
    """
    is_second = columns == 1.0
    first, second = lanes_stream(plan, logits, 0), lanes_stream(plan, logits, 1)
    own, other = select(is_second, second, first), select(is_second, first, second)
    distance = other - own
    lost = rounding_error(other, -own, distance)
    lost = select(lost == lost, lost, 0.0)
    change = select(distance < 0.0, lost, -lost)
    e = unscaled(exp_centred(negative_abs(distance), centre_at(distance.like(0.0))))
    return relu(distance) + log1p_unit(fma(e, change, e))


@inlined
def softmax_pair_lanes(plan: Plan, tile: Any) -> None:
    """Two classes."""
    for first in range(0, tile.anchors, plan.lanes):
        columns = labels_of(plan, tile, first).columns
        loss = pair_loss(plan, logits_of(plan, tile, first), columns)
        store(tile.losses + first * plan.size, loss)
