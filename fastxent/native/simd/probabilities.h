/* Cross-entropies of probabilities, clipped to [eps, 1 - eps] as Keras does. */

/* The slope of a class from the factors of -log(p) and -log(1 - p), its target among them. */
FX_INLINE vec binary_slope(vec p, vec q, vec y, vec rest) {
    return v_sub(v_div(rest, q), v_div(y, p));
}

/* A closer look at anchors of which one has a probability outside [0, 1], or NaN: the exponent
 * field of a NaN passes for a number, so it is put into the mean here. */
FX_CALLED vec mean_of_unusual(const fx_tile *tile, const lane_range *range, vec columns, vec mean) {
    vec lowest = v_zero(), undefined = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec p = lanes_load(&tile->logits, range, k), q = v_sub(v_one(), p);
        lowest = v_min(v_select(v_less(p, q), p, q), lowest);
        undefined = v_add(undefined, v_select(v_equal(p, p), v_zero(), p));
    }
    note_outside(tile, columns, lowest);
    return v_select(v_equal(undefined, undefined), mean, undefined);
}
FX_INLINE int has_unusual(vec bits) {
    vec number = sign_and_exponent(bits);
    return v_mask_any(v_less(number, v_zero())) || v_mask_any(v_less(v_one(), number));
}

/* The mean over the classes, or each element's loss. Options: smoothing, and a tiny eps. */
FX_INLINE void binary_range(const fx_tile *tile, const lane_range *range, const int has_options,
                            const int has_grads) {
    const int is_tiny = has_options && clips_at_tiny(tile);
    vec eps = v_set((real)tile->eps), limit = v_set((real)tile->limit);
    vec keep = v_set((real)(1 - tile->label_smoothing));
    vec spread = v_set((real)(tile->label_smoothing / 2));
    vec classes = v_set((real)tile->classes), positive = v_set((real)tile->positive);
    if (tile->label_counts) classes = v_max(v_one(), lanes_per_anchor(tile->label_counts, range));
    vec share = tile->losses ? v_div(v_one(), classes) : v_one();
    vec scale = v_mul(lanes_per_anchor(tile->grad_scales, range), share);
    lane_labels labels = lanes_targets(tile, range);
    compensated total = compensated_zero();
    vec bits = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec p = lanes_stream(tile, range, k), q = v_sub(v_one(), p);
        vec y = lanes_target(tile, range, k, &labels), rest = v_sub(v_one(), y);
        if (has_options) {
            y = v_fma(y, keep, spread);
            rest = v_fma(rest, keep, spread);
        }
        vec weight = tile->positive_weight ? lanes_positive(tile, k) : positive;
        if (tile->weights.data) weight = v_mul(weight, lanes_load(&tile->weights, range, k));
        negative_logs logs =
            is_tiny ? clipped_logs_at_tiny(tile, p, q, v_one()) : clipped_logs(p, q, eps, limit);
        bits = v_or(bits, logs.smaller);
        vec loss = v_fma(y, logs.of_p, v_mul(rest, logs.of_rest));
        if (tile->results.data) {
            loss = v_select(v_equal(p, p), loss, p);
            lanes_store(&tile->results, range, k, v_mul(loss, weight));
        }
        compensated_add(&total, v_mul(loss, weight));
        if (has_grads) {
            vec grad_weight = v_one(), slope;
            if (tile->grad_weights.data) grad_weight = lanes_load(&tile->grad_weights, range, k);
            if (is_tiny) { /* without the others the quotient may overflow */
                vec factor = v_mul(v_mul(weight, grad_weight), scale);
                slope = binary_slope(p, q, v_mul(y, factor), v_mul(rest, factor));
            } else {
                slope = v_mul(binary_slope(p, q, y, rest), weight);
                slope = v_mul(v_mul(slope, grad_weight), scale);
            }
            slope = v_unless(logs.is_clipped, slope);
            lanes_store(&tile->grads, range, k, slope);
        }
    }
    vec sum = total.sum;
    vec mean = v_div(v_select(v_equal(sum, sum), compensated_value(total), sum), classes);
    if (has_unusual(bits)) mean = mean_of_unusual(tile, range, labels.columns, mean);
    lanes_store_losses(tile, range, mean);
}
FX_CALLED void binary_lanes(const fx_tile *tile, const lane_range *range) {
    binary_range(tile, range, 0, 0);
}
FX_CALLED void binary_lanes_with_grads(const fx_tile *tile, const lane_range *range) {
    binary_range(tile, range, 0, 1);
}
FX_CALLED void binary_lanes_with_options(const fx_tile *tile, const lane_range *range) {
    binary_range(tile, range, 1, tile->grads.data != NULL);
}

/* Probabilities are divided by their sum. This is NaN where it is not finite, and where it is 0. */
FX_INLINE vec undefined_sum(vec sum) { return v_add(v_sub(sum, sum), v_div(v_zero(), sum)); }

/* The largest one's complement is the sum of the others, added up without it: all others are at
 * most one half and need no complement. */
typedef struct {
    vec largest, rest, sum, undefined;
} probability_sums;

FX_INLINE probability_sums sum_probabilities(const fx_tile *tile, const lane_range *range,
                                             vec columns) {
    lanes_largest found = lanes_find_largest(tile, range);
    vec largest = found.label, maximum = found.maximum;
    compensated others = compensated_zero();
    vec lowest = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k);
        lowest = v_min(p, lowest);
        compensated_add(&others, v_select(is_largest, v_sub(p, maximum), p));
    }
    note_outside(tile, columns, lowest);
    vec rest = compensated_value(others), sum = v_add(rest, maximum);
    probability_sums sums = {largest, rest, sum, undefined_sum(sum)};
    return sums;
}

/* The gradient is (sum_c y_c / sum - y_k / p_k) scale; where only the label has a target, the first
 * difference is exactly 0. */
FX_INLINE vec categorical_slope(vec all, vec y, vec p, vec complement, vec sum, vec scale,
                                const int is_tiny) {
    vec others = v_sub(all, y), own = v_mul(y, v_div(complement, p));
    own = v_select(v_equal(y, v_zero()), v_zero(), own);
    vec slope = v_mul(v_div(v_sub(others, own), sum), scale);
    if (is_tiny) { /* the quotient by p may overflow, and comes last */
        own = v_div(v_mul(v_mul(y, scale), v_div(complement, sum)), p);
        own = v_select(v_equal(y, v_zero()), v_zero(), own);
        mask overflows = v_less(p, v_mul(sum, v_set(FX_SMALLEST)));
        slope = v_select(overflows, v_sub(v_mul(v_div(others, sum), scale), own), slope);
    }
    return slope;
}

/* With a label and no weights only its probability needs a logarithm. Its complement is what the
 * other classes add up to, whichever is the largest, and these have one slope. */
typedef struct {
    vec own, others;
} label_slopes;

/* The losses of labels with the probability p; and the gradients, where they are wanted. */
FX_INLINE label_slopes categorical_of_labels_by(const fx_tile *tile, const lane_range *range,
                                                vec labels, vec p, vec others, const int is_tiny) {
    vec eps = v_set((real)tile->eps), limit = v_set((real)tile->limit);
    vec y = v_select(v_less(labels, v_zero()), v_zero(), v_set((real)tile->positive));
    vec sum = v_add(others, p), undefined = undefined_sum(sum);
    vec share = v_div(p, sum), rest = v_div(others, sum);
    negative_logs logs = is_tiny ? clipped_logs_at_tiny(tile, p, others, sum)
                                 : clipped_logs(share, rest, eps, limit);
    lanes_store_losses(tile, range, v_add(v_mul(y, logs.of_p), undefined));
    label_slopes slopes = {v_zero(), v_zero()};
    if (!tile->grads.data) return slopes;
    y = v_select(logs.is_clipped, v_zero(), y);
    vec all = v_add(y, undefined), scale = lanes_per_anchor(tile->grad_scales, range);
    slopes.own = categorical_slope(all, y, p, others, sum, scale, is_tiny);
    slopes.others = v_mul(v_div(all, sum), scale);
    return slopes;
}
FX_CALLED label_slopes categorical_of_labels_at_tiny(const fx_tile *tile, const lane_range *range,
                                                     vec labels, vec p, vec others) {
    return categorical_of_labels_by(tile, range, labels, p, others, 1);
}
FX_MATH label_slopes categorical_of_labels(const fx_tile *tile, const lane_range *range, vec labels,
                                           vec p, vec others) {
    if (clips_at_tiny(tile)) return categorical_of_labels_at_tiny(tile, range, labels, p, others);
    return categorical_of_labels_by(tile, range, labels, p, others, 0);
}

FX_INLINE void categorical_labels_by(const fx_tile *tile, const lane_range *range,
                                     const int is_tiny) {
    vec labels = lanes_labels(tile, range), number = v_zero(), lowest = v_zero();
    compensated total = compensated_zero();
    for (ptrdiff_t group = 0; group < tile->classes; group += FX_CLASS_GROUP) {
        ptrdiff_t end = group + FX_CLASS_GROUP;
        if (end > tile->classes) end = tile->classes;
        vec sum = v_zero(), group_lowest = v_zero();
        for (ptrdiff_t k = group; k < end; k++) {
            vec p = lanes_stream(tile, range, k);
            group_lowest = v_min(p, group_lowest);
            sum = v_add(sum, v_where(v_differs(labels, number), p));
            number = v_add(number, v_one());
        }
        lowest = v_min(group_lowest, lowest);
        compensated_add(&total, sum);
    }
    note_outside(tile, labels, lowest);
    vec own = lanes_label_logits(tile, range, labels);
    label_slopes slopes =
        categorical_of_labels_by(tile, range, labels, own, compensated_value(total), is_tiny);
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        mask is_label = v_equal(labels, v_set((real)k));
        lanes_store(&tile->grads, range, k, v_select(is_label, slopes.own, slopes.others));
    }
}
FX_CALLED void categorical_labels(const fx_tile *tile, const lane_range *range) {
    categorical_labels_by(tile, range, 0);
}
FX_CALLED void categorical_labels_at_tiny(const fx_tile *tile, const lane_range *range) {
    categorical_labels_by(tile, range, 1);
}

FX_INLINE void categorical_range(const fx_tile *tile, const lane_range *range,
                                 const int has_options) {
    const int is_tiny = has_options && clips_at_tiny(tile);
    vec eps = v_set((real)tile->eps), limit = v_set((real)tile->limit);
    vec keep = v_set((real)(1 - tile->label_smoothing));
    vec spread = v_set((real)(tile->label_smoothing / (double)tile->classes));
    lane_labels labels = lanes_targets(tile, range);
    probability_sums sums = sum_probabilities(tile, range, labels.columns);
    compensated total = compensated_zero(), log_p_slopes = total;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(sums.largest, v_set((real)k));
        vec y = lanes_target(tile, range, k, &labels);
        if (has_options) y = v_fma(y, keep, spread);
        y = v_mul(y, lanes_positive(tile, k));
        vec p = lanes_load(&tile->logits, range, k);
        vec complement = v_select(is_largest, sums.rest, v_sub(sums.sum, p));
        vec share = v_div(p, sums.sum), rest = v_div(complement, sums.sum);
        negative_logs logs = is_tiny ? clipped_logs_at_tiny(tile, p, complement, sums.sum)
                                     : clipped_logs(share, rest, eps, limit);
        compensated_add(&total, v_mul(y, logs.of_p));
        if (tile->grads.data) {
            y = v_select(logs.is_clipped, v_zero(), y);
            compensated_add(&log_p_slopes, y);
            lanes_store(&tile->grads, range, k, y);
        }
    }
    vec all = v_add(compensated_value(log_p_slopes), sums.undefined);
    vec scale = lanes_per_anchor(tile->grad_scales, range);
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        mask is_largest = v_equal(sums.largest, v_set((real)k));
        vec p = lanes_load(&tile->logits, range, k), y = lanes_load(&tile->grads, range, k);
        vec complement = v_select(is_largest, sums.rest, v_sub(sums.sum, p));
        vec slope = categorical_slope(all, y, p, complement, sums.sum, scale, is_tiny);
        lanes_store(&tile->grads, range, k, slope);
    }
    lanes_store_losses(tile, range, v_add(compensated_value(total), sums.undefined));
}
FX_CALLED void categorical_lanes(const fx_tile *tile, const lane_range *range) {
    categorical_range(tile, range, 0);
}
FX_CALLED void categorical_lanes_with_options(const fx_tile *tile, const lane_range *range) {
    categorical_range(tile, range, 1);
}

static void binary_cross_entropy_lanes(const fx_tile *tile) {
    if (tile->label_smoothing != 0 || clips_at_tiny(tile))
        FX_FOR_LANES(tile, binary_lanes_with_options);
    else if (tile->grads.data)
        FX_FOR_LANES(tile, binary_lanes_with_grads);
    else
        FX_FOR_LANES(tile, binary_lanes);
}
static void categorical_cross_entropy_lanes(const fx_tile *tile) {
    const int smooths = tile->label_smoothing != 0, has_options = smooths || clips_at_tiny(tile);
    if (!tile->targets.data && !tile->positive_weight && !smooths) {
        if (has_options)
            FX_FOR_LANES(tile, categorical_labels_at_tiny);
        else
            FX_FOR_LANES(tile, categorical_labels);
    } else if (has_options)
        FX_FOR_LANES(tile, categorical_lanes_with_options);
    else
        FX_FOR_LANES(tile, categorical_lanes);
}
