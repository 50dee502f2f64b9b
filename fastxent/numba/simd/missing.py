"""Missing labels: dense targets that equal an `ignore_index`; mirrors native/simd/missing.h."""

from typing import Any, NamedTuple

from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, Mask, Number, lane_function
from fastxent.numba.simd.memory import read_real, write_int32, write_int64
from fastxent.numba.simd.pack import read_element
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED, NO_CLASS, Stream, lanes_load, lanes_store, stream_of
from fastxent.numba.simd.vector import maximum, minimum, select, splat, store


@inlined
def find_missing(
    plan: Plan,
    source: int,
    stride: int,
    class_stride: int,
    count: int,
    classes: int,
    found: int,
    unused: int,  # noqa: ARG001 - there are functions of seven integers
) -> None:
    """Write to `found` whether any dense target is outside [0, 1]."""
    is_outside = False
    for a in range(count):
        for k in range(classes):
            target = read_element(plan, source + a * stride + k * class_stride)
            is_outside |= (target < 0) | (target > 1)
    write_int64(found, int(is_outside))


class LabelFound(NamedTuple):
    """What is read at missing targets instead, and how many are not."""

    logit: Lanes
    target: Lanes
    number: Lanes


def _is_missing(target: Lanes) -> Mask:
    return ~(target == minimum(maximum(target, 0.0), 1.0))


@lane_function
def no_label(plan: Plan, like: Number) -> LabelFound:
    """Return what stands for a label where there is none."""
    zero = splat(plan, 0.0, like)
    return LabelFound(zero, zero, zero)


@lane_function
def note_label(found: LabelFound, target: Lanes, logit: Lanes) -> LabelFound:
    """Take the logit and the target of another class that is not missing."""
    missing = _is_missing(target)
    return LabelFound(
        select(missing, found.logit, logit),
        select(missing, found.target, target),
        found.number + select(missing, 0.0, found.logit.like(1.0)),
    )


@lane_function
def label_there(target: Lanes) -> Lanes:
    """Return 0 where a target is missing, and 1 elsewhere."""
    return select(_is_missing(target), 0.0, target.like(1.0))


@lane_function
def keep_labelled(plan: Plan, labelled: Lanes, stream: Stream, k: Number, other: Lanes) -> None:
    """Replace what a matrix has at missing targets."""
    lanes_store(stream, k, select(labelled == 0.0, other, lanes_load(plan, stream, k)))


@inlined
def fill_lanes(plan: Plan, tile: Any, first: int) -> None:
    """Fill one vector of anchors."""
    targets, labelled = stream_of(plan, tile.targets, first), stream_of(plan, tile.labelled, first)
    logits, weights = stream_of(plan, tile.logits, first), stream_of(plan, tile.weights, first)
    zero = splat(plan, 0.0, first)
    found = no_label(plan, first)
    for k in range(tile.classes):
        logit = lanes_load(plan, logits, k) if tile.logits.data != 0 else zero
        found = note_label(found, lanes_load(plan, targets, k), logit)
    store(tile.label_counts + first * plan.size, found.number)
    for k in range(tile.classes):
        there = label_there(lanes_load(plan, targets, k))
        lanes_store(labelled, k, there)
        keep_labelled(plan, there, targets, k, found.target)
        if tile.logits.data != 0:
            keep_labelled(plan, there, logits, k, found.logit)
        if tile.weights.data != 0:
            keep_labelled(plan, there, weights, k, zero)


@inlined
def fill_missing(plan: Plan, tile: Any) -> bool:
    """Replace what a tile has at missing targets, and say which these are.

    Return whether an anchor has some targets only.
    """
    some = False
    for first in range(0, tile.anchors, plan.lanes):
        fill_lanes(plan, tile, first)
    for a in range(tile.anchors):
        count = read_real(plan, tile.label_counts + a * plan.size)
        write_int32(tile.labels + 4 * a, IGNORED if count == 0 else NO_CLASS)
        some |= (count != 0) & (count != tile.classes)
    return some


@inlined
def clear_missing(plan: Plan, tile: Any) -> None:
    """Leave no result and no gradient at missing targets."""
    for first in range(0, tile.anchors, plan.lanes):
        labelled = stream_of(plan, tile.labelled, first)
        results, grads = stream_of(plan, tile.results, first), stream_of(plan, tile.grads, first)
        zero = splat(plan, 0.0, first)
        for k in range(tile.classes):
            there = lanes_load(plan, labelled, k)
            if tile.results.data != 0:
                keep_labelled(plan, there, results, k, zero)
            if tile.grads.data != 0:
                keep_labelled(plan, there, grads, k, zero)
