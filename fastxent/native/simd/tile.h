/* How the kernels see a tile: LANES anchors at a time, class by class. */
#ifndef FX_TILE_H
#define FX_TILE_H

#include "kernels.h"
#include "vector.h"
#include "vector_math.h"

/* Every addition to a running sum can cost half an ULP. So classes are taken up to eight at a time
 * and added pairwise, and these sums join a compensated one: FX_FOR_CLASSES(start, end, TERMS,
 * JOIN) calls JOIN(TERMS##8(k)), then TERMS##4 and TERMS##1 for what is left. */
#define FX_FOR_CLASSES(start, end, terms, join)                                                    \
    do {                                                                                           \
        ptrdiff_t k = start;                                                                       \
        for (; k + 8 <= end; k += 8) join(terms##8(k));                                            \
        if (k + 4 <= end) {                                                                        \
            join(terms##4(k));                                                                     \
            k += 4;                                                                                \
        }                                                                                          \
        for (; k < end; k++) join(terms##1(k));                                                    \
    } while (0)

/* Up to LANES anchors of a tile, from `first` on. */
typedef struct {
    ptrdiff_t first;
    int count;
} lane_range;

FX_INLINE vec lanes_load(const fx_matrix *m, const lane_range *range, ptrdiff_t k) {
    const real *p = (const real *)m->data + k * m->class_stride + range->first;
    return range->count == LANES ? v_load(p) : v_load_first(p, range->count, v_zero());
}
FX_INLINE void lanes_store(const fx_matrix *m, const lane_range *range, ptrdiff_t k, vec x) {
    real *p = (real *)m->data + k * m->class_stride + range->first;
    if (range->count == LANES)
        v_store(p, x);
    else
        v_store_first(p, range->count, x);
}
FX_INLINE void lanes_store_losses(const fx_tile *tile, const lane_range *range, vec x) {
    fx_matrix losses = {tile->losses, 1, 0};
    if (tile->losses) lanes_store(&losses, range, 0, x);
}

/* Labels as reals, which hold every class number up to 2^24 exactly. */
FX_INLINE vec lanes_labels(const fx_tile *tile, const lane_range *range) {
    real labels[LANES];
    for (int i = 0; i < LANES; i++)
        labels[i] = i < range->count ? (real)tile->labels[range->first + i] : (real)-1;
    return v_load(labels);
}

/* Call body(tile, range) for every vector of anchors; for all but the last with a constant count.
 */
#define FX_FOR_LANES(tile, body)                                                                   \
    do {                                                                                           \
        ptrdiff_t first = 0;                                                                       \
        for (; first + LANES <= (tile)->anchors; first += LANES) {                                 \
            lane_range full = {first, LANES};                                                      \
            body(tile, &full);                                                                     \
        }                                                                                          \
        if (first < (tile)->anchors) {                                                             \
            lane_range tail = {first, (int)((tile)->anchors - first)};                             \
            body(tile, &tail);                                                                     \
        }                                                                                          \
    } while (0)

FX_INLINE real matrix_at(const fx_matrix *m, ptrdiff_t anchor, ptrdiff_t k) {
    return ((const real *)m->data)[anchor * m->anchor_stride + k * m->class_stride];
}
FX_INLINE vec class_value(const void *per_class, ptrdiff_t k) {
    return per_class ? v_set(((const real *)per_class)[k]) : v_one();
}

/* The target of class k: 1 at the label, or the dense target. */
FX_INLINE vec lanes_target(const fx_tile *tile, const lane_range *range, ptrdiff_t k, vec labels) {
    if (tile->targets.data) return lanes_load(&tile->targets, range, k);
    return v_select(v_equal(labels, v_set((real)k)), v_one(), v_zero());
}
FX_INLINE double target_at(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k) {
    if (tile->targets.data) return matrix_at(&tile->targets, anchor, k);
    return tile->labels[anchor] == k;
}

/* A weight of zero takes even an infinite loss away, as its limit does. */
FX_INLINE double weighted(double weight, double loss) {
    return weight == 0 && isinf(loss) ? 0 : weight * loss;
}

/* Recompute, in scalar double, the anchors whose vector result is not finite: infinite logits,
 * NaN and overflow have their limits there, and nowhere else. */
typedef double (*exact_anchor)(const fx_tile *tile, ptrdiff_t anchor);
FX_INLINE void repair(const fx_tile *tile, const lane_range *range, vec loss, exact_anchor exact) {
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
