/* A call from XLA, as the code that computes sees it: arrays and attributes by their names, a place
 * for what is wrong, and XLA's threads. Nothing here knows Python, or takes its lock. */
#ifndef FX_XLA_CALL_H
#define FX_XLA_CALL_H

#include "xla_ffi.h"

enum { FX_XLA_DIMENSIONS = 64, FX_XLA_MESSAGE = 600 };

/* Which dimensions an array has, after those of the batch. */
enum { FX_OF_LOGITS, FX_OF_ANCHORS, FX_OF_CLASSES, FX_OF_CALL };

typedef struct {
    const fx_xla_frame *frame;
    ptrdiff_t shape[FX_XLA_DIMENSIONS]; /* of the logits, after the dimensions that vmap adds */
    int batch_ndim, ndim;               /* of these, and all of them */
    int axis;                           /* that of the classes among all; -1: there is none */
    int code;                           /* of the error, or 0 */
    char message[FX_XLA_MESSAGE];
} fx_xla_call;

/* An array, by byte steps along the dimensions of `shape`: 0 where it has no such dimension, or has
 * one value for all. */
typedef struct {
    char *data; /* NULL: it is not given */
    int type;   /* FX_FLOAT32, ... */
    ptrdiff_t itemsize;
    ptrdiff_t steps[FX_XLA_DIMENSIONS];
    ptrdiff_t size;
    int rank;
    const int64_t *dims; /* its own; it is contiguous */
    int is_batched;      /* it differs along the dimensions that vmap adds */
} fx_xla_array;

typedef void (*fx_xla_body)(fx_xla_call *call);

/* Answers XLA's question for the version, or calls `body` and returns its error. */
fx_xla_error *fx_xla_handle(fx_xla_frame *frame, fx_xla_body body);
/* Notes what is wrong; the first note stays. */
void fx_xla_fail(fx_xla_call *call, int code, const char *format, ...);

/* Attributes; what is missing, or of another type, is an error of the call. */
double fx_xla_number(fx_xla_call *call, const char *name);
int64_t fx_xla_integer(fx_xla_call *call, const char *name);
fx_xla_span fx_xla_text(fx_xla_call *call, const char *name);
const int64_t *fx_xla_integers(fx_xla_call *call, const char *name, int *count);
int fx_xla_equal(fx_xla_span span, const char *text);

/* Takes the shape of the logits, whose own dimensions are the last `ndim`; the attributes
 * "operands" and "results" say how the arrays are called. */
void fx_xla_set_shape(fx_xla_call *call);
/* Returns an array by its name. A result has to have all dimensions in full. */
fx_xla_array fx_xla_operand(fx_xla_call *call, const char *name, int kind);
fx_xla_array fx_xla_result(fx_xla_call *call, const char *name, int kind);

/* An element as a number, and the text of it that Python would have. */
double fx_xla_value(const char *place, int type);
void fx_xla_show(const char *place, int type, char *text, size_t size);
/* "[i, j]" of a flat index. */
void fx_xla_place(ptrdiff_t index, const int64_t *dims, int rank, char *text, size_t size);

/* Runs all steps on up to so many of XLA's threads; the calling one is number 0. */
typedef void (*fx_xla_step)(void *data, ptrdiff_t step, int thread);
int fx_xla_threads(const fx_xla_call *call, int64_t wanted, ptrdiff_t steps);
void fx_xla_share(const fx_xla_call *call, int threads, ptrdiff_t steps, fx_xla_step step,
                  void *data);

/* Keeps the smaller of two positions; -1 stands for none. */
void fx_xla_note_first(ptrdiff_t *first, ptrdiff_t found);

/* The handler for devices that are no CPUs: an error that says so. */
fx_xla_error *fx_xla_refuse_device(fx_xla_frame *frame);

#endif
