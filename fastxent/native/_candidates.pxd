# The selection of candidates: from a checked SelectionRequest to the kernels' description of it,
# and the threads that share its blocks. Each thread keeps the best that it has seen; the best of
# those are the result, whoever saw them.

from cython.parallel cimport parallel, prange, threadid

from fastxent.native._arrays cimport (
    Dimensions, Operand, coalesce, order_as_in_memory, read_operand,
)
from fastxent.native._interrupts cimport fx_goes_on, fx_watch
from fastxent.native._kernels cimport (
    FX_FLOAT64, FX_NATIVE_POOL, fx_begin_floats, fx_end_floats, fx_float_control, fx_gather_team,
    fx_get_floats, fx_join_team, fx_kernels, fx_own_team, fx_team,
)


cdef extern from "candidates.h" nogil:
    int FX_AS_SCORES, FX_AS_SIGMOIDS, FX_AS_SOFTMAXES
    int FX_NO_OBJECTS, FX_PRODUCTS, FX_ROOTS

    ctypedef struct fx_level:
        const char* data
        const char* objects
        int type
        int object_type
        Py_ssize_t anchors
        Py_ssize_t first_anchor
        Py_ssize_t blocks
        Py_ssize_t block_size
        Py_ssize_t* image_strides
        Py_ssize_t* object_image_strides
        int dimensions
        Py_ssize_t* shape
        Py_ssize_t* strides
        Py_ssize_t* object_strides
        Py_ssize_t class_stride
        int element_dimensions
        Py_ssize_t* element_shape
        Py_ssize_t* element_strides
        Py_ssize_t* orders
        int softmax_rows

    ctypedef struct fx_selection:
        Py_ssize_t classes
        Py_ssize_t background
        Py_ssize_t images
        int image_dimensions
        Py_ssize_t* image_shape
        const fx_level* levels
        int level_count
        int is_double
        int activation
        int combine
        int best_only
        int per_level
        int per_class
        int by_anchors
        int is_even
        Py_ssize_t top_k
        double margin
        double object_margin
        const fx_kernels* kernels
        const fx_kernels* object_kernels

    ctypedef struct fx_selector:
        int has_outside
        int has_failed

    ctypedef struct fx_candidate_kernels:
        int lanes
        void (*select)(fx_selector*, Py_ssize_t, int, Py_ssize_t) noexcept nogil

    ctypedef struct fx_union:
        void* items
        Py_ssize_t* images
        Py_ssize_t count

    const fx_candidate_kernels* fx_candidate_kernels_of(int isa, int is_double)
    size_t fx_edge_bytes(const fx_selection* call, int lanes)
    void fx_write_edges(fx_selection* call, int lanes, const void* thresholds,
                        const char* returned, void* memory)
    int fx_start_selector(fx_selector* selector, const fx_selection* call,
                          const fx_candidate_kernels* kernels)
    void fx_free_selector(fx_selector* selector)
    void fx_leave(fx_selector* selector)
    int fx_join(const fx_selection* call, const fx_selector* selectors, int count, fx_union* all,
                Py_ssize_t* found, Py_ssize_t* nan)
    void fx_write_candidates(const fx_selection* call, const fx_union* all, Py_ssize_t* images,
                             Py_ssize_t* anchors, Py_ssize_t* labels, void* scores)


cdef enum:
    # Elements of a block, which stay in the first-level cache while they are looked at twice.
    ELEMENT_BLOCK = 1 << 16
    # Elements that a block of anchors has, about; and the most anchors (simd/candidate_anchors.h).
    ANCHOR_BLOCK = 1 << 16
    MOST_ANCHORS = 1024
    LEAST_ANCHORS = 16
    # Elements that are worth another thread: what 100 us are spent on.
    THREAD_ELEMENTS = 1 << 20
    # With an objectness, which leaves few of them, so many take as long as one.
    OBJECT_ELEMENTS = 8
    # A thread takes neighbouring blocks, for images to have few threads each; of so many images a
    # thread, whole ones, each of which then has its best sought once.
    SHARES = 8
    WHOLE_IMAGES = 4


cdef inline int describe_level(fx_level* level, object array, object objectness, int images,
                               Py_ssize_t classes, Py_ssize_t first_anchor) except -1:
    """Describe a level: its images, its anchors in their order, its elements in memory's."""
    cdef Dimensions all_of, anchors, elements
    cdef Operand logits, objects, orders, values
    cdef Operand* operands[2]
    cdef Py_ssize_t order = classes
    cdef int axis
    all_of.count = -1
    read_operand(array, True, False, &logits, &all_of)
    read_operand(objectness, False, False, &objects, &all_of)
    level.data = logits.data
    level.objects = objects.data
    level.type = logits.type
    level.object_type = objects.type if objects.data != NULL else logits.type
    level.class_stride = logits.class_stride
    level.first_anchor = first_anchor
    for axis in range(images):
        level.image_strides[axis] = logits.strides[axis]
        level.object_image_strides[axis] = objects.strides[axis] if objects.data != NULL else 0
    anchors.count = all_of.count - images
    anchors.size = 1
    for axis in range(anchors.count):
        anchors.shape[axis] = all_of.shape[images + axis]
        anchors.size *= anchors.shape[axis]
        logits.strides[axis] = logits.strides[images + axis]
        if objects.data != NULL:
            objects.strides[axis] = objects.strides[images + axis]
    level.anchors = anchors.size
    elements, values, orders = anchors, logits, logits
    elements.count += 1
    elements.shape[anchors.count] = classes
    values.strides[anchors.count] = logits.class_stride
    orders.strides[anchors.count] = 1
    for axis in range(anchors.count - 1, -1, -1):
        orders.strides[axis] = order
        order *= anchors.shape[axis]
    operands[0], operands[1] = &orders, &values
    order_as_in_memory(&elements, operands, 2)
    coalesce(&elements, operands, 2)
    level.element_dimensions = elements.count
    for axis in range(elements.count):
        level.element_shape[axis] = elements.shape[axis]
        level.element_strides[axis] = values.strides[axis]
        level.orders[axis] = orders.strides[axis]
    operands[0], operands[1] = &objects, &logits
    coalesce(&anchors, operands, 2)
    level.dimensions = anchors.count
    for axis in range(anchors.count):
        level.shape[axis] = anchors.shape[axis]
        level.strides[axis] = logits.strides[axis]
        level.object_strides[axis] = objects.strides[axis] if objects.data != NULL else 0
    return 0


cdef inline int select_blocks(const fx_selection* call, const fx_candidate_kernels* kernels,
                              fx_selector* selectors, Py_ssize_t blocks, int threads) except -1:
    """Run the blocks of all images; each thread has its selector."""
    cdef fx_team* team
    cdef Py_ssize_t block, share
    cdef int number
    cdef fx_float_control callers
    cdef fx_watch watch = fx_watch(0, 0)
    with nogil:
        callers = fx_get_floats()
        team = fx_own_team(FX_NATIVE_POOL)
        threads = fx_gather_team(team, threads)
        if threads == 1:
            for block in range(blocks):
                if block == 0 or fx_goes_on(&watch, 0):
                    select_one_block(call, kernels, selectors, block)
        else:
            share = max(1, blocks // (threads * SHARES))
            if call.images >= threads * WHOLE_IMAGES:
                share = blocks // call.images
            with parallel(num_threads=threads):
                fx_join_team(team, threadid())
                for block in prange(blocks, schedule="dynamic", chunksize=share):
                    if fx_goes_on(&watch, threadid()):
                        select_one_block(call, kernels, &selectors[threadid()], block)
        for number in range(threads):
            fx_leave(&selectors[number])
        fx_end_floats(callers)
    return -watch.is_over


cdef inline void select_one_block(const fx_selection* call, const fx_candidate_kernels* kernels,
                                  fx_selector* selector, Py_ssize_t block) noexcept nogil:
    cdef fx_float_control callers = fx_begin_floats()
    cdef Py_ssize_t of_image = 0, image
    cdef int number
    for number in range(call.level_count):
        of_image += call.levels[number].blocks
    image = block // of_image
    block -= image * of_image
    number = 0
    while block >= call.levels[number].blocks:
        block -= call.levels[number].blocks
        number += 1
    kernels.select(selector, image, number, block)
    fx_end_floats(callers)
