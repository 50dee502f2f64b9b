/* The selection of candidates: what a call asks, and what a thread has found of it so far. */
#ifndef FX_CANDIDATES_H
#define FX_CANDIDATES_H

#include <string.h>

#include "kernels.h"

/* A pair of anchor and class: the score, then the logit, as numbers in whose order they are, and
 * anchor * classes + class. No two are alike. */
typedef struct {
    uint64_t high, low, order;
} fx_candidate;

/* The best of an image, or of one level or class of it. */
typedef struct {
    fx_candidate *items;
    ptrdiff_t count, room;
    int is_full; /* whatever does not come before `worst` is out */
    fx_candidate worst;
    double worst_score, worst_logit;
} fx_best;

/* The best of an image that one thread has seen, and its counts. */
typedef struct {
    ptrdiff_t image, group, start, count, found, nan;
} fx_segment;

enum { FX_AS_SCORES, FX_AS_SIGMOIDS, FX_AS_SOFTMAXES };
enum { FX_NO_OBJECTS, FX_PRODUCTS, FX_ROOTS };
enum { FX_MOST_DIMENSIONS = 66 };

/* A level: `data` of its first image, and of its dimensions the lengths and strides in bytes. */
typedef struct {
    const char *data, *objects;
    int type, object_type;
    ptrdiff_t anchors, first_anchor;
    ptrdiff_t blocks; /* of an image */
    ptrdiff_t block_size;
    ptrdiff_t image_strides[FX_MOST_DIMENSIONS], object_image_strides[FX_MOST_DIMENSIONS];
    /* Anchors in their order, one class and objectness of each. */
    int dimensions;
    ptrdiff_t shape[FX_MOST_DIMENSIONS], strides[FX_MOST_DIMENSIONS];
    ptrdiff_t object_strides[FX_MOST_DIMENSIONS];
    ptrdiff_t class_stride;
    /* Elements in the order of memory, and how far one step takes them in the order of
     * candidates. */
    int element_dimensions;
    ptrdiff_t element_shape[FX_MOST_DIMENSIONS], element_strides[FX_MOST_DIMENSIONS];
    ptrdiff_t orders[FX_MOST_DIMENSIONS];
    int softmax_rows; /* whether classes are the lanes of a softmax's scores */
} fx_level;

typedef struct {
    ptrdiff_t classes, background; /* -1: none */
    ptrdiff_t images;
    int image_dimensions;
    ptrdiff_t image_shape[FX_MOST_DIMENSIONS];
    const fx_level *levels;
    int level_count;
    int is_double, activation, combine, best_only, per_level, per_class;
    int by_anchors;  /* block by block of anchors, not of elements as they lie in memory */
    int is_even;     /* all classes have the same threshold, and may be returned */
    int takes_all;   /* there is no threshold */
    ptrdiff_t top_k; /* -1: all */
    double least;    /* the smallest threshold of the classes that may be returned */
    double margin, object_margin; /* of scores outside [0, 1] */
    /* Of the kernels' precision, and repeated so that a vector can be read from each class on: the
     * thresholds (infinite for what is not returned); and logits of which those below `lows` do not
     * pass and those above `highs` do. */
    const void *thresholds, *lows, *highs;
    const fx_kernels *kernels, *object_kernels;
} fx_selection;

typedef struct {
    const fx_selection *call;
    ptrdiff_t image;
    int level;
    fx_best *best; /* one, or one of each class */
    ptrdiff_t found, nan;
    int has_outside, has_failed;
    /* What a logit must reach to be a candidate; and where that has risen above `highs`, `lows` and
     * `highs` once more, to count what passes the threshold alone. Otherwise infinite. */
    void *cuts, *counted_lows, *counted_highs;
    ptrdiff_t rises; /* how often a cut has risen */
    char *scratch;
    fx_segment *segments;
    ptrdiff_t segment_count, segment_room;
    fx_candidate *kept;
    ptrdiff_t kept_count, kept_room;
} fx_selector;

typedef struct {
    /* Vectors' lanes: what the arrays above are longer than the classes. */
    int lanes;
    ptrdiff_t (*scratch_bytes)(const fx_selection *call);
    void (*select)(fx_selector *selector, ptrdiff_t image, int level, ptrdiff_t block);
} fx_candidate_kernels;

/* Unsigned numbers in the order of floats; -0 is 0. */
static inline uint32_t fx_float_key(float x) {
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static inline uint64_t fx_double_key(double x) {
    uint64_t bits;
    x += 0.0;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}
static inline fx_candidate fx_candidate_of_floats(float score, float logit, uint64_t order) {
    fx_candidate c = {(uint64_t)fx_float_key(score) << 32 | fx_float_key(logit), 0, order};
    return c;
}
static inline fx_candidate fx_candidate_of_doubles(double score, double logit, uint64_t order) {
    fx_candidate c = {fx_double_key(score), fx_double_key(logit), order};
    return c;
}
double fx_score_of(const fx_selection *call, const fx_candidate *candidate);
double fx_logit_of(const fx_selection *call, const fx_candidate *candidate);
static inline int fx_comes_before(const fx_candidate *a, const fx_candidate *b) {
    if (a->high != b->high) return a->high > b->high;
    if (a->low != b->low) return a->low > b->low;
    return a->order < b->order;
}
/* Bring the first k of them to the front, in any order. */
void fx_bring_best_forward(fx_candidate *items, ptrdiff_t count, ptrdiff_t k);
/* Sort them, with as much memory once more. */
void fx_sort_candidates(const fx_selection *call, fx_candidate *items, ptrdiff_t count,
                        fx_candidate *memory);

/* Merge sorted runs that follow each other, and leave `limit` at most: how many these are. */
ptrdiff_t fx_merge_runs(fx_candidate *items, ptrdiff_t *lengths, ptrdiff_t runs, ptrdiff_t limit,
                        fx_candidate *memory);

const fx_candidate_kernels *fx_candidate_kernels_of(int isa, int is_double);

/* Of arrays of the kernels' precision. */
static inline double fx_read_real(const fx_selection *call, const void *values, ptrdiff_t i) {
    return call->is_double ? ((const double *)values)[i] : ((const float *)values)[i];
}
static inline void fx_write_real(const fx_selection *call, void *values, ptrdiff_t i,
                                 double value) {
    if (call->is_double)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

/* Logits of which all scores above `score` are (low), or whose scores all are (high): the sigmoid
 * is not monotone in its last bits. */
double fx_low_edge(const fx_selection *call, double score);
double fx_high_edge(const fx_selection *call, double score);
/* Fill in what the selection knows of thresholds, given one of each class (NULL: there is none) and
 * which classes may be returned; memory for it, as large as fx_edge_bytes says. */
size_t fx_edge_bytes(const fx_selection *call, int lanes);
void fx_write_edges(fx_selection *call, int lanes, const void *thresholds, const char *returned,
                    void *memory);

int fx_start_selector(fx_selector *selector, const fx_selection *call,
                      const fx_candidate_kernels *kernels);
void fx_free_selector(fx_selector *selector);
/* Go on with this image, or level of it. */
void fx_enter(fx_selector *selector, ptrdiff_t image, int level, int lanes);
/* Put what there is of the image aside. */
void fx_leave(fx_selector *selector);
/* Make room for one more candidate of a group; whether it is still one of the best. */
int fx_make_room(fx_selector *selector, ptrdiff_t group, const fx_candidate *candidate);

/* Put the results of all selectors together: the number of candidates, or -1 without memory. Image
 * by image the best come first. */
typedef struct {
    fx_candidate *items;
    ptrdiff_t *images;
    ptrdiff_t count;
} fx_union;
int fx_join(const fx_selection *call, const fx_selector *selectors, int count, fx_union *all,
            ptrdiff_t *found, ptrdiff_t *nan);
void fx_write_candidates(const fx_selection *call, const fx_union *all, ptrdiff_t *images,
                         ptrdiff_t *anchors, ptrdiff_t *labels, void *scores);

#endif
