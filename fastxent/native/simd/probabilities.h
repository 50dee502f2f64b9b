/* Cross-entropies of probabilities, clipped to [eps, 1 - eps] as Keras does. */

/* -log(p) and -log(1 - p) of a clipped probability. The smaller of p and 1 - p carries the
 * information: its logarithm, and log1p of it for the other, are both accurate. */
typedef struct {
    vec of_p, of_rest;
} negative_logs;

FX_INLINE negative_logs clipped_logs(vec p, vec rest, vec eps) {
    mask p_is_smaller = v_less(p, rest);
    vec smaller = v_max(eps, v_select(p_is_smaller, p, rest));
    vec log_smaller = v_negate(v_log(smaller));
    vec log_larger = v_negate(v_log1p(v_negate(smaller)));
    negative_logs result = {v_select(p_is_smaller, log_smaller, log_larger),
                            v_select(p_is_smaller, log_larger, log_smaller)};
    return result;
}

/* The mean over the classes, or each element's loss. */
FX_INLINE void binary_lanes(const fx_tile *tile, const lane_range *range) {
    vec eps = v_set((real)tile->eps), classes = v_set((real)tile->classes);
    vec labels = tile->targets.data ? v_zero() : lanes_labels(tile, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec p = lanes_load(&tile->logits, range, k);
        vec y = lanes_target(tile, range, k, labels);
        negative_logs logs = clipped_logs(p, v_sub(v_one(), p), eps);
        vec loss = v_fma(y, logs.of_p, v_mul(v_sub(v_one(), y), logs.of_rest));
        /* The exponent field of a NaN would pass for a number. */
        loss = v_select(v_equal(p, p), loss, p);
        loss = v_mul(loss, class_value(tile->class_weight, k));
        if (tile->weights.data) loss = v_mul(loss, lanes_load(&tile->weights, range, k));
        if (tile->results.data) lanes_store(&tile->results, range, k, loss);
        compensated_add(&total, loss);
    }
    vec sum = total.sum;
    vec mean = v_div(v_select(v_equal(sum, sum), compensated_value(total), sum), classes);
    lanes_store_losses(tile, range, mean);
}

static void binary_cross_entropy(const fx_tile *tile) { FX_FOR_LANES(tile, binary_lanes); }

/* Probabilities are divided by their sum. The largest one's complement is the sum of the others,
 * added up without it: all others are at most one half and need no complement. */
FX_INLINE void categorical_lanes(const fx_tile *tile, const lane_range *range) {
    vec eps = v_set((real)tile->eps);
    vec labels = tile->targets.data ? v_zero() : lanes_labels(tile, range);
    vec largest = v_zero(), maximum = lanes_load(&tile->logits, range, 0);
    for (ptrdiff_t k = 1; k < tile->classes; k++) {
        vec p = lanes_load(&tile->logits, range, k);
        largest = v_select(v_less(maximum, p), v_set((real)k), largest);
        maximum = v_max(maximum, p);
    }
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k);
        compensated_add(&others, v_select(is_largest, v_sub(p, maximum), p));
    }
    vec rest = compensated_value(others);
    vec inverse = v_add(rest, maximum);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec y = v_mul(lanes_target(tile, range, k, labels), class_value(tile->class_weight, k));
        vec p = lanes_load(&tile->logits, range, k);
        vec complement = v_select(is_largest, rest, v_sub(inverse, p));
        negative_logs logs = clipped_logs(v_div(p, inverse), v_div(complement, inverse), eps);
        compensated_add(&total, v_mul(y, logs.of_p));
    }
    vec sum = v_sub(inverse, inverse);        /* NaN where the probabilities' sum is not finite */
    vec undefined = v_div(v_zero(), inverse); /* and where it is 0 */
    lanes_store_losses(tile, range, v_add(compensated_value(total), v_add(sum, undefined)));
}

static void categorical_cross_entropy(const fx_tile *tile) {
    FX_FOR_LANES(tile, categorical_lanes);
}
