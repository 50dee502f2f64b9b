# The kernels of mining and matching (simd/detection.h), as Cython sees them.

from libc.stdint cimport int32_t, int64_t, uint8_t

from fastxent.native._kernels cimport fx_kernels


cdef extern from "detection.h" nogil:
    ctypedef struct fx_images:
        const char* data
        Py_ssize_t image_stride
        Py_ssize_t anchor_stride
        int type

    ctypedef struct fx_mining:
        fx_images losses
        fx_images labels
        Py_ssize_t anchors
        int64_t background
        const int64_t* ignored
        int ignored_count
        int64_t* counts
        uint8_t* marks
        const fx_kernels* kernels

    ctypedef struct fx_costs:
        const char* logits
        Py_ssize_t query_stride
        Py_ssize_t class_stride
        int type
        const char* objectness
        Py_ssize_t objectness_stride
        int objectness_type
        Py_ssize_t queries
        Py_ssize_t classes
        const int32_t* distinct
        Py_ssize_t distinct_count
        const int32_t* columns
        Py_ssize_t truths
        double positive
        double negative
        double gamma
        const fx_kernels* kernels
        void* tile
        void* results
        Py_ssize_t tile_queries
        void* out

    int FX_COST_FOCAL, FX_COST_SOFTMAX, FX_COST_SIGMOID, FX_COST_SIMOTA, FX_COST_KINDS

    ctypedef void (*fx_step)(const void*, Py_ssize_t, char*) noexcept nogil
    ctypedef void (*fx_cost_kernel)(const fx_costs*) noexcept nogil

    ctypedef struct fx_detection:
        fx_step count_positives
        fx_step mark_largest
        Py_ssize_t (*mining_bytes)(Py_ssize_t, int64_t) noexcept nogil
        fx_cost_kernel* costs

    const fx_detection* fx_detection_of(int isa, int is_double)
