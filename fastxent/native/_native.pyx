# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The native backend: what Python calls, and the threads around the blocks of a call.

A call is described once (`Job`) and cut into blocks of anchors (`_blocks.pxd`), which OpenMP
threads share (`_threads.pxd`). Sums are kept per block and added in the order of the blocks, so
their bits do not depend on the number of threads.
"""

from libc.stdint cimport int32_t, int64_t, intptr_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastxent.native._arrays cimport (
    Dimensions, Operand, coalesce, order_as_in_memory, read_operand,
)
from fastxent.native._candidates cimport (
    ANCHOR_BLOCK, ELEMENT_BLOCK, FX_AS_SCORES, FX_AS_SIGMOIDS, FX_AS_SOFTMAXES, FX_NO_OBJECTS,
    FX_PRODUCTS, FX_ROOTS, LEAST_ANCHORS, MOST_ANCHORS, OBJECT_ELEMENTS, THREAD_ELEMENTS,
    describe_level, fx_candidate_kernels, fx_candidate_kernels_of, fx_free_selector, fx_join,
    fx_level, fx_selection, fx_selector, fx_start_selector, fx_union, fx_write_candidates,
    fx_write_edges, select_blocks,
)
from fastxent.native._detection cimport (
    FX_COST_FOCAL, FX_COST_SIGMOID, FX_COST_SIMOTA, FX_COST_SOFTMAX, fx_detection,
    fx_detection_of, fx_images, fx_mining, fx_step,
)
from fastxent.native._elements cimport SCAN_ELEMENTS
from fastxent.native._job cimport (
    OPERANDS, BlockTotals, Job, Work, list_operands, plan_scratch,
)
from fastxent.native._kernels cimport (
    FX_BASELINE, FX_FLOAT32, FX_FLOAT64, FX_IGNORED, FX_ISAS, FX_LANES_AHEAD, FX_LOSSES,
    FX_MASK_CENTRE, FX_NO_CLASS, FX_NUMBA_POOL, FX_PRIMITIVES, FX_ROW_CHUNK, FX_ROWS_AHEAD,
    FX_SIGMOID_FAMILY, FX_SOFTMAX_FAMILY,
    fx_begin_floats, fx_constant, fx_count_creatable, fx_end_floats, fx_exact_kernel,
    fx_float_control, fx_gather_team, fx_isa_name, fx_isa_supported, fx_kernels, fx_kernels_of,
    fx_label_map, fx_losses, fx_map_kernel, fx_matrix, fx_max_threads, fx_others_double,
    fx_others_float, fx_own_team, fx_prepare_teams, fx_primitives, fx_protect_forks, fx_team,
    fx_tile, fx_tile_kernel,
)
from fastxent.native._matching cimport (
    COST_WORK, STEP_QUERIES, CostJob, cost_bytes, cost_step, plan_tiles,
)
from fastxent.native._requests cimport (
    check_loss, choose_kernels, choose_precision, describe_loss, has_factors, map_labels, per_class,
    scores_suit_rows, takes_rows,
)
from fastxent.native._short_calls cimport describe_short_call
from fastxent.native._threads cimport (
    add_totals, map_blocks, read_blocks, run_blocks, run_steps, run_worker, scan_blocks,
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
cdef object configuration = None  # fastxent._config, which imports this module


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
            job.grads.data = job.shares.data = NULL  # no totals depend on them
        else:
            check_loss(job.options.loss)
            choose_kernels(&job)
        return run_job(&job, request.threads)
    finally:
        free(ignored)


cdef int64_t* describe_request(Job* job, request) except NULL:
    """Fill in a job, but for its factors and kernels; the caller frees the result."""
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
    run_blocks(job, blocks, threads, memory, block_totals)
    if job.wants_totals or job.checks_late:
        add_totals(&totals, block_totals, blocks)
    free(block_totals)
    free(memory)
    return totals


cdef Py_ssize_t plan_blocks(Job* job) noexcept:
    """Plan the blocks of a described call, and return how many there are."""
    cdef Operand* operands[OPERANDS]
    list_operands(job, operands)
    coalesce(&job.dimensions, operands, OPERANDS)
    plan_scratch(job)
    return (job.dimensions.size + job.block_anchors - 1) // job.block_anchors


# ---------------------------------------------------------------------------- scores


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
    """Fill in a job, but for its kernels; return whether it is a score of single values."""
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


cdef Py_ssize_t plan_map(Job* job) noexcept:
    """Plan the blocks of a score of single values, and return how many there are."""
    cdef Operand* operands[2]
    cdef Py_ssize_t blocks = (job.dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    operands[0] = &job.logits
    operands[1] = &job.out
    if blocks > 0:
        order_as_in_memory(&job.dimensions, operands, 2)
        coalesce(&job.dimensions, operands, 2)
    return blocks


include "_calls.pxi"


# ---------------------------------------------------------------------------- detection

include "_detection.pxi"
include "_candidates.pxi"


# ---------------------------------------------------------------------------- primitives

include "_primitives.pxi"


# ---------------------------------------------------------------------------- checks and reads


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
    scan_blocks(&operand, &dimensions, blocks, threads, kernels, are_labels, highest, valid, found,
                outside)
    for block in range(blocks):
        has_outside[0] |= outside[block]
        if found[block] >= 0:
            first = found[block]
            break
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


# ---------------------------------------------------------------------------- threads


cdef int choose_threads(int threads, Py_ssize_t blocks) except -1:
    """Return how many threads may share the blocks; 0 stands for the automatic choice."""
    global configuration
    if blocks <= 1:  # the answer would take as long as a tenth of such a call
        return 1
    if threads == 0:
        if configuration is None:
            from fastxent import _config as configuration
        threads = configuration.automatic_threads()
    return <int>min(threads, blocks)


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
