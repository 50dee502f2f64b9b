# From a LossRequest to a Job: what the request holds, which kernels it takes.

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint32_t
from libc.stdlib cimport malloc
from libc.string cimport memset

from fastxent.native._arrays cimport Dimensions, Operand, data_of, element_size, read_operand
from fastxent.native._job cimport VECTOR_BYTES, Job
from fastxent.native._kernels cimport (
    FX_BINARY_FAMILY, FX_CUSTOM, FX_FACTORS_ANY, FX_FACTORS_NONE, FX_FACTORS_SHARED, FX_FLOAT32,
    FX_FLOAT64, FX_LOSSES, FX_ROWS_OF_DENSE, FX_SIGMOID_FAMILY, fx_custom_facts, fx_kernels_of,
    fx_loss_facts, fx_losses,
)

cdef enum:
    # Row kernels pay off from 13 floats on, or 7 doubles: most of a vector.
    ROW_BYTES = 52
    # But scores are faster by lanes up to 23 floats, except for rows that fill a vector, and
    # logsumexp up to 31; for losses see losses.def.
    SCORE_ROW_BYTES = 96
    LOGSUMEXP_ROW_BYTES = 128


cdef inline int check_loss(int code) except -1:
    """Return the code of a loss that has native kernels."""
    if not 0 <= code < FX_LOSSES:
        raise ValueError(f"the native backend has no loss of the code {code}")
    return code


cdef inline void set_loss(Job* job, int loss) noexcept nogil:
    """Say which loss it is, and whether the classes of an anchor are independent of each other."""
    job.options.loss = loss
    job.facts = &fx_custom_facts if loss == FX_CUSTOM else &fx_losses[loss]
    job.is_sigmoid = job.facts.family in (FX_SIGMOID_FAMILY, FX_BINARY_FAMILY)


cdef inline void choose_precision(Job* job, int isa) noexcept nogil:
    """Compute in the precision of the logits, and for 16-bit floats in float32."""
    job.element = FX_FLOAT64 if job.logits.type == FX_FLOAT64 else FX_FLOAT32
    job.itemsize = element_size(job.element)
    job.kernels = fx_kernels_of(isa, job.element == FX_FLOAT64)
    job.lane_step = 1


cdef inline int describe_loss(Job* job, object request, int isa) except -1:
    """Fill in a job, except for its factors, labels and kernels."""
    memset(job, 0, sizeof(Job))
    job.dimensions.count = -1
    set_loss(job, FX_CUSTOM if request.custom is not None else check_loss(request.loss.code))
    job.has_positions = request.positions is not None
    job.has_labels = request.dense is None
    job.checks_late = request.late_check is not None
    job.may_miss_targets = (not job.has_labels and job.checks_late) or request.has_missing
    job.checks_labels = job.checks_late and request.labels is not None
    job.per_logit = request.per_logit
    job.weight = request.weight
    job.mean_class_weight = 1.0
    read_operands(job, request)
    job.classes = request.logits.shape[-1]
    job.wants_totals = job.out.data == NULL
    choose_precision(job, isa)
    set_options(job, request)
    return 0


cdef inline int read_operands(Job* job, object request) except -1:
    read_operand(request.logits, True, False, &job.logits, &job.dimensions)
    if request.dense is not None:
        read_operand(request.dense, True, False, &job.targets, &job.dimensions)
    elif job.has_positions:
        read_operand(request.positions, False, False, &job.targets, &job.dimensions)
    else:
        read_operand(request.labels, False, False, &job.targets, &job.dimensions)
    read_operand(request.scores, False, False, &job.soft_targets, &job.dimensions)
    read_operand(request.anchor_weight, False, False, &job.anchor_weight, &job.dimensions)
    read_operand(request.logit_weight, True, False, &job.logit_weight, &job.dimensions)
    read_operand(request.out, job.per_logit, True, &job.out, &job.dimensions)
    if request.grad is not None:
        read_operand(request.grad, True, True, &job.grads, &job.dimensions)
        read_operand(request.anchor_grad_output, False, False, &job.anchor_grad_output,
                     &job.dimensions)
        read_operand(request.logit_grad_output, True, False, &job.logit_grad_output,
                     &job.dimensions)
        job.grad_scale = request.grad_scale
    read_operand(request.expectation, False, True, &job.expectations, &job.dimensions)
    return 0


cdef inline int set_options(Job* job, object request) except -1:
    """Fill in the numbers that kernels take."""
    job.options.classes = job.classes
    job.options.label_smoothing = request.label_smoothing
    job.options.eps = request.eps
    if request.clipping is not None:
        job.options.limit = request.clipping.limit
        job.options.tiny_limit = request.clipping.tiny_limit
        job.options.highest_loss = request.clipping.highest_loss
        job.options.lowest_loss = request.clipping.lowest_loss
    job.options.lowest_prob = -request.tolerance
    job.options.epsilon = request.epsilon
    job.options.slope = request.gamma
    job.options.shift = request.beta
    job.options.clip = request.clip
    job.options.iou_weighted = request.iou_weighted
    return 0


cdef inline const void* per_class(object values) except? NULL:
    """Return where the values of the classes lie; the caller keeps the array alive."""
    return NULL if values is None else data_of(values)


cdef inline void set_label_map(Job* job, const int64_t* ignored, int ignored_count,
                               int64_t background) noexcept nogil:
    """Fill in what labels mean."""
    job.labels.ignored = ignored
    job.labels.ignored_count = ignored_count
    job.labels.none = INT64_MIN
    job.labels.gap = INT64_MAX
    job.labels.classes = <uint32_t>job.classes
    job.background_column = -1
    if job.is_sigmoid:
        job.labels.none = background
        if 0 <= background <= job.classes:
            job.labels.gap = background
    else:
        job.background_column = <int>background


cdef inline int64_t* map_labels(Job* job, object request) except NULL:
    """Fill in what labels mean; the caller frees the result."""
    cdef Py_ssize_t count = len(request.ignore)
    cdef int64_t background = request.background
    cdef int64_t* ignored = <int64_t*>malloc((count + 1) * sizeof(int64_t))
    cdef Py_ssize_t i
    if ignored == NULL:
        raise MemoryError
    for i in range(count):
        ignored[i] = request.ignore[i]
    ignored[count] = background
    set_label_map(job, ignored, <int>count, background)
    set_valid_labels(job, background)
    return ignored


cdef inline void set_valid_labels(Job* job, int64_t background) noexcept nogil:
    """Fill in which labels are valid, for those that the caller has not checked.

    The background follows the ignored labels in their array.
    """
    job.valid_labels = job.labels
    job.highest_label = job.classes - 1
    if job.is_sigmoid and 0 <= background <= job.classes:
        job.highest_label = job.classes
    elif job.is_sigmoid:
        job.valid_labels.ignored_count += 1


cdef inline void choose_kernels(Job* job) noexcept nogil:
    """Pick the kernels of a loss: the row kernel too, where it can do what is asked."""
    cdef int loss = job.options.loss
    job.lane_kernel = job.kernels.loss_lanes[loss]
    if takes_rows(job):
        job.row_kernel = job.kernels.loss_rows[loss]


cdef inline bint takes_rows(const Job* job) noexcept nogil:
    """Return whether the row kernel, if there is one, can do what is asked, and is faster."""
    cdef int loss = job.options.loss
    return ((loss == FX_CUSTOM or job.kernels.loss_rows[loss] != NULL)
            and suits_rows(job) and not suits_lanes(job)
            and lies_in_rows(job, &job.logits, True) and lies_in_rows(job, &job.grads, True)
            and (job.has_labels or job.targets.class_stride == job.targets.itemsize))


cdef inline bint has_factors(const Job* job) noexcept nogil:
    """Return whether the terms of any targets have a factor other than 1."""
    return (job.options.positive_weight != NULL or job.options.negative_weight != NULL
            or job.options.positive != 1 or job.options.negative != 1)


cdef inline bint suits_rows(const Job* job) noexcept nogil:
    """Return whether the row kernel, if there is one, knows the options, factors and targets."""
    cdef const fx_loss_facts* facts = job.facts
    if (job.per_logit or job.logit_weight.data != NULL or job.logit_grad_output.data != NULL
            or job.options.label_smoothing != 0 or job.has_positions):
        return False
    if not job.has_labels and facts.row_targets != FX_ROWS_OF_DENSE:
        return False
    return facts.row_factors == FX_FACTORS_ANY or (
        job.options.positive_weight == NULL and job.options.negative_weight == NULL
        and (facts.row_factors == FX_FACTORS_SHARED
             or job.options.positive == job.options.negative == 1))


cdef inline bint suits_lanes(const Job* job) noexcept nogil:
    """Return whether the lane kernels, rows being packed for them, are faster than row kernels."""
    cdef bint has_options = (job.grads.data != NULL or job.options.positive != 1
                             or job.options.positive_weight != NULL)
    return (job.has_labels and job.classes * job.itemsize
            < (job.facts.lane_bytes_with_options if has_options else job.facts.lane_bytes))


cdef inline bint scores_suit_rows(const Job* job) noexcept nogil:
    """Return whether the row kernels can compute scores over the classes, and are faster."""
    cdef Py_ssize_t row = job.classes * job.itemsize
    if not lies_in_rows(job, &job.logits, True):
        return False
    if not job.per_logit:
        return row >= LOGSUMEXP_ROW_BYTES
    return (lies_in_rows(job, &job.out, False)
            and (row >= SCORE_ROW_BYTES or row == VECTOR_BYTES))


cdef inline bint lies_in_rows(const Job* job, const Operand* operand,
                              bint may_be_half) noexcept nogil:
    """Return whether the row kernels can read an operand where it is, or widened row by row."""
    cdef Py_ssize_t size = element_size(operand.type)
    cdef int axis
    if operand.data == NULL:
        return True
    if operand.type != job.element and not (may_be_half and size == 2):
        return False
    if operand.class_stride != size or job.classes * job.itemsize < ROW_BYTES:
        return False
    for axis in range(job.dimensions.count):
        if operand.strides[axis] % size != 0:
            return False
    return True
