/* How the kernels see a tile: LANES anchors at a time, class by class. */
#ifndef FX_TILE_H
#define FX_TILE_H

#include "kernels.h"
#include "vector.h"
#include "vector_math.h"

#include "elements.h"
#include "summation.h"

/* Every addition to a running sum can cost half an ULP. So the terms of eight classes at a time are
 * added up, and these sums join a compensated one. */
#define FX_CLASS_GROUP 8
/* After so many classes that sum settles. */
#define FX_SETTLED_CLASSES 4096

/* Up to LANES anchors of a tile, from `first` on. */
typedef struct {
    ptrdiff_t first;
    int count;
} lane_range;

FX_INLINE vec lanes_load(const fx_matrix *m, const lane_range *range, ptrdiff_t k) {
    const real *p = (const real *)m->data + k * m->class_stride + range->first;
    return range->count == LANES ? v_load(p) : v_load_first(p, range->count, v_zero());
}
/* Ask for a later part of the stream that a class is. */
FX_INLINE void lanes_prefetch(const fx_matrix *m, const lane_range *range, ptrdiff_t k,
                              ptrdiff_t ahead) {
    const real *p = (const real *)m->data + k * m->class_stride + range->first;
    prefetch_line((const char *)p + ahead);
}
/* Logits and dense targets in a kernel's first pass over the classes, which asks for the next ones.
 */
FX_INLINE vec lanes_stream(const fx_tile *tile, const lane_range *range, ptrdiff_t k) {
    lanes_prefetch(&tile->logits, range, k, tile->ahead);
    return lanes_load(&tile->logits, range, k);
}
FX_INLINE vec lanes_stream_targets(const fx_tile *tile, const lane_range *range, ptrdiff_t k) {
    lanes_prefetch(&tile->targets, range, k, tile->targets_ahead);
    return lanes_load(&tile->targets, range, k);
}
FX_INLINE void lanes_store(const fx_matrix *m, const lane_range *range, ptrdiff_t k, vec x) {
    real *p = (real *)m->data + k * m->class_stride + range->first;
    if (range->count == LANES)
        v_store(p, x);
    else
        v_store_first(p, range->count, x);
}
/* Gradients, in a kernel that writes them while it reads logits: a store waits for its memory, too.
 */
FX_INLINE void lanes_stream_grads(const fx_tile *tile, const lane_range *range, ptrdiff_t k,
                                  vec x) {
    lanes_prefetch(&tile->grads, range, k, tile->grads_ahead);
    lanes_store(&tile->grads, range, k, x);
}
FX_INLINE void lanes_store_losses(const fx_tile *tile, const lane_range *range, vec x) {
    fx_matrix losses = {tile->losses, 1, 0};
    if (tile->losses) lanes_store(&losses, range, 0, x);
}

/* Labels as reals, which hold every class number up to 2^24 exactly. */
FX_INLINE vec lanes_labels(const fx_tile *tile, const lane_range *range) {
    if (range->count == LANES) return v_load_int32(tile->labels + range->first);
    real labels[LANES];
    for (int i = 0; i < LANES; i++)
        labels[i] = i < range->count ? (real)tile->labels[range->first + i] : (real)-1;
    return v_load(labels);
}

/* Call body(tile, range) for every vector of anchors from one on; for all but the last with a
 * constant count. */
#define FX_FOR_LANES_FROM(start, tile, body)                                                       \
    do {                                                                                           \
        ptrdiff_t first = (start);                                                                 \
        for (; first + LANES <= (tile)->anchors; first += LANES) {                                 \
            lane_range full = {first, LANES};                                                      \
            body(tile, &full);                                                                     \
        }                                                                                          \
        if (first < (tile)->anchors) {                                                             \
            lane_range tail = {first, (int)((tile)->anchors - first)};                             \
            body(tile, &tail);                                                                     \
        }                                                                                          \
    } while (0)
#define FX_FOR_LANES(tile, body) FX_FOR_LANES_FROM(0, tile, body)

/* The same with body(tile, first, vectors, count, ...) for several vectors at a time. */
#define FX_FOR_LANE_VECTORS(tile, most, body, ...)                                                 \
    do {                                                                                           \
        ptrdiff_t first = 0, left = (tile)->anchors;                                               \
        for (; left >= (most) * LANES; left -= (most) * LANES) {                                   \
            body(tile, first, most, LANES, __VA_ARGS__);                                           \
            first += (most) * LANES;                                                               \
        }                                                                                          \
        for (; left > 0; left -= LANES) {                                                          \
            body(tile, first, 1, left < LANES ? (int)left : LANES, __VA_ARGS__);                   \
            first += LANES;                                                                        \
        }                                                                                          \
    } while (0)
/* With few classes an anchor is one long chain of operations, and the logarithms of several
 * vectors, one after the other, overlap. */
#define FX_LANE_BLOCK 16
/* With more of them two chains of operations fill the CPU; on AVX2, where a vec is two registers,
 * one does. */
#if defined(FX_ISA_AVX512)
#define FX_LANE_VECTORS 2
#else
#define FX_LANE_VECTORS 1
#endif

FX_INLINE real matrix_at(const fx_matrix *m, ptrdiff_t anchor, ptrdiff_t k) {
    return ((const real *)m->data)[anchor * m->anchor_stride + k * m->class_stride];
}
/* A logit, which row kernels may find as a half. */
FX_INLINE double logit_at(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k) {
    ptrdiff_t place = anchor * tile->logits.anchor_stride + k * tile->logits.class_stride;
    return load_one_as((const char *)tile->logits.data + place * size_of_type(tile->logit_type),
                       tile->logit_type);
}
FX_INLINE double class_factor(const void *per_class, double otherwise, ptrdiff_t k) {
    return per_class ? ((const real *)per_class)[k] : otherwise;
}
FX_INLINE vec lanes_positive(const fx_tile *tile, ptrdiff_t k) {
    return v_set((real)class_factor(tile->positive_weight, tile->positive, k));
}
FX_INLINE vec lanes_negative(const fx_tile *tile, ptrdiff_t k) {
    return v_set((real)class_factor(tile->negative_weight, tile->negative, k));
}

/* Values that each anchor has one of, or 1. */
FX_INLINE vec lanes_per_anchor(const void *values, const lane_range *range) {
    fx_matrix column = {(void *)values, 1, 0};
    return values ? lanes_load(&column, range, 0) : v_one();
}
FX_INLINE double per_anchor(const void *values, ptrdiff_t anchor) {
    return values ? ((const real *)values)[anchor] : 1;
}

/* The targets of an anchor without dense ones: 1 at its label; or, with soft targets, those. */
typedef struct {
    vec columns, soft_targets;
} lane_labels;
FX_INLINE lane_labels lanes_targets(const fx_tile *tile, const lane_range *range) {
    lane_labels result = {v_zero(), v_zero()};
    if (tile->targets.data) return result;
    result.columns = lanes_labels(tile, range);
    if (tile->soft_targets) result.soft_targets = lanes_per_anchor(tile->soft_targets, range);
    return result;
}
FX_INLINE vec lanes_target(const fx_tile *tile, const lane_range *range, ptrdiff_t k,
                           const lane_labels *labels) {
    if (tile->targets.data) return lanes_stream_targets(tile, range, k);
    mask is_label = v_equal(labels->columns, v_set((real)k));
    if (tile->loss == FX_DISTRIBUTION_FOCAL) {
        mask is_next = v_equal(labels->columns, v_set((real)k - 1));
        vec rest = v_sub(v_one(), labels->soft_targets);
        return v_select(is_label, rest, v_select(is_next, labels->soft_targets, v_zero()));
    }
    return v_where(is_label, v_one());
}
FX_INLINE double target_at(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k) {
    if (tile->targets.data) return matrix_at(&tile->targets, anchor, k);
    int32_t label = tile->labels[anchor];
    if (tile->loss == FX_DISTRIBUTION_FOCAL) {
        double next = per_anchor(tile->soft_targets, anchor);
        return label == k ? 1 - next : label >= 0 && label + 1 == k ? next : 0;
    }
    if (tile->loss == FX_QUALITY_FOCAL)
        return label == k ? per_anchor(tile->soft_targets, anchor) : 0;
    return label == k;
}

/* A weight of zero takes even an infinite loss away, as its limit does. */
FX_INLINE double weighted(double weight, double loss) {
    return weight == 0 && isinf(loss) ? 0 : weight * loss;
}

/* Recompute, in scalar double, the anchors whose vector result is not finite: infinite logits,
 * NaN and overflow have their limits there, and nowhere else. */
FX_INLINE void matrix_put(const fx_matrix *m, ptrdiff_t anchor, ptrdiff_t k, double value) {
    if (m->data) ((real *)m->data)[anchor * m->anchor_stride + k * m->class_stride] = (real)value;
}
FX_INLINE void grad_put(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k, double value) {
    const fx_matrix *m = &tile->grads;
    ptrdiff_t place = anchor * m->anchor_stride + k * m->class_stride;
    if (m->data)
        store_one_as((char *)m->data + place * size_of_type(tile->grad_type), (real)value,
                     tile->grad_type);
}
FX_INLINE void repair(const fx_tile *tile, const lane_range *range, vec loss,
                      fx_exact_kernel exact) {
    if (v_all_finite(loss)) return;
    real values[LANES];
    v_store(values, loss);
    for (int i = 0; i < range->count; i++) {
        ptrdiff_t anchor = range->first + i;
        if (values[i] - values[i] == 0) continue;
        double repaired = exact(tile, anchor);
        if (tile->losses) ((real *)tile->losses)[anchor] = (real)repaired;
    }
}

#endif
