# Scores: of single values, and over classes: a part of _native.pyx.


def evaluate_score(str name, values, out, int threads):
    """Fill `out` with a score of `values`; for the scores over classes their axis is the last."""
    cdef Job job
    if describe_score(&job, name, values, out):
        run_map(&job, map_kernel_of(job.kernels, name), threads)
        return
    if name == "softmax":
        job.lane_kernel = job.kernels.softmax
        job.row_kernel = job.kernels.softmax_score_rows
    elif name == "log_softmax":
        job.lane_kernel = job.kernels.log_softmax
        job.row_kernel = job.kernels.log_softmax_rows
    else:
        job.lane_kernel = job.kernels.logsumexp
        job.row_kernel = job.kernels.logsumexp_rows
    if not scores_suit_rows(&job):
        job.row_kernel = NULL
    run_job(&job, threads)


cdef bint describe_score(Job* job, str name, values, out) except -1:
    """Fill in a job, except for its kernels; return whether it is a score of single values."""
    cdef bint is_map = name not in ("softmax", "log_softmax", "logsumexp")
    memset(job, 0, sizeof(Job))
    job.dimensions.count = -1
    job.per_logit = name != "logsumexp"
    job.weight = 1.0
    job.background_column = -1
    read_operand(values, not is_map, False, &job.logits, &job.dimensions)
    read_operand(out, not is_map and job.per_logit, True, &job.out, &job.dimensions)
    choose_precision(job, selected_isa)
    if is_map:
        return True
    job.classes = values.shape[values.ndim - 1]
    job.options.classes = job.classes
    job.is_in_place = job.out.data == job.logits.data
    return False


cdef fx_map_kernel map_kernel_of(const fx_kernels* kernels, str name) except NULL:
    if name == "sigmoid":
        return kernels.sigmoid
    if name == "log_sigmoid":
        return kernels.log_sigmoid
    if name == "softplus":
        return kernels.softplus
    if name == "logit":
        return kernels.logit
    if name == "odds":
        return kernels.odds
    raise ValueError(f"the native backend has no {name}")


cdef int run_map(Job* job, fx_map_kernel kernel, int threads) except -1:
    cdef Py_ssize_t blocks = plan_map(job)
    if blocks == 0:
        return 0
    threads = choose_threads(threads, blocks)
    map_blocks(job, kernel, blocks, threads)
    return 0


cdef Py_ssize_t plan_map(Job* job) noexcept nogil:
    """Plan the blocks of a score of single values, and return how many there are."""
    cdef Operand* operands[2]
    cdef Py_ssize_t blocks = (job.dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    operands[0] = &job.logits
    operands[1] = &job.out
    if blocks > 0:
        order_as_in_memory(&job.dimensions, operands, 2)
        coalesce(&job.dimensions, operands, 2)
    return blocks
