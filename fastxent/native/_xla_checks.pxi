# What is wrong with the values in calls from XLA: a part of _native.pyx. The messages are those of
# _call/targets.py, _call/probabilities.py and _call/parameters.py, with what they expect as text.

cdef enum:
    XLA_TEXT = 128

# A search of an array for the first invalid element, for XLA's threads.
cdef struct XlaSearch:
    const fx_xla_array* array
    const fx_kernels* kernels
    const fx_label_map* valid
    bint are_labels
    double highest
    Py_ssize_t first
    int has_missing


cdef void search_xla_chunk(void* data, Py_ssize_t chunk, int thread) noexcept nogil:
    cdef XlaSearch* search = <XlaSearch*>data
    cdef const fx_xla_array* array = search.array
    cdef Py_ssize_t start = chunk * SCAN_ELEMENTS, found
    cdef Py_ssize_t count = min(SCAN_ELEMENTS, array.size - start)
    cdef char* place = array.data + start * array.itemsize
    cdef int has_missing = False
    cdef fx_float_control callers = fx_begin_floats()
    if search.are_labels:
        found = search.kernels.first_invalid_label(place, array.itemsize, array.type, count,
                                                   <uint64_t>search.highest, search.valid)
    else:
        found = search.kernels.first_invalid_target(place, array.itemsize, array.type, count,
                                                    search.highest, search.valid, &has_missing)
    fx_end_floats(callers)
    if found >= 0:
        fx_xla_note_first(&search.first, start + found)
    if has_missing:
        search.has_missing = True


cdef XlaSearch search_xla(const XlaLoss* loss, const fx_xla_array* array, bint are_labels,
                          double highest, const fx_label_map* valid) noexcept nogil:
    """Search an array, which is contiguous, for the first invalid element."""
    cdef XlaSearch search
    cdef Py_ssize_t chunks = (array.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    search.array = array
    search.kernels = fx_kernels_of(selected_isa, False)
    search.valid = valid
    search.are_labels = are_labels
    search.highest = highest
    search.first = -1
    search.has_missing = False
    fx_xla_share(loss.call, fx_xla_threads(loss.call, loss.threads, chunks), chunks,
                 search_xla_chunk, &search)
    return search


cdef void fail_for_element(fx_xla_call* call, const char* name, size_t length,
                           const fx_xla_array* array, Py_ssize_t index, const char* problem,
                           fx_xla_span expected) noexcept nogil:
    """Say which element of an array is wrong; `index` counts its elements as they lie."""
    cdef char position[XLA_TEXT]
    cdef char value[XLA_TEXT]
    fx_xla_place(index, array.dims, array.rank, position, sizeof(position))
    fx_xla_show(array.data + index * array.itemsize, array.type, value, sizeof(value))
    fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "%.*s%s = %s %s%.*s", <int>length, name, position,
                value, problem, <int>expected.length, expected.text)


cdef void check_xla_loss(XlaLoss* loss) noexcept nogil:
    """Check what is checked before anything is computed."""
    cdef fx_xla_call* call = loss.call
    cdef fx_label_map valid
    cdef Py_ssize_t index
    cdef fx_xla_span none
    none.text, none.length = "", 0
    if call.code:
        return
    check_xla_targets(loss)
    if loss.soft_targets.data != NULL and not call.code:
        memset(&valid, 0, sizeof(valid))
        index = search_xla(loss, &loss.soft_targets, False, 1.0, &valid).first
        if index >= 0:
            fail_for_element(call, "scores", 6, &loss.soft_targets, index, "is outside [0, 1]",
                             none)
    check_xla_factors(loss, &loss.class_weight, "class_weight", INFINITY)
    check_xla_factors(loss, &loss.pos_weight, "pos_weight", INFINITY)
    check_xla_factors(loss, &loss.alpha, "alpha",
                      1.0 if fx_xla_equal(fx_xla_text(call, "alpha_of"), "both") else INFINITY)
    check_xla_factors(loss, &loss.normalizer, "normalizer", INFINITY)


cdef void check_xla_targets(XlaLoss* loss) noexcept nogil:
    """Check labels or positions; dense targets are checked while they are read."""
    cdef Job* job = &loss.job
    cdef fx_label_map valid
    cdef double highest = <double>(job.classes - 1)
    cdef Py_ssize_t index
    cdef fx_xla_span name, expected
    if not job.has_labels or loss.targets.data == NULL:
        return
    memset(&valid, 0, sizeof(valid))
    valid.ignored = loss.ignored
    valid.ignored_count = job.labels.ignored_count
    if job.is_sigmoid and not job.has_positions:
        if 0 <= job.labels.none <= job.classes:
            highest = <double>job.classes
        else:
            valid.ignored_count += 1  # the background
    index = search_xla(loss, &loss.targets, not job.has_positions, highest, &valid).first
    if index >= 0:
        name, expected = fx_xla_text(loss.call, "targets"), fx_xla_text(loss.call, "expected")
        fail_for_element(loss.call, name.text, name.length, &loss.targets, index,
                         "is outside " if job.has_positions
                         else "is not a class label: expected ", expected)


cdef void check_xla_factors(const XlaLoss* loss, const fx_xla_array* array, const char* name,
                            double highest) noexcept nogil:
    """Refuse numbers that are negative, not finite or larger than `highest`."""
    cdef Py_ssize_t index
    cdef double value
    cdef fx_xla_span dtype
    dtype.text = ""
    if array == &loss.class_weight or array == &loss.pos_weight:
        dtype.text = " in float64" if loss.job.element == FX_FLOAT64 else " in float32"
    dtype.length = strlen(dtype.text)
    if array.data == NULL:
        return
    for index in range(array.size):
        value = fx_xla_value(array.data + index * array.itemsize, array.type)
        if not 0 <= value <= highest or value == INFINITY:
            fail_for_element(loss.call, name, strlen(name), array, index,
                             "is outside [0, 1]" if highest == 1
                             else "is negative or not finite", dtype)
            return


cdef void find_xla_invalid(const XlaLoss* loss) noexcept nogil:
    """Note the error of dense targets, or of probabilities, that may be invalid."""
    cdef fx_label_map valid
    cdef XlaSearch search
    cdef fx_xla_span name = fx_xla_text(loss.call, "targets")
    cdef fx_xla_span expected = fx_xla_text(loss.call, "expected")
    if not loss.job.has_labels:
        memset(&valid, 0, sizeof(valid))
        valid.ignored = loss.ignored
        valid.ignored_count = loss.job.labels.ignored_count
        search = search_xla(loss, &loss.targets, False, 1.0, &valid)
        if search.first >= 0:
            fail_for_element(loss.call, name.text, name.length, &loss.targets, search.first,
                             "is outside [0, 1]", expected)
        elif search.has_missing and not loss.job.is_sigmoid:
            find_partial_row(loss)
    if loss.job.facts.family in (FX_BINARY_FAMILY, FX_CATEGORICAL_FAMILY) and not loss.call.code:
        find_xla_outside(loss)


cdef Py_ssize_t xla_offset(const fx_xla_call* call, const fx_xla_array* array, Py_ssize_t index,
                           int without) noexcept nogil:
    """Return how far off an element is, by its flat index among all axes, or all but one."""
    cdef Py_ssize_t offset = 0
    cdef int axis
    for axis in range(call.ndim - 1, -1, -1):
        if axis != without:
            offset += index % call.shape[axis] * array.steps[axis]
            index //= call.shape[axis]
    return offset


cdef Py_ssize_t xla_size(const fx_xla_call* call, int without) noexcept nogil:
    cdef Py_ssize_t size = 1
    cdef int axis
    for axis in range(call.ndim):
        if axis != without:
            size *= call.shape[axis]
    return size


cdef void find_partial_row(const XlaLoss* loss) noexcept nogil:
    """Note the error of an anchor that has labels of some classes, but not of all."""
    cdef const fx_xla_call* call = loss.call
    cdef const fx_xla_array* targets = &loss.targets
    cdef Py_ssize_t anchor, k, offset, first, missing, step = targets.steps[call.axis]
    cdef double value
    cdef fx_xla_span name = fx_xla_text(loss.call, "loss"), target
    for anchor in range(xla_size(call, call.axis)):
        offset = xla_offset(call, targets, anchor, call.axis)
        first, missing = -1, 0
        for k in range(loss.job.classes):
            value = fx_xla_value(targets.data + offset + k * step, targets.type)
            if not 0 <= value <= 1:
                missing += 1
                first = k if first < 0 else first
        if 0 < missing < loss.job.classes:
            target = fx_xla_text(loss.call, "targets")
            fail_for_element(loss.call, target.text, target.length, targets,
                             (offset + first * step) // targets.itemsize,
                             "is an ignore_index, but other targets of its anchor are not: "
                             "the labels of all classes are taken, or of none, by ", name)
            return


cdef void find_xla_outside(const XlaLoss* loss) noexcept nogil:
    """Note the error of a number that is no probability, but for ignored ones."""
    cdef const fx_xla_call* call = loss.call
    cdef double lowest = loss.job.options.lowest_prob, value, target
    cdef double highest = 1 - lowest if loss.job.is_sigmoid else INFINITY
    cdef Py_ssize_t index, offset
    cdef bint is_ignored
    cdef int i
    cdef fx_xla_span none
    none.text, none.length = "", 0
    for index in range(xla_size(call, -1)):
        offset = xla_offset(call, &loss.logits, index, -1)
        value = fx_xla_value(loss.logits.data + offset, loss.logits.type)
        if not (value < lowest or value > highest):
            continue
        target = fx_xla_value(loss.targets.data + xla_offset(call, &loss.targets, index, -1),
                              loss.targets.type)
        is_ignored = False
        for i in range(loss.job.labels.ignored_count):
            is_ignored |= target == <double>loss.ignored[i]
        if not is_ignored:
            fail_for_element(loss.call, "probs", 5, &loss.logits,
                             offset // loss.logits.itemsize,
                             "is outside [0, 1] (sigmoid_cross_entropy takes logits)"
                             if loss.job.is_sigmoid
                             else "is negative (softmax_cross_entropy takes logits)", none)
            return
