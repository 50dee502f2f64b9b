# Calls from XLA (xla_call.h), as Cython sees them.

from libc.stdint cimport int64_t


cdef extern from "xla_call.h" nogil:
    int FX_XLA_INVALID_ARGUMENT, FX_XLA_RESOURCE_EXHAUSTED
    int FX_OF_LOGITS, FX_OF_ANCHORS, FX_OF_CLASSES, FX_OF_CALL

    ctypedef struct fx_xla_error:
        pass

    ctypedef struct fx_xla_frame:
        pass

    ctypedef struct fx_xla_span:
        const char* text
        size_t length

    ctypedef struct fx_xla_call:
        Py_ssize_t* shape
        int batch_ndim, ndim, axis
        int code

    ctypedef struct fx_xla_array:
        char* data
        int type
        Py_ssize_t itemsize
        Py_ssize_t* steps
        Py_ssize_t size
        int rank
        const int64_t* dims
        int is_batched

    ctypedef void (*fx_xla_body)(fx_xla_call*) noexcept nogil
    ctypedef void (*fx_xla_step)(void*, Py_ssize_t, int) noexcept nogil

    fx_xla_error* fx_xla_handle(fx_xla_frame*, fx_xla_body)
    fx_xla_error* fx_xla_refuse_device(fx_xla_frame*)
    void fx_xla_fail(fx_xla_call*, int, const char*, ...)
    double fx_xla_number(fx_xla_call*, const char*)
    int64_t fx_xla_integer(fx_xla_call*, const char*)
    fx_xla_span fx_xla_text(fx_xla_call*, const char*)
    const int64_t* fx_xla_integers(fx_xla_call*, const char*, int*)
    int fx_xla_equal(fx_xla_span, const char*)
    void fx_xla_set_shape(fx_xla_call*)
    fx_xla_array fx_xla_operand(fx_xla_call*, const char*, int)
    fx_xla_array fx_xla_result(fx_xla_call*, const char*, int)
    double fx_xla_value(const char*, int)
    void fx_xla_show(const char*, int, char*, size_t)
    void fx_xla_place(Py_ssize_t, const int64_t*, int, char*, size_t)
    void fx_xla_note_first(Py_ssize_t*, Py_ssize_t)
    int fx_xla_threads(const fx_xla_call*, int64_t, Py_ssize_t)
    void fx_xla_share(const fx_xla_call*, int, Py_ssize_t, fx_xla_step, void*)
