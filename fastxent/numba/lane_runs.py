"""A run of anchors by the lane kernel, tile by tile; mirrors the first part of native/_blocks.pxd.

Lane kernels work on whole vectors. Where they read and write the user's own memory, the anchors
behind the last whole vector are a tile of their own, which is packed. Where dense targets may be
missing, all tiles are packed, to be filled (simd/missing.py).
"""

from typing import Any

from fastxent.numba.anchors import has_weights
from fastxent.numba.arrays import cursor_advance, operand_at
from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.records import tile_at
from fastxent.numba.simd.exact import weighted
from fastxent.numba.simd.memory import (
    call_kernel,
    call_seven,
    clear_bytes,
    read_int32,
    read_real,
    write_real,
)
from fastxent.numba.simd.missing import clear_missing, fill_missing
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED
from fastxent.numba.simd.vector import LANES_AHEAD
from fastxent.numba.structs import address_of
from fastxent.numba.totals import add_masses


@inlined
def set_matrix(matrix: Any, data: int, anchor_stride: int, class_stride: int) -> None:
    """Say where a matrix is."""
    matrix.data = data
    matrix.anchor_stride = anchor_stride
    matrix.class_stride = class_stride


@inlined
def is_in_place(plan: Plan, operand: Any, anchors: int) -> bool:
    """Tell whether the lane kernels can work on these anchors of an operand where they are."""
    return operand.in_lanes != 0 and anchors % plan.lanes == 0


@inlined
def take_results(
    plan: Plan, job: Any, operand: Any, matrix: Any, cursor: int, anchors: int, copy: int
) -> None:
    """Say where a tile's results go: in place, or to a tile that `put_results` writes out."""
    place = operand_at(job, operand, cursor)
    if place == 0:
        set_matrix(matrix, 0, 1, 0)
    elif is_in_place(plan, operand, anchors):
        set_matrix(matrix, place, 1, operand.class_stride // plan.size)
    else:
        set_matrix(matrix, copy, 1, job.tile_anchors)


@inlined
def take_lanes(
    plan: Plan, job: Any, operand: Any, matrix: Any, cursor: int, anchors: int, copy: int
) -> None:
    """Make an operand a part of a tile: in place, or packed."""
    take_results(plan, job, operand, matrix, cursor, anchors, copy)
    if matrix.data == copy:
        call_seven(
            operand.pack,
            operand_at(job, operand, cursor),
            operand.inner_stride,
            operand.class_stride,
            anchors,
            job.classes,
            copy,
            job.tile_anchors,
        )


@inlined
def put_results(plan: Plan, job: Any, operand: Any, matrix: Any, cursor: int, anchors: int) -> None:
    """Write out results that are not in place."""
    if operand.data != 0 and not is_in_place(plan, operand, anchors):
        call_seven(
            operand.unpack,
            operand_at(job, operand, cursor),
            operand.inner_stride,
            operand.class_stride,
            anchors,
            job.classes,
            matrix.data,
            job.tile_anchors,
        )


@inlined
def bytes_ahead(job: Any, operand: Any, cursor: int, matrix: Any, anchors: int) -> int:
    """Return how far off the memory is that the lane kernels ask for.

    Of packed rows it is where those begin that are so many anchors behind this tile's first one.
    """
    if operand.in_lanes != 0:
        return LANES_AHEAD
    return operand_at(job, operand, cursor) + anchors * operand.inner_stride - matrix.data


@inlined
def weigh_results(plan: Plan, job: Any, tile: Any, weights: int) -> None:
    """Multiply per-logit results by their anchors' weights; ignored anchors become zero."""
    is_weighted = has_weights(job)
    if not is_weighted and not job.has_labels:
        return
    for k in range(tile.classes):
        row = tile.results.data + k * tile.results.class_stride * plan.size
        for a in range(tile.anchors):
            if job.has_labels and read_int32(tile.labels + 4 * a) == IGNORED:
                write_real(plan, row + a * plan.size, 0.0)
            elif is_weighted:
                weight = read_real(plan, weights + a * plan.size)
                result = weighted(weight, read_real(plan, row + a * plan.size))
                write_real(plan, row + a * plan.size, result)


@inlined
def clear_ignored_grads(job: Any, tile: Any, item: int) -> None:
    """Give ignored anchors a gradient of zero, whatever their logits are."""
    if tile.grads.data == 0 or not job.has_labels:
        return
    for a in range(tile.anchors):
        if read_int32(tile.labels + 4 * a) == IGNORED:
            for k in range(tile.classes):
                place = a * tile.grads.anchor_stride + k * tile.grads.class_stride
                clear_bytes(tile.grads.data + place * item, item)


@inlined
def set_anchor_vectors(plan: Plan, job: Any, tile: Any, memory: int, first: int) -> None:
    """Point a tile at what its anchors have one of each."""
    scratch, offset = job.scratch, first * plan.size
    tile.labels = memory + scratch.columns + 4 * first if job.has_labels else 0
    tile.losses = 0 if job.per_logit else memory + scratch.losses + offset
    tile.grad_scales = memory + scratch.grad_scales + offset
    tile.shares = memory + scratch.shares + offset
    tile.expectations = memory + scratch.expectations + offset
    if job.expectations.data == 0:
        tile.expectations = 0


def _plain_kernel(
    plan: Plan,  # noqa: ARG001 - the interface that _kernel_of_labelled needs
    job: Any,
    tile: Any,  # noqa: ARG001
    memory: int,  # noqa: ARG001
    first: int,  # noqa: ARG001
    has_missing: bool,  # noqa: ARG001
) -> int:
    return job.kernel


def _kernel_of_labelled(
    plan: Plan, job: Any, tile: Any, memory: int, first: int, has_missing: bool
) -> int:
    """Make a tile, of copies, one of the dense targets that are there."""
    if not has_missing:
        tile.label_counts = 0
        return job.lane_kernel
    scratch = job.scratch
    set_matrix(tile.labelled, memory + scratch.labelled, 1, job.tile_anchors)
    tile.label_counts = memory + scratch.label_counts + first * plan.size
    tile.labels = memory + scratch.columns + 4 * first
    if not fill_missing(plan, tile) or not job.is_sigmoid:
        return job.lane_kernel
    if tile.weights.data == 0:
        set_matrix(tile.weights, tile.labelled.data, 1, job.tile_anchors)
    return job.weighted_kernel


@chosen_by(lambda plan: _kernel_of_labelled if plan.may_miss else _plain_kernel)
def kernel_for(plan: Plan, job: Any, tile: Any, memory: int, first: int, has_missing: bool) -> int:
    """Return the kernel for a tile, in which missing targets are filled; 0: none is wanted."""
    raise NotImplementedError


def _clear_nothing(plan: Plan, tile: Any) -> None:
    """Do nothing where no targets are missing."""


def _clear_missing(plan: Plan, tile: Any) -> None:
    if tile.label_counts != 0:
        clear_missing(plan, tile)


@chosen_by(lambda plan: _clear_missing if plan.may_miss else _clear_nothing)
def clear_filled(plan: Plan, tile: Any) -> None:
    """Leave no result and no gradient where targets were filled."""
    raise NotImplementedError


@inlined
def lane_tile(
    plan: Plan, job: Any, tile: Any, kernel: int, cursor: int, memory: int, weights: int
) -> None:
    """Run a lane kernel on a tile, of which results and gradients are yet to be said."""
    scratch, anchors = job.scratch, tile.anchors
    tile.ahead = bytes_ahead(job, job.logits, cursor, tile.logits, anchors)
    tile.targets_ahead = bytes_ahead(job, job.targets, cursor, tile.targets, anchors)
    take_lanes(
        plan,
        job,
        job.logit_grad_output,
        tile.grad_weights,
        cursor,
        anchors,
        memory + scratch.grad_weights,
    )
    set_matrix(tile.results, 0, 1, 0)
    if job.per_logit:
        take_results(plan, job, job.out, tile.results, cursor, anchors, memory + scratch.results)
    take_results(plan, job, job.grads, tile.grads, cursor, anchors, memory + scratch.grads)
    tile.grads_ahead = bytes_ahead(job, job.grads, cursor, tile.grads, 0)
    call_kernel(kernel, address_of(tile))
    clear_ignored_grads(job, tile, plan.size)
    if job.per_logit:
        weigh_results(plan, job, tile, weights)
    clear_filled(plan, tile)
    if job.per_logit:
        put_results(plan, job, job.out, tile.results, cursor, anchors)
    put_results(plan, job, job.grads, tile.grads, cursor, anchors)


@inlined
def next_tile(plan: Plan, job: Any, left: int) -> int:
    """Return the anchors of the next tile: whole vectors, as long as there are any.

    Or all that are left, where everything is packed.
    """
    anchors = min(job.tile_anchors, left)
    if plan.may_miss:
        return anchors
    return anchors - anchors % plan.lanes if anchors > plan.lanes else anchors


@inlined
def lane_run(
    plan: Plan, job: Any, cursor: int, run: int, memory: int, has_missing: bool, totals: Any
) -> None:
    """Compute a run tile by tile with the lane kernel."""
    scratch = job.scratch
    tile = tile_at(memory + scratch.tile)
    set_matrix(tile.targets, 0, 1, 0)
    first = 0
    while first < run:
        anchors = next_tile(plan, job, run - first)
        tile.anchors = anchors
        set_anchor_vectors(plan, job, tile, memory, first)
        if not job.has_labels:
            copy = memory + scratch.targets
            take_lanes(plan, job, job.targets, tile.targets, cursor, anchors, copy)
        copy = memory + scratch.logit_weights
        take_lanes(plan, job, job.logit_weight, tile.weights, cursor, anchors, copy)
        if job.kernel != 0:
            copy = memory + scratch.logits
            take_lanes(plan, job, job.logits, tile.logits, cursor, anchors, copy)
        kernel = kernel_for(plan, job, tile, memory, first, has_missing)
        if kernel != 0:
            weights = memory + scratch.weights + first * plan.size
            lane_tile(plan, job, tile, kernel, cursor, memory, weights)
        masses = memory + scratch.masses + first * plan.size
        add_masses(plan, job, tile, masses, totals)
        first += anchors
        cursor_advance(job, cursor, anchors)
