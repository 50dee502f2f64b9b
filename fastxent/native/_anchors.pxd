# The per-anchor values of a run: labels or positions, weights, losses.

from libc.math cimport floor, isinf
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from fastxent.native._arrays cimport Cursor, Operand, inner_stride, operand_at
from fastxent.native._job cimport BlockTotals, Job, Scratch
from fastxent.native._kernels cimport FX_IGNORED, FX_NO_CLASS, fx_matrix, fx_strided, fx_tile

ctypedef fused real:
    float
    double


cdef inline real weighted(real weight, real loss) noexcept nogil:
    """A weight of zero takes even an infinite loss away, as its limit does."""
    if weight == 0 and isinf(loss):
        return 0
    return weight * loss


cdef inline void gather(const Job* job, const Operand* operand, const Cursor* cursor,
                        Py_ssize_t run, real* values) noexcept nogil:
    """Copy the per-anchor values of a run."""
    cdef fx_strided source = fx_strided(
        operand_at(operand, &job.dimensions, cursor), inner_stride(operand, &job.dimensions), 0,
        operand.type, run, 1)
    job.kernels.pack(&source, values, run)


cdef inline const real* run_weights(const Job* job, const Cursor* cursor, Py_ssize_t run,
                                    const int32_t* columns, real* weights) noexcept nogil:
    """Gather the weights of a run's anchors; NULL where all are one."""
    cdef const real* label_weight = <const real*>job.label_weight
    cdef Py_ssize_t i
    if job.anchor_weight.data == NULL and label_weight == NULL and job.weight == 1:
        return NULL
    if job.anchor_weight.data != NULL:
        gather[real](job, &job.anchor_weight, cursor, run, weights)
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


cdef inline void run_grad_scales(const Job* job, const Cursor* cursor, Py_ssize_t run,
                                 const real* weights, real* scales) noexcept nogil:
    """Fill in the factors of the gradients of a run's anchors."""
    cdef Py_ssize_t i
    if job.anchor_grad_output.data != NULL:
        gather[real](job, &job.anchor_grad_output, cursor, run, scales)
        for i in range(run):
            scales[i] *= <real>job.grad_scale
    else:
        for i in range(run):
            scales[i] = <real>job.grad_scale
    if weights != NULL:
        for i in range(run):
            scales[i] *= weights[i]


cdef inline void run_positions(const Job* job, const Cursor* cursor, Py_ssize_t run,
                               int32_t* columns, real* soft_targets) noexcept nogil:
    """Turn positions into the bins below them, and what the bins above have of the target.

    Kernels take columns for indices: positions that have left the bins since they were checked have
    no class.
    """
    cdef Py_ssize_t i
    cdef int j
    cdef real below, highest = <real>(job.classes - 1)
    gather[real](job, &job.targets, cursor, run, soft_targets)
    for i in range(run):
        columns[i] = 0
        for j in range(job.labels.ignored_count):
            if soft_targets[i] == <real>job.labels.ignored[j]:
                columns[i] = FX_IGNORED
        if columns[i] == 0 and not 0 <= soft_targets[i] <= highest:
            columns[i] = FX_NO_CLASS
        if columns[i] < 0:
            soft_targets[i] = 0
            continue
        below = <real>floor(soft_targets[i])
        columns[i] = <int32_t>below
        soft_targets[i] -= below


cdef inline void write_anchors(const Job* job, const Operand* operand, const Cursor* cursor,
                               Py_ssize_t run, const real* values) noexcept nogil:
    """Write the per-anchor values of a run to the caller's array."""
    cdef char* place = operand_at(operand, &job.dimensions, cursor)
    cdef Py_ssize_t step = inner_stride(operand, &job.dimensions)
    cdef Py_ssize_t i
    if step == job.itemsize:
        memcpy(place, values, run * job.itemsize)
        return
    for i in range(run):
        memcpy(place + i * step, &values[i], job.itemsize)


cdef inline bint has_unit_weights(const Job* job) noexcept nogil:
    """Return whether every anchor's weight is one, so that there is no need to write it down."""
    if job.mean_class_weight != 1:
        return False
    if job.is_sigmoid:
        return job.logit_weight.data == NULL
    return job.has_labels and job.class_weight == NULL


cdef inline void add_totals(const Job* job, Py_ssize_t run, const Scratch* scratch,
                            const real* weights, bint has_columns,
                            BlockTotals* totals) noexcept nogil:
    """Add up the losses of a run, and what a normalizer is made of."""
    cdef const real* weight_totals = NULL
    cdef const int32_t* columns = NULL
    cdef Py_ssize_t valid = run, i
    cdef double weight = totals.weight
    if not has_unit_weights(job):
        weight_totals = <const real*>scratch.weight_totals
    if not job.counts_only:
        totals.loss += job.kernels.sum_losses(scratch.losses, run)
    if has_columns:
        columns = scratch.columns
        valid = job.kernels.count_columns(columns, run, FX_NO_CLASS, FX_IGNORED)
    if job.has_labels:
        totals.positive += job.kernels.count_columns(columns, run, 0, job.background_column)
    totals.valid += valid
    if weights == NULL and weight_totals == NULL:
        totals.weight = weight + valid
        return
    for i in range(run):
        if columns == NULL or columns[i] != FX_IGNORED:
            weight += ((<double>weights[i] if weights != NULL else 1.0)
                       * (<double>weight_totals[i] if weight_totals != NULL else 1.0))
    totals.weight = weight


cdef inline void finish_run(const Job* job, const Cursor* cursor, Py_ssize_t run,
                            const Scratch* scratch, const real* weights, bint has_columns,
                            BlockTotals* totals) noexcept nogil:
    """Weigh the losses of a run's anchors, and add them up or write them out.

    Columns say which are ignored: those of labels, or where dense targets are missing.
    """
    cdef real* losses = <real*>scratch.losses
    cdef Py_ssize_t i
    if not job.counts_only:
        if weights != NULL:
            for i in range(run):
                losses[i] = weighted(weights[i], losses[i])
        if has_columns:
            job.kernels.clear_ignored(scratch.columns, run, losses)
        if job.out.data != NULL and scratch.losses != operand_at(&job.out, &job.dimensions, cursor):
            write_anchors[real](job, &job.out, cursor, run, losses)
        if job.expectations.data != NULL:
            write_anchors[real](job, &job.expectations, cursor, run, <real*>scratch.expectations)
    if job.wants_totals:
        add_totals[real](job, run, scratch, weights, has_columns, totals)


cdef inline void set_anchor_vectors(const Job* job, fx_tile* tile, const Scratch* scratch,
                                    Py_ssize_t first) noexcept nogil:
    """Point a tile at its per-anchor values."""
    cdef Py_ssize_t offset = first * job.itemsize
    tile.labels = scratch.columns + first if job.has_labels else NULL
    tile.losses = NULL if job.per_logit else scratch.losses + offset
    tile.grad_scales = scratch.grad_scales + offset if job.grads.data != NULL else NULL
    tile.expectations = (scratch.expectations + offset if job.expectations.data != NULL
                         else NULL)
    tile.soft_targets = NULL
    if job.soft_targets.data != NULL or job.has_positions:
        tile.soft_targets = scratch.soft_targets + offset


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


cdef inline void add_weight_totals(const Job* job, const fx_tile* tile,
                                   real* weight_totals) noexcept nogil:
    """Per anchor, the weight that class and logit weights amount to (LossTotals.weight)."""
    cdef const real* class_weight = <const real*>job.class_weight
    cdef const fx_matrix* matrix = &tile.weights if job.is_sigmoid else &tile.targets
    cdef const real* values = <const real*>matrix.data
    cdef const real* counts = <const real*>tile.label_counts
    cdef Py_ssize_t k, a
    cdef double total
    if has_unit_weights(job):
        return
    for a in range(tile.anchors):
        if values == NULL:
            weight_totals[a] = <real>job.mean_class_weight
            if not job.is_sigmoid and class_weight != NULL and tile.labels[a] >= 0:
                weight_totals[a] = class_weight[tile.labels[a]]
            continue
        total = 0
        for k in range(tile.classes):
            total += (<double>values[a * matrix.anchor_stride + k * matrix.class_stride]
                      * (class_weight[k] if class_weight != NULL else 1.0))
        if job.is_sigmoid:
            total /= max(counts[a], 1) if counts != NULL else tile.classes
        weight_totals[a] = <real>total
