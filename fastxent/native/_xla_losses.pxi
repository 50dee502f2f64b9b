# Losses in calls from XLA: a part of _native.pyx.
#
# Shapes and keywords have been checked by the package's own validation when the call was compiled;
# its result comes as attributes. What depends on values is checked here. Nothing takes Python's
# lock.

cdef enum XlaReduction:
    XLA_ARRAY
    XLA_SUM
    XLA_MEAN

# A call: its arrays, and the job that all parts of its batch share.
cdef struct XlaLoss:
    fx_xla_call* call
    Job job
    fx_xla_array logits, targets, soft_targets, anchor_weight, logit_weight, call_weight
    fx_xla_array class_weight, pos_weight, alpha, normalizer, grad_output
    fx_xla_array loss, grad
    int outer               # the dimensions of which each index is a call of its own
    XlaReduction reduction
    int64_t threads
    bint weighs_labels
    double alpha_number, pos_weight_number, normalizer_number  # NaN: there is none
    int64_t* ignored        # with room for the background
    char* factors           # two per class


cdef void run_xla_loss(fx_xla_call* call) noexcept nogil:
    cdef XlaLoss loss
    cdef Py_ssize_t part, parts = 1
    cdef int axis
    memset(&loss, 0, sizeof(XlaLoss))
    loss.call = call
    fx_xla_set_shape(call)
    read_xla_arrays(&loss)
    describe_xla_loss(&loss)
    check_xla_loss(&loss)
    if not call.code:
        for axis in range(loss.outer):
            parts *= call.shape[axis]
        for part in range(parts):
            if not call.code:
                run_xla_part(&loss, part)
    free(loss.ignored)
    free(loss.factors)


cdef void read_xla_arrays(XlaLoss* loss) noexcept nogil:
    cdef fx_xla_call* call = loss.call
    cdef bint per_logit = fx_xla_integer(call, "per_logit")
    cdef fx_xla_span reduction = fx_xla_text(call, "reduction")
    cdef int kind = FX_OF_LOGITS if per_logit else FX_OF_ANCHORS
    loss.job.per_logit = per_logit
    loss.reduction = (XLA_MEAN if fx_xla_equal(reduction, "mean")
                      else XLA_SUM if fx_xla_equal(reduction, "sum") else XLA_ARRAY)
    loss.logits = fx_xla_operand(call, "logits", FX_OF_LOGITS)
    loss.targets = fx_xla_operand(call, "dense", FX_OF_LOGITS)
    loss.job.has_labels = loss.targets.data == NULL
    if loss.job.has_labels:
        loss.targets = fx_xla_operand(call, "positions", FX_OF_ANCHORS)
        loss.job.has_positions = loss.targets.data != NULL
    if loss.targets.data == NULL:
        loss.targets = fx_xla_operand(call, "labels", FX_OF_ANCHORS)
    loss.soft_targets = fx_xla_operand(call, "scores", FX_OF_ANCHORS)
    loss.anchor_weight = fx_xla_operand(call, "anchor_weight", FX_OF_ANCHORS)
    loss.logit_weight = fx_xla_operand(call, "logit_weight", FX_OF_LOGITS)
    loss.call_weight = fx_xla_operand(call, "call_weight", FX_OF_CALL)
    loss.class_weight = fx_xla_operand(call, "class_weight", FX_OF_CLASSES)
    loss.pos_weight = fx_xla_operand(call, "pos_weight", FX_OF_CLASSES)
    loss.alpha = fx_xla_operand(call, "alpha", FX_OF_CLASSES)
    loss.normalizer = fx_xla_operand(call, "normalizer", FX_OF_CALL)
    loss.grad_output = fx_xla_operand(call, "grad_output", kind)
    loss.loss = fx_xla_result(call, "loss", FX_OF_CALL if loss.reduction != XLA_ARRAY else kind)
    loss.grad = fx_xla_result(call, "grad", FX_OF_LOGITS)


cdef void describe_xla_loss(XlaLoss* loss) noexcept nogil:
    """Fill in what all parts of a batch share."""
    cdef fx_xla_call* call = loss.call
    cdef Job* job = &loss.job
    cdef int64_t background = fx_xla_integer(call, "background")
    cdef const int64_t* ignored
    cdef int count = 0, code = find_xla_loss(call)
    if call.code:
        return
    set_loss(job, code)
    job.logits.type = loss.logits.type
    job.classes = job.options.classes = call.shape[call.axis] if call.axis >= 0 else 1
    choose_precision(job, selected_isa)
    if not check_xla_types(loss):
        return
    job.checks_late = not job.has_labels or job.facts.family in (FX_BINARY_FAMILY,
                                                                 FX_CATEGORICAL_FAMILY)
    job.may_miss_targets = not job.has_labels
    job.weight = fx_xla_number(call, "weight")
    job.mean_class_weight = job.grad_scale = 1.0
    job.wants_totals = loss.reduction != XLA_ARRAY or loss.loss.data == NULL
    set_xla_options(job, call)
    ignored = fx_xla_integers(call, "ignored", &count)
    loss.threads = fx_xla_integer(call, "threads")
    loss.weighs_labels = fx_xla_integer(call, "weighs_labels")
    loss.alpha_number = fx_xla_number(call, "alpha")
    loss.pos_weight_number = fx_xla_number(call, "pos_weight")
    loss.normalizer_number = fx_xla_number(call, "normalizer")
    loss.ignored = <int64_t*>malloc((count + 1) * sizeof(int64_t))
    loss.factors = <char*>malloc(2 * job.classes * sizeof(double))
    if loss.ignored == NULL or loss.factors == NULL:
        fail_for_memory(call)
        return
    if count > 0:
        memcpy(loss.ignored, ignored, count * sizeof(int64_t))
    set_label_map(job, loss.ignored, count, background)
    loss.ignored[count] = background
    if (loss.reduction != XLA_ARRAY or loss.class_weight.is_batched or loss.pos_weight.is_batched
            or loss.alpha.is_batched or loss.call_weight.is_batched):
        loss.outer = call.batch_ndim


cdef int find_xla_loss(fx_xla_call* call) noexcept nogil:
    cdef fx_xla_span name = fx_xla_text(call, "loss")
    cdef int code
    for code in range(FX_LOSSES):
        if fx_xla_equal(name, fx_losses[code].name):
            return code
    fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "there is no loss of this name")
    return 0


cdef bint check_xla_types(XlaLoss* loss) noexcept nogil:
    """Refuse arrays of other dtypes than the call was compiled for."""
    cdef int element = loss.job.element
    cdef bint are_valid = (
        loss.logits.data != NULL and loss.logits.type >= FX_FLOAT16
        and loss.targets.data != NULL
        and (not loss.job.has_labels or loss.job.has_positions or loss.targets.type < FX_FLOAT16)
        and (loss.loss.data == NULL or loss.loss.type == element)
        and (loss.grad.data == NULL or loss.grad.type == loss.logits.type)
        and (loss.class_weight.data == NULL or loss.class_weight.type == element)
        and (loss.pos_weight.data == NULL or loss.pos_weight.type == element))
    # An array without elements may have no memory.
    if not are_valid and loss.logits.size > 0 and not loss.call.code:
        fx_xla_fail(loss.call, FX_XLA_INVALID_ARGUMENT,
                    "the arrays of a call have other dtypes than it was compiled for")
    return not loss.call.code


cdef void set_xla_options(Job* job, fx_xla_call* call) noexcept nogil:
    job.options.label_smoothing = fx_xla_number(call, "label_smoothing")
    job.options.eps = fx_xla_number(call, "eps")
    job.options.limit = fx_xla_number(call, "limit")
    job.options.tiny_limit = fx_xla_number(call, "tiny_limit")
    job.options.highest_loss = fx_xla_number(call, "highest_loss")
    job.options.lowest_loss = fx_xla_number(call, "lowest_loss")
    job.options.lowest_prob = -fx_xla_number(call, "tolerance")
    job.options.epsilon = fx_xla_number(call, "epsilon")
    job.options.slope = fx_xla_number(call, "slope")
    job.options.shift = fx_xla_number(call, "shift")
    job.options.clip = fx_xla_number(call, "clip")
    job.options.iou_weighted = <int>fx_xla_integer(call, "iou_weighted")
    job.options.gamma_positive = fx_xla_number(call, "gamma_positive")
    job.options.gamma_negative = fx_xla_number(call, "gamma_negative")


cdef void fail_for_memory(fx_xla_call* call) noexcept nogil:
    fx_xla_fail(call, FX_XLA_RESOURCE_EXHAUSTED, "there is no memory left")


# ---------------------------------------------------------------------------- one part of a batch


cdef char* xla_place(const fx_xla_call* call, const fx_xla_array* array, int outer,
                     Py_ssize_t part) noexcept nogil:
    """Return where the part of an array lies that one index of the outer dimensions has."""
    cdef char* place = array.data
    cdef int axis
    if place == NULL:
        return NULL
    for axis in range(outer - 1, -1, -1):
        place += part % call.shape[axis] * array.steps[axis]
        part //= call.shape[axis]
    return place


cdef void set_xla_operand(const fx_xla_call* call, const fx_xla_array* array, int outer,
                          Py_ssize_t part, Operand* operand) noexcept nogil:
    cdef int axis, kept = 0
    operand.data = xla_place(call, array, outer, part)
    operand.type = array.type
    operand.itemsize = array.itemsize
    operand.class_stride = array.steps[call.axis] if call.axis >= 0 else array.itemsize
    for axis in range(outer, call.ndim):
        if axis != call.axis:
            operand.strides[kept] = array.steps[axis]
            kept += 1


cdef void set_dimensions(Dimensions* dimensions, const fx_xla_call* call,
                         int outer) noexcept nogil:
    cdef int axis
    dimensions.count = 0
    dimensions.size = 1
    for axis in range(outer, call.ndim):
        if axis != call.axis:
            dimensions.shape[dimensions.count] = call.shape[axis]
            dimensions.size *= call.shape[axis]
            dimensions.count += 1


cdef void run_xla_part(const XlaLoss* loss, Py_ssize_t part) noexcept nogil:
    cdef const fx_xla_call* call = loss.call
    cdef int outer = loss.outer
    cdef Job job = loss.job
    cdef char* place
    set_dimensions(&job.dimensions, call, outer)
    set_xla_operand(call, &loss.logits, outer, part, &job.logits)
    set_xla_operand(call, &loss.targets, outer, part, &job.targets)
    set_xla_operand(call, &loss.soft_targets, outer, part, &job.soft_targets)
    set_xla_operand(call, &loss.anchor_weight, outer, part, &job.anchor_weight)
    set_xla_operand(call, &loss.logit_weight, outer, part, &job.logit_weight)
    set_xla_operand(call, &loss.grad, outer, part, &job.grads)
    if job.per_logit:
        set_xla_operand(call, &loss.grad_output, outer, part, &job.logit_grad_output)
    else:
        set_xla_operand(call, &loss.grad_output, outer, part, &job.anchor_grad_output)
    if not job.wants_totals:
        set_xla_operand(call, &loss.loss, outer, part, &job.out)
    place = xla_place(call, &loss.call_weight, outer, part)
    if place != NULL:
        job.weight *= fx_xla_value(place, loss.call_weight.type)
    set_xla_factors(loss, part, &job)
    if loss.reduction == XLA_ARRAY:
        run_xla_job(loss, &job)
    else:
        reduce_xla_part(loss, part, &job)


cdef void set_xla_factors(const XlaLoss* loss, Py_ssize_t part, Job* job) noexcept nogil:
    """Fill in the factors of y and of 1 - y, as `set_factors` and `term_factors` do."""
    cdef char* class_weight = xla_place(loss.call, &loss.class_weight, loss.outer, part)
    cdef char* pos_weight = xla_place(loss.call, &loss.pos_weight, loss.outer, part)
    cdef char* alpha = xla_place(loss.call, &loss.alpha, loss.outer, part)
    cdef fx_xla_span alpha_of = fx_xla_text(loss.call, "alpha_of")
    cdef double positive = 1, negative = 1, weight, alpha_of_class, mean = 0
    cdef bint has_alpha = alpha != NULL or not isnan(loss.alpha_number)
    cdef Py_ssize_t k, size = job.itemsize
    if class_weight != NULL:
        if (loss.weighs_labels and job.has_labels and job.options.label_smoothing == 0):
            job.label_weight = class_weight
            class_weight = NULL
        else:
            job.class_weight = class_weight
    for k in range(job.classes):
        positive = negative = 1.0
        if class_weight != NULL:
            positive = negative = fx_xla_value(class_weight + k * size, job.element)
            mean += positive / job.classes
        if has_alpha:
            alpha_of_class = loss.alpha_number
            if alpha != NULL:
                alpha_of_class = fx_xla_value(alpha + k * loss.alpha.itemsize, loss.alpha.type)
            if not fx_xla_equal(alpha_of, "negatives"):
                positive *= alpha_of_class
            if fx_xla_equal(alpha_of, "negatives"):
                negative *= alpha_of_class
            elif fx_xla_equal(alpha_of, "both"):
                negative *= 1.0 - alpha_of_class
        if pos_weight != NULL:
            positive *= fx_xla_value(pos_weight + k * size, job.element)
        elif not isnan(loss.pos_weight_number):
            weight = loss.pos_weight_number
            positive *= weight if job.element == FX_FLOAT64 else <float>weight
        if job.element == FX_FLOAT64:
            (<double*>loss.factors)[k] = positive
            (<double*>loss.factors)[job.classes + k] = negative
        else:
            (<float*>loss.factors)[k] = <float>positive
            (<float*>loss.factors)[job.classes + k] = <float>negative
    if class_weight != NULL and job.is_sigmoid:
        job.mean_class_weight = mean
    if class_weight == NULL and alpha == NULL and pos_weight == NULL \
            and isnan(loss.pos_weight_number):
        job.options.positive, job.options.negative = positive, negative
    else:
        job.options.positive_weight = loss.factors
        job.options.negative_weight = loss.factors + job.classes * size


# ---------------------------------------------------------------------------- blocks and sums


# The blocks of a job, for XLA's threads.
cdef struct XlaBlocks:
    Job* job
    char* memory
    BlockTotals* block_totals


cdef void run_xla_block(void* data, Py_ssize_t block, int thread) noexcept nogil:
    cdef XlaBlocks* blocks = <XlaBlocks*>data
    run_one_block(blocks.job, block, blocks.memory + thread * blocks.job.scratch_bytes,
                  &blocks.block_totals[block])


cdef BlockTotals share_job(fx_xla_call* call, const Job* described, int64_t wanted) noexcept nogil:
    """Run all blocks of a described job, and add up in the order of the blocks."""
    cdef Job job = described[0]
    cdef XlaBlocks blocks
    cdef BlockTotals totals
    cdef Py_ssize_t count
    cdef int threads
    memset(&totals, 0, sizeof(BlockTotals))
    if job.dimensions.size == 0:
        return totals
    count = plan_blocks(&job)
    threads = fx_xla_threads(call, wanted, count)
    blocks.job = &job
    blocks.block_totals = <BlockTotals*>calloc(count, sizeof(BlockTotals))
    blocks.memory = <char*>malloc(threads * job.scratch_bytes)
    if blocks.block_totals == NULL or blocks.memory == NULL:
        fail_for_memory(call)
    else:
        fx_xla_share(call, threads, count, run_xla_block, &blocks)
        add_totals(&totals, blocks.block_totals, count)
    free(blocks.block_totals)
    free(blocks.memory)
    return totals


cdef BlockTotals run_xla_job(const XlaLoss* loss, Job* job) noexcept nogil:
    cdef BlockTotals totals
    if not job.counts_only:
        choose_kernels(job)
    totals = share_job(loss.call, job, loss.threads)
    if totals.has_invalid:
        find_xla_invalid(loss)
    return totals


cdef void reduce_xla_part(const XlaLoss* loss, Py_ssize_t part, Job* job) noexcept nogil:
    """Compute a sum or a mean, as `_mean` of _call/evaluate.py does."""
    cdef fx_xla_call* call = loss.call
    cdef fx_xla_span empty
    cdef BlockTotals totals
    cdef double value, divisor = 1
    cdef bint is_divided_late = job.grads.data == NULL
    if is_divided_late:
        totals = run_xla_job(loss, job)
    else:
        memset(&totals, 0, sizeof(BlockTotals))
    if loss.reduction == XLA_MEAN:
        divisor = xla_divisor(loss, part, job, &totals)
    if call.code:
        return
    if divisor == 0:
        if not is_divided_late and job.checks_late:
            find_xla_invalid(loss)
        empty = fx_xla_text(call, "empty_action")
        if fx_xla_equal(empty, "raise"):
            fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT,
                        "there is nothing to average over: the normalizer is zero")
            return
        value = fx_xla_number(call, "empty")
        if not is_divided_late:
            memset(job.grads.data, 0, job.dimensions.size * job.classes * loss.grad.itemsize)
    else:
        if not is_divided_late:
            job.grad_scale /= divisor
            totals = run_xla_job(loss, job)
        value = totals.loss / divisor
    write_xla_number(loss, part, value)


cdef void write_xla_number(const XlaLoss* loss, Py_ssize_t part, double value) noexcept nogil:
    cdef char* place = xla_place(loss.call, &loss.loss, loss.outer, part)
    if place == NULL:
        return
    if loss.loss.type == FX_FLOAT64:
        (<double*>place)[0] = value
    else:
        (<float*>place)[0] = <float>value


cdef double xla_divisor(const XlaLoss* loss, Py_ssize_t part, const Job* job,
                        BlockTotals* totals) noexcept nogil:
    """Return what a sum is divided by; a gradient is written divided, before there are totals."""
    cdef fx_xla_span name = fx_xla_text(loss.call, "normalizer_name")
    cdef char* place = xla_place(loss.call, &loss.normalizer, loss.outer, part)
    cdef Job counts
    if place != NULL:
        return fx_xla_value(place, loss.normalizer.type)
    if not isnan(loss.normalizer_number):
        return loss.normalizer_number
    if fx_xla_equal(name, "count"):
        return <double>job.dimensions.size
    if job.grads.data != NULL:
        counts = job[0]
        counts.counts_only = counts.wants_totals = True
        counts.grads.data = counts.soft_targets.data = NULL
        totals[0] = run_xla_job(loss, &counts)
    if fx_xla_equal(name, "weight"):
        return totals.weight
    return <double>(totals.positive if fx_xla_equal(name, "positive") else totals.valid)
