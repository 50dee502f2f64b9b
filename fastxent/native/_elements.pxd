# Strided arrays element by element: scores of single values, the search for invalid targets.

from libc.stdint cimport uint64_t

from fastxent.native._arrays cimport (
    Cursor, Dimensions, Operand, cursor_advance, cursor_at, inner_stride, is_dense, operand_at,
    run_length,
)
from fastxent.native._job cimport Job
from fastxent.native._kernels cimport fx_kernels, fx_label_map, fx_map_kernel, fx_strided

cdef enum:
    # Elements that one step of a parallel map, search or read takes.
    SCAN_ELEMENTS = 65536
    # Results of this many bytes are written by non-temporal stores: with as many of input, they do
    # not fit caches of 32 MiB. On two threads 8 million logits gain 20 %, 6 million 2 %; 4 million
    # lose 10.
    STREAM_BYTES = 3 << 23
    # Values that a map kernel takes from strided memory at a time; shorter runs are put together.
    MAP_CHUNK = 1024


cdef inline void map_block(const Job* job, fx_map_kernel kernel,
                           Py_ssize_t block) noexcept nogil:
    """Map one step of a call's elements, `logits` to `out`."""
    cdef const Dimensions* dimensions = &job.dimensions
    cdef Py_ssize_t position = block * SCAN_ELEMENTS
    cdef Py_ssize_t stop = min(position + SCAN_ELEMENTS, dimensions.size)
    cdef Py_ssize_t longest = dimensions.shape[dimensions.count - 1]
    cdef bint streams = (dimensions.size * job.itemsize >= STREAM_BYTES
                         and job.out.data != job.logits.data)
    cdef bint is_even = (job.logits.type == job.element
                         and inner_stride(&job.logits, dimensions) == job.itemsize
                         and inner_stride(&job.out, dimensions) == job.itemsize)
    if is_even and (dimensions.count == 1 or longest >= MAP_CHUNK):
        map_runs(job, kernel, position, stop, streams)
    elif is_dense(&job.out, dimensions):
        map_gathered(job, kernel, position, stop, streams)
    elif is_even:
        # Lines of which a non-temporal store has a part only are written several times.
        map_runs(job, kernel, position, stop, False)
    else:
        map_chunks(job, kernel, position, stop)


cdef inline void map_runs(const Job* job, fx_map_kernel kernel, Py_ssize_t position,
                          Py_ssize_t stop, bint streams) noexcept nogil:
    """Map elements that are contiguous, in both arrays, along the last dimension."""
    cdef Py_ssize_t run
    cdef Cursor cursor
    cursor_at(&job.dimensions, position, &cursor)
    while position < stop:
        run = run_length(&job.dimensions, &cursor, stop - position)
        kernel(operand_at(&job.logits, &job.dimensions, &cursor),
               operand_at(&job.out, &job.dimensions, &cursor), run, streams)
        cursor_advance(&job.dimensions, &cursor, run)
        position += run


cdef inline void map_gathered(const Job* job, fx_map_kernel kernel, Py_ssize_t position,
                              Py_ssize_t stop, bint streams) noexcept nogil:
    """Map elements that lie anyhow, or are of another type, to results that are contiguous."""
    cdef const Dimensions* dimensions = &job.dimensions
    cdef int last = dimensions.count - 1
    cdef Py_ssize_t step = inner_stride(&job.logits, dimensions)
    cdef Py_ssize_t row_step = job.logits.strides[last - 1] if last > 0 else 0
    cdef Py_ssize_t room, run, rows, filled
    cdef double chunk[MAP_CHUNK]  # of either precision
    cdef fx_strided source
    cdef Cursor cursor
    cursor_at(dimensions, position, &cursor)
    while position < stop:
        filled = 0
        while filled < MAP_CHUNK and position + filled < stop:
            room = min(MAP_CHUNK - filled, stop - position - filled)
            run = run_length(dimensions, &cursor, room)
            rows = 1
            # `pack` makes anchors of rows that begin at neighbouring elements, and writes whole
            # vectors.
            if last > 0 and run == dimensions.shape[last] and row_step != job.logits.itemsize:
                rows = min(room // run, dimensions.shape[last - 1] - cursor.index[last - 1])
            source = fx_strided(operand_at(&job.logits, dimensions, &cursor), step, row_step,
                                job.logits.type, run, rows)
            job.kernels.pack(&source, <char*>chunk + filled * job.itemsize, run)
            if last > 0:
                cursor.index[last - 1] += rows - 1
            cursor_advance(dimensions, &cursor, run)
            filled += rows * run
        kernel(chunk, job.out.data + position * job.itemsize, filled, streams)
        position += filled


cdef inline void map_chunks(const Job* job, fx_map_kernel kernel, Py_ssize_t position,
                            Py_ssize_t stop) noexcept nogil:
    """Map elements that lie anyhow to results that do."""
    cdef Py_ssize_t in_step = inner_stride(&job.logits, &job.dimensions)
    cdef Py_ssize_t out_step = inner_stride(&job.out, &job.dimensions)
    cdef Py_ssize_t run
    cdef double chunk[MAP_CHUNK]  # of either precision
    cdef fx_strided source, destination
    cdef Cursor cursor
    cursor_at(&job.dimensions, position, &cursor)
    while position < stop:
        run = run_length(&job.dimensions, &cursor, min(stop - position, MAP_CHUNK))
        source = fx_strided(operand_at(&job.logits, &job.dimensions, &cursor), in_step, 0,
                            job.logits.type, run, 1)
        destination = fx_strided(operand_at(&job.out, &job.dimensions, &cursor), out_step, 0,
                                 job.element, run, 1)
        job.kernels.pack(&source, chunk, run)
        kernel(chunk, chunk, run, False)
        job.kernels.unpack(chunk, run, &destination)
        cursor_advance(&job.dimensions, &cursor, run)
        position += run


cdef inline Py_ssize_t scan_block(const Operand* operand, const Dimensions* dimensions,
                                  Py_ssize_t block, const fx_kernels* kernels, bint are_labels,
                                  double highest, const fx_label_map* valid,
                                  int* has_outside) noexcept nogil:
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
            found = kernels.first_invalid_target(place, step, operand.type, run, highest, valid,
                                                 has_outside)
        if found >= 0:
            return position + found
        cursor_advance(dimensions, &cursor, run)
        position += run
    return -1
