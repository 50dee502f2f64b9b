# A run of anchors by the row kernel: in place, or tile by tile via contiguous copies.

from libc.string cimport memcpy

from fastxent.native._anchors cimport add_weight_totals, real, set_anchor_vectors
from fastxent.native._arrays cimport Cursor, Operand, element_size, inner_stride, operand_at
from fastxent.native._job cimport BlockTotals, Job, Scratch
from fastxent.native._kernels cimport (
    FX_ROWS_AHEAD, FX_SOFTMAX_FAMILY, fx_matrix, fx_strided, fx_tile,
)


cdef inline fx_matrix row_matrix(const Job* job, const Operand* operand,
                                 const Cursor* place) noexcept nogil:
    cdef fx_matrix matrix
    matrix.data = operand_at(operand, &job.dimensions, place)
    matrix.anchor_stride = inner_stride(operand, &job.dimensions) // element_size(operand.type)
    matrix.class_stride = 1
    return matrix


cdef inline fx_matrix row_tile(const Job* job, char* memory) noexcept nogil:
    cdef fx_matrix matrix
    matrix.data = memory
    matrix.anchor_stride = job.classes
    matrix.class_stride = 1
    return matrix


cdef inline void copy_rows(const Job* job, const fx_matrix* rows, Py_ssize_t anchors,
                           char* copy) noexcept nogil:
    """Copy logits that the results will overwrite."""
    cdef Py_ssize_t size = job.classes * job.itemsize, a
    for a in range(anchors):
        memcpy(copy + a * size, <char*>rows.data + a * rows.anchor_stride * job.itemsize, size)


cdef inline fx_matrix target_rows(const Job* job, const Cursor* place, Py_ssize_t anchors,
                                  char* tile) noexcept nogil:
    """Return dense targets as contiguous reals: in place, or converted into `tile`."""
    cdef const Operand* targets = &job.targets
    cdef char* source = operand_at(targets, &job.dimensions, place)
    cdef Py_ssize_t step = inner_stride(targets, &job.dimensions), size = targets.itemsize, a
    # What is contiguous lies as a single class of as many anchors.
    cdef fx_strided elements = fx_strided(
        source, size, 0, targets.type, anchors * job.classes, 1)
    if not converts_targets(job):
        return row_matrix(job, targets, place)
    if step == job.classes * size:
        job.kernels.pack(&elements, tile, 0)
    else:
        elements.anchors = job.classes
        for a in range(anchors):
            job.kernels.pack(&elements, tile + a * job.classes * job.itemsize, 0)
            elements.data += step
    return row_tile(job, tile)


cdef inline bint converts_targets(const Job* job) noexcept nogil:
    """Return whether there are dense targets that the row kernels cannot read where they are."""
    return (not job.has_labels and job.targets.data != NULL
            and (job.targets.type != job.element
                 or inner_stride(&job.targets, &job.dimensions) % job.itemsize))


cdef inline void write_rows(const Job* job, const fx_matrix* rows, char* destination,
                            Py_ssize_t anchors) noexcept nogil:
    """Write gradients as 16-bit floats."""
    cdef Py_ssize_t step = inner_stride(&job.grads, &job.dimensions), a
    cdef char* values = <char*>rows.data
    if step == job.classes * element_size(job.grads.type):
        job.kernels.narrow(values, anchors * job.classes, destination, job.grads.type)
        return
    for a in range(anchors):
        job.kernels.narrow(values + a * job.classes * job.itemsize, job.classes,
                           destination + a * step, job.grads.type)


cdef inline void row_run(const Job* job, const Cursor* cursor, Py_ssize_t run,
                         const Scratch* scratch, const real* unused,
                         BlockTotals* totals) noexcept nogil:
    """Process a run with the row kernel: in one go, or tile by tile via copies."""
    # A softmax keeps exponentials where the gradient will be, and they need their digits.
    cdef bint narrows_grads = (job.grads.data != NULL and job.grads.type != job.element
                               and job.facts.family == FX_SOFTMAX_FAMILY)
    cdef Py_ssize_t first = 0
    cdef Cursor place = cursor[0]
    cdef fx_tile tile = job.options
    tile.has_outside = &totals.has_invalid
    tile.ahead = FX_ROWS_AHEAD
    tile.logit_type = job.logits.type
    tile.grad_type = job.element if narrows_grads else job.grads.type
    while first < run:
        tile.anchors = run
        if narrows_grads or job.is_in_place or converts_targets(job):
            tile.anchors = min(job.tile_anchors, run - first)
        set_anchor_vectors(job, &tile, scratch, first)
        tile.logits = row_matrix(job, &job.logits, &place)
        tile.targets.data = tile.results.data = tile.grads.data = NULL
        if not job.has_labels:
            tile.targets = target_rows(job, &place, tile.anchors, scratch.targets)
        if job.per_logit:
            tile.results = row_matrix(job, &job.out, &place)
        if job.is_in_place:
            copy_rows(job, &tile.logits, tile.anchors, scratch.logits)
            tile.logits = row_tile(job, scratch.logits)
        if narrows_grads:
            tile.grads = row_tile(job, scratch.grads)
        elif job.grads.data != NULL:
            tile.grads = row_matrix(job, &job.grads, &place)
        job.row_kernel(&tile)
        job.kernels.clear_ignored_grads(&tile)
        if narrows_grads:
            write_rows(job, &tile.grads, operand_at(&job.grads, &job.dimensions, &place),
                       tile.anchors)
        if job.wants_totals:
            add_weight_totals[real](job, &tile, <real*>scratch.weight_totals + first)
            if not job.has_labels:
                totals.positive += job.kernels.count_positive(&tile, job.background_column)
        first += tile.anchors
        place.index[job.dimensions.count - 1] += tile.anchors
