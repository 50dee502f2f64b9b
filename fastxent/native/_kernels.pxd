# The C kernels (simd/kernels.h), and what keeps threads safe and alike, as Cython sees them.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "kernels.h" nogil:
    ctypedef struct fx_matrix:
        void* data
        Py_ssize_t anchor_stride
        Py_ssize_t class_stride

    ctypedef struct fx_tile:
        int loss
        Py_ssize_t anchors
        Py_ssize_t classes
        fx_matrix logits
        Py_ssize_t ahead
        Py_ssize_t targets_ahead
        Py_ssize_t grads_ahead
        int logit_type
        fx_matrix targets
        fx_matrix labelled
        fx_matrix weights
        fx_matrix results
        fx_matrix grads
        int grad_type
        fx_matrix grad_weights
        const int32_t* labels
        const void* soft_targets
        void* label_counts
        const void* grad_scales
        const void* positive_weight
        const void* negative_weight
        double positive
        double negative
        double label_smoothing
        double eps
        double limit
        double tiny_limit
        double highest_loss
        double lowest_loss
        double lowest_prob
        int* has_outside
        double gamma_positive
        double gamma_negative
        double clip
        double epsilon
        double slope, shift
        int iou_weighted
        void* losses
        void* expectations
        const void* settings

    ctypedef struct fx_strided:
        char* data
        Py_ssize_t anchor_stride
        Py_ssize_t class_stride
        int type
        Py_ssize_t anchors
        Py_ssize_t classes

    ctypedef struct fx_label_map:
        int64_t none
        int64_t gap
        uint32_t classes
        const int64_t* ignored
        int ignored_count
        double lowest
        int allows_nan

    ctypedef void (*fx_tile_kernel)(const fx_tile*) noexcept nogil
    ctypedef double (*fx_exact_kernel)(const fx_tile*, Py_ssize_t) noexcept nogil
    ctypedef void (*fx_map_kernel)(const void*, void*, Py_ssize_t, int) noexcept nogil

    ctypedef struct fx_contract:
        double lowest, highest, ulps, worst

    ctypedef struct fx_primitive_facts:
        const char* name
        fx_contract contracts[2]

    const fx_primitive_facts* fx_primitives
    int FX_PRIMITIVES
    ctypedef void (*fx_primitive)(const void*, void*, Py_ssize_t) noexcept nogil

    ctypedef struct fx_constant:
        const char* name
        int count
        const void* values

    ctypedef struct fx_kernels:
        fx_tile_kernel* loss_lanes
        fx_tile_kernel* loss_rows
        fx_tile_kernel softmax
        fx_tile_kernel log_softmax
        fx_tile_kernel logsumexp
        fx_tile_kernel softmax_score_rows
        fx_tile_kernel log_softmax_rows
        fx_tile_kernel logsumexp_rows
        fx_exact_kernel sigmoid_exact
        fx_exact_kernel softmax_exact
        void (*exact_value)(const fx_tile*, double, double, Py_ssize_t, double*) noexcept nogil
        fx_exact_kernel exact_softmax
        fx_exact_kernel exact_log_softmax
        fx_exact_kernel exact_logsumexp
        fx_map_kernel sigmoid
        fx_map_kernel log_sigmoid
        fx_map_kernel softplus
        fx_map_kernel logit
        fx_map_kernel odds
        void (*pack)(const fx_strided*, void*, Py_ssize_t) noexcept nogil
        void (*unpack)(const void*, Py_ssize_t, const fx_strided*) noexcept nogil
        void (*widen)(const char*, int, Py_ssize_t, void*) noexcept nogil
        void (*narrow)(const void*, Py_ssize_t, char*, int) noexcept nogil
        int (*label_columns)(const char*, Py_ssize_t, int, Py_ssize_t,
                             const fx_label_map*, int32_t*) noexcept nogil
        void (*clear_ignored)(const int32_t*, Py_ssize_t, void*) noexcept nogil
        void (*clear_ignored_grads)(const fx_tile*) noexcept nogil
        int (*fill_missing)(const fx_tile*, int32_t*) noexcept nogil
        void (*clear_missing)(const fx_tile*) noexcept nogil
        Py_ssize_t (*count_columns)(const int32_t*, Py_ssize_t, int32_t, int32_t) noexcept nogil
        double (*sum_losses)(const void*, Py_ssize_t) noexcept nogil
        Py_ssize_t (*count_positive)(const fx_tile*, Py_ssize_t) noexcept nogil
        Py_ssize_t (*first_invalid_label)(const char*, Py_ssize_t, int, Py_ssize_t,
                                          uint64_t, const fx_label_map*) noexcept nogil
        Py_ssize_t (*first_invalid_target)(const char*, Py_ssize_t, int, Py_ssize_t, double,
                                           const fx_label_map*, int*) noexcept nogil
        double (*read)(const void*, Py_ssize_t) noexcept nogil
        fx_primitive* primitives
        const fx_constant* constants

    int FX_BOOL, FX_INT8, FX_UINT8, FX_INT16, FX_UINT16, FX_INT32, FX_UINT32, FX_INT64, FX_UINT64
    int FX_FLOAT16, FX_BFLOAT16, FX_FLOAT32, FX_FLOAT64
    ctypedef struct fx_loss_facts:
        const char* name
        int family
        int row_targets
        int row_factors
        int lane_bytes
        int lane_bytes_with_options

    const fx_loss_facts* fx_losses
    const fx_loss_facts fx_custom_facts
    int FX_CUSTOM
    int FX_LOSSES
    int FX_SIGMOID_FAMILY, FX_BINARY_FAMILY, FX_SOFTMAX_FAMILY, FX_CATEGORICAL_FAMILY
    int FX_ROWS_OF_LABELS, FX_ROWS_OF_DENSE
    int FX_FACTORS_NONE, FX_FACTORS_SHARED, FX_FACTORS_ANY
    int FX_NO_CLASS, FX_IGNORED
    int FX_ROWS_AHEAD, FX_LANES_AHEAD
    int FX_BASELINE, FX_ISAS
    int FX_ROW_CHUNK, FX_MASK_CENTRE
    const uint32_t* fx_others_float
    const uint64_t* fx_others_double

    const char* fx_isa_name(int isa)
    int fx_isa_supported(int isa)
    const fx_kernels* fx_kernels_of(int isa, int is_double)


cdef extern from "fork.h" nogil:
    int fx_protect_forks()
    int fx_max_threads()
    int fx_usable_threads(int requested)


cdef extern from "teams.h" nogil:
    ctypedef struct fx_team:
        pass

    int FX_NATIVE_POOL, FX_NUMBA_POOL

    int fx_prepare_teams()
    int fx_count_creatable(int wanted)
    fx_team* fx_own_team(int pool)
    int fx_gather_team(fx_team* team, int wanted)
    void fx_join_team(fx_team* team, int number)


cdef extern from "result_cache.h" nogil:
    int fx_set_result_cache(size_t limit)
    void fx_clear_result_cache()
    size_t fx_held_by_result_cache()
    void* fx_take_result(size_t size, size_t* block_size)
    void fx_give_result(void* data, size_t size)


cdef extern from "float_control.h" nogil:
    ctypedef struct fx_float_control:
        pass

    fx_float_control fx_get_floats()
    fx_float_control fx_begin_floats()
    void fx_end_floats(fx_float_control callers)
