# Searches for what is invalid, and the plain read: a part of _native.pyx.


def find_invalid_label(labels, highest, tuple extra, int threads):
    """Return the flat index of the first label outside 0..highest and not in `extra`, or -1."""
    return search(labels, True, highest, extra, threads)[0]


def find_invalid_target(dense, int threads, highest=1.0, tuple ignored=()):
    """Return the flat index of the first element outside [0, highest] and not ignored, or -1."""
    return search(dense, False, highest, ignored, threads)[0]


def check_dense(dense, int threads, tuple ignored):
    """Return the flat index of the first element outside [0, 1] and not ignored, or -1.

    And whether any of those before it is ignored.
    """
    return search(dense, False, 1.0, ignored, threads)


def has_outside(values, double lowest, double highest, int threads):
    """Return whether any element is below `lowest` or above `highest`; NaN is neither."""
    return search(values, False, highest, (), threads, lowest, True)[0] >= 0


cdef tuple search(array, bint are_labels, double highest, tuple extra, int threads,
                  double lowest=0, bint allows_nan=False):
    cdef Py_ssize_t found
    cdef int has_outside = False
    cdef fx_label_map valid
    cdef Py_ssize_t count = len(extra), i
    cdef int64_t* values = <int64_t*>malloc((count + 1) * sizeof(int64_t))
    if values == NULL:
        raise MemoryError
    try:
        for i in range(count):
            values[i] = extra[i]
        memset(&valid, 0, sizeof(valid))
        valid.ignored = values
        valid.ignored_count = <int>count
        valid.lowest = lowest
        valid.allows_nan = allows_nan
        found = scan(array, are_labels, highest, &valid, threads, &has_outside)
        return found, bool(has_outside)
    finally:
        free(values)


cdef Py_ssize_t scan(object array, bint are_labels, double highest, const fx_label_map* valid,
                     int threads, int* has_outside) except -2:
    """Search an array in parallel."""
    cdef Operand operand
    cdef Operand* operands[1]
    cdef Dimensions dimensions
    cdef Py_ssize_t block, blocks
    cdef Py_ssize_t* found
    cdef int* outside
    cdef Py_ssize_t first = -1
    cdef const fx_kernels* kernels = fx_kernels_of(selected_isa, False)
    dimensions.count = -1
    read_operand(array, False, False, &operand, &dimensions)
    if dimensions.size == 0:
        return -1
    operands[0] = &operand
    coalesce(&dimensions, operands, 1)
    blocks = (dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    threads = choose_threads(threads, blocks)
    found = <Py_ssize_t*>malloc(blocks * sizeof(Py_ssize_t))
    outside = <int*>calloc(blocks, sizeof(int))
    if found == NULL or outside == NULL:
        free(found)
        free(outside)
        raise MemoryError
    try:
        scan_blocks(&operand, &dimensions, blocks, threads, kernels, are_labels, highest, valid,
                    found, outside)
        for block in range(blocks):
            has_outside[0] |= outside[block]
            if found[block] >= 0:
                first = found[block]
                break
    finally:
        free(found)
        free(outside)
    return first


def parallel_read(array, int threads):
    """Read a contiguous float array once and return its sum: the floor of every kernel's time."""
    cdef Operand operand
    cdef Dimensions dimensions
    cdef const fx_kernels* kernels
    cdef Py_ssize_t blocks
    dimensions.count = -1
    read_operand(array, False, False, &operand, &dimensions)
    if operand.type not in (FX_FLOAT32, FX_FLOAT64) or not array.flags.c_contiguous:
        raise TypeError("array must be a contiguous float32 or float64 array")
    kernels = fx_kernels_of(selected_isa, operand.type == FX_FLOAT64)
    blocks = (dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    return read_blocks(kernels, &operand, dimensions.size, blocks, threads)
