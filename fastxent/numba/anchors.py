"""What the anchors of a run have one of each: positions, weights, losses; mirrors _anchors.pxd."""

import math
from typing import Any

from fastxent.numba.arrays import operand_at
from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.exact import weighted
from fastxent.numba.simd.memory import (
    call_seven,
    copy_bytes,
    double,
    read_int32,
    read_int64,
    read_real,
    rounded,
    write_int32,
    write_real,
)
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED


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
    """Turn positions into the bins below them, and what the bins above have of the target."""
    gather(job, job.targets, cursor, run, shares)
    for i in range(run):
        place = shares + i * plan.size
        position = read_real(plan, place)
        if is_ignored_position(plan, job, position):
            write_int32(columns + 4 * i, IGNORED)
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


@inlined
def weigh_losses(plan: Plan, job: Any, run: int, columns: int, weights: int, losses: int) -> None:
    """Multiply the losses of a run by their weights; ignored anchors have none."""
    is_weighted = has_weights(job)
    for i in range(run):
        place = losses + i * plan.size
        if is_weighted:
            weight = read_real(plan, weights + i * plan.size)
            write_real(plan, place, weighted(weight, read_real(plan, place)))
        if job.has_labels and read_int32(columns + 4 * i) == IGNORED:
            write_real(plan, place, 0.0)


def _add_totals(plan: Plan, job: Any, run: int, memory: int, totals: Any) -> None:
    scratch = job.scratch
    columns, weights = memory + scratch.columns, memory + scratch.weights
    losses, masses = memory + scratch.losses, memory + scratch.masses
    is_weighted = has_weights(job)
    for i in range(run):
        if job.kernel != 0:
            totals.loss += double(read_real(plan, losses + i * plan.size))
        if job.has_labels:
            column = read_int32(columns + 4 * i)
            if column == IGNORED:
                continue
            totals.positive += column >= 0 and column != job.background_column
        weight = double(read_real(plan, weights + i * plan.size)) if is_weighted else 1.0
        totals.weight += weight * double(read_real(plan, masses + i * plan.size))
        totals.valid += 1


def _add_nothing(plan: Plan, job: Any, run: int, memory: int, totals: Any) -> None:
    """Do nothing where no totals are wanted."""


@chosen_by(lambda plan: _add_totals if plan.has_totals else _add_nothing)
def add_totals(plan: Plan, job: Any, run: int, memory: int, totals: Any) -> None:
    """Add up the losses of a run, and what a normalizer is made of."""
    raise NotImplementedError
