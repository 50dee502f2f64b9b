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

/* The mean over the classes, or each element's loss. Clipping stops the gradient. */
FX_CALLED void binary_lanes(const fx_tile *tile, const lane_range *range) {
    vec eps = v_set((real)tile->eps), classes = v_set((real)tile->classes);
    vec share = v_set((real)(tile->results.data ? 1 : 1 / (double)tile->classes));
    vec scale = v_mul(lanes_per_anchor(tile->grad_scales, range), share);
    lane_labels labels = lanes_targets(tile, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec p = lanes_stream(tile, range, k), q = v_sub(v_one(), p);
        vec y = lanes_target(tile, range, k, &labels), rest = v_sub(v_one(), y);
        vec weight = lanes_positive(tile, k);
        if (tile->weights.data) weight = v_mul(weight, lanes_load(&tile->weights, range, k));
        negative_logs logs = clipped_logs(p, q, eps);
        vec loss = v_fma(y, logs.of_p, v_mul(rest, logs.of_rest));
        /* The exponent field of a NaN would pass for a number. */
        loss = v_mul(v_select(v_equal(p, p), loss, p), weight);
        if (tile->results.data) lanes_store(&tile->results, range, k, loss);
        compensated_add(&total, loss);
        if (tile->grads.data) {
            vec slope = v_mul(v_sub(v_div(rest, q), v_div(y, p)), weight);
            if (tile->grad_weights.data)
                slope = v_mul(slope, lanes_load(&tile->grad_weights, range, k));
            slope = v_select(v_less(v_min(p, q), eps), v_zero(), v_mul(slope, scale));
            slope = v_select(v_equal(p, p), slope, p);
            lanes_store(&tile->grads, range, k, slope);
        }
    }
    vec sum = total.sum;
    vec mean = v_div(v_select(v_equal(sum, sum), compensated_value(total), sum), classes);
    lanes_store_losses(tile, range, mean);
}

/* Probabilities are divided by their sum. The largest one's complement is the sum of the others,
 * added up without it: all others are at most one half and need no complement. */
typedef struct {
    vec largest, rest, sum;
    vec undefined; /* NaN where the sum is not finite, and where it is 0 */
} probability_sums;

FX_INLINE probability_sums sum_probabilities(const fx_tile *tile, const lane_range *range) {
    vec largest = v_zero(), maximum = lanes_stream(tile, range, 0);
    for (ptrdiff_t k = 1; k < tile->classes; k++) {
        vec p = lanes_stream(tile, range, k);
        largest = v_select(v_less(maximum, p), v_set((real)k), largest);
        maximum = v_max(maximum, p);
    }
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k);
        compensated_add(&others, v_select(is_largest, v_sub(p, maximum), p));
    }
    vec rest = compensated_value(others), sum = v_add(rest, maximum);
    vec undefined = v_add(v_sub(sum, sum), v_div(v_zero(), sum));
    probability_sums sums = {largest, rest, sum, undefined};
    return sums;
}

/* The gradient is sum_c y_c / sum - y_k / p_k; where only the label has a target, the first
 * difference is exactly 0. */
FX_INLINE vec categorical_slope(vec all, vec y, vec p, vec complement, vec sum) {
    vec own = v_mul(y, v_div(complement, p));
    own = v_select(v_equal(y, v_zero()), v_zero(), own);
    return v_div(v_sub(v_sub(all, y), own), sum);
}

/* With a label and no weights, only its probability needs a logarithm, and all other classes have
 * one slope. */
FX_CALLED void categorical_labels(const fx_tile *tile, const lane_range *range) {
    vec eps = v_set((real)tile->eps), labels = lanes_labels(tile, range);
    probability_sums sums = sum_probabilities(tile, range);
    vec p = lanes_label_logits(tile, range, labels);
    vec complement = v_select(v_equal(sums.largest, labels), sums.rest, v_sub(sums.sum, p));
    vec share = v_div(p, sums.sum), rest = v_div(complement, sums.sum);
    vec y = v_select(v_less(labels, v_zero()), v_zero(), v_set((real)tile->positive));
    vec loss = v_mul(y, clipped_logs(share, rest, eps).of_p);
    lanes_store_losses(tile, range, v_add(loss, sums.undefined));
    if (!tile->grads.data) return;
    y = v_select(v_less(v_min(share, rest), eps), v_zero(), y); /* clipping stops the gradient */
    vec all = v_add(y, sums.undefined), scale = lanes_per_anchor(tile->grad_scales, range);
    vec own = v_mul(categorical_slope(all, y, p, complement, sums.sum), scale);
    vec other = v_mul(v_div(all, sums.sum), scale);
    for (ptrdiff_t k = 0; k < tile->classes; k++)
        lanes_store(&tile->grads, range, k, v_select(v_equal(labels, v_set((real)k)), own, other));
}

FX_CALLED void categorical_lanes(const fx_tile *tile, const lane_range *range) {
    vec eps = v_set((real)tile->eps);
    lane_labels labels = lanes_targets(tile, range);
    probability_sums sums = sum_probabilities(tile, range);
    compensated total = compensated_zero(), pulls = total;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(sums.largest, v_set((real)k));
        vec y = v_mul(lanes_target(tile, range, k, &labels), lanes_positive(tile, k));
        vec p = lanes_load(&tile->logits, range, k);
        vec complement = v_select(is_largest, sums.rest, v_sub(sums.sum, p));
        vec share = v_div(p, sums.sum), rest = v_div(complement, sums.sum);
        compensated_add(&total, v_mul(y, clipped_logs(share, rest, eps).of_p));
        if (tile->grads.data) { /* clipping stops the gradient */
            y = v_select(v_less(v_min(share, rest), eps), v_zero(), y);
            compensated_add(&pulls, y);
            lanes_store(&tile->grads, range, k, y);
        }
    }
    vec all = v_add(compensated_value(pulls), sums.undefined);
    vec scale = lanes_per_anchor(tile->grad_scales, range);
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        mask is_largest = v_equal(sums.largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k), y = lanes_load(&tile->grads, range, k);
        vec complement = v_select(is_largest, sums.rest, v_sub(sums.sum, p));
        vec slope = categorical_slope(all, y, p, complement, sums.sum);
        lanes_store(&tile->grads, range, k, v_mul(slope, scale));
    }
    lanes_store_losses(tile, range, v_add(compensated_value(total), sums.undefined));
}

static void probability_losses(const fx_tile *tile) {
    if (tile->loss == FX_BINARY_CROSS_ENTROPY)
        FX_FOR_LANES(tile, binary_lanes);
    else if (tile->targets.data || tile->positive_weight)
        FX_FOR_LANES(tile, categorical_lanes);
    else
        FX_FOR_LANES(tile, categorical_labels);
}
