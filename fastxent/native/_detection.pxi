# Mining and matching: what Python calls. A part of _native.pyx.


def count_positives(labels, background, tuple ignored, int threads):
    """Return how many labels of each row are positive; -1 where one is not valid.

    Positive are those that are neither the background nor ignored. Negative numbers are invalid,
    except for these two.
    """
    cdef fx_mining mining
    cdef Py_ssize_t images = labels.shape[0]
    cdef const fx_detection* kernels = fx_detection_of(selected_isa, False)
    counts = np.zeros(images, np.int64)
    others = np.array([label for label in dict.fromkeys(ignored) if label != background], np.int64)
    memset(&mining, 0, sizeof(mining))
    read_images(labels, &mining.labels, &mining.anchors)
    if images == 0 or mining.anchors == 0:
        return counts
    mining.background = background
    mining.ignored_count = <int>len(others)
    mining.ignored = <const int64_t*>memory_of(others)
    mining.counts = <int64_t*>memory_of(counts)
    run_images(&mining, kernels.count_positives, images, threads, 0)
    return counts


def mark_largest(request):
    """Mark the largest eligible losses of each image; of equal ones the first."""
    cdef fx_mining mining
    cdef const fx_detection* kernels
    cdef Py_ssize_t images = request.losses.shape[0]
    cdef bint is_wide
    memset(&mining, 0, sizeof(mining))
    read_images(request.losses, &mining.losses, &mining.anchors)
    read_images(request.labels, &mining.labels, &mining.anchors)
    if images == 0 or mining.anchors == 0:
        return
    # Places of floats have 32 bits.
    is_wide = mining.losses.type == FX_FLOAT64 or mining.anchors >= <Py_ssize_t>1 << 32
    mining.kernels = fx_kernels_of(selected_isa, is_wide)
    kernels = fx_detection_of(selected_isa, is_wide)
    mining.background = request.background
    mining.counts = <int64_t*>memory_of(request.counts)
    mining.marks = <uint8_t*>memory_of(request.out)
    run_images(&mining, kernels.mark_largest, images, request.threads,
               kernels.mining_bytes(mining.anchors, request.counts.max()))


cdef int read_images(array, fx_images* images, Py_ssize_t* anchors) except -1:
    cdef Operand operand
    cdef Dimensions dimensions
    dimensions.count = -1
    if not read_operand(array, False, False, &operand, &dimensions):
        return 0
    if dimensions.count != 2:
        raise ValueError("an operand is not (images, anchors)")
    images.data = operand.data
    images.image_stride = operand.strides[0]
    images.anchor_stride = operand.strides[1]
    images.type = operand.type
    anchors[0] = dimensions.shape[1]
    return 1


cdef char* memory_of(array) except? NULL:
    """Return where an array of ours begins, which stays alive for the call."""
    cdef Operand operand
    cdef Dimensions dimensions
    dimensions.count = -1
    read_operand(array, False, False, &operand, &dimensions)
    return operand.data


cdef int run_images(const fx_mining* mining, fx_step step, Py_ssize_t images, int threads,
                    Py_ssize_t scratch_bytes) except -1:
    cdef Py_ssize_t blocks = (images * mining.anchors + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    return run_scratch_steps(step, mining, images, choose_threads(threads, min(blocks, images)),
                             scratch_bytes)


cdef int run_scratch_steps(fx_step step, const void* call, Py_ssize_t steps, int threads,
                           Py_ssize_t scratch_bytes) except -1:
    """Run all steps on the threads, each with memory of its own."""
    cdef char* memory = <char*>malloc(threads * scratch_bytes + 1)
    if memory == NULL:
        raise MemoryError
    try:
        return run_steps(step, call, steps, threads, memory, scratch_bytes)
    finally:
        free(memory)


COST_KINDS = {
    "focal": FX_COST_FOCAL,
    "softmax": FX_COST_SOFTMAX,
    "sigmoid": FX_COST_SIGMOID,
    "simota": FX_COST_SIMOTA,
}


def evaluate_cost(request):
    """Fill in the costs of a checked CostRequest."""
    cdef CostJob job
    cdef Operand* operands[2]
    cdef int kind = COST_KINDS[request.kind]
    cdef bint is_double = request.out.dtype == np.float64
    cdef const fx_detection* kernels = fx_detection_of(selected_isa, is_double)
    cdef Py_ssize_t images = request.images, columns, steps, work
    memset(&job, 0, sizeof(job))
    job.dimensions.count = -1
    read_operand(request.logits, True, False, &job.logits, &job.dimensions)
    read_operand(request.objectness, False, False, &job.objectness, &job.dimensions)
    if request.out.size == 0:
        return
    operands[0] = &job.logits
    operands[1] = &job.objectness
    coalesce(&job.dimensions, operands, 2)
    job.queries = request.queries
    job.steps_per_image = (job.queries + STEP_QUERIES - 1) // STEP_QUERIES
    job.itemsize = 8 if is_double else 4
    job.starts = <const int64_t*>memory_of(request.starts)
    job.kernel = kernels.costs[kind]
    job.options.kernels = fx_kernels_of(selected_isa, is_double)
    job.options.class_stride = job.logits.class_stride
    job.options.type = job.logits.type
    job.options.objectness_type = job.objectness.type
    job.options.classes = request.logits.shape[request.logits.ndim - 1]
    job.options.positive = job.options.negative = 1.0
    if request.alpha is not None:
        job.options.positive = request.alpha
        job.options.negative = 1.0 - request.alpha
    job.options.gamma = request.gamma
    _distinct = set_distinct(&job, request.classes, images)  # kept alive
    job.out = memory_of(request.out)
    columns = (job.options.classes if kind in (FX_COST_SOFTMAX, FX_COST_SIMOTA)
               else _distinct[1].max())
    plan_tiles(&job, columns)
    steps = images * job.steps_per_image
    work = max(len(request.out), images * job.queries * columns)
    run_scratch_steps(cost_step, &job, steps,
                      choose_threads(request.threads,
                                     min(steps, (work + COST_WORK - 1) // COST_WORK)),
                      cost_bytes(&job))


cdef tuple set_distinct(CostJob* job, classes, Py_ssize_t images):
    """Number the classes that occur among the ground truths of each image; return the arrays."""
    cdef Py_ssize_t image, truth, count
    cdef const int64_t* labels = <const int64_t*>memory_of(classes)
    distinct_array = np.empty(len(classes), np.int32)
    counts_array = np.zeros(images, np.int64)
    columns_array = np.empty(len(classes), np.int32)
    numbers_array = np.zeros(job.options.classes, np.int32)
    cdef int32_t* distinct = <int32_t*>memory_of(distinct_array)
    cdef int64_t* counts = <int64_t*>memory_of(counts_array)
    cdef int32_t* columns = <int32_t*>memory_of(columns_array)
    cdef int32_t* numbers = <int32_t*>memory_of(numbers_array)
    for image in range(images):
        count = 0
        for truth in range(job.starts[image], job.starts[image + 1]):
            if numbers[labels[truth]] == 0:
                distinct[job.starts[image] + count] = <int32_t>labels[truth]
                count += 1
                numbers[labels[truth]] = <int32_t>count
            columns[truth] = numbers[labels[truth]] - 1
        for truth in range(count):
            numbers[distinct[job.starts[image] + truth]] = 0
        counts[image] = count
    job.distinct = distinct
    job.distinct_counts = counts
    job.columns = columns
    return distinct_array, counts_array, columns_array
