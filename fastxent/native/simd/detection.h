/* What Cython sees of the kernels of mining and matching, and the choice of a table of them. */
#ifndef FX_DETECTION_H
#define FX_DETECTION_H

#include "kernels.h"

/* Losses and labels (images, anchors): strides in bytes, types as in kernels.h. */
typedef struct {
    const char *data; /* NULL: absent */
    ptrdiff_t image_stride, anchor_stride;
    int type;
} fx_images;

/* One call of mining. */
typedef struct {
    fx_images losses, labels;
    ptrdiff_t anchors;
    int64_t background;
    const int64_t *ignored; /* distinct, and none of them the background */
    int ignored_count;
    int64_t *counts; /* per image: positives, or -1; and how many anchors are to be marked */
    uint8_t *marks;
    const fx_kernels *kernels;
} fx_mining;

/* Some queries of one image, and its ground truths. */
typedef struct {
    const char *logits;
    ptrdiff_t query_stride, class_stride; /* in bytes */
    int type;
    const char *objectness;
    ptrdiff_t objectness_stride;
    int objectness_type;
    ptrdiff_t queries, classes;
    const int32_t *distinct; /* the classes of the ground truths, each of them once */
    ptrdiff_t distinct_count;
    const int32_t *columns; /* of each ground truth: which of those is its class */
    ptrdiff_t truths;
    double positive, negative, gamma; /* the factors of both sides of "focal", and the exponent */
    const fx_kernels *kernels;
    void *tile, *results; /* memory for the logits of all classes, and for as many results ... */
    ptrdiff_t
        tile_queries; /* ... of so many queries, a multiple of the lanes; then of objectness */
    void *out;
} fx_costs;

/* A step of a call, with memory of its thread. */
typedef void (*fx_step)(const void *call, ptrdiff_t step, char *memory);
typedef void (*fx_cost_kernel)(const fx_costs *costs);

enum { FX_COST_FOCAL, FX_COST_SOFTMAX, FX_COST_SIGMOID, FX_COST_SIMOTA, FX_COST_KINDS };

typedef struct {
    /* The steps of mining are images. */
    fx_step count_positives, mark_largest;
    /* The memory that marking takes, for so many marks of so many anchors. */
    ptrdiff_t (*mining_bytes)(ptrdiff_t anchors, int64_t count);
    fx_cost_kernel costs[FX_COST_KINDS];
} fx_detection;

const fx_detection *fx_detection_of(int isa, int is_double);

#endif
