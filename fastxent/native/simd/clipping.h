/* Logarithms of clipped probabilities, and a look for what is none. */

/* Whether the caller has to be told: not where all probabilities were searched before the call. */
FX_INLINE int looks_outside(const fx_tile *tile) { return tile->lowest_prob > (double)-INFINITY; }

/* Tell the caller of a number that rounding does not explain, in anchors that are not ignored. */
FX_INLINE void note_outside(const fx_tile *tile, vec columns, vec lowest) {
    mask is_ignored = v_equal(columns, v_set((real)FX_IGNORED));
    vec seen = v_select(is_ignored, v_zero(), lowest);
    if (v_mask_any(v_less(seen, v_set((real)tile->lowest_prob)))) *tile->has_outside = 1;
}

/* Sign and exponent of numbers whose bits were put together: below 0 if one of them is, but for
 * subnormal ones; above 1 if one is NaN, or 2 at least. Of NaN with a sign either may be so. */
FX_INLINE vec sign_and_exponent(vec bits) { return v_and(bits, v_set((real)-INFINITY)); }

/* -log(p) and -log(1 - p) of a clipped probability. The smaller of p and 1 - p carries the
 * information: its logarithm, and log1p of it for the other, are both accurate. */
typedef struct {
    vec of_p, of_rest, smaller;
    mask is_clipped; /* which stops the gradient */
} negative_logs;

FX_INLINE negative_logs clipped_logs(vec p, vec rest, vec eps, vec limit) {
    mask p_is_smaller = v_less(p, rest);
    vec smaller = v_select(p_is_smaller, p, rest);
    vec inside = v_max(eps, smaller);
    vec log_smaller = v_negate(v_log(inside));
    vec log_larger = v_negate(v_log1p(v_negate(inside)));
    negative_logs result = {v_select(p_is_smaller, log_smaller, log_larger),
                            v_select(p_is_smaller, log_larger, log_smaller), smaller,
                            v_less(smaller, limit)};
    return result;
}

/* An eps that is no normal number leaves probabilities that are none, and that may be below all
 * numbers: own / sum. Where the quotient is, it is taken times 2^FX_TINY_EXPONENT, as `tiny_limit`
 * is. Of a sum below that of the denominator no part but 0 is so small. */
FX_INLINE int clips_at_tiny(const fx_tile *tile) { return tile->eps < (double)FX_SMALLEST; }

#if FX_DOUBLE
#define FX_TINY_NUMERATOR 0x1p600
#define FX_TINY_DENOMINATOR 0x1p-500
#define FX_TINY_EXPONENT 1100.0
#else
#define FX_TINY_NUMERATOR 0x1p96f
#define FX_TINY_DENOMINATOR 0x1p-64f
#define FX_TINY_EXPONENT 160.0f
#endif
FX_INLINE vec tiny_quotient(vec a, vec b) {
    vec divisor = v_max(v_set(FX_SMALLEST), v_mul(b, v_set(FX_TINY_DENOMINATOR)));
    return v_div(v_mul(a, v_set(FX_TINY_NUMERATOR)), divisor);
}
FX_MATH vec log_of_tiny(vec quotient) {
    vec inverse_power, k = v_exponent(quotient, &inverse_power);
    k = v_sub(k, v_set(FX_TINY_EXPONENT));
    return v_log_sum(k, v_fma(quotient, inverse_power, v_set((real)-1)));
}
/* The same for p = own / sum and 1 - p = others / sum. */
FX_INLINE negative_logs clipped_logs_at_tiny(const fx_tile *tile, vec own, vec others, vec sum) {
    vec p = v_div(own, sum), rest = v_div(others, sum);
    negative_logs result = clipped_logs(p, rest, v_set(FX_SMALLEST), v_zero());
    mask p_is_smaller = v_less(p, rest);
    vec smaller = v_select(p_is_smaller, p, rest);
    mask is_tiny = v_less(smaller, v_set(FX_SMALLEST));
    vec quotient = tiny_quotient(v_select(p_is_smaller, own, others), sum);
    vec limited = v_select(is_tiny, quotient, v_set(INFINITY));
    result.is_clipped = v_less(limited, v_set((real)tile->tiny_limit));
    vec log_smaller = v_select(result.is_clipped, v_set((real)tile->highest_loss),
                               v_negate(log_of_tiny(quotient)));
    vec log_larger = v_select(result.is_clipped, v_set((real)tile->lowest_loss), smaller);
    vec of_p = v_select(p_is_smaller, log_smaller, log_larger);
    vec of_rest = v_select(p_is_smaller, log_larger, log_smaller);
    result.of_p = v_select(is_tiny, of_p, result.of_p);
    result.of_rest = v_select(is_tiny, of_rest, result.of_rest);
    return result;
}
