/* Scores and links: of single values, and over the class axis with anchors as lanes. */
#include "sigmoid_score.h"

FX_INLINE ptrdiff_t reals_before_line(const real *p) {
    return (ptrdiff_t)((0 - (uintptr_t)p) % FX_LINE / sizeof(real));
}

/* Results that the caches cannot hold are written by non-temporal stores, so that their lines need
 * not be read before they are overwritten; whole lines, from the first one that begins in the
 * array. `several` computes as many as it can side by side, and the rest follows one by one. */
#define FX_MAP(name, several)                                                                      \
    static void name##_map(const void *values, void *results, ptrdiff_t count, int streams) {      \
        const real *x = (const real *)values;                                                      \
        real *y = (real *)results;                                                                 \
        exp_constants constants = make_exp_constants();                                            \
        ptrdiff_t i = 0;                                                                           \
        if (streams && count >= LANES) {                                                           \
            i = reals_before_line(y);                                                              \
            v_store_first(y, (int)i, v_##name(v_load_first(x, (int)i, v_zero()), &constants));     \
            i = several(x, y, i, count, &constants, 1);                                            \
            for (; i + LANES <= count; i += LANES)                                                 \
                v_stream(y + i, v_##name(v_load(x + i), &constants));                              \
            v_end_streams();                                                                       \
        }                                                                                          \
        i = several(x, y, i, count, &constants, 0);                                                \
        for (; i + LANES <= count; i += LANES)                                                     \
            v_store(y + i, v_##name(v_load(x + i), &constants));                                   \
        if (i < count) {                                                                           \
            int left = (int)(count - i);                                                           \
            v_store_first(y + i, left, v_##name(v_load_first(x + i, left, v_zero()), &constants)); \
        }                                                                                          \
    }

FX_INLINE vec v_softplus(vec x, const exp_constants *constants) {
    vec tail = v_log1p_unit(v_exp_nonpositive(v_negative_abs(x), constants), constants);
    /* The logarithm of a NaN is not one: take it from the relu. */
    vec relu = v_relu(x);
    return v_select(v_equal(x, x), v_add(relu, tail), relu);
}
FX_INLINE vec v_log_sigmoid(vec x, const exp_constants *constants) {
    return v_negate(v_softplus(v_negate(x), constants));
}

/* Subnormal probabilities are brought into the range of v_log. */
#if FX_DOUBLE
#define FX_TINY_SCALE 0x1p128
#define FX_TINY_SCALE_LOG 0x1.62e42fefa39efp6 /* 128 ln 2 */
#else
#define FX_TINY_SCALE 0x1p64f
#define FX_TINY_SCALE_LOG 0x1.62e43p5f /* 64 ln 2 */
#endif

/* -log q where q is tiny: next to it 1 - q is 1. */
FX_CALLED vec logit_size_of_tiny(vec q) {
    vec log_scaled = v_log(v_mul(q, v_set(FX_TINY_SCALE)));
    vec size = v_sub(v_set(FX_TINY_SCALE_LOG), log_scaled);
    return v_select(v_equal(q, v_zero()), v_set((real)INFINITY), size);
}

/* log(p / (1 - p)): with q the smaller of p and 1 - p, its size is log1p(|2p - 1| / q), accurate
 * near p = 1/2 too. */
FX_INLINE vec v_logit(vec p, const exp_constants *unused) {
    (void)unused;
    vec distance = v_fma(v_set((real)2), p, v_set((real)-1));
    mask lower = v_less(distance, v_zero());
    vec q = v_select(lower, p, v_sub(v_one(), p));
    vec ratio = v_div(v_select(lower, v_negate(distance), distance), q);
    mask tiny = v_less(q, v_set((real)0x1p-60));
    vec size = v_log1p(v_select(tiny, v_zero(), ratio));
    if (v_mask_any(tiny)) size = v_select(tiny, logit_size_of_tiny(q), size);
    vec result = v_select(lower, v_negate(size), size);
    return v_select(v_less(q, v_zero()), v_set((real)NAN), v_select(v_equal(p, p), result, p));
}
FX_INLINE vec v_odds(vec p, const exp_constants *unused) {
    (void)unused;
    vec rest = v_sub(v_one(), p);
    vec result = v_div(p, rest);
    mask outside = v_less(v_min(p, rest), v_zero());
    /* p = 1 leaves +0, whose quotient is +infinity. */
    return v_select(outside, v_set((real)NAN), result);
}

FX_INLINE ptrdiff_t one_by_one(const real *x, real *y, ptrdiff_t first, ptrdiff_t count,
                               const exp_constants *constants, const int streams) {
    (void)x, (void)y, (void)count, (void)constants, (void)streams;
    return first;
}
FX_MAP(sigmoid, several_sigmoids)
FX_MAP(log_sigmoid, one_by_one)
FX_MAP(softplus, one_by_one)
FX_MAP(logit, one_by_one)
FX_MAP(odds, one_by_one)

/* Scores of one anchor in double, with their limits. */
static double softmax_exact_scores(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer normalizer = softmax_exact(tile, anchor);
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = logit_at(tile, anchor, k);
        double gap = z == normalizer.maximum ? 0 : z - normalizer.maximum;
        matrix_put(&tile->results, anchor, k, exp(gap - normalizer.log_sum));
    }
    return 0;
}
static double log_softmax_exact_scores(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer normalizer = softmax_exact(tile, anchor);
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = logit_at(tile, anchor, k);
        double gap = z == normalizer.maximum ? 0 : z - normalizer.maximum;
        matrix_put(&tile->results, anchor, k, gap - normalizer.log_sum);
    }
    return 0;
}
static double logsumexp_exact(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer normalizer = softmax_exact(tile, anchor);
    if (normalizer.has_nan) return NAN;
    if (isinf(normalizer.maximum)) return normalizer.maximum;
    return normalizer.maximum + normalizer.log_sum;
}

/* The sum of the exponentials of all classes, which are kept in the results. */
FX_INLINE vec lanes_exponentials(const fx_tile *tile, const lane_range *range, const centre *c,
                                 const exp_constants *constants) {
    compensated total = compensated_zero();
    for (ptrdiff_t group = 0; group < tile->classes; group += FX_CLASS_GROUP) {
        ptrdiff_t end = group + FX_CLASS_GROUP;
        if (end > tile->classes) end = tile->classes;
        vec terms = v_zero();
        FX_NO_UNROLL
        for (ptrdiff_t k = group; k < end; k++) {
            vec e = v_exp_centred(lanes_stream(tile, range, k), c, constants);
            lanes_prefetch(&tile->results, range, k, FX_LANES_AHEAD);
            lanes_store(&tile->results, range, k, e);
            terms = v_add(terms, e);
        }
        compensated_add(&total, terms);
        if (end % FX_SETTLED_CLASSES == 0) compensated_settle(&total);
    }
    return compensated_value(total);
}

FX_INLINE void softmax_divide_lanes(const fx_tile *tile, const lane_range *range, vec sum) {
    vec inverse = v_div(v_one(), sum);
    FX_NO_UNROLL
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec e = lanes_load(&tile->results, range, k);
        lanes_store(&tile->results, range, k, v_divide_by(e, sum, inverse));
    }
}

/* One vector of anchors at a time: of two, logits and results of 81 classes do not fit the
 * first-level cache. */
FX_INLINE void softmax_lanes(const fx_tile *tile, const lane_range *range) {
    exp_constants constants = pinned_exp_constants();
    vec maximum = lanes_maximum(tile, range);
    centre c = centre_at(maximum);
    softmax_divide_lanes(tile, range, lanes_exponentials(tile, range, &c, &constants));
    repair_infinite(tile, range, maximum, softmax_exact_scores);
}

static void softmax(const fx_tile *tile) { FX_FOR_LANES(tile, softmax_lanes); }
