# Scores in calls from XLA, and what XLA calls: a part of _native.pyx.


# A score of single values, for XLA's threads.
cdef struct XlaMap:
    Job job
    fx_map_kernel kernel


cdef void run_xla_score(fx_xla_call* call) noexcept nogil:
    cdef XlaMap map
    cdef Job* job = &map.job
    cdef fx_xla_array logits, scores
    cdef fx_xla_span name = fx_xla_text(call, "score")
    cdef int64_t threads = fx_xla_integer(call, "threads")
    cdef bint per_anchor = fx_xla_equal(name, "logsumexp")
    cdef Py_ssize_t blocks
    memset(job, 0, sizeof(Job))
    fx_xla_set_shape(call)
    logits = fx_xla_operand(call, "logits", FX_OF_LOGITS)
    scores = fx_xla_result(call, "scores", FX_OF_ANCHORS if per_anchor else FX_OF_LOGITS)
    if call.code or logits.size == 0:
        return
    set_dimensions(&job.dimensions, call, 0)
    job.per_logit = not per_anchor
    job.weight = 1.0
    job.background_column = -1
    set_xla_operand(call, &logits, 0, 0, &job.logits)
    set_xla_operand(call, &scores, 0, 0, &job.out)
    choose_precision(job, selected_isa)
    if logits.type < FX_FLOAT16 or scores.type != job.element:
        fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT,
                    "the arrays of a call have other dtypes than it was compiled for")
        return
    if call.axis >= 0:
        job.classes = job.options.classes = call.shape[call.axis]
        choose_score_kernels(job, name)
        share_job(call, job, threads)
        return
    map.kernel = find_map_kernel(job.kernels, name)
    blocks = plan_map(job)
    fx_xla_share(call, fx_xla_threads(call, threads, blocks), blocks, run_xla_map, &map)


cdef void run_xla_map(void* data, Py_ssize_t block, int thread) noexcept nogil:
    cdef XlaMap* map = <XlaMap*>data
    map_one_block(&map.job, map.kernel, block)


cdef void choose_score_kernels(Job* job, fx_xla_span name) noexcept nogil:
    if fx_xla_equal(name, "softmax"):
        job.lane_kernel, job.row_kernel = job.kernels.softmax, job.kernels.softmax_score_rows
    elif fx_xla_equal(name, "log_softmax"):
        job.lane_kernel, job.row_kernel = job.kernels.log_softmax, job.kernels.log_softmax_rows
    else:
        job.lane_kernel, job.row_kernel = job.kernels.logsumexp, job.kernels.logsumexp_rows
    if not scores_suit_rows(job):
        job.row_kernel = NULL


cdef fx_map_kernel find_map_kernel(const fx_kernels* kernels, fx_xla_span name) noexcept nogil:
    if fx_xla_equal(name, "log_sigmoid"):
        return kernels.log_sigmoid
    if fx_xla_equal(name, "softplus"):
        return kernels.softplus
    if fx_xla_equal(name, "logit"):
        return kernels.logit
    if fx_xla_equal(name, "odds"):
        return kernels.odds
    return kernels.sigmoid


# ---------------------------------------------------------------------------- what XLA calls


cdef fx_xla_error* handle_xla_loss(fx_xla_frame* frame) noexcept nogil:
    return fx_xla_handle(frame, run_xla_loss)


cdef fx_xla_error* handle_xla_score(fx_xla_frame* frame) noexcept nogil:
    return fx_xla_handle(frame, run_xla_score)


def xla_handlers():
    """Return what XLA calls, as capsules, by the names of the targets."""
    return {
        "fastxent_loss": PyCapsule_New(<void*>handle_xla_loss, NULL, NULL),
        "fastxent_score": PyCapsule_New(<void*>handle_xla_score, NULL, NULL),
        "fastxent_refuse": PyCapsule_New(<void*>fx_xla_refuse_device, NULL, NULL),
    }
