# ---------------------------------------------------------------------------- candidates


def select_candidates(request):
    """Select the candidates of a checked SelectionRequest."""
    cdef fx_selection call
    cdef Py_ssize_t count = len(request.levels), elements
    cdef fx_level* levels = <fx_level*>calloc(count, sizeof(fx_level))
    cdef void* edges = NULL
    if levels == NULL:
        raise MemoryError
    try:
        memset(&call, 0, sizeof(call))
        call.levels = levels
        call.level_count = <int>count
        describe_selection(&call, request)
        edges = write_edges(&call, request)
        elements = describe_levels(&call, levels, request)
        # As many as there are, or more, are all; with more than that k would overflow sums.
        call.top_k = -1
        if request.top_k is not None and request.top_k < elements:
            call.top_k = request.top_k
        return run_selection(&call, elements * call.images, request)
    finally:
        free(levels)
        free(edges)


cdef int describe_selection(fx_selection* call, request) except -1:
    """Fill in all but the levels and what the thresholds say."""
    cdef Py_ssize_t axis
    array = request.levels[0]
    call.classes = array.shape[array.ndim - 1]
    call.background = request.background
    call.image_dimensions = request.batch_ndim
    call.images = 1
    for axis in range(request.batch_ndim):
        call.image_shape[axis] = array.shape[axis]
        call.images *= call.image_shape[axis]
    call.is_double = array.dtype.itemsize == 8
    if request.activation is None:
        call.activation = FX_AS_SCORES
        call.margin = tolerance(array.dtype)
    else:
        call.activation = FX_AS_SOFTMAXES if request.activation == "softmax" else FX_AS_SIGMOIDS
    call.kernels = call.object_kernels = fx_kernels_of(selected_isa, call.is_double)
    call.combine = FX_NO_OBJECTS
    if request.objectness is not None:
        call.combine = FX_ROOTS if request.combine == "sqrt" else FX_PRODUCTS
        if request.activation is None:
            call.object_margin = tolerance(request.objectness[0].dtype)
        call.object_kernels = fx_kernels_of(selected_isa,
                                            request.objectness[0].dtype.itemsize == 8)
    call.best_only = not request.multi_label
    call.per_level = request.top_k_per == "level"
    call.per_class = request.top_k_per == "class"
    call.by_anchors = (call.best_only or call.combine != FX_NO_OBJECTS
                       or call.activation == FX_AS_SOFTMAXES)
    call.is_even = request.is_even
    return 0


cdef void* write_edges(fx_selection* call, request) except NULL:
    """Fill in what the thresholds say; the caller frees the result after the call."""
    cdef int lanes = fx_candidate_kernels_of(selected_isa, call.is_double).lanes
    cdef const void* thresholds = NULL
    cdef const char* returned = <const char*>data_of(request.returned)
    cdef fx_float_control callers
    if request.thresholds is not None:
        thresholds = data_of(request.thresholds)
    cdef void* memory = malloc(fx_edge_bytes(call, lanes))
    if memory == NULL:
        raise MemoryError
    callers = fx_begin_floats()
    fx_write_edges(call, lanes, thresholds, returned, memory)
    fx_end_floats(callers)
    return memory


cdef Py_ssize_t describe_levels(fx_selection* call, fx_level* levels, request) except -1:
    """Describe all levels, and return how many elements an image has."""
    cdef Py_ssize_t first_anchor = 0, number, size
    for number in range(call.level_count):
        objectness = None if request.objectness is None else request.objectness[number]
        describe_level(&levels[number], request.levels[number], objectness,
                       call.image_dimensions, call.classes, first_anchor)
        size = levels[number].anchors
        first_anchor += size
        if call.activation == FX_AS_SOFTMAXES:
            plan_softmax(&levels[number], request.levels[number], call.is_double)
        if not call.by_anchors:
            size *= call.classes
            levels[number].block_size = ELEMENT_BLOCK
        else:
            levels[number].block_size = min(max(
                ANCHOR_BLOCK // call.classes // LEAST_ANCHORS * LEAST_ANCHORS, LEAST_ANCHORS),
                MOST_ANCHORS)
        levels[number].blocks = ((size + levels[number].block_size - 1)
                                 // levels[number].block_size)
    return first_anchor * call.classes


cdef plan_softmax(fx_level* level, array, bint is_double):
    """Say how `evaluate_score` would compute a softmax of this level."""
    cdef Job job
    memset(&job, 0, sizeof(Job))
    job.dimensions.count = -1
    job.per_logit = True
    read_operand(array, True, False, &job.logits, &job.dimensions)
    choose_precision(&job, selected_isa)
    job.classes = array.shape[array.ndim - 1]
    job.row_kernel = job.kernels.softmax_score_rows
    plan_scratch(&job)
    level.softmax_rows = scores_suit_rows(&job)


cdef run_selection(const fx_selection* call, Py_ssize_t elements, request):
    """Run all blocks, and make arrays of what the threads have found."""
    cdef const fx_candidate_kernels* kernels = fx_candidate_kernels_of(selected_isa,
                                                                       call.is_double)
    cdef Py_ssize_t blocks = 0, number
    cdef int threads, started = 0
    cdef fx_selector* selectors
    cdef fx_union all_of
    found = np.zeros(call.images, np.intp)
    nan = np.zeros(call.images, np.intp)
    for number in range(call.level_count):
        blocks += call.levels[number].blocks
    blocks *= call.images
    if call.combine != FX_NO_OBJECTS:
        elements //= OBJECT_ELEMENTS
    threads = choose_threads(request.threads, (elements + THREAD_ELEMENTS - 1) // THREAD_ELEMENTS)
    selectors = <fx_selector*>calloc(threads, sizeof(fx_selector))
    memset(&all_of, 0, sizeof(all_of))
    if selectors == NULL:
        raise MemoryError
    try:
        for number in range(threads):
            started += 1
            if fx_start_selector(&selectors[number], call, kernels) != 0:
                raise MemoryError
        select_blocks(call, kernels, selectors, blocks, threads)
        for number in range(threads):
            if selectors[number].has_failed:
                raise MemoryError
        for number in range(threads):
            if selectors[number].has_outside:
                return NO_SCORES
        if fx_join(call, selectors, threads, &all_of, <Py_ssize_t*>data_of(found),
                   <Py_ssize_t*>data_of(nan)) != 0:
            raise MemoryError
        image = np.empty(all_of.count, np.intp)
        anchor = np.empty(all_of.count, np.intp)
        label = np.empty(all_of.count, np.intp)
        score = np.empty(all_of.count, request.score_dtype)
        offsets = np.empty(call.images + 1, np.intp)
        memcpy(data_of(offsets), all_of.images,
               (call.images + 1) * sizeof(Py_ssize_t))
        fx_write_candidates(call, &all_of, <Py_ssize_t*>data_of(image),
                            <Py_ssize_t*>data_of(anchor), <Py_ssize_t*>data_of(label),
                            data_of(score))
        return Selection(image, anchor, label, score, offsets, found, nan)
    finally:
        for number in range(started):
            fx_free_selector(&selectors[number])
        free(selectors)
        free(all_of.items)
        free(all_of.images)
