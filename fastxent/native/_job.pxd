# What one call is: its operands, its kernels, the sizes of its blocks, a thread's scratch memory.

from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t

from fastxent.native._arrays cimport Dimensions, Operand
from fastxent.native._kernels cimport (
    fx_kernels, fx_label_map, fx_loss_facts, fx_map_kernel, fx_team, fx_tile, fx_tile_kernel,
)

cdef enum:
    # A block is at least this many logits: 30 us of work for one core, so that starting it is
    # nothing, and a quarter of a MB, so that many cores find work in a small call.
    BLOCK_LOGITS = 65536
    # But no more anchors than this: their labels and losses stay in the first-level cache.
    BLOCK_ANCHORS = 2048
    BLOCK_STEP = 64
    # Logits of a packed tile: a quarter of the first-level cache, because the next tile is
    # prefetched while one is processed. Its anchors are a multiple of two of the widest vectors,
    # which of 16-bit logits with the class axis in front are whole cache lines. Of so many classes
    # that the tiles of a call would fill the second-level cache, wider logits have one vector.
    TILE_LOGITS = 2048
    TILE_STEP = 32
    MANY_CLASSES = 512
    # Of more classes than that, tiles take memory that counts: those of so many bytes have no more
    # anchors than there are in a run.
    WIDE_TILE_BYTES = 1 << 20
    # Widest vector, in bytes: scratch arrays are aligned to it, and packing may write that much
    # more.
    VECTOR_BYTES = 64
    OPERANDS = 10

cdef struct BlockTotals:
    double loss
    double weight
    Py_ssize_t valid
    Py_ssize_t positive
    int has_invalid             # a dense target is not valid, or a probability none

cdef struct Job:
    Dimensions dimensions
    Py_ssize_t classes
    Operand logits
    Operand targets             # class labels, dense targets, or positions of bins
    Operand soft_targets        # per anchor: the target of the label's class
    Operand anchor_weight
    Operand logit_weight
    Operand out
    Operand grads
    Operand anchor_grad_output  # factors of the gradient alone
    Operand logit_grad_output
    Operand expectations
    const fx_kernels* kernels
    const fx_loss_facts* facts  # of the loss; NULL for a score
    fx_tile_kernel lane_kernel
    fx_tile_kernel weighted_kernel  # the same for tiles with weights
    Py_ssize_t lane_step        # lane kernels take a multiple of this many anchors, or packed ones
    fx_tile_kernel row_kernel   # NULL where it does not apply
    fx_tile options             # everything of a tile but its matrices
    fx_label_map labels
    fx_label_map valid_labels   # what else is valid, besides labels up to the highest
    uint64_t highest_label
    const void* label_weight    # per class: the loss of an anchor is multiplied by its label's
    const void* class_weight    # per class, for the totals
    double mean_class_weight
    double weight
    double grad_scale
    Py_ssize_t itemsize
    int element                 # FX_FLOAT32 or FX_FLOAT64: what is computed in
    int background_column
    bint has_labels
    bint has_positions
    bint per_logit
    bint is_sigmoid
    bint counts_only            # only the totals that need no logits are wanted
    bint wants_totals
    bint checks_late            # dense targets or probabilities, which the caller has not checked
    bint checks_labels          # the same of class labels
    bint may_miss_targets       # some of the dense ones, which has to be found out
    bint is_in_place            # a score takes the place of the logits, which a repair has to read
    Py_ssize_t block_anchors
    Py_ssize_t tile_anchors
    Py_ssize_t scratch_bytes

# The blocks of a call, for threads that another runtime has; see `run_worker`.
cdef struct Work:
    Job job
    fx_map_kernel map_kernel    # of a score of single values
    Py_ssize_t blocks
    Py_ssize_t next_block       # the first one that no thread has taken
    int64_t pause               # when workers end for the caller, in milliseconds
    char* memory
    BlockTotals* block_totals
    fx_team* team               # NULL: one thread

# What a thread works with: one value an anchor of a block each, then tiles.
cdef struct Scratch:
    int32_t* columns
    char* losses
    char* weights
    char* weight_totals  # of the anchors, for the normalizer "weight"
    char* grad_scales
    char* soft_targets
    char* expectations
    char* label_counts
    char* logits
    char* targets
    char* labelled
    char* logit_weights
    char* results
    char* grads
    char* grad_weights


cdef inline char* take(char** memory, Py_ssize_t size, bint is_wanted) noexcept nogil:
    """Cut a piece off the memory, with room for a vector after it."""
    cdef char* piece = memory[0]
    if is_wanted:
        memory[0] += (size + 2 * VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
    return piece


cdef inline Scratch carve_scratch(const Job* job, char* memory, char** end) noexcept nogil:
    """Say what lies where in a thread's memory, and where it ends."""
    cdef Py_ssize_t vector = job.block_anchors * job.itemsize
    cdef Py_ssize_t tile = job.tile_anchors * job.classes * job.itemsize
    cdef Scratch scratch
    memory += VECTOR_BYTES - <uintptr_t>memory % VECTOR_BYTES
    scratch.columns = <int32_t*>take(&memory, job.block_anchors * sizeof(int32_t), True)
    scratch.losses = take(&memory, vector, True)
    scratch.weights = take(&memory, vector, True)
    scratch.weight_totals = take(&memory, vector, job.wants_totals)
    scratch.grad_scales = take(&memory, vector, job.grads.data != NULL)
    scratch.soft_targets = take(&memory, vector, job.soft_targets.data != NULL or job.has_positions)
    scratch.expectations = take(&memory, vector, job.expectations.data != NULL)
    scratch.label_counts = take(&memory, vector, job.may_miss_targets)
    # Row kernels read and write where the arrays are: a row may be as long as memory.
    scratch.logits = take(&memory, tile, (job.row_kernel == NULL or job.is_in_place
                                          or job.may_miss_targets))
    scratch.targets = take(&memory, tile, job.targets.data != NULL and not job.has_labels)
    scratch.labelled = take(&memory, tile, job.may_miss_targets)
    scratch.logit_weights = take(&memory, tile, job.logit_weight.data != NULL)
    scratch.results = take(&memory, tile, job.per_logit and job.row_kernel == NULL)
    scratch.grads = take(&memory, tile, job.grads.data != NULL)
    scratch.grad_weights = take(&memory, tile, job.logit_grad_output.data != NULL)
    end[0] = memory
    return scratch


cdef inline void plan_scratch(Job* job) noexcept nogil:
    """Choose the sizes of blocks and tiles, and from them the scratch memory of a thread."""
    cdef Py_ssize_t anchors = BLOCK_LOGITS // job.classes, step = TILE_STEP
    cdef char* end
    anchors = (anchors + BLOCK_STEP - 1) // BLOCK_STEP * BLOCK_STEP
    job.block_anchors = min(max(anchors, BLOCK_STEP), BLOCK_ANCHORS)
    if job.classes > MANY_CLASSES and job.logits.itemsize > 2:
        step = TILE_STEP // 2
    anchors = TILE_LOGITS // job.classes // step * step
    job.tile_anchors = min(max(anchors, step), job.block_anchors)
    if job.tile_anchors * job.classes * job.itemsize >= WIDE_TILE_BYTES:
        job.tile_anchors = min(job.tile_anchors, job.dimensions.shape[job.dimensions.count - 1])
    carve_scratch(job, NULL, &end)
    job.scratch_bytes = <Py_ssize_t><uintptr_t>end


cdef inline void list_operands(Job* job, Operand** operands) noexcept nogil:
    operands[0] = &job.logits
    operands[1] = &job.targets
    operands[2] = &job.soft_targets
    operands[3] = &job.anchor_weight
    operands[4] = &job.logit_weight
    operands[5] = &job.out
    operands[6] = &job.grads
    operands[7] = &job.anchor_grad_output
    operands[8] = &job.logit_grad_output
    operands[9] = &job.expectations
