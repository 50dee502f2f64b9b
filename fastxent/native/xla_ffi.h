/* What fastxent needs of XLA's foreign function interface for C, whose structs are documented in
 * the header that jaxlib ships (xla/ffi/api/c_api.h; version 0.x). These are declarations of our
 * own, with the same layout, so that neither building nor loading the extension needs jaxlib;
 * tests/integrations/test_jax_header.py compares sizes, offsets and numbers with that header. A
 * struct says how large it is, and later versions only append to it. */
#ifndef FX_XLA_FFI_H
#define FX_XLA_FFI_H

#include <stddef.h>
#include <stdint.h>

/* The size of a struct up to its last field, as XLA counts it. */
#define FX_XLA_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

/* The oldest version that all of this has been in. */
enum { FX_XLA_MAJOR = 0, FX_XLA_MINOR = 1 };

enum { FX_XLA_METADATA = 1 }; /* of extensions */
enum { FX_XLA_EXECUTE = 3 };  /* of stages */
enum { FX_XLA_BUFFER = 1 };   /* of arguments and results */
enum { FX_XLA_INVALID_ARGUMENT = 3, FX_XLA_RESOURCE_EXHAUSTED = 8, FX_XLA_UNIMPLEMENTED = 12 };
enum { FX_XLA_ARRAY = 1, FX_XLA_SCALAR = 3, FX_XLA_STRING = 4 }; /* of attributes */

enum {
    FX_XLA_PRED = 1,
    FX_XLA_S8 = 2,
    FX_XLA_S16 = 3,
    FX_XLA_S32 = 4,
    FX_XLA_S64 = 5,
    FX_XLA_U8 = 6,
    FX_XLA_U16 = 7,
    FX_XLA_U32 = 8,
    FX_XLA_U64 = 9,
    FX_XLA_F16 = 10,
    FX_XLA_F32 = 11,
    FX_XLA_F64 = 12,
    FX_XLA_BF16 = 16
};

typedef struct fx_xla_error fx_xla_error;     /* XLA's own */
typedef struct fx_xla_context fx_xla_context; /* XLA's own */

typedef struct fx_xla_extension {
    size_t struct_size;
    int type;
    struct fx_xla_extension *next;
} fx_xla_extension;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    int major, minor;
} fx_xla_version;

/* What a handler answers when XLA asks for it: the version that it was written for. */
typedef struct {
    size_t struct_size;
    fx_xla_version version;
    uint32_t traits;
} fx_xla_metadata;

typedef struct {
    fx_xla_extension base;
    fx_xla_metadata *metadata;
} fx_xla_metadata_extension;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    int dtype;
    void *data;
    int64_t rank;
    int64_t *dims;
} fx_xla_buffer;

/* Arguments or results. */
typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    int64_t size;
    int *types;
    void **values;
} fx_xla_values;

typedef struct {
    const char *text;
    size_t length;
} fx_xla_span;

typedef struct {
    int dtype;
    void *value;
} fx_xla_scalar;

typedef struct {
    int dtype;
    size_t size;
    void *data;
} fx_xla_numbers;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    int64_t size;
    int *types;
    fx_xla_span **names;
    void **values;
} fx_xla_attributes;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    const char *message;
    int code;
} fx_xla_error_arguments;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    fx_xla_error *error;
} fx_xla_destroy_arguments;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    fx_xla_context *context;
    void (*task)(void *data);
    void *data;
} fx_xla_schedule_arguments;

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    fx_xla_context *context;
    int64_t *threads;
} fx_xla_threads_arguments;

typedef void (*fx_xla_function)(void);

typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    fx_xla_version version;
    const void *internal;
    fx_xla_error *(*create_error)(fx_xla_error_arguments *);
    fx_xla_function get_message;
    void (*destroy_error)(fx_xla_destroy_arguments *);
    fx_xla_function register_handler, get_stream, register_type, get_context, set_state, get_state;
    fx_xla_function allocate, release;
    fx_xla_error *(*schedule)(fx_xla_schedule_arguments *);
    fx_xla_error *(*count_threads)(fx_xla_threads_arguments *);
} fx_xla_api;

/* One call. */
typedef struct {
    size_t struct_size;
    fx_xla_extension *extensions;
    const fx_xla_api *api;
    fx_xla_context *context;
    int stage;
    fx_xla_values arguments;
    fx_xla_values results;
    fx_xla_attributes attributes;
} fx_xla_frame;

#endif
