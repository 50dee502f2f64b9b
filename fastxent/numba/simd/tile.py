"""How the lane kernels see a tile: a vector of anchors at a time; mirrors native/simd/tile.h.

Unlike in C, what is read and written is always a whole vector: the block loop sees to it that the
memory is there. Only `repair` and what reads logits at labels need the number of anchors.
"""

from typing import Any, NamedTuple

from fastxent import native
from fastxent.numba.compilation import inlined
from fastxent.numba.records import settings_at
from fastxent.numba.simd.lanes import Lanes, Mask, Number, lane_function, splat_value
from fastxent.numba.simd.memory import call_exact, call_value, read_double, read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.vector import (
    all_finite,
    first_lanes,
    load,
    load_int32,
    prefetch_later,
    select,
    stack,
    store,
)
from fastxent.numba.structs import address_of

#: Every addition to a running sum can cost half an ULP. So the terms of eight classes at a
#: time are added up, and these sums join a compensated one.
CLASS_GROUP = 8
#: After so many classes that sum settles.
SETTLED_CLASSES = 4096
NO_CLASS: int = native.kernel_constants()["no_class"]


class Stream(NamedTuple):
    """A vector of anchors, class by class: the address of class 0, the bytes to the next one."""

    place: Number
    step: Number


class Flow(NamedTuple):
    """The same, and the bytes to what is read or written later."""

    place: Number
    step: Number
    ahead: Number


class Factors(NamedTuple):
    """What the terms of targets y and of 1 - y are multiplied by, class by class."""

    positive: Number
    negative: Number
    step: Number


class Labels(NamedTuple):
    """The targets of anchors without dense ones: the label, and what belongs to it."""

    columns: Lanes
    soft_targets: Lanes


@inlined
def stream_of(plan: Plan, matrix: Any, first: int) -> Stream:
    """Return the part of a matrix that belongs to a vector of anchors."""
    return Stream(matrix.data + first * plan.size, matrix.class_stride * plan.size)


@inlined
def flow_of(plan: Plan, matrix: Any, first: int, ahead: Any) -> Flow:
    """Return the same of memory that is prefetched."""
    return Flow(matrix.data + first * plan.size, matrix.class_stride * plan.size, ahead)


@inlined
def logits_of(plan: Plan, tile: Any, first: int) -> Flow:
    """Return the logits of a vector of anchors."""
    return flow_of(plan, tile.logits, first, tile.ahead)


@inlined
def targets_of(plan: Plan, tile: Any, first: int) -> Flow:
    """Return the dense targets of a vector of anchors."""
    return flow_of(plan, tile.targets, first, tile.targets_ahead)


@inlined
def grads_of(plan: Plan, tile: Any, first: int) -> Flow:
    """Return where the gradients of a vector of anchors go."""
    return flow_of(plan, tile.grads, first, tile.grads_ahead)


@lane_function
def lanes_load(plan: Plan, stream: Stream | Flow, k: Number | int) -> Lanes:
    """Return the numbers of a class."""
    return load(plan, stream.place + stream.step * k)


@lane_function
def lanes_stream(plan: Plan, flow: Flow, k: Number | int) -> Lanes:
    """Return the numbers of a class in a kernel's first pass, and prefetch the next ones."""
    place = flow.place + flow.step * k
    prefetch_later(place, flow.ahead)
    return load(plan, place)


@lane_function
def lanes_store(stream: Stream, k: Number | int, x: Lanes) -> None:
    """Write the numbers of a class."""
    store(stream.place + stream.step * k, x)


@lane_function
def first_anchors(plan: Plan, count: Number) -> Mask:
    """Return the lanes of the first anchors."""
    return first_lanes(count.builder, plan.real, count)


@lane_function
def lanes_rewrite(stream: Stream, k: Number, x: Lanes, before: Lanes, anchors: Mask) -> None:
    """Write the numbers of a class in place of others, of these anchors alone.

    The following classes may begin in the same vector, and be yet to be read.
    """
    lanes_store(stream, k, select(anchors, x, before))


@lane_function
def lanes_put(flow: Flow, k: Number | int, x: Lanes) -> None:
    """Write results of a class, and prefetch the memory of the next ones."""
    place = flow.place + flow.step * k
    prefetch_later(place, flow.ahead)
    store(place, x)


@inlined
def settings_of(tile: Any) -> Any:
    """Return what kernels read besides the tile."""
    return settings_at(tile.settings)


@inlined
def factors_of(plan: Plan, tile: Any) -> Factors:
    """Return where the factors of the classes are, or the ones that all classes share."""
    positive = stack(plan, 1, tile.anchors)
    negative = positive + plan.size
    step: Any = 0
    write_real(plan, positive, tile.positive)
    write_real(plan, negative, tile.negative)
    if tile.positive_weight != 0:
        positive, negative, step = tile.positive_weight, tile.negative_weight, plan.size
    return Factors(positive, negative, step)


@lane_function
def lanes_positive(plan: Plan, factors: Factors, k: Number) -> Lanes:
    """Return the factor of targets y."""
    number = read_real(plan, factors.positive + k * factors.step)
    return splat_value(k.builder, plan.real, number)


@lane_function
def lanes_negative(plan: Plan, factors: Factors, k: Number) -> Lanes:
    """Return the factor of 1 - y."""
    number = read_real(plan, factors.negative + k * factors.step)
    return splat_value(k.builder, plan.real, number)


@lane_function
def labels_at(plan: Plan, labels: Number, soft_targets: Number) -> Labels:
    """Return the labels of a vector of anchors, where there are any."""
    if plan.has_targets:
        nothing = splat_value(labels.builder, plan.real, 0.0)
        return Labels(nothing, nothing)
    columns = load_int32(plan, labels)
    return Labels(columns, load(plan, soft_targets) if plan.has_soft_targets else columns)


@inlined
def labels_of(plan: Plan, tile: Any, first: int) -> Labels:
    """Return the labels of a vector of anchors."""
    return labels_at(plan, tile.labels + first * 4, tile.soft_targets + first * plan.size)


@lane_function
def lanes_target(plan: Plan, targets: Flow, k: Number, labels: Labels) -> Lanes:
    """Return the targets of a class."""
    if plan.has_targets:
        return lanes_stream(plan, targets, k)
    is_label = labels.columns == k
    if plan.loss == "distribution_focal_loss":
        is_next = labels.columns == k + -1
        return select(
            is_label, 1.0 - labels.soft_targets, select(is_next, labels.soft_targets, 0.0)
        )
    return select(is_label, 1.0, 0.0)


@lane_function
def is_class(columns: Lanes, k: Number) -> Mask:
    """Tell which anchors have a class for their label."""
    return columns == k


# --- one number at a time -------------------------------------------------------------------------


@inlined
def matrix_at(plan: Plan, matrix: Any, anchor: int, k: int) -> float:
    """Return one number of a matrix."""
    place = anchor * matrix.anchor_stride + k * matrix.class_stride
    return read_real(plan, matrix.data + place * plan.size)


class ExactValue(NamedTuple):
    """A loss and its slope."""

    loss: float
    slope: float


@inlined
def exact_value(plan: Plan, tile: Any, z: float, y: float, k: int) -> ExactValue:
    """Return the loss of class k in double, before weights that are not part of the formula."""
    both = stack(plan, 1, k)
    call_value(settings_of(tile).exact_value, address_of(tile), z, y, k, both)
    return ExactValue(read_double(both), read_double(both + 8))


@inlined
def repair(plan: Plan, tile: Any, first: int, count: int, loss: Lanes) -> None:
    """Recompute the anchors whose vector result is not finite.

    Infinite logits, NaN and overflow have their limits in scalar double, and nowhere else. Where
    that code of a custom loss is not compiled yet, say that it is needed.
    """
    if all_finite(loss):
        return
    values, settings = stack(plan, 1, first), settings_of(tile)
    store(values, loss)
    for i in range(count):
        value = read_real(plan, values + i * plan.size)
        if value - value == 0:
            continue
        if settings.exact == 0:
            settings.unrepaired = 1
            continue
        repaired = call_exact(settings.exact, address_of(tile), first + i)
        if tile.losses != 0:
            write_real(plan, tile.losses + (first + i) * plan.size, repaired)


@inlined
def repair_infinite(plan: Plan, tile: Any, first: int, count: int, largest: Lanes) -> None:
    """Recompute the anchors whose maximum is infinite."""
    repair(plan, tile, first, count, largest - largest)
