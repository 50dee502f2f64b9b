# A run of anchors by the lane kernel: what does not lie as it reads is packed into tiles first.

from fastxent.native._anchors cimport add_weight_totals, apply_to_logits, real, set_anchor_vectors
from fastxent.native._arrays cimport Cursor, Operand, element_size, inner_stride, operand_at
from fastxent.native._job cimport BlockTotals, Job, Scratch
from fastxent.native._kernels cimport FX_LANES_AHEAD, fx_matrix, fx_strided, fx_tile, fx_tile_kernel


cdef inline bint lies_in_lanes(const Job* job, const Operand* operand) noexcept nogil:
    """Return whether the lane kernels can read an operand where it is."""
    return (operand.type == job.element
            and inner_stride(operand, &job.dimensions) == job.itemsize
            and operand.class_stride % job.itemsize == 0)


cdef inline fx_strided strided(const Job* job, const Operand* operand, char* place,
                               Py_ssize_t anchors) noexcept nogil:
    """Return the anchors of an operand from a place on, as its array has them."""
    return fx_strided(place, inner_stride(operand, &job.dimensions), operand.class_stride,
                      operand.type, anchors, job.classes)


cdef inline fx_matrix lane_matrix(const Job* job, const Operand* operand, char* place,
                                  Py_ssize_t anchors, char* tile, bint copies) noexcept nogil:
    """Return an operand's part of a tile: in place, or packed into `tile`."""
    cdef fx_matrix matrix
    cdef fx_strided source
    matrix.data = NULL
    matrix.anchor_stride = 1
    matrix.class_stride = 0
    if place == NULL:
        return matrix
    if lies_in_lanes(job, operand) and not copies:
        matrix.data = place
        matrix.class_stride = operand.class_stride // job.itemsize
        return matrix
    matrix.data = tile
    matrix.class_stride = job.tile_anchors
    source = strided(job, operand, place, anchors)
    job.kernels.pack(&source, tile, job.tile_anchors)
    return matrix


cdef inline fx_matrix result_matrix(const Job* job, const Operand* operand, char* place,
                                    char* tile, bint copies) noexcept nogil:
    """Return where a tile's results go: in place, or to a tile that `unpack_result` writes out."""
    cdef bint is_direct = lies_in_lanes(job, operand) and not job.is_in_place and not copies
    cdef fx_matrix matrix
    matrix.data = NULL
    matrix.anchor_stride = 1
    matrix.class_stride = 0
    if place == NULL:
        return matrix
    matrix.data = place if is_direct else tile
    matrix.class_stride = operand.class_stride // job.itemsize if is_direct else job.tile_anchors
    return matrix


cdef inline void unpack_result(const Job* job, const Operand* operand, char* place,
                               const fx_matrix* matrix, Py_ssize_t anchors) noexcept nogil:
    cdef fx_strided destination
    if matrix.data != NULL and matrix.data != place:
        destination = strided(job, operand, place, anchors)
        job.kernels.unpack(matrix.data, job.tile_anchors, &destination)


cdef inline bint needs_tile(const Job* job, const Operand* operand) noexcept nogil:
    return operand.data != NULL and not lies_in_lanes(job, operand)


cdef inline bint needs_tiles(const Job* job) noexcept nogil:
    """Return whether anything is packed for the lane kernel; if not, it takes whole runs."""
    return (job.is_in_place
            or needs_tile(job, &job.logits)
            or not job.has_labels and needs_tile(job, &job.targets)
            or needs_tile(job, &job.logit_weight)
            or needs_tile(job, &job.logit_grad_output)
            or job.per_logit and needs_tile(job, &job.out)
            or needs_tile(job, &job.grads))


cdef inline Py_ssize_t bytes_ahead(const Job* job, const Operand* operand, const Cursor* cursor,
                                   const fx_matrix* matrix, Py_ssize_t anchors) noexcept nogil:
    """Return how far ahead the lane kernels prefetch.

    Packed rows are prefetched from where those begin that are this many anchors after the tile's
    first one; packed classes while they are packed.
    """
    if lies_in_lanes(job, operand):
        return FX_LANES_AHEAD
    if inner_stride(operand, &job.dimensions) == element_size(operand.type):
        return 0
    return (operand_at(operand, &job.dimensions, cursor)
            + anchors * inner_stride(operand, &job.dimensions) - <char*>matrix.data)


cdef inline void leave_missing_out(const Job* job, fx_tile* tile, const Scratch* scratch,
                                   Py_ssize_t first, BlockTotals* totals) noexcept nogil:
    """Make a tile, of copies, one of the dense targets that are there."""
    cdef bint has_some
    tile.labelled.data = scratch.labelled
    tile.labelled.anchor_stride = 1
    tile.labelled.class_stride = job.tile_anchors
    tile.label_counts = scratch.label_counts + first * job.itemsize
    tile.labels = scratch.columns + first
    has_some = job.kernels.fill_missing(tile, scratch.columns + first)
    if has_some and not job.is_sigmoid:
        totals.has_invalid = True
    elif has_some and tile.weights.data == NULL:
        tile.weights = tile.labelled


cdef inline Py_ssize_t lane_anchors(const Job* job, Py_ssize_t most) noexcept nogil:
    """Return the anchors of the next tile: as many steps of the kernel as there are, if any."""
    return most - most % job.lane_step if most > job.lane_step else most


cdef inline void lane_run(const Job* job, const Cursor* cursor, Py_ssize_t run,
                          const Scratch* scratch, const real* weights, bint has_missing,
                          BlockTotals* totals) noexcept nogil:
    """Compute a run tile by tile with the lane kernel."""
    cdef Cursor place = cursor[0]
    cdef char* targets = NULL
    cdef char* out = NULL
    cdef char* grads
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t most = job.tile_anchors if has_missing or needs_tiles(job) else run
    cdef bint has_rest, copies
    cdef fx_tile_kernel kernel
    cdef fx_tile tile = job.options
    tile.has_outside = &totals.has_invalid
    tile.logit_type = tile.grad_type = job.element
    while first < run:
        tile.anchors = lane_anchors(job, min(most, run - first))
        has_rest = tile.anchors % job.lane_step != 0
        copies = has_missing or has_rest
        set_anchor_vectors(job, &tile, scratch, first)
        if not job.has_labels:
            targets = operand_at(&job.targets, &job.dimensions, &place)
        tile.targets = lane_matrix(job, &job.targets, targets, tile.anchors, scratch.targets,
                                   copies)
        tile.weights = lane_matrix(job, &job.logit_weight,
                                   operand_at(&job.logit_weight, &job.dimensions, &place),
                                   tile.anchors, scratch.logit_weights, copies)
        if not job.counts_only:
            tile.logits = lane_matrix(job, &job.logits,
                                      operand_at(&job.logits, &job.dimensions, &place),
                                      tile.anchors, scratch.logits, copies)
        if has_missing:
            leave_missing_out(job, &tile, scratch, first, totals)
        if not job.counts_only:
            tile.ahead = bytes_ahead(job, &job.logits, &place, &tile.logits, tile.anchors)
            tile.targets_ahead = bytes_ahead(job, &job.targets, &place, &tile.targets,
                                             tile.anchors)
            tile.grad_weights = lane_matrix(
                job, &job.logit_grad_output,
                operand_at(&job.logit_grad_output, &job.dimensions, &place), tile.anchors,
                scratch.grad_weights, has_rest)
            if job.per_logit:
                out = operand_at(&job.out, &job.dimensions, &place)
            grads = operand_at(&job.grads, &job.dimensions, &place)
            tile.results = result_matrix(job, &job.out, out, scratch.results, has_rest)
            tile.grads = result_matrix(job, &job.grads, grads, scratch.grads, has_rest)
            tile.grads_ahead = bytes_ahead(job, &job.grads, &place, &tile.grads, 0)
            kernel = job.lane_kernel
            if tile.weights.data != NULL and job.weighted_kernel != NULL:
                kernel = job.weighted_kernel
            kernel(&tile)
            if tile.results.data != NULL and (weights != NULL or job.has_labels):
                apply_to_logits[real](job, &tile, weights + first if weights != NULL else NULL)
            if has_missing:
                job.kernels.clear_missing(&tile)
            else:
                job.kernels.clear_ignored_grads(&tile)
            unpack_result(job, &job.out, out, &tile.results, tile.anchors)
            unpack_result(job, &job.grads, grads, &tile.grads, tile.anchors)
        if job.wants_totals:
            add_weight_totals[real](job, &tile, <real*>scratch.weight_totals + first)
            if not job.has_labels:
                totals.positive += job.kernels.count_positive(&tile, job.background_column)
        first += tile.anchors
        place.index[job.dimensions.count - 1] += tile.anchors
