# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The native backend: what Python calls, and the threads around the blocks of a call.

A call is described once (`Job`) and cut into blocks of anchors (`_blocks.pxd`), which OpenMP
threads share. Sums are kept per block and added in the order of the blocks, so their bits do not
depend on the number of threads.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastxent.native._arrays cimport Dimensions, Operand, coalesce, read_operand
from fastxent.native._blocks cimport BlockTotals, Job, plan_scratch, run_block
from fastxent.native._elements cimport SCAN_ELEMENTS, map_block, scan_block
from fastxent.native._kernels cimport (
    FX_FLOAT32, FX_FLOAT64, FX_ISAS, fx_isa_name, fx_isa_supported, fx_kernels, fx_kernels_of,
    fx_label_map, fx_map_kernel, fx_max_threads, fx_protect_forks, fx_tile_kernel,
    fx_usable_threads,
)

from fastxent._request import LossTotals

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FX_OPENMP _OPENMP
    #else
    #define FX_OPENMP 0
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

cdef enum:
    # Row kernels pay off from two vectors of classes on.
    ROW_BYTES = 128

cdef int selected_isa = 0


# ---------------------------------------------------------------------------- losses


def evaluate_loss(request):
    """Compute a checked LossRequest; the totals hold what a reduction needs (out=None)."""
    cdef Job job
    cdef BlockTotals totals
    cdef int64_t* ignored = NULL
    cdef bint has_dense = request.dense is not None
    memset(&job, 0, sizeof(Job))
    job.dimensions.count = -1
    job.has_labels = not has_dense
    job.per_logit = request.per_logit
    job.weight = request.weight
    read_operand(request.logits, True, False, &job.logits, &job.dimensions)
    if has_dense:
        read_operand(request.dense, True, False, &job.targets, &job.dimensions)
    else:
        read_operand(request.labels, False, False, &job.targets, &job.dimensions)
    read_operand(request.anchor_weight, False, False, &job.anchor_weight, &job.dimensions)
    read_operand(request.logit_weight, True, False, &job.logit_weight, &job.dimensions)
    read_operand(request.out, job.per_logit, True, &job.out, &job.dimensions)
    job.classes = request.logits.shape[-1]
    job.wants_totals = job.out.data == NULL
    job.options.classes = job.classes
    job.options.label_smoothing = request.label_smoothing
    job.options.eps = request.eps
    class_weight = request.class_weight
    job.options.class_weight = per_class(class_weight, job.classes)
    job.options.pos_weight = per_class(request.pos_weight, job.classes)
    job.mean_class_weight = 1.0
    try:
        ignored = map_labels(&job, request)
        choose_kernels(&job, request.loss)
        if job.is_sigmoid and class_weight is not None:
            job.mean_class_weight = class_weight.mean(dtype=float)
        totals = run_job(&job, request.threads)
    finally:
        free(ignored)
    return LossTotals(totals.loss, totals.valid, totals.weight, totals.positive)


cdef const void* per_class(object values, Py_ssize_t classes) except? NULL:
    """Return where the values of the classes lie; the request keeps the array alive."""
    cdef Operand operand
    cdef Dimensions dimensions
    if values is None:
        return NULL
    dimensions.count = -1
    read_operand(values, False, False, &operand, &dimensions)
    return operand.data


cdef int64_t* map_labels(Job* job, object request) except? NULL:
    """Fill in what labels mean; the caller frees the result."""
    cdef Py_ssize_t count = len(request.ignore)
    cdef int64_t background = request.background
    cdef int64_t* ignored = <int64_t*>malloc((count + 1) * sizeof(int64_t))
    cdef Py_ssize_t i
    if ignored == NULL:
        raise MemoryError
    for i in range(count):
        ignored[i] = request.ignore[i]
    job.is_sigmoid = request.loss in ("sigmoid_cross_entropy", "binary_cross_entropy")
    job.labels.ignored = ignored
    job.labels.ignored_count = <int>count
    job.labels.none = INT64_MIN
    job.labels.gap = INT64_MAX
    job.background_column = -1
    if job.is_sigmoid:
        job.labels.none = background
        if 0 <= background <= job.classes:
            job.labels.gap = background
    else:
        job.background_column = <int>background
    return ignored


cdef int choose_kernels(Job* job, str loss) except -1:
    """Pick the kernels of a loss: the row kernel too, where it can do what is asked."""
    cdef const fx_kernels* kernels
    cdef fx_tile_kernel rows = NULL
    job.element = job.logits.type
    if job.element not in (FX_FLOAT32, FX_FLOAT64):
        raise TypeError("logits must be float32 or float64")
    job.itemsize = 4 if job.element == FX_FLOAT32 else 8
    kernels = fx_kernels_of(selected_isa, job.element == FX_FLOAT64)
    job.kernels = kernels
    if loss == "sigmoid_cross_entropy":
        job.lane_kernel = kernels.sigmoid_cross_entropy
        rows = kernels.sigmoid_cross_entropy_rows
    elif loss == "softmax_cross_entropy":
        job.lane_kernel = kernels.softmax_cross_entropy
        if job.has_labels:
            rows = kernels.softmax_cross_entropy_rows
            if job.options.label_smoothing == 0:  # then the class weight is a factor of the anchor
                job.label_weight = job.options.class_weight
                job.options.class_weight = NULL
    elif loss == "binary_cross_entropy":
        job.lane_kernel = kernels.binary_cross_entropy
    elif loss == "categorical_cross_entropy":
        job.lane_kernel = kernels.categorical_cross_entropy
    else:
        raise ValueError(f"the native backend has no {loss}")
    if (not job.per_logit and job.logit_weight.data == NULL
            and job.options.class_weight == NULL and job.options.pos_weight == NULL
            and job.options.label_smoothing == 0 and lies_in_rows(job, &job.logits)
            and (job.has_labels or lies_in_rows(job, &job.targets))):
        job.row_kernel = rows
    return 0


cdef bint lies_in_rows(const Job* job, const Operand* operand) noexcept:
    """Tell whether the row kernels can read an operand where it is."""
    cdef int axis
    if (operand.type != job.element or operand.class_stride != job.itemsize
            or job.classes * job.itemsize < ROW_BYTES):
        return False
    for axis in range(job.dimensions.count):
        if operand.strides[axis] % job.itemsize != 0:
            return False
    return True


cdef BlockTotals run_job(Job* job, int threads) except *:
    """Run all blocks of a described call on the threads, and add up in the order of the blocks."""
    cdef Operand* operands[5]
    cdef BlockTotals totals
    cdef BlockTotals* block_totals
    cdef char* memory
    cdef Py_ssize_t block, blocks
    memset(&totals, 0, sizeof(BlockTotals))
    if job.dimensions.size == 0:
        return totals
    operands[0] = &job.logits
    operands[1] = &job.targets
    operands[2] = &job.anchor_weight
    operands[3] = &job.logit_weight
    operands[4] = &job.out
    coalesce(&job.dimensions, operands, 5)
    plan_scratch(job)
    blocks = (job.dimensions.size + job.block_anchors - 1) // job.block_anchors
    threads = fx_usable_threads(<int>min(threads, blocks))
    block_totals = <BlockTotals*>calloc(blocks, sizeof(BlockTotals))
    memory = <char*>malloc(threads * job.scratch_bytes)
    if block_totals == NULL or memory == NULL:
        free(block_totals)
        free(memory)
        raise MemoryError
    with nogil:
        if threads == 1:
            for block in range(blocks):
                run_block(job, block, memory, &block_totals[block])
        else:
            for block in prange(blocks, num_threads=threads, schedule="dynamic"):
                run_block(job, block, memory + threadid() * job.scratch_bytes,
                          &block_totals[block])
        for block in range(blocks):
            totals.loss += block_totals[block].loss
            totals.weight += block_totals[block].weight
            totals.valid += block_totals[block].valid
            totals.positive += block_totals[block].positive
        free(block_totals)
        free(memory)
    return totals


# ---------------------------------------------------------------------------- scores


def evaluate_score(str name, values, out, int threads):
    """Fill `out` with a score of `values`; for the scores over classes their axis is the last."""
    cdef Job job
    cdef bint is_map = name not in ("softmax", "log_softmax", "logsumexp")
    memset(&job, 0, sizeof(Job))
    job.dimensions.count = -1
    job.per_logit = name != "logsumexp"
    job.weight = 1.0
    job.background_column = -1
    read_operand(values, not is_map, False, &job.logits, &job.dimensions)
    read_operand(out, not is_map and job.per_logit, True, &job.out, &job.dimensions)
    job.element = job.logits.type
    if job.element not in (FX_FLOAT32, FX_FLOAT64):
        raise TypeError("values must be float32 or float64")
    job.itemsize = 4 if job.element == FX_FLOAT32 else 8
    job.kernels = fx_kernels_of(selected_isa, job.element == FX_FLOAT64)
    if is_map:
        run_map(&job, map_kernel_of(job.kernels, name), threads)
        return
    job.classes = values.shape[-1]
    job.options.classes = job.classes
    if name == "softmax":
        job.lane_kernel = job.kernels.softmax
    elif name == "log_softmax":
        job.lane_kernel = job.kernels.log_softmax
    else:
        job.lane_kernel = job.kernels.logsumexp
    run_job(&job, threads)


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
    cdef Operand* operands[2]
    cdef Py_ssize_t block, blocks = (job.dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    if blocks == 0:
        return 0
    operands[0] = &job.logits
    operands[1] = &job.out
    coalesce(&job.dimensions, operands, 2)
    threads = fx_usable_threads(<int>min(threads, blocks))
    with nogil:
        if threads == 1:
            for block in range(blocks):
                map_block(job, kernel, block)
        else:
            for block in prange(blocks, num_threads=threads, schedule="dynamic"):
                map_block(job, kernel, block)
    return 0


# ---------------------------------------------------------------------------- checks and reads


def find_invalid_label(labels, highest, tuple extra, int threads):
    """Return the flat index of the first label outside 0..highest and not in `extra`, or -1."""
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
        return scan(labels, highest, &valid, threads)
    finally:
        free(values)


def find_invalid_target(dense, int threads):
    """Return the flat index of the first element outside [0, 1], or NaN, or -1."""
    return scan(dense, 0, NULL, threads)


cdef Py_ssize_t scan(object array, int64_t highest, const fx_label_map* valid,
                     int threads) except -2:
    """Search an array in parallel: labels where `valid` is given, else dense targets."""
    cdef Operand operand
    cdef Operand* operands[1]
    cdef Dimensions dimensions
    cdef Py_ssize_t block, blocks
    cdef Py_ssize_t* found
    cdef Py_ssize_t first = -1
    cdef const fx_kernels* kernels = fx_kernels_of(selected_isa, False)
    dimensions.count = -1
    read_operand(array, False, False, &operand, &dimensions)
    if dimensions.size == 0:
        return -1
    operands[0] = &operand
    coalesce(&dimensions, operands, 1)
    blocks = (dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    found = <Py_ssize_t*>malloc(blocks * sizeof(Py_ssize_t))
    if found == NULL:
        raise MemoryError
    threads = fx_usable_threads(<int>min(threads, blocks))
    with nogil:
        if threads == 1:
            for block in range(blocks):
                found[block] = scan_block(&operand, &dimensions, block, kernels, highest, valid)
        else:
            for block in prange(blocks, num_threads=threads, schedule="static"):
                found[block] = scan_block(&operand, &dimensions, block, kernels, highest, valid)
        for block in range(blocks):
            if found[block] >= 0:
                first = found[block]
                break
        free(found)
    return first


def parallel_read(array, int threads):
    """Read a contiguous float array once and return its sum: the floor of every kernel's time."""
    cdef Operand operand
    cdef Dimensions dimensions
    cdef const fx_kernels* kernels
    cdef Py_ssize_t block, blocks, itemsize
    cdef double total = 0
    dimensions.count = -1
    read_operand(array, False, False, &operand, &dimensions)
    if operand.type not in (FX_FLOAT32, FX_FLOAT64) or not array.flags.c_contiguous:
        raise TypeError("array must be a contiguous float32 or float64 array")
    itemsize = 4 if operand.type == FX_FLOAT32 else 8
    kernels = fx_kernels_of(selected_isa, operand.type == FX_FLOAT64)
    blocks = (dimensions.size + SCAN_ELEMENTS - 1) // SCAN_ELEMENTS
    threads = fx_usable_threads(threads)
    with nogil:
        if threads == 1:
            total = kernels.read(operand.data, dimensions.size)
        else:
            for block in prange(blocks, num_threads=threads, schedule="static"):
                total += kernels.read(operand.data + block * SCAN_ELEMENTS * itemsize,
                                      min(SCAN_ELEMENTS, dimensions.size - block * SCAN_ELEMENTS))
    return total


# ---------------------------------------------------------------------------- configuration


def openmp_max_threads():
    """Return the threads that OpenMP would use now (OMP_NUM_THREADS, threadpoolctl)."""
    return fx_max_threads()


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
    if fx_protect_forks() != 0:
        raise ImportError("fastxent could not register its fork handler")


_initialise()
