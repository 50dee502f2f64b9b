/* Lanes as bits, and what becomes of the lanes that may be candidates. */

#if defined(FX_ISA_AVX512)
FX_INLINE mask v_both(mask a, mask b) { return (mask)(a & b); }
#elif defined(FX_ISA_AVX2)
FX_INLINE mask v_both(mask a, mask b) { return v_and(a, b); }
#elif defined(__GNUC__)
FX_INLINE mask v_both(mask x, mask y) {
    mask r = {x.a & y.a, x.b & y.b, x.c & y.c, x.d & y.d};
    return r;
}
#else
FX_INLINE mask v_both(mask x, mask y) {
    FX_EACH x.lane[i] &= y.lane[i];
    return x;
}
#endif
/* m, where a is less than b, too. */
#if defined(FX_ISA_AVX512) && FX_DOUBLE
FX_INLINE mask v_also_less(mask m, vec a, vec b) {
    return _mm512_mask_cmp_pd_mask(m, a, b, _CMP_LT_OQ);
}
#elif defined(FX_ISA_AVX512)
FX_INLINE mask v_also_less(mask m, vec a, vec b) {
    return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_LT_OQ);
}
#else
FX_INLINE mask v_also_less(mask m, vec a, vec b) { return v_both(m, v_less(a, b)); }
#endif

/* m, where neither a nor b is NaN, too. */
#if defined(FX_ISA_AVX512) && FX_DOUBLE
FX_INLINE mask v_also_ordered(mask m, vec a, vec b) {
    return _mm512_mask_cmp_pd_mask(m, a, b, _CMP_ORD_Q);
}
#elif defined(FX_ISA_AVX512)
FX_INLINE mask v_also_ordered(mask m, vec a, vec b) {
    return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_ORD_Q);
}
#elif defined(FX_ISA_AVX2)
FX_INLINE mask v_also_ordered(mask m, vec a, vec b) {
    FX_BOTH(FX_OP (and)(m.low, FX_OP(cmp)(a.low, b.low, _CMP_ORD_Q)),
            FX_OP (and)(m.high, FX_OP(cmp)(a.high, b.high, _CMP_ORD_Q)));
}
#else
FX_INLINE mask v_also_ordered(mask m, vec a, vec b) {
    return v_both(m, v_both(v_equal(a, a), v_equal(b, b)));
}
#endif

/* Counts of lanes, a vector of integers. */
#if defined(FX_ISA_AVX512)
typedef __m512i lane_counts;
FX_INLINE lane_counts no_counts(void) { return _mm512_setzero_si512(); }
FX_INLINE lane_counts counts_add(lane_counts counts, mask m) {
#if FX_DOUBLE
    return _mm512_mask_add_epi64(counts, m, counts, _mm512_set1_epi64(1));
#else
    return _mm512_mask_add_epi32(counts, m, counts, _mm512_set1_epi32(1));
#endif
}
#elif defined(FX_ISA_AVX2)
typedef vec lane_counts;
FX_INLINE lane_counts no_counts(void) { return v_zero(); }
FX_INLINE half_vec half_counts_add(half_vec counts, half_vec m) {
#if FX_DOUBLE
    return FX_CAST_REAL(_mm256_sub_epi64(FX_CAST_BITS(counts), FX_CAST_BITS(m)));
#else
    return FX_CAST_REAL(_mm256_sub_epi32(FX_CAST_BITS(counts), FX_CAST_BITS(m)));
#endif
}
FX_INLINE lane_counts counts_add(lane_counts counts, mask m) {
    FX_BOTH(half_counts_add(counts.low, m.low), half_counts_add(counts.high, m.high));
}
#elif defined(__GNUC__)
typedef mask lane_counts;
FX_INLINE lane_counts no_counts(void) { return v_bits(v_zero()); }
FX_INLINE lane_counts counts_add(lane_counts x, mask m) {
    lane_counts r = {x.a - m.a, x.b - m.b, x.c - m.c, x.d - m.d};
    return r;
}
#else
typedef mask lane_counts;
FX_INLINE lane_counts no_counts(void) { return v_bits(v_zero()); }
FX_INLINE lane_counts counts_add(lane_counts counts, mask m) {
    FX_EACH counts.lane[i] -= m.lane[i];
    return counts;
}
#endif
FX_INLINE ptrdiff_t counts_total(lane_counts counts) {
    real_bits lanes[LANES];
    ptrdiff_t total = 0;
    memcpy(lanes, &counts, sizeof lanes);
    for (int i = 0; i < LANES; i++) total += (ptrdiff_t)lanes[i];
    return total;
}

#define FX_ALL_LANES ((uint32_t)((1 << LANES) - 1))

#if defined(__GNUC__)
FX_INLINE int count_bits(uint32_t bits) { return __builtin_popcount(bits); }
FX_INLINE int first_bit(uint32_t bits) { return __builtin_ctz(bits); }
FX_INLINE int first_bit_of_64(uint64_t bits) { return __builtin_ctzll(bits); }
#else
FX_INLINE int count_bits(uint32_t bits) {
    int count = 0;
    for (; bits; bits &= bits - 1) count++;
    return count;
}
FX_INLINE int first_bit(uint32_t bits) {
    int i = 0;
    while (!(bits >> i & 1)) i++;
    return i;
}
FX_INLINE int first_bit_of_64(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    return low ? first_bit(low) : 32 + first_bit((uint32_t)(bits >> 32));
}
#endif

/* Some lanes: where their classes and anchors are. */
typedef struct {
    uint64_t order, step; /* of the first lane, and from one to the next */
    ptrdiff_t label;      /* likewise: either all are of one class, or of one class each */
    int varies;
} lane_places;

FX_INLINE vec per_lane(const void *values, const lane_places *places) {
    const real *p = (const real *)values + places->label;
    return places->varies ? v_load(p) : v_set(*p);
}
FX_INLINE ptrdiff_t label_of(const fx_selection *call, const lane_places *places, int lane) {
    ptrdiff_t label = places->label + (places->varies ? lane : 0);
    return label < call->classes ? label : label % call->classes;
}

/* Count NaN, but for that of the background. */
FX_INLINE void count_nan(fx_selector *s, uint32_t bits, const lane_places *places) {
    const fx_selection *call = s->call;
    for (; bits; bits &= bits - 1)
        s->nan += label_of(call, places, first_bit(bits)) != call->background;
}

/* The lanes that can be among the best; the others are beaten, or follow in the order of ties. */
FX_INLINE uint32_t lanes_to_offer(const fx_best *best, vec x, vec scores, uint64_t order) {
    if (!best->is_full) return FX_ALL_LANES;
    vec worst = v_set((real)best->worst_score), logit = v_set((real)best->worst_logit);
    uint32_t better = v_mask_bits(v_less(worst, scores)),
             equal = v_mask_bits(v_equal(scores, worst));
    if (!equal) return better;
    better |= equal & v_mask_bits(v_less(logit, x));
    if (order < best->worst.order) better |= equal & v_mask_bits(v_equal(x, logit));
    return better;
}

/* A score above the threshold, which is counted already. */
FX_INLINE void offer(fx_selector *s, ptrdiff_t label, real score, real logit, uint64_t order) {
    ptrdiff_t group = s->call->per_class ? label : 0;
    fx_best *best = &s->best[group];
#if FX_DOUBLE
    fx_candidate c = fx_candidate_of_doubles(score, logit, order);
#else
    fx_candidate c = fx_candidate_of_floats(score, logit, order);
#endif
    if (best->is_full && !fx_comes_before(&c, &best->worst)) return;
    if (best->count < best->room || fx_make_room(s, group, &c)) best->items[best->count++] = c;
}

/* Offer these lanes, whose scores pass. */
FX_CALLED void offer_lanes(fx_selector *s, vec logits, vec scores, uint32_t bits,
                           const lane_places *places) {
    const fx_selection *call = s->call;
    real z[LANES], p[LANES];
    if (!call->per_class) bits &= lanes_to_offer(&s->best[0], logits, scores, places->order);
    v_store(z, logits);
    v_store(p, scores);
    for (; bits; bits &= bits - 1) {
        int i = first_bit(bits);
        offer(s, label_of(call, places, i), p[i], z[i], places->order + i * places->step);
    }
}

FX_INLINE vec score_lanes(const fx_selection *call, vec logits) {
    exp_constants constants = make_exp_constants();
    return call->activation == FX_AS_SIGMOIDS ? v_sigmoid(logits, &constants) : logits;
}
