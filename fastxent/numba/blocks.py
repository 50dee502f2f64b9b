"""One block of anchors, from the user's memory to losses: the path of every call; see _blocks.pxd.

A block is worked off run by run, a run being anchors at an even stride:

    labels -> columns; weights -> reals
    logits -> losses: the row kernel where it applies, else the lane kernel tile by tile; what does
              not lie as the lane kernel reads it is packed into a tile in the cache first
    weights and ignored anchors; then sums, or out to the caller's array
"""

from collections.abc import Callable
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
from fastxent.numba.lane_runs import (
    clear_ignored_grads,
    lane_run,
    set_anchor_vectors,
    set_matrix,
)
from fastxent.numba.records import TILE_BYTES, TOTALS_BYTES, tile_at, totals_at
from fastxent.numba.simd.memory import (
    call_kernel,
    call_seven,
    call_three,
    copy_bytes,
    next_number,
    read_int64,
)
from fastxent.numba.simd.plan import Plan
from fastxent.numba.structs import address_of
from fastxent.numba.totals import add_masses, add_totals

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


@inlined
def misses_targets(job: Any, cursor: int, run: int, memory: int) -> bool:
    """Tell whether any dense target of a run is missing."""
    found, targets = memory + job.scratch.found, job.targets
    place, step = operand_at(job, targets, cursor), targets.inner_stride
    call_seven(job.find_missing, place, step, targets.class_stride, run, job.classes, found, 0)
    return read_int64(found) != 0


@inlined
def row_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> None:
    """Compute a run with the row kernel: in one go, or tile by tile with copies."""
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


def _lane_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> bool:
    lane_run(plan, job, cursor, run, memory, False, totals)
    return False


def _row_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> bool:
    row_run(plan, job, cursor, run, memory, totals)
    return False


@inlined
def labelled_run(
    plan: Plan, job: Any, cursor: int, run: int, memory: int, has_missing: bool, totals: Any
) -> None:
    """Compute a run of copies; what repairs their anchors reads no halves."""
    tile = tile_at(memory + job.scratch.tile)
    exact = tile.exact
    tile.exact = job.lane_exact
    lane_run(plan, job, cursor, run, memory, has_missing, totals)
    tile.exact = exact
    tile.label_counts = 0


def _sorted_lane_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> bool:
    has_missing = misses_targets(job, cursor, run, memory)
    labelled_run(plan, job, cursor, run, memory, has_missing, totals)
    return has_missing


def _sorted_row_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> bool:
    """Leave runs with missing targets to the lane kernels."""
    has_missing = misses_targets(job, cursor, run, memory)
    if has_missing:
        labelled_run(plan, job, cursor, run, memory, True, totals)
    else:
        row_run(plan, job, cursor, run, memory, totals)
    return has_missing


def _run_of(plan: Plan) -> Callable[..., bool]:
    # The linker loses what only a branch that is never taken refers to: no `if plan.has_rows`.
    if plan.may_miss:
        return _sorted_row_run if plan.has_rows else _sorted_lane_run
    return _row_run if plan.has_rows else _lane_run


@chosen_by(_run_of)
def kernel_run(plan: Plan, job: Any, cursor: int, run: int, memory: int, totals: Any) -> bool:
    """Compute a run with a kernel of the kind that the plan says.

    Return whether it has missing targets.
    """
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
def finish_run(
    plan: Plan, job: Any, cursor: int, run: int, memory: int, has_missing: bool, totals: Any
) -> None:
    """Weigh the losses of a run's anchors, and add them up or write them out.

    Columns say which are ignored: those of labels, or where dense targets are missing.
    """
    has_columns = has_missing or job.has_labels != 0
    scratch = job.scratch
    columns, weights = memory + scratch.columns, memory + scratch.weights
    losses = memory + scratch.losses
    if job.kernel != 0:
        weigh_losses(plan, job, run, columns, weights, losses, has_columns)
        if job.out.data != 0:
            write_anchors(plan, job, job.out, cursor, run, losses)
        if job.expectations.data != 0:
            place = memory + scratch.expectations
            write_anchors(plan, job, job.expectations, cursor, run, place)
    add_totals(plan, job, run, memory, has_columns, totals)


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
        has_missing = kernel_run(plan, job, place, run, memory, totals)
        if not job.per_logit:
            finish_run(plan, job, cursor, run, memory, has_missing, totals)
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
