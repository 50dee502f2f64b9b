# The loops over the blocks of a call: who computes which block, and with which floating-point
# control. They are called with the GIL, and release it. An OpenMP runtime may compute with floating
# point, too, and raise its exceptions on the calling thread: a region gives back what that had.
#
# Between blocks the main thread looks for signals. Where the handler of one raises, no more blocks
# are begun, and the exception is the caller's.

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport intptr_t

from fastxent.native._arrays cimport Dimensions, Operand, element_size
from fastxent.native._blocks cimport run_block
from fastxent.native._detection cimport fx_step
from fastxent.native._elements cimport SCAN_ELEMENTS, map_block, scan_block
from fastxent.native._interrupts cimport fx_goes_on, fx_milliseconds, fx_watch
from fastxent.native._job cimport BlockTotals, Job, Work
from fastxent.native._kernels cimport (
    FX_NATIVE_POOL, fx_begin_floats, fx_end_floats, fx_float_control, fx_gather_team, fx_get_floats,
    fx_join_team, fx_kernels, fx_label_map, fx_map_kernel, fx_own_team, fx_team,
)

cdef enum:
    # A thread takes neighbouring blocks, for what it prefetches at the end of one is the next; but
    # so few at a time that threads end together.
    SHARES = 8

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    #include <intrin.h>
    #define fx_next_block(place) _InterlockedExchangeAdd64(place, 1)
    #else
    #define fx_next_block(place) __atomic_fetch_add(place, 1, __ATOMIC_RELAXED)
    #endif
    """
    Py_ssize_t fx_next_block(Py_ssize_t* place) nogil


cdef inline int run_blocks(const Job* job, Py_ssize_t blocks, int threads, char* memory,
                           BlockTotals* block_totals) except -1:
    """Run all blocks; each thread has its part of the memory."""
    cdef fx_team* team
    cdef Py_ssize_t block, share
    cdef fx_float_control callers
    cdef fx_watch watch = fx_watch(0, 0)
    if threads == 1:  # what follows would be one part in a hundred of a short call
        with nogil:
            for block in range(blocks):
                if block > 0 and not fx_goes_on(&watch, 0):
                    break
                run_one_block(job, block, memory, &block_totals[block])
        return -watch.is_over
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, threads)
        if threads == 1:
            for block in range(blocks):
                if fx_goes_on(&watch, 0):
                    run_one_block(job, block, memory, &block_totals[block])
        else:
            share = max(1, blocks // (threads * SHARES))
            with parallel(num_threads=threads):
                fx_join_team(team, threadid())
                for block in prange(blocks, schedule="dynamic", chunksize=share):
                    if fx_goes_on(&watch, threadid()):
                        run_one_block(job, block, memory + threadid() * job.scratch_bytes,
                                      &block_totals[block])
        fx_end_floats(callers)
    return -watch.is_over


cdef inline void run_one_block(const Job* job, Py_ssize_t block, char* memory,
                               BlockTotals* totals) noexcept nogil:
    cdef fx_float_control callers = fx_begin_floats()
    run_block(job, block, memory, totals)
    fx_end_floats(callers)


cdef inline void add_totals(BlockTotals* totals, const BlockTotals* block_totals,
                            Py_ssize_t blocks) noexcept nogil:
    """Add up in the order of the blocks."""
    cdef fx_float_control callers = fx_begin_floats()
    cdef Py_ssize_t block
    for block in range(blocks):
        totals.loss += block_totals[block].loss
        totals.weight += block_totals[block].weight
        totals.valid += block_totals[block].valid
        totals.positive += block_totals[block].positive
        totals.has_invalid |= block_totals[block].has_invalid
    fx_end_floats(callers)


cdef inline int map_blocks(const Job* job, fx_map_kernel kernel, Py_ssize_t blocks,
                           int threads) except -1:
    cdef fx_team* team
    cdef Py_ssize_t block
    cdef fx_float_control callers
    cdef fx_watch watch = fx_watch(0, 0)
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, threads)
        if threads == 1:
            for block in range(blocks):
                if block == 0 or fx_goes_on(&watch, 0):
                    map_one_block(job, kernel, block)
        else:
            with parallel(num_threads=threads):
                fx_join_team(team, threadid())
                for block in prange(blocks, schedule="dynamic"):
                    if fx_goes_on(&watch, threadid()):
                        map_one_block(job, kernel, block)
        fx_end_floats(callers)
    return -watch.is_over


cdef inline void map_one_block(const Job* job, fx_map_kernel kernel,
                               Py_ssize_t block) noexcept nogil:
    cdef fx_float_control callers = fx_begin_floats()
    map_block(job, kernel, block)
    fx_end_floats(callers)


cdef inline int run_steps(fx_step step, const void* call, Py_ssize_t steps, int threads,
                          char* memory, Py_ssize_t scratch_bytes) except -1:
    """Run all steps of a call; each thread has its part of the memory."""
    cdef fx_team* team
    cdef Py_ssize_t number
    cdef fx_float_control callers
    cdef fx_watch watch = fx_watch(0, 0)
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, threads)
        if threads == 1:
            for number in range(steps):
                if fx_goes_on(&watch, 0):
                    run_one_step(step, call, number, memory)
        else:
            with parallel(num_threads=threads):
                fx_join_team(team, threadid())
                for number in prange(steps, schedule="dynamic"):
                    if fx_goes_on(&watch, threadid()):
                        run_one_step(step, call, number, memory + threadid() * scratch_bytes)
        fx_end_floats(callers)
    return -watch.is_over


cdef inline void run_one_step(fx_step step, const void* call, Py_ssize_t number,
                              char* memory) noexcept nogil:
    cdef fx_float_control callers = fx_begin_floats()
    step(call, number, memory)
    fx_end_floats(callers)


cdef inline int scan_blocks(const Operand* operand, const Dimensions* dimensions,
                            Py_ssize_t blocks, int threads, const fx_kernels* kernels,
                            bint are_labels, double highest, const fx_label_map* valid,
                            Py_ssize_t* found, int* has_outside) except -1:
    cdef fx_team* team
    cdef Py_ssize_t block
    cdef fx_float_control callers
    cdef fx_watch watch = fx_watch(0, 0)
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, threads)
        if threads == 1:
            for block in range(blocks):
                if block == 0 or fx_goes_on(&watch, 0):
                    found[block] = scan_one_block(operand, dimensions, block, kernels, are_labels,
                                                  highest, valid, &has_outside[block])
        else:
            with parallel(num_threads=threads):
                fx_join_team(team, threadid())
                for block in prange(blocks, schedule="static"):
                    if fx_goes_on(&watch, threadid()):
                        found[block] = scan_one_block(operand, dimensions, block, kernels,
                                                      are_labels, highest, valid,
                                                      &has_outside[block])
        fx_end_floats(callers)
    return -watch.is_over


cdef inline Py_ssize_t scan_one_block(const Operand* operand, const Dimensions* dimensions,
                                      Py_ssize_t block, const fx_kernels* kernels,
                                      bint are_labels, double highest, const fx_label_map* valid,
                                      int* has_outside) noexcept nogil:
    cdef fx_float_control callers = fx_begin_floats()
    cdef Py_ssize_t found = scan_block(operand, dimensions, block, kernels, are_labels, highest,
                                       valid, has_outside)
    fx_end_floats(callers)
    return found


cdef inline double read_blocks(const fx_kernels* kernels, const Operand* operand, Py_ssize_t size,
                               Py_ssize_t blocks, int threads) noexcept:
    """Read an array that is contiguous, and return its sum."""
    cdef fx_team* team
    cdef Py_ssize_t block, step = SCAN_ELEMENTS * element_size(operand.type)
    cdef double total = 0
    cdef fx_float_control callers
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, <int>min(threads, blocks))
        if threads == 1:
            total = kernels.read(operand.data, size)
        else:
            for block in prange(blocks, num_threads=threads, schedule="static"):
                fx_join_team(team, threadid())
                total += kernels.read(operand.data + block * step,
                                      min(SCAN_ELEMENTS, size - block * SCAN_ELEMENTS))
        fx_end_floats(callers)
    return total


cdef inline void run_worker(intptr_t address, intptr_t worker) noexcept nogil:
    """Compute blocks that no other thread has taken, as one of the threads of another runtime.

    After `FX_LOOK_EVERY` milliseconds that ends, for the caller to look for signals.
    """
    cdef Work* work = <Work*>address
    cdef char* memory = work.memory + worker * work.job.scratch_bytes
    cdef Py_ssize_t block
    if work.team != NULL:
        fx_join_team(work.team, <int>worker)
    block = fx_next_block(&work.next_block)
    while block < work.blocks:
        if work.map_kernel != NULL:
            map_one_block(&work.job, work.map_kernel, block)
        else:
            run_one_block(&work.job, block, memory, &work.block_totals[block])
        if work.blocks > 1 and fx_milliseconds() >= work.pause:
            return
        block = fx_next_block(&work.next_block)
