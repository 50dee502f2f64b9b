/* What Cython sees of the kernels: a tile, a table of functions, and the choice of a table. */
#ifndef FX_KERNELS_H
#define FX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A matrix anchors x classes inside an array, strides in elements. */
typedef struct {
    void *data; /* NULL: absent */
    ptrdiff_t anchor_stride, class_stride;
} fx_matrix;

/* The losses, as the kernels tell them apart; and those of a family, for a switch that the compiler
 * refuses where it leaves one out. */
enum {
#define FX_LOSS(code, ...) FX_##code,
#include "losses.def"
    FX_LOSSES
};
typedef enum {
#define FX_SIGMOID_LOSS(code, ...) FX_SIGMOID_FAMILY_##code = FX_##code,
#include "losses.def"
} fx_sigmoid_loss;
typedef enum {
#define FX_SOFTMAX_LOSS(code, ...) FX_SOFTMAX_FAMILY_##code = FX_##code,
#include "losses.def"
} fx_softmax_loss;

/* What is known of a loss without its arguments; losses.def explains it. */
typedef struct {
    const char *name;
    enum { FX_SIGMOID_FAMILY, FX_BINARY_FAMILY, FX_SOFTMAX_FAMILY, FX_CATEGORICAL_FAMILY } family;
    enum { FX_ROWS_OF_LABELS, FX_ROWS_OF_DENSE } row_targets;
    enum { FX_FACTORS_NONE, FX_FACTORS_SHARED, FX_FACTORS_ANY } row_factors;
    int lane_bytes, lane_bytes_with_options;
} fx_loss_facts;
extern const fx_loss_facts fx_losses[FX_LOSSES], fx_custom_facts;

/* Rows are a stream, of which the hardware sees an end at every page, and two threads that stream
 * from memory wait for it: if prefetched a page ahead, they do not. */
enum { FX_ROWS_AHEAD = 4096 };

/* Where lanes are anchors, each class is a stream of its own, in a page of its own. */
enum { FX_LANES_AHEAD = 512 };

/* One piece of work: some anchors. The matrices of the lane kernels have anchor_stride 1 (anchors
 * are lanes), those of the row kernels class_stride 1 (classes are lanes); all are of the table's
 * precision. Optional pointers may be NULL. */
typedef struct {
    int loss; /* one of FX_LOSSES, or FX_CUSTOM */
    ptrdiff_t anchors, classes;
    fx_matrix logits;
    ptrdiff_t ahead;         /* bytes from these logits to later ones, to prefetch ... */
    ptrdiff_t targets_ahead; /* ... from dense targets, and from gradients to where they go */
    ptrdiff_t grads_ahead;
    int logit_type;     /* the kernels' own; row kernels take 16-bit ones too */
    fx_matrix targets;  /* dense targets, or absent: then labels */
    fx_matrix labelled; /* 1 where there is a dense target, 0 where it is missing; or absent */
    fx_matrix weights;  /* per-logit weights */
    fx_matrix results;  /* per-logit results */
    fx_matrix grads;    /* gradients */
    int grad_type; /* the kernels' own; row kernels write 16-bit floats too, the softmax's do not */
    fx_matrix grad_weights;   /* per-logit factors of the gradients alone */
    const int32_t *labels;    /* column of each anchor's class; -1: none */
    const void *soft_targets; /* per anchor: the target of the label's class (quality focal), or
                           what the class after it has of it (distribution focal) */
    void *label_counts;       /* per anchor: how many of its dense targets are there; NULL: all */
    const void *grad_scales;  /* per anchor: factor of the gradient */
    const void *positive_weight; /* per class: factor of the terms of targets y ... */
    const void *negative_weight; /* ... and of 1 - y (sigmoid) */
    double positive, negative;   /* the same for all classes, where these are NULL */
    double label_smoothing;
    double eps, limit, tiny_limit;    /* where probabilities are clipped, see _clipping.py ... */
    double highest_loss, lowest_loss; /* ... and what -log(eps) and -log(1 - eps) are */
    double lowest_prob;               /* where p, or 1 - p of independent classes, is lower, ...
                                         (-infinity: they were searched before) */
    int *has_outside;                 /* ... this becomes 1 */
    double gamma_positive, gamma_negative, clip, epsilon;
    double slope, shift; /* gamma and beta of sigmoid_focal_loss_star */
    int iou_weighted;
    void *losses;         /* per-anchor results */
    void *expectations;   /* per anchor: the expected class */
    const void *settings; /* what kernels that are compiled elsewhere read besides; see fx_custom */
} fx_tile;

/* What the settings of a custom loss begin with: its loss and slope in double, of a logit and its
 * target. */
typedef void (*fx_custom_value)(const fx_tile *tile, double z, double y, double *loss_and_slope);
typedef struct {
    fx_custom_value value;
} fx_custom;
enum { FX_CUSTOM = -1 }; /* the number of custom losses */

typedef void (*fx_tile_kernel)(const fx_tile *tile);
/* Computes an anchor again in double, with its limits, and returns its loss. */
typedef double (*fx_exact_kernel)(const fx_tile *tile, ptrdiff_t anchor);
/* `streams`: the results are too many for the caches. */
typedef void (*fx_map_kernel)(const void *values, void *results, ptrdiff_t count, int streams);

/* Element types that tiles are packed from. */
enum {
    FX_BOOL,
    FX_INT8,
    FX_UINT8,
    FX_INT16,
    FX_UINT16,
    FX_INT32,
    FX_UINT32,
    FX_INT64,
    FX_UINT64,
    FX_FLOAT16,
    FX_BFLOAT16,
    FX_FLOAT32,
    FX_FLOAT64
};

/* Anchors x classes inside an array: strides in bytes, any type. */
typedef struct {
    char *data;
    ptrdiff_t anchor_stride, class_stride;
    int type;
    ptrdiff_t anchors, classes;
} fx_strided;

/* How labels become columns. A label equal to `none` has no class; labels above `gap` are one
 * column to the left; `ignored` ones do not count. Whatever else is not among the `classes` has no
 * class: labels may have changed since they were checked. Of reals, those from `lowest` on are
 * valid, and the ignored ones, and NaN as well where `allows_nan`. */
typedef struct {
    int64_t none, gap;
    uint32_t classes;
    const int64_t *ignored;
    int ignored_count;
    double lowest;
    int allows_nan;
} fx_label_map;
enum { FX_NO_CLASS = -1, FX_IGNORED = -2 };

/* The vector functions of one number, and their contracts by precision; see primitives.def. */
enum {
#define FX_PRIMITIVE(name, ...) FX_PRIMITIVE_##name,
#include "primitives.def"
    FX_PRIMITIVES
};
typedef struct {
    double lowest, highest, ulps, worst;
} fx_contract;
typedef struct {
    const char *name;
    fx_contract contracts[2]; /* of floats, of doubles */
} fx_primitive_facts;
extern const fx_primitive_facts fx_primitives[FX_PRIMITIVES];
typedef void (*fx_primitive)(const void *values, void *results, ptrdiff_t count);

/* A number of the formulas, or the coefficients of a polynomial; see constants.def. */
typedef struct {
    const char *name;
    int count; /* of coefficients; 0: a number */
    const void *values;
} fx_constant;

typedef struct {
    /* Losses and gradients. Anchors as lanes: every option. Classes as lanes: as losses.def says,
     * and no per-logit option. */
    fx_tile_kernel loss_lanes[FX_LOSSES], loss_rows[FX_LOSSES];
    /* Scores over the class axis: anchors as lanes; and classes as lanes. */
    fx_tile_kernel softmax, log_softmax, logsumexp;
    fx_tile_kernel softmax_score_rows, log_softmax_rows, logsumexp_rows;
    /* What repairs their results: losses by family, and one loss and slope; scores. */
    fx_exact_kernel sigmoid_exact, softmax_exact;
    void (*exact_value)(const fx_tile *tile, double z, double y, ptrdiff_t k,
                        double *loss_and_slope);
    fx_exact_kernel exact_softmax, exact_log_softmax, exact_logsumexp;
    /* Scores of single values. */
    fx_map_kernel sigmoid, log_sigmoid, softplus, logit, odds;
    /* Copy between strided memory and a tile, whose lanes are anchors: class k of anchor a at
     * [k * tile_stride + a], tile_stride a multiple of the lanes. Packing may write up to that many
     * anchors. */
    void (*pack)(const fx_strided *source, void *tile, ptrdiff_t tile_stride);
    void (*unpack)(const void *tile, ptrdiff_t tile_stride, const fx_strided *destination);
    /* Contiguous rows of 16-bit floats, to and from floats. */
    void (*widen)(const char *source, int type, ptrdiff_t count, void *values);
    void (*narrow)(const void *values, ptrdiff_t count, char *destination, int type);
    /* Labels and dense targets; strides in bytes. Columns come with the answer whether labels may
     * be invalid, which a search has to find out; searches return an index or -1. */
    int (*label_columns)(const char *source, ptrdiff_t stride, int type, ptrdiff_t count,
                         const fx_label_map *map, int32_t *columns);
    void (*clear_ignored)(const int32_t *columns, ptrdiff_t count, void *losses);
    void (*clear_ignored_grads)(const fx_tile *tile);
    /* Missing dense targets of a packed tile, before and after the kernel; see missing.h. */
    int (*fill_missing)(const fx_tile *tile, int32_t *columns);
    void (*clear_missing)(const fx_tile *tile);
    /* What totals are made of: columns from `lowest` on except for one; and losses. */
    ptrdiff_t (*count_columns)(const int32_t *columns, ptrdiff_t count, int32_t lowest,
                               int32_t other);
    double (*sum_losses)(const void *losses, ptrdiff_t count);
    /* Anchors with a dense target above 0, except for the class `other`. */
    ptrdiff_t (*count_positive)(const fx_tile *tile, ptrdiff_t other);
    ptrdiff_t (*first_invalid_label)(const char *source, ptrdiff_t stride, int type,
                                     ptrdiff_t count, uint64_t highest, const fx_label_map *map);
    /* `has_outside` becomes 1 if a target before that is outside of the interval, but ignored. */
    ptrdiff_t (*first_invalid_target)(const char *source, ptrdiff_t stride, int type,
                                      ptrdiff_t count, double highest, const fx_label_map *map,
                                      int *has_outside);
    /* Read everything once: the floor of every kernel. */
    double (*read)(const void *values, ptrdiff_t count);
    fx_primitive primitives[FX_PRIMITIVES];
    const fx_constant *constants; /* the last one has no name */
} fx_kernels;

enum { FX_BASELINE, FX_AVX2, FX_AVX512, FX_NEON, FX_ISAS };

const char *fx_isa_name(int isa);
int fx_isa_supported(int isa); /* built in, and this CPU and operating system run it */
const fx_kernels *fx_kernels_of(int isa, int is_double);

/* All bits set but at FX_MASK_CENTRE, where there are none: read from FX_MASK_CENTRE - label on, it
 * masks the label out of a row of up to FX_ROW_CHUNK classes with a memory operand instead of a
 * comparison. */
#define FX_ROW_CHUNK 1024
#define FX_MASK_CENTRE (FX_ROW_CHUNK + 16)
#define FX_MASK_LENGTH (2 * FX_ROW_CHUNK + 32)
extern const uint32_t fx_others_float[FX_MASK_LENGTH];
extern const uint64_t fx_others_double[FX_MASK_LENGTH];

#endif
