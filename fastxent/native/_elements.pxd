# Strided arrays element by element: scores of single values, the search for invalid targets.

from libc.stdint cimport uint64_t

from fastxent.native._arrays cimport (
    Cursor, Dimensions, Operand, cursor_advance, cursor_at, inner_stride, operand_at, run_length,
)
from fastxent.native._job cimport Job
from fastxent.native._kernels cimport fx_kernels, fx_label_map, fx_map_kernel

cdef enum:
    # Elements that one step of a parallel map, search or read takes.
    SCAN_ELEMENTS = 65536
    # Results of so many bytes are stored past the caches: with as many of input, they do not fit
    # those of 32 MiB. On two threads 8 million logits gain 20 %, 6 million 2 %; 4 million lose 10.
    STREAM_BYTES = 3 << 23
    # Values that a map kernel takes from strided memory at a time.
    MAP_CHUNK = 1024


cdef inline void map_block(const Job* job, fx_map_kernel kernel,
                           Py_ssize_t block) noexcept nogil:
    """Map one step of a call's elements, `logits` to `out`."""
    cdef Py_ssize_t position = block * SCAN_ELEMENTS
    cdef Py_ssize_t stop = min(position + SCAN_ELEMENTS, job.dimensions.size)
    cdef Py_ssize_t in_step = inner_stride(&job.logits, &job.dimensions)
    cdef Py_ssize_t out_step = inner_stride(&job.out, &job.dimensions)
    cdef bint even = (job.logits.type == job.element and in_step == job.itemsize
                      and out_step == job.itemsize)
    cdef bint streams = (job.dimensions.size * job.itemsize >= STREAM_BYTES
                         and job.out.data != job.logits.data)
    cdef Py_ssize_t run
    cdef double chunk[MAP_CHUNK]  # of either precision
    cdef char* source
    cdef char* destination
    cdef Cursor cursor
    cursor_at(&job.dimensions, position, &cursor)
    while position < stop:
        run = run_length(&job.dimensions, &cursor,
                         stop - position if even else min(stop - position, MAP_CHUNK))
        source = operand_at(&job.logits, &job.dimensions, &cursor)
        destination = operand_at(&job.out, &job.dimensions, &cursor)
        if even:
            kernel(source, destination, run, streams)
        else:
            job.kernels.pack(source, in_step, 0, job.logits.type, run, 1, chunk, run)
            kernel(chunk, chunk, run, False)
            job.kernels.unpack(chunk, run, run, 1, destination, out_step, 0, job.element)
        cursor_advance(&job.dimensions, &cursor, run)
        position += run


cdef inline Py_ssize_t scan_block(const Operand* operand, const Dimensions* dimensions,
                                  Py_ssize_t block, const fx_kernels* kernels, bint are_labels,
                                  double highest, const fx_label_map* valid) noexcept nogil:
    """Return the first invalid position of one step of an array, or -1 (see `scan`)."""
    cdef Py_ssize_t position = block * SCAN_ELEMENTS
    cdef Py_ssize_t stop = min(position + SCAN_ELEMENTS, dimensions.size)
    cdef Py_ssize_t step = inner_stride(operand, dimensions)
    cdef Py_ssize_t run, found
    cdef char* place
    cdef Cursor cursor
    cursor_at(dimensions, position, &cursor)
    while position < stop:
        run = run_length(dimensions, &cursor, stop - position)
        place = operand_at(operand, dimensions, &cursor)
        if are_labels:
            found = kernels.first_invalid_label(place, step, operand.type, run,
                                                <uint64_t>highest, valid)
        else:
            found = kernels.first_invalid_target(place, step, operand.type, run, highest, valid)
        if found >= 0:
            return position + found
        cursor_advance(dimensions, &cursor, run)
        position += run
    return -1
