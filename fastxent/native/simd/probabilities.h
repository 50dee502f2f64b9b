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

/* Probabilities are divided by their sum. This is NaN where it is not finite, and where it is 0. */
FX_INLINE vec undefined_sum(vec sum) { return v_add(v_sub(sum, sum), v_div(v_zero(), sum)); }

/* The largest one's complement is the sum of the others, added up without it: all others are at
 * most one half and need no complement. */
typedef struct {
    vec largest, rest, sum, undefined;
} probability_sums;

FX_INLINE probability_sums sum_probabilities(const fx_tile *tile, const lane_range *range) {
    lanes_largest found = lanes_find_largest(tile, range);
    vec largest = found.label, maximum = found.maximum;
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k);
        compensated_add(&others, v_select(is_largest, v_sub(p, maximum), p));
    }
    vec rest = compensated_value(others), sum = v_add(rest, maximum);
    probability_sums sums = {largest, rest, sum, undefined_sum(sum)};
    return sums;
}

/* The gradient is sum_c y_c / sum - y_k / p_k; where only the label has a target, the first
 * difference is exactly 0. */
FX_INLINE vec categorical_slope(vec all, vec y, vec p, vec complement, vec sum) {
    vec own = v_mul(y, v_div(complement, p));
    own = v_select(v_equal(y, v_zero()), v_zero(), own);
    return v_div(v_sub(v_sub(all, y), own), sum);
}

/* With a label and no weights only its probability needs a logarithm. Its complement is what the
 * other classes add up to, whichever is the largest, and these have one slope. */
typedef struct {
    vec own, others;
} label_slopes;

/* The losses of labels with the probability p; and the gradients, where they are wanted. */
FX_MATH label_slopes categorical_of_labels(const fx_tile *tile, const lane_range *range, vec labels,
                                           vec p, vec others) {
    vec eps = v_set((real)tile->eps);
    vec y = v_select(v_less(labels, v_zero()), v_zero(), v_set((real)tile->positive));
    vec sum = v_add(others, p), undefined = undefined_sum(sum);
    vec share = v_div(p, sum), rest = v_div(others, sum);
    vec loss = v_mul(y, clipped_logs(share, rest, eps).of_p);
    lanes_store_losses(tile, range, v_add(loss, undefined));
    label_slopes slopes = {v_zero(), v_zero()};
    if (!tile->grads.data) return slopes;
    y = v_select(v_less(v_min(share, rest), eps), v_zero(), y); /* clipping stops the gradient */
    vec all = v_add(y, undefined), scale = lanes_per_anchor(tile->grad_scales, range);
    slopes.own = v_mul(categorical_slope(all, y, p, others, sum), scale);
    slopes.others = v_mul(v_div(all, sum), scale);
    return slopes;
}

FX_CALLED void categorical_labels(const fx_tile *tile, const lane_range *range) {
    vec labels = lanes_labels(tile, range);
    compensated total = compensated_zero();
    for (ptrdiff_t group = 0; group < tile->classes; group += FX_CLASS_GROUP) {
        ptrdiff_t end = group + FX_CLASS_GROUP;
        if (end > tile->classes) end = tile->classes;
        vec sum = v_zero();
        for (ptrdiff_t k = group; k < end; k++) {
            vec p = lanes_stream(tile, range, k);
            sum = v_add(sum, v_where(v_differs(labels, v_set((real)k)), p));
        }
        compensated_add(&total, sum);
    }
    vec own = lanes_label_logits(tile, range, labels);
    label_slopes slopes = categorical_of_labels(tile, range, labels, own, compensated_value(total));
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        mask is_label = v_equal(labels, v_set((real)k));
        lanes_store(&tile->grads, range, k, v_select(is_label, slopes.own, slopes.others));
    }
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
