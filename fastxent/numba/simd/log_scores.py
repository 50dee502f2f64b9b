"""log_softmax and logsumexp; mirrors native/simd/log_scores.h.

Both are made of the cross-entropy of each anchor's largest class: it is the logarithm of the sum of
exp(z - maximum), accurate where that is tiny.

    logsumexp = maximum + loss        log_softmax = -((maximum - z) + loss)

Both terms of log_softmax are non-negative, so nothing cancels.
"""

import math
from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Number, lane_function
from fastxent.numba.simd.memory import double, read_real, write_int32, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.rows import (
    ClassRow,
    anchor_scale,
    class_row,
    clear_rest,
    over_row,
    row_logits,
)
from fastxent.numba.simd.shuffles import reduce_maximum, reduce_minimum
from fastxent.numba.simd.softmax import Largest, find_largest, softmax_loss
from fastxent.numba.simd.softmax_plain import pair_loss, softmax_others
from fastxent.numba.simd.softmax_rows import group_label_logits, group_others
from fastxent.numba.simd.tile import (
    NO_CLASS,
    Flow,
    flow_of,
    is_class,
    lanes_load,
    lanes_put,
    logits_of,
    repair_infinite,
)
from fastxent.numba.simd.vector import (
    LANES_AHEAD,
    PREFETCH_BYTES,
    load,
    maximum,
    prefetch,
    select,
    splat,
    stack,
    store,
    store_first,
)
from fastxent.numba.simd.vector_math import centre_at, exp_centred

#: So many classes are numbered in floats.
NUMBERED_CLASSES = 65536


@inlined
def put_logsumexp(
    plan: Plan, tile: Any, first: int, count: int, largest: Lanes, loss: Lanes
) -> None:
    """Write logsumexp."""
    store(tile.losses + first * plan.size, largest + loss)
    repair_infinite(plan, tile, first, count, largest)


# --- anchors as lanes -----------------------------------------------------------------------------


@inlined
def loss_of_largest(plan: Plan, logits: Flow, classes: int, largest: Largest) -> Lanes:
    """Return the cross-entropies of the largest classes."""
    if classes == 2:
        return pair_loss(plan, logits, largest.largest)
    # A NaN in the first class, which is the largest so far, is no longer in the maximum.
    is_first = is_class(largest.largest, 0)
    own = select(is_first, lanes_load(plan, logits, 0), largest.maximum)
    centre = centre_at(largest.maximum)
    others = softmax_others(plan, logits, classes, largest.largest, centre)
    return softmax_loss(others, own, exp_centred(own, centre), largest.maximum, centre)


@inlined
def log_softmax_lanes(plan: Plan, tile: Any) -> None:
    """Write log_softmax."""
    for first in range(0, tile.anchors, plan.lanes):
        logits = logits_of(plan, tile, first)
        results = flow_of(plan, tile.results, first, LANES_AHEAD)
        largest = find_largest(plan, logits, tile.classes)
        loss = loss_of_largest(plan, logits, tile.classes, largest)
        for k in range(tile.classes):
            gap = lanes_load(plan, logits, k) - largest.maximum
            lanes_put(results, k, gap - loss)
        count = min(plan.lanes, tile.anchors - first)
        repair_infinite(plan, tile, first, count, largest.maximum)


@inlined
def logsumexp_lanes(plan: Plan, tile: Any) -> None:
    """Write logsumexp."""
    for first in range(0, tile.anchors, plan.lanes):
        logits = logits_of(plan, tile, first)
        largest = find_largest(plan, logits, tile.classes)
        loss = loss_of_largest(plan, logits, tile.classes, largest)
        count = min(plan.lanes, tile.anchors - first)
        put_logsumexp(plan, tile, first, count, largest.maximum, loss)


# --- classes as lanes -----------------------------------------------------------------------------


class RowLargest(NamedTuple):
    """The largest logit so far in each lane, where it first stands, and the next columns."""

    maximum: Lanes
    label: Lanes
    column: Lanes


@lane_function
def largest_step(
    plan: Plan,
    options: Number,  # noqa: ARG001 - the interface of a step
    row: ClassRow,
    k: Number,
    count: int | Number,
    running: RowLargest,
) -> RowLargest:
    """Join some classes to a running maximum."""
    z = row_logits(plan, row, k, count, -math.inf)
    label = select(running.maximum < z, running.column, running.label)
    return RowLargest(maximum(running.maximum, z), label, running.column + float(plan.lanes))


@lane_function
def label_at(label: Lanes, in_lane: Lanes, largest: Lanes, last: Number) -> Lanes:
    """Return the labels of the lanes that hold the maximum; the last class elsewhere."""
    return select(in_lane == largest, label, label.like(last))


@inlined
def rows_largest(plan: Plan, tile: Any, first: int, count: int, labels: int) -> Lanes:
    """Return the maxima of a vector of anchors, and write their columns."""
    vector = plan.lanes * plan.size
    maxima, columns = stack(plan, plan.lanes, first), stack(plan, plan.lanes, first)
    numbers, largest = stack(plan, 1, first), stack(plan, 1, first)
    for i in range(plan.lanes):
        write_real(plan, numbers + i * plan.size, float(i))
    lowest, zero = splat(plan, -math.inf, first), splat(plan, 0.0, first)
    for i in range(count):
        row = class_row(plan, tile, first + i, NO_CLASS, 0)
        running = RowLargest(lowest, zero, load(plan, numbers))
        running = over_row(plan, largest_step, first, row, tile.classes, running)
        store(maxima + i * vector, running.maximum)
        store(columns + i * vector, running.label)
    clear_rest(plan, maxima, count)
    clear_rest(plan, columns, count)
    result = reduce_maximum(plan, maxima)
    store(largest, result)
    for i in range(plan.lanes):
        place, whole = columns + i * vector, anchor_scale(plan, largest + i * plan.size)
        in_lane = load(plan, maxima + i * vector)
        store(place, label_at(load(plan, place), in_lane, whole, tile.classes - 1))
    store(numbers, reduce_minimum(plan, columns))
    for i in range(plan.lanes):
        write_int32(labels + 4 * i, int(read_real(plan, numbers + i * plan.size)))
    return result


@inlined
def long_rows_largest(plan: Plan, tile: Any, first: int, count: int, labels: int) -> Lanes:
    """Return the same of rows of so many classes that floats do not hold their numbers.

    Each part of a row has its own.
    """
    in_lanes, columns = stack(plan, 1, first), stack(plan, 1, first)
    numbers, maxima = stack(plan, 1, first), stack(plan, 1, first)
    for i in range(plan.lanes):
        write_real(plan, numbers + i * plan.size, float(i))
    lowest, zero = splat(plan, -math.inf, first), splat(plan, 0.0, first)
    store(maxima, zero)
    for anchor in range(count):
        largest, at = -math.inf, tile.classes - 1
        for start in range(0, tile.classes, NUMBERED_CLASSES):
            row = class_row(plan, tile, first + anchor, NO_CLASS, start)
            running = RowLargest(lowest, zero, load(plan, numbers))
            length = min(tile.classes - start, NUMBERED_CLASSES)
            running = over_row(plan, largest_step, first, row, length, running)
            store(in_lanes, running.maximum)
            store(columns, running.label)
            for i in range(plan.lanes):
                z = double(read_real(plan, in_lanes + i * plan.size))
                column = start + int(read_real(plan, columns + i * plan.size))
                if z > largest or (z == largest and column < at):
                    largest, at = z, column
        write_real(plan, maxima + anchor * plan.size, largest)
        write_int32(labels + 4 * anchor, at)
    return load(plan, maxima)


@inlined
def largest_of_rows(plan: Plan, tile: Any, first: int, count: int, labels: int) -> Lanes:
    """Return the maxima of a vector of anchors, and write their columns, of rows of any length."""
    if tile.classes > NUMBERED_CLASSES:
        return long_rows_largest(plan, tile, first, count, labels)
    return rows_largest(plan, tile, first, count, labels)


@inlined
def rows_loss_of_largest(
    plan: Plan, tile: Any, first: int, count: int, labels: int, largest: Lanes
) -> Lanes:
    """Return the cross-entropies of the largest classes of a vector of anchors."""
    tile.labels = labels - 4 * first
    others = group_others(plan, tile, first, count, largest)
    own = group_label_logits(plan, tile, first, count)
    tile.labels = 0
    centre = centre_at(largest)
    return softmax_loss(others, own, exp_centred(own, centre), largest, centre)


class LogSum(NamedTuple):
    """The maximum of an anchor and its loss, in all lanes, and where its results lie."""

    largest: Lanes
    loss: Lanes
    results: Number


@lane_function
def log_softmax_step(
    plan: Plan, log_sum: LogSum, row: ClassRow, k: Number, count: int | Number, done: Lanes
) -> Lanes:
    """Write log_softmax of some classes."""
    z = row_logits(plan, row, k, count, 0.0)
    result, place = (z - log_sum.largest) - log_sum.loss, log_sum.results + k * plan.size
    prefetch(place, PREFETCH_BYTES)
    if isinstance(count, int):
        store(place, result)
    else:
        store_first(place, count, result)
    return done


@inlined
def log_softmax_rows(plan: Plan, tile: Any) -> None:
    """Write log_softmax."""
    labels = stack(plan, 1, tile.anchors)
    maxima, losses = stack(plan, 1, tile.anchors), stack(plan, 1, tile.anchors)
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        largest = largest_of_rows(plan, tile, first, count, labels)
        loss = rows_loss_of_largest(plan, tile, first, count, labels, largest)
        store(maxima, largest)
        store(losses, loss)
        for i in range(count):
            log_sum = LogSum(
                anchor_scale(plan, maxima + i * plan.size),
                anchor_scale(plan, losses + i * plan.size),
                tile.results.data + (first + i) * tile.results.anchor_stride * plan.size,
            )
            row = class_row(plan, tile, first + i, NO_CLASS, 0)
            over_row(plan, log_softmax_step, log_sum, row, tile.classes, loss)
        repair_infinite(plan, tile, first, count, largest)


@inlined
def logsumexp_rows(plan: Plan, tile: Any) -> None:
    """Write logsumexp."""
    labels = stack(plan, 1, tile.anchors)
    for first in range(0, tile.anchors, plan.lanes):
        count = min(plan.lanes, tile.anchors - first)
        largest = largest_of_rows(plan, tile, first, count, labels)
        loss = rows_loss_of_largest(plan, tile, first, count, labels, largest)
        put_logsumexp(plan, tile, first, count, largest, loss)
