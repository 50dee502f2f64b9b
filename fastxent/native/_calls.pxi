# Calls for kernels and threads that are not this module's, and what such kernels have to know: a
# part of _native.pyx.


cdef class Call:
    """A described call, for kernels and threads that are not this module's."""

    cdef Work work
    cdef int64_t* ignored
    cdef bint has_rows
    cdef tuple kept  # what the job refers to
    cdef fx_exact_kernel exact

    def __dealloc__(self):
        free(self.ignored)
        free(self.work.block_totals)
        free(self.work.memory)

    @property
    def size(self):
        """The number of anchors, or of values of a score of single ones."""
        return self.work.job.dimensions.size

    @property
    def takes_rows(self):
        """Whether a row kernel can do what is asked, and is faster."""
        return self.has_rows

    @property
    def has_factors(self):
        """Whether the terms of any targets have a factor other than 1."""
        return has_factors(&self.work.job)

    @property
    def has_class_factors(self):
        """Whether the factors of the terms differ by class."""
        return self.work.job.options.positive_weight != NULL

    @property
    def is_in_place(self):
        """Whether a score takes the place of the logits."""
        return self.work.job.is_in_place

    @property
    def address(self):
        """Where `run_worker` finds the call."""
        return <intptr_t>&self.work

    @property
    def exact_address(self):
        """Where the kernel is that computes single anchors in double; 0 where there is none."""
        return <intptr_t>self.exact

    @property
    def exact_value_address(self):
        """Where the function is that computes a single loss and its slope in double."""
        return <intptr_t>self.work.job.kernels.exact_value

    @property
    def mask_address(self):
        """Where the table is that masks a label out of a row."""
        if self.work.job.element == FX_FLOAT64:
            return <intptr_t>fx_others_double
        return <intptr_t>fx_others_float

    def plan(self, intptr_t row_kernel, intptr_t lane_kernel, intptr_t weighted_kernel,
             intptr_t map_kernel, intptr_t settings, Py_ssize_t lane_step):
        """Take the addresses of kernels and of their settings; return how many blocks there are.

        Lane kernels compute `lane_step` anchors at a time. What is 0 is not needed.
        """
        cdef Job* job = &self.work.job
        job.row_kernel = <fx_tile_kernel>row_kernel
        job.lane_kernel = <fx_tile_kernel>lane_kernel
        job.weighted_kernel = <fx_tile_kernel>weighted_kernel
        job.lane_step = lane_step
        job.options.settings = <const void*>settings
        self.work.map_kernel = <fx_map_kernel>map_kernel
        self.work.blocks = plan_map(job) if map_kernel else plan_blocks(job)
        return self.work.blocks

    def begin(self, int workers, intptr_t team):
        """Prepare a run of all blocks by so many workers."""
        cdef Work* work = &self.work
        free(work.block_totals)
        free(work.memory)
        work.block_totals = <BlockTotals*>calloc(work.blocks, sizeof(BlockTotals))
        work.memory = <char*>malloc(workers * work.job.scratch_bytes + 1)
        if work.block_totals == NULL or work.memory == NULL:
            raise MemoryError
        work.team = <fx_team*>team
        work.next_block = 0

    def resume(self):
        """Return whether there is anything left to do; workers end after some time."""
        self.work.pause = fx_milliseconds() + FX_LOOK_EVERY
        return self.work.next_block < self.work.blocks

    def run(self):
        """Run all blocks on this thread."""
        self.begin(1, 0)
        while self.resume():
            with nogil:
                run_worker(<intptr_t>&self.work, 0)
            PyErr_CheckSignals()

    def totals(self):
        """Return what the blocks add up to, in their order."""
        cdef BlockTotals totals
        if not self.work.job.wants_totals:
            return NO_TOTALS
        memset(&totals, 0, sizeof(BlockTotals))
        add_totals(&totals, self.work.block_totals, self.work.blocks)
        return LossTotals(totals.loss, totals.valid, totals.weight, totals.positive)


def describe_call(request):
    """Return a checked LossRequest as a call without kernels."""
    cdef Call call = Call.__new__(Call)
    cdef Job* job = &call.work.job
    call.ignored = describe_request(job, request)
    call.kept = (request, set_factors(job, request))
    call.has_rows = takes_rows(job)
    if job.facts.family == FX_SIGMOID_FAMILY:
        call.exact = job.kernels.sigmoid_exact
    elif job.facts.family == FX_SOFTMAX_FAMILY:
        call.exact = job.kernels.softmax_exact
    return call


def describe_score_call(str name, values, out):
    """Return a score as a call without kernels."""
    cdef Call call = Call.__new__(Call)
    cdef Job* job = &call.work.job
    call.kept = (values, out)
    if describe_score(job, name, values, out):
        return call
    call.has_rows = scores_suit_rows(job)
    if name == "softmax":
        call.exact = job.kernels.exact_softmax
    elif name == "log_softmax":
        call.exact = job.kernels.exact_log_softmax
    else:
        call.exact = job.kernels.exact_logsumexp
    return call


cdef Py_ssize_t offset_in(const void* record, const void* field) noexcept:
    return <const char*>field - <const char*>record


def tile_layout():
    """Return where each field of a tile lies in it, and its type as NumPy spells it."""
    cdef fx_tile tile
    return {
        "loss": (offset_in(&tile, &tile.loss), "i4"),
        "logit_type": (offset_in(&tile, &tile.logit_type), "i4"),
        "grad_type": (offset_in(&tile, &tile.grad_type), "i4"),
        "iou_weighted": (offset_in(&tile, &tile.iou_weighted), "i4"),
        "anchors": (offset_in(&tile, &tile.anchors), "p"),
        "classes": (offset_in(&tile, &tile.classes), "p"),
        "ahead": (offset_in(&tile, &tile.ahead), "p"),
        "targets_ahead": (offset_in(&tile, &tile.targets_ahead), "p"),
        "grads_ahead": (offset_in(&tile, &tile.grads_ahead), "p"),
        "labels": (offset_in(&tile, &tile.labels), "p"),
        "soft_targets": (offset_in(&tile, &tile.soft_targets), "p"),
        "label_counts": (offset_in(&tile, &tile.label_counts), "p"),
        "grad_scales": (offset_in(&tile, &tile.grad_scales), "p"),
        "positive_weight": (offset_in(&tile, &tile.positive_weight), "p"),
        "negative_weight": (offset_in(&tile, &tile.negative_weight), "p"),
        "losses": (offset_in(&tile, &tile.losses), "p"),
        "expectations": (offset_in(&tile, &tile.expectations), "p"),
        "settings": (offset_in(&tile, &tile.settings), "p"),
        "positive": (offset_in(&tile, &tile.positive), "f8"),
        "negative": (offset_in(&tile, &tile.negative), "f8"),
        "label_smoothing": (offset_in(&tile, &tile.label_smoothing), "f8"),
        "eps": (offset_in(&tile, &tile.eps), "f8"),
        "limit": (offset_in(&tile, &tile.limit), "f8"),
        "tiny_limit": (offset_in(&tile, &tile.tiny_limit), "f8"),
        "highest_loss": (offset_in(&tile, &tile.highest_loss), "f8"),
        "lowest_loss": (offset_in(&tile, &tile.lowest_loss), "f8"),
        "lowest_prob": (offset_in(&tile, &tile.lowest_prob), "f8"),
        "has_outside": (offset_in(&tile, &tile.has_outside), "p"),
        "gamma_positive": (offset_in(&tile, &tile.gamma_positive), "f8"),
        "gamma_negative": (offset_in(&tile, &tile.gamma_negative), "f8"),
        "clip": (offset_in(&tile, &tile.clip), "f8"),
        "epsilon": (offset_in(&tile, &tile.epsilon), "f8"),
        "slope": (offset_in(&tile, &tile.slope), "f8"),
        "shift": (offset_in(&tile, &tile.shift), "f8"),
        "logits": (offset_in(&tile, &tile.logits), "matrix"),
        "targets": (offset_in(&tile, &tile.targets), "matrix"),
        "labelled": (offset_in(&tile, &tile.labelled), "matrix"),
        "weights": (offset_in(&tile, &tile.weights), "matrix"),
        "results": (offset_in(&tile, &tile.results), "matrix"),
        "grads": (offset_in(&tile, &tile.grads), "matrix"),
        "grad_weights": (offset_in(&tile, &tile.grad_weights), "matrix"),
    }


def matrix_layout():
    """Return the same of the matrices in it."""
    cdef fx_matrix matrix
    return {
        "data": (offset_in(&matrix, &matrix.data), "p"),
        "anchor_stride": (offset_in(&matrix, &matrix.anchor_stride), "p"),
        "class_stride": (offset_in(&matrix, &matrix.class_stride), "p"),
    }


def kernel_constants():
    """Return the numbers that all kernels share."""
    return {
        "no_class": FX_NO_CLASS,
        "ignored": FX_IGNORED,
        "row_chunk": FX_ROW_CHUNK,
        "mask_centre": FX_MASK_CENTRE,
        "rows_ahead": FX_ROWS_AHEAD,
        "lanes_ahead": FX_LANES_AHEAD,
    }


def formula_constants(bint is_double):
    """Return the numbers of the formulas and the coefficients of the polynomials by name."""
    cdef const fx_constant* constant = fx_kernels_of(FX_BASELINE, is_double).constants
    numbers = {}
    while constant.name != NULL:
        values = [
            (<const double*>constant.values)[i] if is_double else (<const float*>constant.values)[i]
            for i in range(max(constant.count, 1))
        ]
        numbers[constant.name.decode()] = tuple(values) if constant.count else values[0]
        constant += 1
    return numbers
