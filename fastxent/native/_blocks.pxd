# One block of anchors, from the user's memory to losses: the path of every call.
#
# A block is processed run by run, a run being anchors at an even stride:
#
#     labels -> columns; weights -> reals
#     logits -> losses: the row kernel where it applies, else the lane kernel tile by tile; what
#               does not lie as the lane kernel reads it is packed into a tile in the cache first
#     weights and ignored anchors; then sums, or out to the caller's array
#
# Where a run has missing dense targets, its tiles are packed, and filled (simd/missing.h).

from fastxent.native._anchors cimport (
    finish_run, gather, real, run_grad_scales, run_positions, run_weights,
)
from fastxent.native._arrays cimport (
    Cursor, Operand, cursor_advance, cursor_at, inner_stride, operand_at, run_length,
)
from fastxent.native._job cimport BlockTotals, Job, Scratch, carve_scratch
from fastxent.native._kernels cimport FX_FLOAT32
from fastxent.native._lanes cimport lane_run
from fastxent.native._rows cimport row_run


cdef inline bint writes_in_place(const Job* job) noexcept nogil:
    """Return whether the kernels, which write nothing else, can write losses to the result."""
    return (job.out.data != NULL and not job.per_logit and job.lane_step == 1
            and inner_stride(&job.out, &job.dimensions) == job.itemsize)


cdef inline bint has_invalid_targets(const Job* job, const Cursor* cursor, Py_ssize_t run,
                                     int* has_missing) noexcept nogil:
    """Return whether any dense target of a run is outside [0, 1] without being ignored, and note
    whether any are missing; the kernels find them cached then.
    """
    cdef const Operand* targets = &job.targets
    cdef char* place = operand_at(targets, &job.dimensions, cursor)
    cdef Py_ssize_t step = inner_stride(targets, &job.dimensions)
    cdef Py_ssize_t lines = run, length = job.classes, to_line = step, inner = targets.class_stride
    cdef Py_ssize_t i
    if step == job.classes * inner:
        lines, length = 1, run * job.classes
    elif step < inner:
        lines, length, to_line, inner = job.classes, run, inner, step
    for i in range(lines):
        if job.kernels.first_invalid_target(place + i * to_line, inner, targets.type, length, 1.0,
                                            &job.labels, has_missing) >= 0:
            return True
    return False


cdef inline bint has_invalid_labels(const Job* job, const Cursor* cursor,
                                    Py_ssize_t run) noexcept nogil:
    """Return whether any label of a run is none, and not ignored; they are cached then."""
    cdef const Operand* labels = &job.targets
    return job.kernels.first_invalid_label(
        operand_at(labels, &job.dimensions, cursor), inner_stride(labels, &job.dimensions),
        labels.type, run, job.highest_label, &job.valid_labels) >= 0


cdef inline void run_losses(const Job* job, const Cursor* cursor, Py_ssize_t run,
                            const Scratch* memory, real* buffer,
                            BlockTotals* totals) noexcept nogil:
    cdef const real* weights
    cdef Scratch scratch = memory[0]
    cdef int has_missing = False
    cdef bint may_stray
    if (job.may_miss_targets and has_invalid_targets(job, cursor, run, &has_missing)
            and job.checks_late):
        totals.has_invalid = True
        return
    if writes_in_place(job):
        scratch.losses = operand_at(&job.out, &job.dimensions, cursor)
    if job.has_positions:
        run_positions[real](job, cursor, run, scratch.columns, <real*>scratch.soft_targets)
    elif job.has_labels:
        may_stray = job.kernels.label_columns(
            operand_at(&job.targets, &job.dimensions, cursor),
            inner_stride(&job.targets, &job.dimensions), job.targets.type, run, &job.labels,
            scratch.columns)
        if may_stray and job.checks_labels and has_invalid_labels(job, cursor, run):
            totals.has_invalid = True
            return
    if job.soft_targets.data != NULL:
        gather[real](job, &job.soft_targets, cursor, run, <real*>scratch.soft_targets)
    weights = run_weights[real](job, cursor, run, scratch.columns, buffer)
    if job.grads.data != NULL:
        run_grad_scales[real](job, cursor, run, weights, <real*>scratch.grad_scales)
    if job.row_kernel != NULL and not has_missing:
        row_run[real](job, cursor, run, &scratch, weights, totals)
    else:
        lane_run[real](job, cursor, run, &scratch, weights, has_missing, totals)
    if not job.per_logit:
        finish_run[real](job, cursor, run, &scratch, weights, job.has_labels or has_missing, totals)


cdef inline void run_block(const Job* job, Py_ssize_t block, char* memory,
                           BlockTotals* totals) noexcept nogil:
    cdef char* end
    cdef Scratch scratch = carve_scratch(job, memory, &end)
    cdef Py_ssize_t position = block * job.block_anchors
    cdef Py_ssize_t stop = min(position + job.block_anchors, job.dimensions.size)
    cdef Py_ssize_t run
    cdef Cursor cursor
    cursor_at(&job.dimensions, position, &cursor)
    while position < stop:
        run = run_length(&job.dimensions, &cursor, stop - position)
        if job.element == FX_FLOAT32:
            run_losses[float](job, &cursor, run, &scratch, <float*>scratch.weights, totals)
        else:
            run_losses[double](job, &cursor, run, &scratch, <double*>scratch.weights, totals)
        cursor_advance(&job.dimensions, &cursor, run)
        position += run
