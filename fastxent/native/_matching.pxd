# Costs of matching: one call, and its steps: some queries of one image each.

from libc.stdint cimport int32_t, int64_t

from fastxent.native._arrays cimport (
    Cursor, Dimensions, Operand, cursor_advance, cursor_at, inner_stride, operand_at, run_length,
)
from fastxent.native._detection cimport fx_cost_kernel, fx_costs
from fastxent.native._job cimport VECTOR_BYTES

cdef enum:
    # Queries of a step, of which there shall be several for each thread.
    STEP_QUERIES = 256
    # Those of a tile, fewer where there are many classes, but a multiple of the widest vector.
    TILE_QUERIES = 64
    TILE_QUERIES_STEP = 16
    TILE_COSTS = 8192
    # Logits, or costs, that are worth a thread.
    COST_WORK = 16384

cdef struct CostJob:
    Dimensions dimensions       # images, then queries
    Operand logits
    Operand objectness
    fx_costs options            # everything of some queries but where they are
    fx_cost_kernel kernel
    Py_ssize_t itemsize         # of costs
    Py_ssize_t queries          # of an image
    Py_ssize_t steps_per_image
    const int64_t* starts       # of each image's ground truths
    const int32_t* distinct     # their classes, each once: an image's from `starts` on
    const int64_t* distinct_counts
    const int32_t* columns
    char* out
    Py_ssize_t tile_bytes


cdef inline void plan_tiles(CostJob* job, Py_ssize_t columns) noexcept:
    """Choose the queries of a tile, which holds so many classes of each."""
    cdef Py_ssize_t queries = TILE_COSTS // max(columns, 1) // TILE_QUERIES_STEP * TILE_QUERIES_STEP
    queries = min(max(queries, TILE_QUERIES_STEP), TILE_QUERIES)
    job.options.tile_queries = queries
    # What is packed may be a vector longer.
    job.tile_bytes = (queries * columns * job.itemsize // VECTOR_BYTES + 2) * VECTOR_BYTES


cdef inline Py_ssize_t cost_bytes(const CostJob* job) noexcept nogil:
    """Return the memory of a thread: two tiles, then objectness."""
    return 2 * job.tile_bytes + (job.options.tile_queries + VECTOR_BYTES) * job.itemsize


cdef inline void cost_step(const void* call, Py_ssize_t step, char* memory) noexcept nogil:
    """Compute the costs of some queries of one image, run by run."""
    cdef const CostJob* job = <const CostJob*>call
    cdef Py_ssize_t image = step // job.steps_per_image
    cdef Py_ssize_t first = step % job.steps_per_image * STEP_QUERIES
    cdef Py_ssize_t last = min(first + STEP_QUERIES, job.queries)
    cdef int64_t start = job.starts[image]
    cdef fx_costs costs = job.options
    cdef Cursor cursor
    costs.truths = job.starts[image + 1] - start
    if costs.truths == 0:
        return
    costs.distinct = job.distinct + start
    costs.distinct_count = job.distinct_counts[image]
    costs.columns = job.columns + start
    costs.tile = memory
    costs.results = memory + job.tile_bytes
    costs.query_stride = inner_stride(&job.logits, &job.dimensions)
    costs.objectness_stride = inner_stride(&job.objectness, &job.dimensions)
    cursor_at(&job.dimensions, image * job.queries + first, &cursor)
    while first < last:
        costs.queries = run_length(&job.dimensions, &cursor, last - first)
        costs.logits = operand_at(&job.logits, &job.dimensions, &cursor)
        costs.objectness = operand_at(&job.objectness, &job.dimensions, &cursor)
        costs.out = job.out + (job.queries * start + first * costs.truths) * job.itemsize
        job.kernel(&costs)
        cursor_advance(&job.dimensions, &cursor, costs.queries)
        first += costs.queries
