"""One block of anchors, from the user's memory to losses: the path of every call; see _blocks.pxd.

A block is worked off run by run, a run being anchors at an even stride:

    labels -> columns; weights -> reals
    logits -> losses: the row kernel where it applies, else the lane kernel tile by tile; what does
              not lie as the lane kernel reads it is packed into a tile in the cache first
    weights and ignored anchors; then sums, or out to the caller's array

Lane kernels work on whole vectors. Where they read and write the user's own memory, the anchors
behind the last whole vector are a tile of their own, which is packed.
"""

from typing import Any

from fastxent.numba.anchors import (
    gather,
    has_weights,
    run_grad_scales,
    run_positions,
    run_weights,
    weigh_losses,
    write_anchors,
)
from fastxent.numba.arrays import cursor_advance, cursor_at, operand_at, run_length
from fastxent.numba.compilation import chosen_by, inlined
from fastxent.numba.records import TILE_BYTES, TOTALS_BYTES, tile_at, totals_at
from fastxent.numba.simd.exact import weighted
from fastxent.numba.simd.memory import (
    call_kernel,
    call_seven,
    call_three,
    clear_bytes,
    copy_bytes,
    next_number,
    read_int32,
    read_real,
    write_real,
)
from fastxent.numba.simd.plan import Plan
from fastxent.numba.simd.tile import IGNORED
from fastxent.numba.simd.vector import LANES_AHEAD
from fastxent.numba.structs import address_of
from fastxent.numba.totals import add_masses, add_totals


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


@inlined
def lane_tile(plan: Plan, job: Any, tile: Any, cursor: int, memory: int, weights: int) -> None:
    """Run the lane kernel on a tile."""
    scratch, anchors = job.scratch, tile.anchors
    take_lanes(plan, job, job.logits, tile.logits, cursor, anchors, memory + scratch.logits)
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
    call_kernel(job.kernel, address_of(tile))
    clear_ignored_grads(job, tile, plan.size)
    if job.per_logit:
        weigh_results(plan, job, tile, weights)
        put_results(plan, job, job.out, tile.results, cursor, anchors)
    put_results(plan, job, job.grads, tile.grads, cursor, anchors)


@inlined
def next_tile(plan: Plan, job: Any, left: int) -> int:
    """Return the anchors of the next tile: whole vectors, as long as there are any."""
    anchors = min(job.tile_anchors, left)
    return anchors - anchors % plan.lanes if anchors > plan.lanes else anchors


def _lane_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> None:
    """Work off a run tile by tile with the lane kernel."""
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
            weights = memory + scratch.weights + first * plan.size
            lane_tile(plan, job, tile, cursor, memory, weights)
        masses = memory + scratch.masses + first * plan.size
        add_masses(plan, job, tile, masses, totals)
        first += anchors
        cursor_advance(job, cursor, anchors)


# --- row kernels ----------------------------------------------------------------------------------


@inlined
def take_rows(job: Any, operand: Any, matrix: Any, cursor: int) -> None:
    """Make an operand a part of a row kernel's tile."""
    stride = operand.inner_stride // operand.item if operand.item != 0 else 0
    set_matrix(matrix, operand_at(job, operand, cursor), stride, 1)


@inlined
def take_targets(plan: Plan, job: Any, tile: Any, cursor: int, copy: int) -> None:
    """Make dense targets a part of a row kernel's tile: in place, or converted to reals."""
    take_rows(job, job.targets, tile.targets, cursor)
    if not job.converts_targets:
        return
    source, item, step = tile.targets.data, job.targets.item, job.targets.inner_stride
    rows, length = tile.anchors, job.classes
    if step == length * item:
        rows, length = 1, rows * length
    for a in range(rows):
        to = copy + a * length * plan.size
        call_seven(job.targets.pack, source + a * step, item, 0, length, 1, to, 0)
    set_matrix(tile.targets, copy, job.classes, 1)


@inlined
def copy_rows(job: Any, tile: Any, item: int, copy: int) -> None:
    """Copy logits that the results will overwrite."""
    size = job.classes * item
    for a in range(tile.anchors):
        source = tile.logits.data + a * tile.logits.anchor_stride * item
        copy_bytes(copy + a * size, source, size)
    set_matrix(tile.logits, copy, job.classes, 1)


@inlined
def narrow_rows(plan: Plan, job: Any, tile: Any, destination: int) -> None:
    """Write gradients as halves."""
    step, values = job.grads.inner_stride, tile.grads.data
    for a in range(tile.anchors):
        row = values + a * job.classes * plan.size
        call_three(job.narrow, row, job.classes, destination + a * step)


@inlined
def row_tile(plan: Plan, job: Any, tile: Any, cursor: int, memory: int) -> None:
    """Run the row kernel on a tile."""
    scratch = job.scratch
    take_rows(job, job.logits, tile.logits, cursor)
    take_targets(plan, job, tile, cursor, memory + scratch.targets)
    take_rows(job, job.grads, tile.grads, cursor)
    set_matrix(tile.results, 0, 1, 0)
    if job.has_labels:
        set_matrix(tile.targets, 0, 1, 0)
    if job.keeps_results:
        take_rows(job, job.out, tile.results, cursor)
        take_rows(job, job.out, tile.grads, cursor)
    if job.is_in_place:
        copy_rows(job, tile, job.logits.item, memory + scratch.logits)
    if job.narrows_grads:
        set_matrix(tile.grads, memory + scratch.grads, job.classes, 1)
    call_kernel(job.kernel, address_of(tile))
    if job.narrows_grads:
        clear_ignored_grads(job, tile, plan.size)
        narrow_rows(plan, job, tile, operand_at(job, job.grads, cursor))
    else:
        clear_ignored_grads(job, tile, job.grads.item)


def _row_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> None:
    """Work off a run with the row kernel: in one go, or tile by tile by way of copies."""
    tile = tile_at(memory + job.scratch.tile)
    copies = job.narrows_grads or job.is_in_place or job.converts_targets
    limit = job.tile_anchors if copies else run
    set_matrix(tile.weights, 0, 1, 0)
    set_matrix(tile.grad_weights, 0, 1, 0)
    first = 0
    while first < run:
        anchors = min(limit, run - first)
        tile.anchors = anchors
        set_anchor_vectors(plan, job, tile, memory, first)
        row_tile(plan, job, tile, cursor, memory)
        masses = memory + job.scratch.masses + first * plan.size
        add_masses(plan, job, tile, masses, totals)
        first += anchors
        cursor_advance(job, cursor, anchors)


@chosen_by(lambda plan: _row_run if plan.has_rows else _lane_run)
def kernel_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> None:
    """Work off a run with a kernel of the kind that the plan says."""
    raise NotImplementedError


# --- a run and a block ----------------------------------------------------------------------------


@inlined
def begin_run(plan: Plan, job: Any, cursor: int, run: int, memory: int) -> None:
    """Gather what the anchors of a run have one of each."""
    scratch = job.scratch
    columns, weights = memory + scratch.columns, memory + scratch.weights
    if job.has_positions:
        run_positions(plan, job, cursor, run, columns, memory + scratch.shares)
    elif job.has_labels:
        call_seven(
            job.label_columns,
            operand_at(job, job.targets, cursor),
            job.targets.inner_stride,
            run,
            job.nothing,
            job.classes,
            job.ignored,
            columns,
        )
    if job.shares.data != 0:
        gather(job, job.shares, cursor, run, memory + scratch.shares)
    if has_weights(job):
        run_weights(plan, job, cursor, run, columns, weights)
    if job.grads.data != 0:
        run_grad_scales(plan, job, cursor, run, weights, memory + scratch.grad_scales)


@inlined
def finish_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> None:
    """Weigh the losses of a run's anchors, and add them up or write them out."""
    scratch = job.scratch
    columns, weights = memory + scratch.columns, memory + scratch.weights
    losses = memory + scratch.losses
    if job.kernel != 0:
        weigh_losses(plan, job, run, columns, weights, losses)
        if job.out.data != 0:
            write_anchors(plan, job, job.out, cursor, run, losses)
        if job.expectations.data != 0:
            place = memory + scratch.expectations
            write_anchors(plan, job, job.expectations, cursor, run, place)
    add_totals(plan, job, run, memory, totals)


@inlined
def run_block(plan: Plan, job: Any, block: int, memory: int) -> None:
    """Work off one block."""
    totals = totals_at(job.totals + block * TOTALS_BYTES)
    cursor = memory + job.scratch.cursor
    place = cursor + 8 * job.dimensions  # a second cursor, which goes through a run
    tile = tile_at(memory + job.scratch.tile)
    copy_bytes(memory + job.scratch.tile, address_of(job.options), TILE_BYTES)
    position = block * job.block_anchors
    stop = min(position + job.block_anchors, job.size)
    cursor_at(job, position, cursor)
    while position < stop:
        run = run_length(job, cursor, stop - position)
        copy_bytes(place, cursor, 8 * job.dimensions)
        begin_run(plan, job, cursor, run, memory)
        kernel_run(plan, job, place, run, memory, totals)
        if not job.per_logit:
            finish_run(plan, job, cursor, run, memory, totals)
        cursor_advance(job, cursor, run)
        position += run
    totals.unrepaired = tile.unrepaired


@inlined
def run_blocks(plan: Plan, job: Any, counter: int, memory: int) -> None:
    """Work off the blocks that nobody else has taken."""
    block = next_number(counter)
    while block < job.blocks:
        run_block(plan, job, block, memory)
        block = next_number(counter)
