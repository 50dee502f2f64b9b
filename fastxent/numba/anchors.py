"""What the anchors of a run have one of each: positions, weights, losses; mirrors _anchors.pxd."""

import math
from typing import Any

from fastxent.numba.arrays import operand_at
from fastxent.numba.compilation import inlined
from fastxent.numba.simd.lanes import Lanes, lane_function
from fastxent.numba.simd.memory import (
    call_seven,
    copy_bytes,
    read_int32,
    read_int64,
    read_real,
    rounded,
    write_int32,
    write_real,
)
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED, NO_CLASS
from fastxent.numba.simd.vector import load, load_int32, negative_abs, select, store


@inlined
def gather(job: Any, operand: Any, cursor: int, run: int, values: int) -> None:
    """Copy what the anchors of a run have one of each."""
    place = operand_at(job, operand, cursor)
    call_seven(operand.pack, place, operand.inner_stride, 0, run, 1, values, run)


@inlined
def has_weights(job: Any) -> bool:
    """Tell whether anchors have weights other than one."""
    return job.anchor_weight.data != 0 or job.label_weight != 0 or job.weight != 1


@inlined
def run_weights(plan: Plan, job: Any, cursor: int, run: int, columns: int, weights: int) -> None:
    """Gather the weights of a run's anchors."""
    if job.anchor_weight.data != 0:
        gather(job, job.anchor_weight, cursor, run, weights)
    for i in range(run):
        place = weights + i * plan.size
        weight = rounded(plan, job.weight)
        if job.anchor_weight.data != 0:
            weight = read_real(plan, place) * weight
        if job.label_weight != 0:
            column = read_int32(columns + 4 * i)
            if column >= 0:
                weight *= read_real(plan, job.label_weight + column * plan.size)
        write_real(plan, place, weight)


@inlined
def run_grad_scales(plan: Plan, job: Any, cursor: int, run: int, weights: int, scales: int) -> None:
    """Fill in the factors of the gradients of a run's anchors."""
    if job.anchor_grad_output.data != 0:
        gather(job, job.anchor_grad_output, cursor, run, scales)
    is_weighted = has_weights(job)
    for i in range(run):
        scale = rounded(plan, job.grad_scale)
        if job.anchor_grad_output.data != 0:
            scale = read_real(plan, scales + i * plan.size) * scale
        if is_weighted:
            scale *= read_real(plan, weights + i * plan.size)
        write_real(plan, scales + i * plan.size, scale)


@inlined
def is_ignored_position(plan: Plan, job: Any, position: float) -> bool:
    """Tell whether a position is among the ignored ones."""
    for j in range(read_int64(job.ignored)):
        if position == rounded(plan, float(read_int64(job.ignored + 8 * (j + 1)))):
            return True
    return False


@inlined
def run_positions(plan: Plan, job: Any, cursor: int, run: int, columns: int, shares: int) -> None:
    """Turn positions into the bins below them, and what the bins above have of the target.

    Kernels take columns for indices: positions that have left the bins since they were checked have
    no class.
    """
    gather(job, job.targets, cursor, run, shares)
    for i in range(run):
        place = shares + i * plan.size
        position = read_real(plan, place)
        if is_ignored_position(plan, job, position):
            write_int32(columns + 4 * i, IGNORED)
            write_real(plan, place, 0.0)
            continue
        if not 0 <= position <= job.classes - 1:
            write_int32(columns + 4 * i, NO_CLASS)
            write_real(plan, place, 0.0)
            continue
        below = math.floor(position)
        write_int32(columns + 4 * i, int(below))
        write_real(plan, place, position - below)


@inlined
def write_anchors(plan: Plan, job: Any, operand: Any, cursor: int, run: int, values: int) -> None:
    """Write what the anchors of a run have one of each to the caller's array."""
    place, step = operand_at(job, operand, cursor), operand.inner_stride
    if step == plan.size:
        copy_bytes(place, values, run * plan.size)
        return
    for i in range(run):
        write_real(plan, place + i * step, read_real(plan, values + i * plan.size))


@lane_function
def weighted_lanes(weight: Lanes, loss: Lanes) -> Lanes:
    """Return products in which a weight of zero takes even an infinite loss away."""
    is_infinite = negative_abs(loss) == -math.inf
    return select((weight == 0.0) & is_infinite, 0.0, weight * loss)


@lane_function
def zero_where_ignored(columns: Lanes, loss: Lanes) -> Lanes:
    """Return the losses, but 0 for ignored anchors."""
    return select(columns == float(IGNORED), 0.0, loss)


@inlined
def weigh_losses(
    plan: Plan, job: Any, run: int, columns: int, weights: int, losses: int, has_columns: bool
) -> None:
    """Multiply the losses of a run by their weights; ignored anchors have none."""
    is_weighted = has_weights(job)
    for i in range(0, run, plan.lanes):  # whole vectors: there is room behind the last one
        place = losses + i * plan.size
        loss = load(plan, place)
        if is_weighted:
            loss = weighted_lanes(load(plan, weights + i * plan.size), loss)
        if has_columns:
            loss = zero_where_ignored(load_int32(plan, columns + 4 * i), loss)
        store(place, loss)
