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

from libc.string cimport memcpy, memset

from fastxent.native._anchors cimport (
    finish_run, gather, has_unit_masses, real, run_grad_scales, run_positions, run_weights,
    weighted,
)
from fastxent.native._arrays cimport (
    Cursor, Operand, cursor_advance, cursor_at, element_size, inner_stride, operand_at, run_length,
)
from fastxent.native._job cimport VECTOR_BYTES, BlockTotals, Job, Scratch, carve_scratch
from fastxent.native._kernels cimport (
    FX_FLOAT32, FX_IGNORED, FX_LANES_AHEAD, FX_ROWS_AHEAD, FX_SOFTMAX_FAMILY, fx_matrix,
    fx_strided, fx_tile, fx_tile_kernel,
)


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


cdef inline void apply_to_logits(const Job* job, fx_tile* tile, const real* weights) noexcept nogil:
    """Multiply per-logit results by their anchors' weights; ignored anchors become zero."""
    cdef real* results
    cdef Py_ssize_t k, a
    for k in range(tile.classes):
        results = <real*>tile.results.data + k * tile.results.class_stride
        for a in range(tile.anchors):
            if tile.labels != NULL and tile.labels[a] == FX_IGNORED:
                results[a] = 0
            elif weights != NULL:
                results[a] = weighted(weights[a], results[a])


cdef inline void add_masses(const Job* job, const fx_tile* tile, real* masses) noexcept nogil:
    """Per anchor, the weight that class and logit weights amount to (LossTotals.weight)."""
    cdef const real* class_weight = <const real*>job.class_weight
    cdef const fx_matrix* matrix = &tile.weights if job.is_sigmoid else &tile.targets
    cdef const real* values = <const real*>matrix.data
    cdef const real* counts = <const real*>tile.label_counts
    cdef Py_ssize_t k, a
    cdef double mass
    if has_unit_masses(job):
        return
    for a in range(tile.anchors):
        if values == NULL:
            masses[a] = <real>job.mean_class_weight
            if not job.is_sigmoid and class_weight != NULL and tile.labels[a] >= 0:
                masses[a] = class_weight[tile.labels[a]]
            continue
        mass = 0
        for k in range(tile.classes):
            mass += (<double>values[a * matrix.anchor_stride + k * matrix.class_stride]
                     * (class_weight[k] if class_weight != NULL else 1.0))
        if job.is_sigmoid:
            mass /= max(counts[a], 1) if counts != NULL else tile.classes
        masses[a] = <real>mass


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


cdef inline void set_anchor_vectors(const Job* job, fx_tile* tile, const Scratch* scratch,
                                    Py_ssize_t first) noexcept nogil:
    """Point a tile at its per-anchor values."""
    cdef Py_ssize_t offset = first * job.itemsize
    tile.labels = scratch.columns + first if job.has_labels else NULL
    tile.losses = NULL if job.per_logit else scratch.losses + offset
    tile.grad_scales = scratch.grad_scales + offset if job.grads.data != NULL else NULL
    tile.expectations = (scratch.expectations + offset if job.expectations.data != NULL
                         else NULL)
    tile.shares = NULL
    if job.shares.data != NULL or job.has_positions:
        tile.shares = scratch.shares + offset


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
    """Return how far off the memory is that the lane kernels ask for.

    Of packed rows it is where those begin that are so many anchors behind this tile's first one.
    """
    if lies_in_lanes(job, operand):
        return FX_LANES_AHEAD
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
            if job.per_logit and (weights != NULL or job.has_labels):
                apply_to_logits[real](job, &tile, weights + first if weights != NULL else NULL)
            if has_missing:
                job.kernels.clear_missing(&tile)
            else:
                job.kernels.clear_ignored_grads(&tile)
            unpack_result(job, &job.out, out, &tile.results, tile.anchors)
            unpack_result(job, &job.grads, grads, &tile.grads, tile.anchors)
        if job.wants_totals:
            add_masses[real](job, &tile, <real*>scratch.masses + first)
            if not job.has_labels:
                totals.positive += job.kernels.count_positive(&tile, job.background_column)
        first += tile.anchors
        place.index[job.dimensions.count - 1] += tile.anchors


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
    """Write gradients as halves."""
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
            add_masses[real](job, &tile, <real*>scratch.masses + first)
            if not job.has_labels:
                totals.positive += job.kernels.count_positive(&tile, job.background_column)
        first += tile.anchors
        place.index[job.dimensions.count - 1] += tile.anchors


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


cdef inline void run_losses(const Job* job, const Cursor* cursor, Py_ssize_t run,
                            const Scratch* memory, real* buffer,
                            BlockTotals* totals) noexcept nogil:
    cdef const real* weights
    cdef Scratch scratch = memory[0]
    cdef int has_missing = False
    if (job.may_miss_targets and has_invalid_targets(job, cursor, run, &has_missing)
            and job.checks_late):
        totals.has_invalid = True
        return
    if writes_in_place(job):
        scratch.losses = operand_at(&job.out, &job.dimensions, cursor)
    if job.has_positions:
        run_positions[real](job, cursor, run, scratch.columns, <real*>scratch.shares)
    elif job.has_labels:
        job.kernels.label_columns(operand_at(&job.targets, &job.dimensions, cursor),
                                  inner_stride(&job.targets, &job.dimensions), job.targets.type,
                                  run, &job.labels, scratch.columns)
    if job.shares.data != NULL:
        gather[real](job, &job.shares, cursor, run, <real*>scratch.shares)
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
