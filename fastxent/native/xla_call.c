#define _DEFAULT_SOURCE /* madvise */
#include "xla_call.h"

#include "float_control.h"
#include "simd/kernels.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FX_INLINE static inline
#include "simd/half.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

/* ------------------------------------------------------------------ errors */

void fx_xla_fail(fx_xla_call *call, int code, const char *format, ...) {
    va_list values;
    if (call->code) return;
    call->code = code;
    va_start(values, format);
    vsnprintf(call->message, sizeof call->message, format, values);
    va_end(values);
}

static fx_xla_error *create_error(const fx_xla_frame *frame, int code, const char *message) {
    fx_xla_error_arguments arguments = {FX_XLA_SIZE(fx_xla_error_arguments, code), NULL, message,
                                        code};
    return frame->api->create_error(&arguments);
}

/* ------------------------------------------------------------------ calls */

/* Says for which version this has been written; of later ones it is told by the sizes. */
static int answers_version(const fx_xla_frame *frame) {
    fx_xla_extension *extension = frame->extensions;
    fx_xla_version *version;
    if (extension == NULL || extension->type != FX_XLA_METADATA) return 0;
    version = &((fx_xla_metadata_extension *)extension)->metadata->version;
    version->major = FX_XLA_MAJOR;
    version->minor = FX_XLA_MINOR;
    return 1;
}

fx_xla_error *fx_xla_handle(fx_xla_frame *frame, fx_xla_body body) {
    fx_xla_call call;
    fx_float_control callers;
    if (answers_version(frame) || frame->stage != FX_XLA_EXECUTE) return NULL;
    memset(&call, 0, offsetof(fx_xla_call, message));
    call.frame = frame;
    callers = fx_begin_floats(); /* XLA's threads flush subnormal numbers to zero */
    body(&call);
    fx_end_floats(callers);
    return call.code ? create_error(frame, call.code, call.message) : NULL;
}

fx_xla_error *fx_xla_refuse_device(fx_xla_frame *frame) {
    if (answers_version(frame) || frame->stage != FX_XLA_EXECUTE) return NULL;
    return create_error(frame, FX_XLA_UNIMPLEMENTED,
                        "fastxent.jax computes on CPUs: move the arrays there with "
                        "jax.device_put(array, jax.devices(\"cpu\")[0])");
}

/* ------------------------------------------------------------------ attributes */

int fx_xla_equal(fx_xla_span span, const char *text) {
    return strlen(text) == span.length && memcmp(span.text, text, span.length) == 0;
}

static const void *attribute(fx_xla_call *call, const char *name, int type) {
    const fx_xla_attributes *attributes = &call->frame->attributes;
    for (int64_t i = 0; i < attributes->size; i++)
        if (fx_xla_equal(*attributes->names[i], name) && attributes->types[i] == type)
            return attributes->values[i];
    fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "there is no attribute %s of type %d", name, type);
    return NULL;
}

static const void *scalar(fx_xla_call *call, const char *name, int dtype) {
    const fx_xla_scalar *value = attribute(call, name, FX_XLA_SCALAR);
    if (value != NULL && value->dtype == dtype) return value->value;
    fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "attribute %s is not of dtype %d", name, dtype);
    return NULL;
}

double fx_xla_number(fx_xla_call *call, const char *name) {
    const double *value = scalar(call, name, FX_XLA_F64);
    return value != NULL ? *value : 0;
}

int64_t fx_xla_integer(fx_xla_call *call, const char *name) {
    const int64_t *value = scalar(call, name, FX_XLA_S64);
    return value != NULL ? *value : 0;
}

fx_xla_span fx_xla_text(fx_xla_call *call, const char *name) {
    const fx_xla_span *value = attribute(call, name, FX_XLA_STRING), none = {"", 0};
    return value != NULL ? *value : none;
}

const int64_t *fx_xla_integers(fx_xla_call *call, const char *name, int *count) {
    const fx_xla_numbers *value = attribute(call, name, FX_XLA_ARRAY);
    *count = 0;
    if (value == NULL) return NULL;
    if (value->dtype != FX_XLA_S64)
        fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "attribute %s is not of int64", name);
    *count = (int)value->size;
    return value->data;
}

/* ------------------------------------------------------------------ arrays */

static int element_type(int dtype, ptrdiff_t *itemsize) {
    static const struct {
        int dtype, type, itemsize;
    } types[] = {
        {FX_XLA_PRED, FX_BOOL, 1},   {FX_XLA_S8, FX_INT8, 1},       {FX_XLA_S16, FX_INT16, 2},
        {FX_XLA_S32, FX_INT32, 4},   {FX_XLA_S64, FX_INT64, 8},     {FX_XLA_U8, FX_UINT8, 1},
        {FX_XLA_U16, FX_UINT16, 2},  {FX_XLA_U32, FX_UINT32, 4},    {FX_XLA_U64, FX_UINT64, 8},
        {FX_XLA_F16, FX_FLOAT16, 2}, {FX_XLA_BF16, FX_BFLOAT16, 2}, {FX_XLA_F32, FX_FLOAT32, 4},
        {FX_XLA_F64, FX_FLOAT64, 8}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype) {
            *itemsize = types[i].itemsize;
            return types[i].type;
        }
    return -1;
}

/* Finds a name in a list that is separated by commas. */
static const fx_xla_buffer *find(fx_xla_call *call, const char *list, const fx_xla_values *values,
                                 const char *name) {
    fx_xla_span names = fx_xla_text(call, list), rest = names;
    for (int64_t i = 0; i < values->size && rest.length > 0; i++) {
        const char *comma = memchr(rest.text, ',', rest.length);
        fx_xla_span own = {rest.text, comma ? (size_t)(comma - rest.text) : rest.length};
        if (fx_xla_equal(own, name))
            return values->types[i] == FX_XLA_BUFFER ? values->values[i] : NULL;
        rest.text += own.length + (comma != NULL);
        rest.length -= own.length + (comma != NULL);
    }
    return NULL;
}

void fx_xla_set_shape(fx_xla_call *call) {
    const fx_xla_buffer *logits = find(call, "operands", &call->frame->arguments, "logits");
    const fx_xla_values *results = &call->frame->results;
    const fx_xla_buffer *result = results->size > 0 ? results->values[0] : NULL;
    int64_t ndim = fx_xla_integer(call, "ndim"), axis = fx_xla_integer(call, "axis");
    if (call->code) return;
    if (logits == NULL || result == NULL || logits->rank > FX_XLA_DIMENSIONS ||
        logits->rank < ndim || result->rank < logits->rank - ndim || axis >= ndim) {
        fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "a call has no logits of %d dimensions",
                    (int)ndim);
        return;
    }
    call->ndim = (int)logits->rank;
    call->batch_ndim = (int)(logits->rank - ndim);
    call->axis = axis < 0 ? -1 : call->batch_ndim + (int)axis;
    for (int i = 0; i < call->ndim; i++)
        call->shape[i] = i < call->batch_ndim ? result->dims[i] : logits->dims[i];
}

static int has_dimension(const fx_xla_call *call, int kind, int i) {
    if (i < call->batch_ndim || kind == FX_OF_LOGITS) return 1;
    if (kind == FX_OF_CALL) return 0;
    return (i == call->axis) == (kind == FX_OF_CLASSES);
}

static fx_xla_array describe(fx_xla_call *call, const fx_xla_buffer *buffer, const char *name,
                             int kind, int is_result) {
    fx_xla_array array;
    ptrdiff_t step;
    int own = 0;
    memset(&array, 0, sizeof array);
    if (buffer == NULL || call->code) return array;
    array.type = element_type(buffer->dtype, &array.itemsize);
    array.rank = (int)buffer->rank;
    array.dims = buffer->dims;
    for (int i = 0; i < call->ndim; i++) own += has_dimension(call, kind, i);
    if (array.type < 0 || own != array.rank) {
        fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT,
                    "%s has dtype %d and %d dimensions, expected a real one and %d", name,
                    buffer->dtype, array.rank, own);
        return array;
    }
    array.size = 1;
    step = array.itemsize;
    for (int i = call->ndim - 1; i >= 0; i--) {
        ptrdiff_t length;
        if (!has_dimension(call, kind, i)) continue;
        length = (ptrdiff_t)buffer->dims[--own];
        array.size *= length;
        if (length == call->shape[i])
            array.steps[i] = step;
        else if (length != 1 || is_result)
            fx_xla_fail(call, FX_XLA_INVALID_ARGUMENT, "%s has length %td on axis %d, expected %td",
                        name, length, own, call->shape[i]);
        if (i < call->batch_ndim && length > 1) array.is_batched = 1;
        step *= length;
    }
    if (!call->code) array.data = buffer->data;
    return array;
}

fx_xla_array fx_xla_operand(fx_xla_call *call, const char *name, int kind) {
    return describe(call, find(call, "operands", &call->frame->arguments, name), name, kind, 0);
}

/* Asks for huge pages, as NumPy does for its own arrays: of a new gradient of 64 MB, faults of
 * small ones take longer than the loss. */
static void prepare_memory(const fx_xla_array *array) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    enum { LEAST_BYTES = 1 << 22, PAGE = 4096 };
    uintptr_t start = ((uintptr_t)array->data + PAGE - 1) / PAGE * PAGE;
    uintptr_t end = (uintptr_t)(array->data + array->size * array->itemsize) / PAGE * PAGE;
    if (array->data != NULL && array->size * array->itemsize >= LEAST_BYTES)
        madvise((void *)start, end - start, MADV_HUGEPAGE);
#else
    (void)array;
#endif
}

fx_xla_array fx_xla_result(fx_xla_call *call, const char *name, int kind) {
    fx_xla_array array =
        describe(call, find(call, "results", &call->frame->results, name), name, kind, 1);
    prepare_memory(&array);
    return array;
}

/* ------------------------------------------------------------------ elements, for messages */

#define FX_READ(type, place) (*(const type *)(place))

double fx_xla_value(const char *place, int type) {
    switch (type) {
    case FX_BOOL:
    case FX_UINT8: return FX_READ(uint8_t, place);
    case FX_INT8: return FX_READ(int8_t, place);
    case FX_INT16: return FX_READ(int16_t, place);
    case FX_UINT16: return FX_READ(uint16_t, place);
    case FX_INT32: return FX_READ(int32_t, place);
    case FX_UINT32: return FX_READ(uint32_t, place);
    case FX_INT64: return (double)FX_READ(int64_t, place);
    case FX_UINT64: return (double)FX_READ(uint64_t, place);
    case FX_FLOAT16: return float16_value(FX_READ(uint16_t, place));
    case FX_BFLOAT16: return bfloat16_value(FX_READ(uint16_t, place));
    case FX_FLOAT32: return FX_READ(float, place);
    default: return FX_READ(double, place);
    }
}

/* As many digits as tell the number from its neighbours, and no exponent where Python has none. */
static void show_float(double value, int is_float, char *text, size_t size) {
    int digits = 0, exponent;
    double back;
    if (!isfinite(value)) {
        snprintf(text, size, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    do {
        snprintf(text, size, "%.*e", digits, value);
        back = strtod(text, NULL);
    } while ((is_float ? (float)back != (float)value : back != value) && ++digits < 17);
    exponent = atoi(strchr(text, 'e') + 1);
    if (-5 < exponent && exponent < 16)
        snprintf(text, size, "%.*f", digits > exponent ? digits - exponent : 1, value);
}

void fx_xla_show(const char *place, int type, char *text, size_t size) {
    switch (type) {
    case FX_UINT64:
        snprintf(text, size, "%llu", (unsigned long long)FX_READ(uint64_t, place));
        break;
    case FX_INT64: snprintf(text, size, "%lld", (long long)FX_READ(int64_t, place)); break;
    case FX_FLOAT16:
    case FX_BFLOAT16:
    case FX_FLOAT32: show_float(fx_xla_value(place, type), 1, text, size); break;
    case FX_FLOAT64: show_float(fx_xla_value(place, type), 0, text, size); break;
    default: snprintf(text, size, "%.0f", fx_xla_value(place, type));
    }
}

void fx_xla_place(ptrdiff_t index, const int64_t *dims, int rank, char *text, size_t size) {
    int64_t place[FX_XLA_DIMENSIONS];
    size_t used = 0;
    text[0] = 0;
    for (int i = rank - 1; i >= 0; i--) {
        place[i] = index % dims[i];
        index /= dims[i];
    }
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld%s", i ? ", " : "[",
                                 (long long)place[i], i == rank - 1 ? "]" : "");
}
