# Strided arrays as the loops see them: a pointer and byte strides, anchors' dimensions coalesced.

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.object cimport PyObject
from libc.stdlib cimport llabs

from fastxent.native._kernels cimport (
    FX_BFLOAT16, FX_BOOL, FX_FLOAT16, FX_FLOAT32, FX_FLOAT64, FX_INT8, FX_INT16, FX_INT32,
    FX_INT64, FX_UINT8, FX_UINT16, FX_UINT32, FX_UINT64,
)


cdef extern from *:
    """
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define FX_BYTE_ORDER '>'
    #else
    #define FX_BYTE_ORDER '<'
    #endif
    """
    const char FX_BYTE_ORDER


cdef enum:  # as in NumPy 2
    MAX_DIMENSIONS = 64


# One array: its elements' type, and the byte stride of each anchor dimension and of the classes.
cdef struct Operand:
    char* data
    int type
    Py_ssize_t itemsize
    Py_ssize_t class_stride
    Py_ssize_t strides[MAX_DIMENSIONS]


# The dimensions that all operands of a call share.
cdef struct Dimensions:
    int count
    Py_ssize_t shape[MAX_DIMENSIONS]
    Py_ssize_t size


# A place among the anchors, in C order.
cdef struct Cursor:
    Py_ssize_t index[MAX_DIMENSIONS]


cdef inline int element_type(const char* format, Py_ssize_t itemsize) noexcept:
    """Return the kernels' number of a buffer format of this machine's byte order, or -1."""
    # A dtype may spell out its byte order, and that of elements out of alignment does.
    cdef bint is_prefixed = format[0] in (b"@", b"=", FX_BYTE_ORDER)
    cdef char code = format[is_prefixed]
    if code == 0 or format[is_prefixed + 1] != 0:
        return -1
    if code == b"?":
        return FX_BOOL
    if code == b"e":
        return FX_FLOAT16
    if code in (b"f", b"d"):
        return FX_FLOAT32 if itemsize == 4 else FX_FLOAT64
    cdef bint is_signed = code in (b"b", b"h", b"i", b"l", b"q")
    if not is_signed and code not in (b"B", b"H", b"I", b"L", b"Q"):
        return -1
    if itemsize == 1:
        return FX_INT8 if is_signed else FX_UINT8
    if itemsize == 2:
        return FX_INT16 if is_signed else FX_UINT16
    if itemsize == 4:
        return FX_INT32 if is_signed else FX_UINT32
    return FX_INT64 if is_signed else FX_UINT64


cdef inline Py_ssize_t element_size(int type) noexcept nogil:
    """Return the bytes of a floating type."""
    if type == FX_FLOAT64:
        return 8
    return 4 if type == FX_FLOAT32 else 2


cdef inline void* data_of(object array) except? NULL:
    """Return where an array begins; the caller keeps it alive."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef void* data = view.buf
    PyBuffer_Release(&view)
    return data


cdef inline int read_operand(object array, bint has_classes, bint writable, Operand* operand,
                             Dimensions* dimensions) except -1:
    """Describe an array; its anchor dimensions must be `dimensions`, which the first one sets."""
    cdef Py_buffer view
    cdef int flags = PyBUF_FORMAT | (PyBUF_STRIDED if writable else PyBUF_STRIDED_RO)
    cdef int axis, count
    cdef bint is_bfloat16 = False
    operand.data = NULL
    if array is None:
        return 0
    try:
        PyObject_GetBuffer(array, &view, flags)
    except ValueError:  # NumPy has no format for it
        if array.dtype.name != "bfloat16":
            raise
        is_bfloat16 = True
        PyObject_GetBuffer(array.view("u2"), &view, flags)
    try:
        count = view.ndim - has_classes
        operand.type = (FX_BFLOAT16 if is_bfloat16
                        else element_type(view.format, view.itemsize))
        if count < 0:
            raise ValueError("an operand has no class axis")
        if operand.type < 0:
            raise TypeError(f"elements of format {view.format} are not supported")
        if dimensions.count < 0:
            dimensions.count = count
            dimensions.size = 1
            for axis in range(count):
                dimensions.shape[axis] = view.shape[axis]
                dimensions.size *= view.shape[axis]
        elif dimensions.count != count:
            raise ValueError("operands differ in dimensions")
        operand.data = <char*>view.buf
        operand.itemsize = view.itemsize
        operand.class_stride = view.strides[count] if has_classes else 0
        for axis in range(count):
            if view.shape[axis] != dimensions.shape[axis]:
                raise ValueError("operands differ in shape")
            operand.strides[axis] = view.strides[axis]
    finally:
        PyBuffer_Release(&view)
    return 1


cdef inline void coalesce(Dimensions* dimensions, Operand** operands,
                          int operand_count) noexcept nogil:
    """Merge neighbouring dimensions that every operand steps through evenly; at least one stays."""
    cdef int axis, kept = 0, o
    cdef Py_ssize_t extent
    cdef bint even
    for axis in range(dimensions.count):
        extent = dimensions.shape[axis]
        if extent == 1:
            continue
        even = kept > 0
        for o in range(operand_count):
            if even and operands[o].data != NULL:
                even = (operands[o].strides[kept - 1]
                        == operands[o].strides[axis] * extent)
        if not even:
            kept += 1
            dimensions.shape[kept - 1] = 1
        dimensions.shape[kept - 1] *= extent
        for o in range(operand_count):
            operands[o].strides[kept - 1] = operands[o].strides[axis]
    if kept == 0:
        kept = 1
        dimensions.shape[0] = 1
        for o in range(operand_count):
            operands[o].strides[0] = 0
    dimensions.count = kept


cdef inline void order_as_in_memory(Dimensions* dimensions, Operand** operands,
                                    int operand_count) noexcept nogil:
    """Sort dimensions by the steps of the last operand, for calls to which no order matters."""
    cdef const Py_ssize_t* steps = operands[operand_count - 1].strides
    cdef int axis, place, o
    for axis in range(1, dimensions.count):
        place = axis
        while place > 0 and llabs(steps[place - 1]) < llabs(steps[place]):
            swap(&dimensions.shape[place - 1])
            for o in range(operand_count):
                swap(&operands[o].strides[place - 1])
            place -= 1


cdef inline void swap(Py_ssize_t* pair) noexcept nogil:
    pair[0], pair[1] = pair[1], pair[0]


cdef inline bint is_dense(const Operand* operand, const Dimensions* dimensions) noexcept nogil:
    """Return whether elements are contiguous, in the order of the dimensions."""
    cdef Py_ssize_t step = operand.itemsize
    cdef int axis
    for axis in range(dimensions.count - 1, -1, -1):
        if operand.strides[axis] != step:
            return False
        step *= dimensions.shape[axis]
    return True


cdef inline void cursor_at(const Dimensions* dimensions, Py_ssize_t position,
                           Cursor* cursor) noexcept nogil:
    cdef int axis
    for axis in range(dimensions.count - 1, -1, -1):
        cursor.index[axis] = position % dimensions.shape[axis]
        position //= dimensions.shape[axis]


cdef inline Py_ssize_t run_length(const Dimensions* dimensions, const Cursor* cursor,
                                  Py_ssize_t limit) noexcept nogil:
    """Return how many anchors, up to `limit`, follow in the innermost dimension."""
    cdef Py_ssize_t left = dimensions.shape[dimensions.count - 1]
    left -= cursor.index[dimensions.count - 1]
    return left if left < limit else limit


cdef inline void cursor_advance(const Dimensions* dimensions, Cursor* cursor,
                                Py_ssize_t run) noexcept nogil:
    cdef int axis = dimensions.count - 1
    cursor.index[axis] += run
    while axis > 0 and cursor.index[axis] == dimensions.shape[axis]:
        cursor.index[axis] = 0
        axis -= 1
        cursor.index[axis] += 1


cdef inline char* operand_at(const Operand* operand, const Dimensions* dimensions,
                             const Cursor* cursor) noexcept nogil:
    cdef char* place = operand.data
    cdef int axis
    if place != NULL:
        for axis in range(dimensions.count):
            place += cursor.index[axis] * operand.strides[axis]
    return place


cdef inline Py_ssize_t inner_stride(const Operand* operand,
                                    const Dimensions* dimensions) noexcept nogil:
    return operand.strides[dimensions.count - 1]
