# One block of anchors, from the user's memory to losses: the path of every call.
#
# A block is worked off run by run, a run being anchors at an even stride:
#
#     labels -> columns; weights -> reals
#     logits -> losses: the row kernel where it applies, else the lane kernel tile by tile; what
#               does not lie as the lane kernel reads it is packed into a tile in the cache first
#     weights and ignored anchors; then sums, or out to the caller's array

from libc.math cimport isinf
from libc.stdint cimport int32_t, uintptr_t
from libc.string cimport memcpy

from fastxent.native._arrays cimport (
    Cursor, Dimensions, Operand, cursor_advance, cursor_at, inner_stride, operand_at, run_length,
)
from fastxent.native._kernels cimport (
    FX_FLOAT32, FX_IGNORED, fx_kernels, fx_label_map, fx_matrix, fx_tile, fx_tile_kernel,
)

ctypedef fused real:
    float
    double

cdef enum:
    # A block is at least this many logits: 30 us of work for one core, so that starting it is
    # nothing, and a quarter of a MB, so that many cores find work in a small call.
    BLOCK_LOGITS = 65536
    # But no more anchors than this: their labels and losses stay in the first-level cache.
    BLOCK_ANCHORS = 2048
    # Anchors of a packed tile, while its classes are few enough for the first-level cache.
    WIDE_TILE = 64
    NARROW_TILE = 16
    WIDE_TILE_CLASSES = 128
    # Widest vector, in bytes: scratch arrays are aligned to it, and packing may write that much
    # more.
    VECTOR_BYTES = 64

cdef struct BlockTotals:
    double loss
    double weight
    Py_ssize_t valid
    Py_ssize_t positive

cdef struct Job:
    Dimensions dimensions
    Py_ssize_t classes
    Operand logits
    Operand targets       # class labels, or dense targets
    Operand anchor_weight
    Operand logit_weight
    Operand out
    const fx_kernels* kernels
    fx_tile_kernel lane_kernel
    fx_tile_kernel row_kernel   # NULL where it does not apply
    fx_tile options             # everything of a tile but its matrices
    fx_label_map labels
    const void* label_weight    # per class: the loss of an anchor is multiplied by its label's
    double mean_class_weight
    double weight
    Py_ssize_t itemsize
    int element                 # FX_FLOAT32 or FX_FLOAT64
    int background_column
    bint has_labels
    bint per_logit
    bint is_sigmoid
    bint wants_totals
    Py_ssize_t block_anchors
    Py_ssize_t tile_anchors
    Py_ssize_t scratch_bytes

# What a thread works with, carved out of its scratch memory.
cdef struct Scratch:
    int32_t* columns
    char* losses
    char* weights
    char* masses    # weight totals of the anchors, for the normalizer "weight"
    char* logits
    char* targets
    char* logit_weights
    char* results


cdef inline Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    return (size + VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES


cdef inline void plan_scratch(Job* job) noexcept:
    """Choose the sizes of blocks and tiles, and from them the scratch memory of a thread."""
    cdef Py_ssize_t anchors = BLOCK_LOGITS // job.classes
    anchors = (anchors + WIDE_TILE - 1) // WIDE_TILE * WIDE_TILE
    job.block_anchors = min(max(anchors, WIDE_TILE), BLOCK_ANCHORS)
    job.tile_anchors = WIDE_TILE if job.classes <= WIDE_TILE_CLASSES else NARROW_TILE
    cdef Py_ssize_t vector = aligned(job.block_anchors * job.itemsize) + VECTOR_BYTES
    cdef Py_ssize_t tile = aligned(job.tile_anchors * job.classes * job.itemsize)
    cdef int tiles = 2 + (job.logit_weight.data != NULL) + job.per_logit
    job.scratch_bytes = (aligned(job.block_anchors * sizeof(int32_t)) + 3 * vector
                         + tiles * tile + VECTOR_BYTES)


cdef inline Scratch carve_scratch(const Job* job, char* memory) noexcept nogil:
    cdef Py_ssize_t vector = aligned(job.block_anchors * job.itemsize) + VECTOR_BYTES
    cdef Py_ssize_t tile = aligned(job.tile_anchors * job.classes * job.itemsize)
    cdef Scratch scratch
    memory += VECTOR_BYTES - <uintptr_t>memory % VECTOR_BYTES
    scratch.columns = <int32_t*>memory
    memory += aligned(job.block_anchors * sizeof(int32_t))
    scratch.losses = memory
    scratch.weights = memory + vector
    scratch.masses = memory + 2 * vector
    memory += 3 * vector
    scratch.logits = memory
    scratch.targets = memory + tile
    scratch.logit_weights = memory + 2 * tile
    scratch.results = memory + (2 + (job.logit_weight.data != NULL)) * tile
    return scratch


cdef inline bint lies_in_lanes(const Job* job, const Operand* operand) noexcept nogil:
    """Tell whether the lane kernels can read an operand where it is."""
    return (operand.type == job.element
            and inner_stride(operand, &job.dimensions) == job.itemsize
            and operand.class_stride % job.itemsize == 0)


cdef inline fx_matrix lane_matrix(const Job* job, const Operand* operand, char* place,
                                  Py_ssize_t anchors, char* tile) noexcept nogil:
    """Return an operand's part of a tile: in place, or packed into `tile`."""
    cdef fx_matrix matrix
    matrix.data = NULL
    if place == NULL:
        return matrix
    matrix.anchor_stride = 1
    if lies_in_lanes(job, operand):
        matrix.data = place
        matrix.class_stride = operand.class_stride // job.itemsize
        return matrix
    matrix.data = tile
    matrix.class_stride = job.tile_anchors
    job.kernels.pack(place, inner_stride(operand, &job.dimensions), operand.class_stride,
                     operand.type, anchors, job.classes, tile, job.tile_anchors)
    return matrix


cdef inline real weighted(real weight, real loss) noexcept nogil:
    """A weight of zero takes even an infinite loss away, as its limit does."""
    if weight == 0 and isinf(loss):
        return 0
    return weight * loss


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
    cdef const real* class_weight = <const real*>tile.class_weight
    cdef const fx_matrix* matrix = &tile.weights if job.is_sigmoid else &tile.targets
    cdef const real* values = <const real*>matrix.data
    cdef Py_ssize_t k, a
    cdef double mass
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
        masses[a] = <real>(mass / tile.classes if job.is_sigmoid else mass)


cdef inline double target_at(const Job* job, const fx_tile* tile, Py_ssize_t a,
                             Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t place = a * tile.targets.anchor_stride + k * tile.targets.class_stride
    if job.element == FX_FLOAT32:
        return (<const float*>tile.targets.data)[place]
    return (<const double*>tile.targets.data)[place]


cdef inline Py_ssize_t count_positive(const Job* job, const fx_tile* tile) noexcept nogil:
    """Count the anchors of a tile whose dense targets name a class other than the background."""
    cdef Py_ssize_t k, a, count = 0
    cdef bint positive
    for a in range(tile.anchors):
        positive = False
        for k in range(tile.classes):
            if k != job.background_column and target_at(job, tile, a, k) > 0:
                positive = True
                break
        count += positive
    return count


cdef inline void lane_run(const Job* job, const Cursor* cursor, Py_ssize_t run, Scratch scratch,
                          const real* weights, BlockTotals* totals) noexcept nogil:
    """Work off a run tile by tile with the lane kernel."""
    cdef char* logits = operand_at(&job.logits, &job.dimensions, cursor)
    cdef char* targets = NULL
    cdef char* logit_weights = operand_at(&job.logit_weight, &job.dimensions, cursor)
    cdef char* out = NULL
    cdef Py_ssize_t logit_step = inner_stride(&job.logits, &job.dimensions)
    cdef Py_ssize_t target_step = inner_stride(&job.targets, &job.dimensions)
    cdef Py_ssize_t weight_step = inner_stride(&job.logit_weight, &job.dimensions)
    cdef Py_ssize_t out_step = inner_stride(&job.out, &job.dimensions)
    cdef Py_ssize_t first = 0
    cdef fx_tile tile = job.options
    cdef bint unpacks = False
    if not job.has_labels:
        targets = operand_at(&job.targets, &job.dimensions, cursor)
    if job.per_logit:
        out = operand_at(&job.out, &job.dimensions, cursor)
        unpacks = not lies_in_lanes(job, &job.out)
    while first < run:
        tile.anchors = min(job.tile_anchors, run - first)
        tile.logits = lane_matrix(job, &job.logits, logits, tile.anchors, scratch.logits)
        tile.targets = lane_matrix(job, &job.targets, targets, tile.anchors, scratch.targets)
        tile.weights = lane_matrix(job, &job.logit_weight, logit_weights, tile.anchors,
                                   scratch.logit_weights)
        tile.labels = scratch.columns + first if job.has_labels else NULL
        tile.losses = NULL if job.per_logit else scratch.losses + first * job.itemsize
        if job.per_logit:
            tile.results.data = scratch.results if unpacks else out
            tile.results.anchor_stride = 1
            tile.results.class_stride = (
                job.tile_anchors if unpacks else job.out.class_stride // job.itemsize)
        job.lane_kernel(&tile)
        if job.per_logit:
            if weights != NULL or job.has_labels:
                apply_to_logits[real](job, &tile, weights + first if weights != NULL else NULL)
            if unpacks:
                job.kernels.unpack(tile.results.data, job.tile_anchors, tile.anchors, tile.classes,
                                   out, out_step, job.out.class_stride)
            out += tile.anchors * out_step
        if job.wants_totals:
            add_masses[real](job, &tile, <real*>scratch.masses + first)
            if not job.has_labels:
                totals.positive += count_positive(job, &tile)
        first += tile.anchors
        logits += tile.anchors * logit_step
        if targets != NULL:
            targets += tile.anchors * target_step
        if logit_weights != NULL:
            logit_weights += tile.anchors * weight_step


cdef inline void row_run(const Job* job, const Cursor* cursor, Py_ssize_t run, Scratch scratch,
                         real* masses, BlockTotals* totals) noexcept nogil:
    """Work off a run in one go with the row kernel."""
    cdef fx_tile tile = job.options
    tile.anchors = run
    tile.logits.data = operand_at(&job.logits, &job.dimensions, cursor)
    tile.logits.anchor_stride = inner_stride(&job.logits, &job.dimensions) // job.itemsize
    tile.logits.class_stride = 1
    tile.targets.data = NULL
    tile.labels = scratch.columns
    if not job.has_labels:
        tile.labels = NULL
        tile.targets.data = operand_at(&job.targets, &job.dimensions, cursor)
        tile.targets.anchor_stride = inner_stride(&job.targets, &job.dimensions) // job.itemsize
        tile.targets.class_stride = 1
    tile.losses = scratch.losses
    job.row_kernel(&tile)
    if job.wants_totals:
        add_masses[real](job, &tile, masses)
        if not job.has_labels:
            totals.positive += count_positive(job, &tile)


cdef inline const real* run_weights(const Job* job, const Cursor* cursor, Py_ssize_t run,
                                    const int32_t* columns, real* weights) noexcept nogil:
    """Gather the weights of a run's anchors; NULL where all are one."""
    cdef const real* label_weight = <const real*>job.label_weight
    cdef Py_ssize_t i
    if job.anchor_weight.data == NULL and label_weight == NULL and job.weight == 1:
        return NULL
    if job.anchor_weight.data != NULL:
        job.kernels.pack(operand_at(&job.anchor_weight, &job.dimensions, cursor),
                         inner_stride(&job.anchor_weight, &job.dimensions), 0,
                         job.anchor_weight.type, run, 1, weights, run)
        for i in range(run):
            weights[i] *= <real>job.weight
    else:
        for i in range(run):
            weights[i] = <real>job.weight
    if label_weight != NULL:
        for i in range(run):
            if columns[i] >= 0:
                weights[i] *= label_weight[columns[i]]
    return weights


cdef inline void finish_run(const Job* job, const Cursor* cursor, Py_ssize_t run, Scratch scratch,
                            const real* weights, BlockTotals* totals) noexcept nogil:
    """Weigh the losses of a run's anchors, and add them up or write them out."""
    cdef real* losses = <real*>scratch.losses
    cdef real* masses = <real*>scratch.masses
    cdef Py_ssize_t step = inner_stride(&job.out, &job.dimensions)
    cdef char* out
    cdef double weight
    cdef Py_ssize_t i
    if weights != NULL:
        for i in range(run):
            losses[i] = weighted(weights[i], losses[i])
    if job.has_labels:
        for i in range(run):
            if scratch.columns[i] == FX_IGNORED:
                losses[i] = 0
    if job.out.data != NULL:
        out = operand_at(&job.out, &job.dimensions, cursor)
        if step == job.itemsize:
            memcpy(out, losses, run * job.itemsize)
        else:
            for i in range(run):
                memcpy(out + i * step, &losses[i], job.itemsize)
    if not job.wants_totals:
        return
    for i in range(run):
        totals.loss += losses[i]
        if job.has_labels:
            if scratch.columns[i] == FX_IGNORED:
                continue
            totals.positive += (scratch.columns[i] >= 0
                                and scratch.columns[i] != job.background_column)
        weight = weights[i] if weights != NULL else 1.0
        totals.weight += weight * masses[i]
        totals.valid += 1


cdef inline void run_losses(const Job* job, const Cursor* cursor, Py_ssize_t run, Scratch scratch,
                            real* buffer, BlockTotals* totals) noexcept nogil:
    cdef const real* weights
    if job.has_labels:
        job.kernels.label_columns(operand_at(&job.targets, &job.dimensions, cursor),
                                  inner_stride(&job.targets, &job.dimensions), job.targets.type,
                                  run, &job.labels, scratch.columns)
    weights = run_weights[real](job, cursor, run, scratch.columns, buffer)
    if job.row_kernel != NULL:
        row_run[real](job, cursor, run, scratch, <real*>scratch.masses, totals)
    else:
        lane_run[real](job, cursor, run, scratch, weights, totals)
    if not job.per_logit:
        finish_run[real](job, cursor, run, scratch, weights, totals)


cdef inline void run_block(const Job* job, Py_ssize_t block, char* memory,
                           BlockTotals* totals) noexcept nogil:
    cdef Scratch scratch = carve_scratch(job, memory)
    cdef Py_ssize_t position = block * job.block_anchors
    cdef Py_ssize_t stop = min(position + job.block_anchors, job.dimensions.size)
    cdef Py_ssize_t run
    cdef Cursor cursor
    cursor_at(&job.dimensions, position, &cursor)
    while position < stop:
        run = run_length(&job.dimensions, &cursor, stop - position)
        if job.element == FX_FLOAT32:
            run_losses[float](job, &cursor, run, scratch, <float*>scratch.weights, totals)
        else:
            run_losses[double](job, &cursor, run, scratch, <double*>scratch.weights, totals)
        cursor_advance(&job.dimensions, &cursor, run)
        position += run
