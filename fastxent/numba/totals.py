"""What the anchors of a block add up to: losses, and what a normalizer is made of.

Most calls want no totals; then nothing of this is compiled.
"""

from typing import Any

from fastxent.numba.anchors import has_weights
from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.simd.memory import double, read_int32, read_real, write_real
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED, matrix_at


@inlined
def mass_of(plan: Plan, job: Any, tile: Any, a: int) -> float:
    """Return the weight that class and logit weights of an anchor amount to."""
    matrix = tile.weights if job.is_sigmoid else tile.targets
    if matrix.data == 0:
        if not job.is_sigmoid and job.class_weight != 0:
            label = read_int32(tile.labels + 4 * a)
            if label >= 0:
                return double(read_real(plan, job.class_weight + label * plan.size))
        return job.mean_class_weight
    mass = 0.0
    for k in range(tile.classes):
        value = double(matrix_at(plan, matrix, a, k))
        if job.class_weight != 0:
            value *= double(read_real(plan, job.class_weight + k * plan.size))
        mass += value
    if not job.is_sigmoid:
        return mass
    if tile.label_counts == 0:
        return mass / float(tile.classes)
    return mass / max(1.0, double(read_real(plan, tile.label_counts + a * plan.size)))


@inlined
def is_positive(plan: Plan, job: Any, tile: Any, a: int) -> bool:
    """Tell whether an anchor's dense targets name a class other than the background."""
    for k in range(tile.classes):
        if k != job.background_column and matrix_at(plan, tile.targets, a, k) > 0:
            return True
    return False


def _add_masses(plan: Plan, job: Any, tile: Any, masses: int, totals: Any) -> None:
    for a in range(tile.anchors):
        write_real(plan, masses + a * plan.size, mass_of(plan, job, tile, a))
    if not job.has_labels:
        for a in range(tile.anchors):
            totals.positive += is_positive(plan, job, tile, a)


def _count_nothing(plan: Plan, job: Any, tile: Any, masses: int, totals: Any) -> None:
    """Do nothing where no totals are wanted, rather than compile what adds them up."""


@chosen_by(lambda plan: _add_masses if plan.has_totals else _count_nothing)
def add_masses(plan: Plan, job: Any, tile: Any, masses: int, totals: Any) -> None:
    """Fill in the weights of a tile's anchors (LossTotals.weight), and count positive ones."""
    raise NotImplementedError


#: As in native/simd/labels.h.
SUMS = 8


@inlined
def sum_every_eighth(plan: Plan, losses: int, first: int, run: int) -> float:
    """Sum every eighth loss of a run."""
    total = 0.0
    for i in range(first, run, SUMS):
        total += double(read_real(plan, losses + i * plan.size))
    return total


@inlined
def sum_losses(plan: Plan, losses: int, run: int) -> float:
    """Sum the losses of a run: the sums of every eighth one, folded in halves."""
    quarters = (0.0, 0.0)
    for first in (0, 1):
        low = sum_every_eighth(plan, losses, first, run)
        low += sum_every_eighth(plan, losses, first + 4, run)
        high = sum_every_eighth(plan, losses, first + 2, run)
        high += sum_every_eighth(plan, losses, first + 6, run)
        quarters = (quarters[1], low + high)
    return quarters[0] + quarters[1]


def _add_totals(
    plan: Plan, job: Any, run: int, memory: int, has_columns: bool, totals: Any
) -> None:
    scratch = job.scratch
    columns, weights = memory + scratch.columns, memory + scratch.weights
    losses, masses = memory + scratch.losses, memory + scratch.masses
    is_weighted = has_weights(job)
    if job.kernel != 0:
        totals.loss += sum_losses(plan, losses, run)
    for i in range(run):
        if has_columns:
            column = read_int32(columns + 4 * i)
            if column == IGNORED:
                continue
            totals.positive += column >= 0 and column != job.background_column
        weight = double(read_real(plan, weights + i * plan.size)) if is_weighted else 1.0
        totals.weight += weight * double(read_real(plan, masses + i * plan.size))
        totals.valid += 1


def _add_nothing(
    plan: Plan, job: Any, run: int, memory: int, has_columns: bool, totals: Any
) -> None:
    """Do nothing where no totals are wanted."""


@chosen_by(lambda plan: _add_totals if plan.has_totals else _add_nothing)
def add_totals(plan: Plan, job: Any, run: int, memory: int, has_columns: bool, totals: Any) -> None:
    """Add up the losses of a run, and what a normalizer is made of."""
    raise NotImplementedError
