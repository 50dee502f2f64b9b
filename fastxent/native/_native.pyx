# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""The native backend: what Python calls, and the threads around the blocks of a call.

A call is described once (`Job`) and cut into blocks of anchors (`_blocks.pxd`), which OpenMP
threads share (`_threads.pxd`). Sums are kept per block and added in the order of the blocks, so
their bits do not depend on the number of threads.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, isnan
from libc.stdint cimport int32_t, int64_t, intptr_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strlen

from fastxent.native._arrays cimport (
    Dimensions, Operand, coalesce, data_of, order_as_in_memory, read_operand,
)
from fastxent.native._candidates cimport (
    ANCHOR_BLOCK, ELEMENT_BLOCK, FX_AS_SCORES, FX_AS_SIGMOIDS, FX_AS_SOFTMAXES, FX_NO_OBJECTS,
    FX_PRODUCTS, FX_ROOTS, LEAST_ANCHORS, MOST_ANCHORS, OBJECT_ELEMENTS, THREAD_ELEMENTS,
    describe_level, fx_candidate_kernels, fx_candidate_kernels_of, fx_edge_bytes, fx_free_selector,
    fx_join, fx_level, fx_selection, fx_selector, fx_start_selector, fx_union, fx_write_candidates,
    fx_write_edges, select_blocks,
)
from fastxent.native._detection cimport (
    FX_COST_FOCAL, FX_COST_SIGMOID, FX_COST_SIMOTA, FX_COST_SOFTMAX, fx_detection,
    fx_detection_of, fx_images, fx_mining, fx_step,
)
from fastxent.native._elements cimport SCAN_ELEMENTS
from fastxent.native._interrupts cimport FX_LOOK_EVERY, fx_milliseconds, fx_set_main_thread
from fastxent.native._job cimport (
    OPERANDS, BlockTotals, Job, Work, list_operands, plan_scratch,
)
from fastxent.native._kernels cimport (
    FX_BASELINE, FX_BINARY_FAMILY, FX_CATEGORICAL_FAMILY, FX_FLOAT16, FX_FLOAT32, FX_FLOAT64,
    FX_IGNORED, FX_ISAS, FX_LANES_AHEAD, FX_LOSSES, FX_MASK_CENTRE, FX_NO_CLASS, FX_NUMBA_POOL,
    FX_PRIMITIVES, FX_ROWS_AHEAD, FX_ROW_CHUNK, FX_SIGMOID_FAMILY, FX_SOFTMAX_FAMILY,
    fx_begin_floats, fx_clear_result_cache, fx_constant, fx_count_creatable, fx_end_floats,
    fx_exact_kernel, fx_float_control, fx_gather_team, fx_give_result, fx_held_by_result_cache,
    fx_isa_name, fx_isa_supported, fx_kernels, fx_kernels_of, fx_label_map, fx_losses,
    fx_map_kernel, fx_matrix, fx_max_threads, fx_others_double, fx_others_float, fx_own_team,
    fx_prepare_teams, fx_primitives, fx_protect_forks, fx_set_result_cache, fx_take_result, fx_team,
    fx_tile, fx_tile_kernel,
)
from fastxent.native._matching cimport (
    COST_WORK, STEP_QUERIES, CostJob, cost_bytes, cost_step, plan_tiles,
)
from fastxent.native._requests cimport (
    check_loss, choose_kernels, choose_precision, describe_loss, has_factors, map_labels, per_class,
    scores_suit_rows, set_label_map, set_loss, takes_rows,
)
from fastxent.native._short_calls cimport describe_short_call
from fastxent.native._threads cimport (
    add_totals, map_blocks, map_one_block, read_blocks, run_blocks, run_one_block, run_steps,
    run_worker, scan_blocks,
)
from fastxent.native._xla cimport (
    FX_OF_ANCHORS, FX_OF_CALL, FX_OF_CLASSES, FX_OF_LOGITS, FX_XLA_INVALID_ARGUMENT,
    FX_XLA_RESOURCE_EXHAUSTED,
    fx_xla_array, fx_xla_call, fx_xla_equal, fx_xla_error, fx_xla_fail, fx_xla_frame,
    fx_xla_handle, fx_xla_integer, fx_xla_integers, fx_xla_note_first, fx_xla_number,
    fx_xla_operand, fx_xla_place, fx_xla_refuse_device, fx_xla_result, fx_xla_set_shape,
    fx_xla_share, fx_xla_show, fx_xla_span, fx_xla_text, fx_xla_threads, fx_xla_value,
)

import numpy as np

from fastxent._contract import modulating_exponents, term_factors
from fastxent._contract import LossTotals
from fastxent._selection import NO_SCORES, Selection, tolerance

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FX_OPENMP _OPENMP
    #else
    #define omp_get_num_procs() 1
    #define FX_OPENMP 0
    #endif
    #ifdef __linux__
    #include <sys/syscall.h>
    #include <unistd.h>
    /* The kernel's own call says how many bytes of a mask there are. */
    #define fx_get_affinity(size, mask) syscall(SYS_sched_getaffinity, 0, size, mask)
    #else
    #define fx_get_affinity(size, mask) ((void)(mask), -1)
    #endif
    #if defined(__clang__)
    #define FX_COMPILER "Clang " __clang_version__
    #elif defined(__GNUC__)
    #define FX_COMPILER "GCC " __VERSION__
    #else
    #define FX_COMPILER "another C compiler"
    #endif
    """
    const int FX_OPENMP
    const char* FX_COMPILER
    int omp_get_num_procs()
    long fx_get_affinity(size_t size, void* mask)

cdef enum:
    # Bytes of a mask of 8,192 CPUs, the most that Linux is built for.
    MASK_BYTES = 1024

cdef int selected_isa = 0
cdef object automatic_threads = None  # of fastxent._config, which imports this module


# ---------------------------------------------------------------------------- losses


def evaluate_loss(request):
    """Compute a checked LossRequest; the totals hold what a reduction needs (out=None)."""
    return run_loss(request, False)


def count_anchors(request):
    """Return the totals that need no logits, from which the normalizer is made."""
    return run_loss(request, True)


NO_TOTALS = LossTotals(0.0, 0, 0.0, 0)


def has_partial_rows(request):
    """Return whether any anchor of checked dense targets has some of them only."""
    return run_request(request, True).has_invalid


cdef run_loss(request, bint counts_only):
    cdef BlockTotals totals = run_request(request, counts_only)
    if totals.has_invalid and request.late_check is not None:
        request.late_check()
    if not counts_only and request.out is not None:
        return NO_TOTALS
    return LossTotals(totals.loss, totals.valid, totals.weight, totals.positive)


cdef BlockTotals run_request(request, bint counts_only) except *:
    cdef Job job
    cdef int64_t* ignored = describe_request(&job, request)
    try:
        _factors = set_factors(&job, request)  # kept alive
        if counts_only:
            job.counts_only = job.wants_totals = True
            job.grads.data = job.soft_targets.data = NULL  # no totals depend on them
        else:
            check_loss(job.options.loss)
            choose_kernels(&job)
        return run_job(&job, request.threads)
    finally:
        free(ignored)


cdef int64_t* describe_request(Job* job, request) except NULL:
    """Fill in a job, except for its factors and kernels; the caller frees the result."""
    describe_loss(job, request, selected_isa)
    job.options.gamma_positive, job.options.gamma_negative = modulating_exponents(request)
    return map_labels(job, request)


def evaluate_short_call(int code, logits, labels, out, int64_t ignore_index):
    """Fill `out` with the losses of a short call without options.

    False, with nothing written, where the arrays are not such a call's, or not valid.
    """
    cdef Job job
    try:
        if not describe_short_call(&job, code, logits, labels, out, &ignore_index, selected_isa):
            return False
    except (BufferError, TypeError, ValueError):
        return False
    run_job(&job, 1)
    return True


cdef set_factors(Job* job, request):
    """Fill in the factors of y and of 1 - y; what is returned must outlive the job."""
    class_weight = request.class_weight
    if class_weight is None and request.alpha is None and request.pos_weight is None:
        job.options.positive = job.options.negative = 1.0
        return None
    if (class_weight is not None and request.loss.weighs_labels and job.has_labels
            and job.options.label_smoothing == 0):
        job.label_weight = per_class(class_weight)
        class_weight = None
    elif class_weight is not None:
        job.class_weight = per_class(class_weight)
        if job.is_sigmoid:
            job.mean_class_weight = class_weight.mean(dtype=float)
    factors = term_factors(request, class_weight)
    if isinstance(factors[0], float) and isinstance(factors[1], float):
        job.options.positive, job.options.negative = factors
        return None
    dtype = np.float64 if job.element == FX_FLOAT64 else np.float32
    arrays = [np.ascontiguousarray(np.broadcast_to(factor, job.classes), dtype)
              for factor in factors]
    job.options.positive_weight = per_class(arrays[0])
    job.options.negative_weight = per_class(arrays[1])
    return arrays


cdef BlockTotals run_job(Job* job, int threads) except *:
    """Run all blocks of a described call on the threads, and add up in the order of the blocks."""
    cdef BlockTotals totals
    cdef BlockTotals* block_totals
    cdef char* memory
    cdef Py_ssize_t blocks
    memset(&totals, 0, sizeof(BlockTotals))
    if job.dimensions.size == 0:
        return totals
    blocks = plan_blocks(job)
    threads = choose_threads(threads, blocks)
    block_totals = <BlockTotals*>calloc(blocks, sizeof(BlockTotals))
    memory = <char*>malloc(threads * job.scratch_bytes)
    if block_totals == NULL or memory == NULL:
        free(block_totals)
        free(memory)
        raise MemoryError
    try:
        run_blocks(job, blocks, threads, memory, block_totals)
        if job.wants_totals or job.checks_late:
            add_totals(&totals, block_totals, blocks)
    finally:
        free(block_totals)
        free(memory)
    return totals


cdef Py_ssize_t plan_blocks(Job* job) noexcept nogil:
    """Plan the blocks of a described call, and return how many there are."""
    cdef Operand* operands[OPERANDS]
    list_operands(job, operands)
    coalesce(&job.dimensions, operands, OPERANDS)
    plan_scratch(job)
    return (job.dimensions.size + job.block_anchors - 1) // job.block_anchors


# ---------------------------------------------------------------------------- scores

include "_scores.pxi"
include "_calls.pxi"


# ---------------------------------------------------------------------------- calls from XLA

include "_xla_losses.pxi"
include "_xla_checks.pxi"
include "_xla_scores.pxi"


# ---------------------------------------------------------------------------- detection

include "_detection.pxi"
include "_candidates.pxi"


# ---------------------------------------------------------------------------- primitives

include "_primitives.pxi"


# ---------------------------------------------------------------------------- checks and reads

include "_checks.pxi"


# ---------------------------------------------------------------------------- results

include "_results.pxi"


# ---------------------------------------------------------------------------- threads


cdef int choose_threads(int threads, Py_ssize_t blocks) except -1:
    """Return how many threads may share the blocks; 0 stands for the automatic choice."""
    if blocks <= 1:  # the answer would take as long as a tenth of such a call
        return 1
    if threads == 0:
        threads = automatic_threads()
    return <int>min(threads, blocks)


def set_main_thread(unsigned long identifier):
    """Say which thread runs the handlers of signals."""
    fx_set_main_thread(identifier)


def set_automatic_choice(function):
    """Say what counts the threads of a call that may have as many as there are: at the import."""
    global automatic_threads
    automatic_threads = function


def affinity_mask():
    """Return a bit for each CPU that the calling thread may run on; empty: not known."""
    cdef char mask[MASK_BYTES]
    cdef long size = fx_get_affinity(MASK_BYTES, mask)
    return mask[:max(size, 0)]


def count_creatable_threads(int wanted):
    """Return how many of the wanted threads could be created now; they end at once."""
    with nogil:
        wanted = fx_count_creatable(wanted)
    return wanted


def gather_numba_team(int wanted):
    """Return how many of the wanted threads Numba can have, and the team for `run_worker`."""
    cdef fx_team* team = fx_own_team(FX_NUMBA_POOL)
    with nogil:
        wanted = fx_gather_team(team, wanted)
    return wanted, <intptr_t>team


def worker_address():
    """Return where `run_worker` is."""
    return <intptr_t>&run_worker


def call_with_default_floats(function, *arguments, **keywords):
    """Call a function with nothing flushed to zero; the thread gets back what control it had."""
    cdef fx_float_control callers = fx_begin_floats()
    try:
        return function(*arguments, **keywords)
    finally:
        fx_end_floats(callers)


# ---------------------------------------------------------------------------- configuration


def openmp_max_threads():
    """Return the threads that OpenMP would use now (OMP_NUM_THREADS, threadpoolctl)."""
    return fx_max_threads()


def loss_names():
    """Return the names of the losses, in the order of their codes."""
    return tuple(fx_losses[code].name.decode() for code in range(FX_LOSSES))


def openmp_processors():
    """Return the CPUs that OpenMP knows."""
    return omp_get_num_procs()


def available_isas():
    """Return the names of the instruction sets that this CPU runs, the widest first."""
    return tuple(fx_isa_name(isa).decode() for isa in reversed(range(FX_ISAS))
                 if fx_isa_supported(isa))


def get_isa():
    """Return the name of the instruction set in use."""
    return fx_isa_name(selected_isa).decode()


def set_isa(str name):
    """Use another instruction set, for the whole process."""
    global selected_isa
    for isa in range(FX_ISAS):
        if fx_isa_name(isa).decode() == name and fx_isa_supported(isa):
            selected_isa = isa
            return
    raise ValueError(f"{name!r} is not an instruction set of this CPU: {available_isas()}")


def build_info():
    """Return what built the extension."""
    return {"compiler": FX_COMPILER.decode(), "openmp": str(FX_OPENMP) if FX_OPENMP else "none"}


def _initialise():
    """Take the widest instruction set, and make forks safe."""
    set_isa(available_isas()[0])
    if fx_prepare_teams() != 0 or fx_protect_forks() != 0:
        raise ImportError("fastxent could not prepare for threads and forks")


_initialise()
