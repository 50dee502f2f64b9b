/* The softmax family with every option, and with labels. */

/* One class, before its target: from nll = -log p, p and q = 1 - p, the loss, and the slope
 * -d loss / d log p, 1 for the cross-entropy. */
typedef struct {
    vec loss, slope;
} softmax_value;

FX_MATH softmax_value softmax_value_of(const int kind, const fx_tile *tile, power gamma, vec nll,
                                       vec p, vec q) {
    softmax_value value = {nll, v_one()};
    switch ((fx_softmax_loss)kind) {
    case FX_SOFTMAX_CROSS_ENTROPY:
    case FX_DISTRIBUTION_FOCAL: break;
    case FX_SOFTMAX_FOCAL: {
        vec modulation = v_power(q, gamma);
        vec ratio = v_div(nll, v_max(q, v_set(FX_SMALLEST)));
        /* p log p is 0 for p = 0. */
        vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), p), ratio);
        log_factor_slope = v_where(v_differs(p, v_zero()), log_factor_slope);
        value.loss = v_mul(modulation, nll);
        value.slope = v_fma(modulation, log_factor_slope, modulation);
        break;
    }
    case FX_POLY1: {
        vec epsilon = v_set((real)tile->epsilon);
        /* 1 + epsilon p, for negative epsilon too without cancelling at p = 1. */
        vec from_p = v_fma(epsilon, p, v_one());
        vec from_q = v_sub(v_set((real)(1 + tile->epsilon)), v_mul(epsilon, q));
        value.loss = v_fma(epsilon, q, nll);
        value.slope = v_select(v_less(p, v_set((real)0.5)), from_p, from_q);
        break;
    }
    }
    return value;
}

/* A weight of 0 takes even an infinite loss away; NaN stays. */
FX_INLINE vec v_weighted(vec weight, vec loss) {
    vec limited = v_min(v_one(), loss);
    return v_mul(weight, v_select(v_equal(weight, v_zero()), limited, loss));
}

/* Every option: sum_k weight_k loss(-log p_k); the gradient is p_k sum_c b_c - b_k, where b =
 * target_weight slope = -d loss / d log p is `log_p_slope`. Where only the label has a weight, the
 * sum less its own is exactly 0. */
FX_INLINE void softmax_general(const fx_tile *tile, const lane_range *range, const int kind) {
    vec keep = v_set((real)(1 - tile->label_smoothing));
    vec spread = v_set((real)(tile->label_smoothing / (double)tile->classes));
    power gamma = power_of(tile->gamma_positive);
    exp_constants constants = make_exp_constants();
    lane_labels labels = lanes_targets(tile, range);
    lanes_normalizer normalizer = lanes_normalize(tile, range, 0);
    vec log_sum = lanes_log_sum(&normalizer), inverse = lanes_inverse(&normalizer);
    int needs_p = kind != FX_SOFTMAX_CROSS_ENTROPY || tile->expectations;
    compensated total = compensated_zero(), log_p_slopes = total, expectation = total;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k), p = v_one(), q = v_one();
        if (needs_p) {
            p = v_mul(v_exp_centred(z, &normalizer.at, &constants), inverse);
            q = v_select(v_equal(normalizer.largest, v_set((real)k)),
                         v_mul(normalizer.others, inverse), v_sub(v_one(), p));
        }
        vec y = v_fma(lanes_target(tile, range, k, &labels), keep, spread);
        vec target_weight = v_mul(y, lanes_positive(tile, k));
        vec nll = v_add(v_sub(normalizer.maximum, z), log_sum);
        softmax_value value = softmax_value_of(kind, tile, gamma, nll, p, q);
        vec log_p_slope = v_mul(target_weight, value.slope);
        compensated_add(&total, v_weighted(target_weight, value.loss));
        compensated_add(&log_p_slopes, log_p_slope);
        if (tile->expectations) compensated_add(&expectation, v_mul(v_set((real)k), p));
        if (tile->grads.data) lanes_store(&tile->grads, range, k, log_p_slope);
    }
    vec all = compensated_value(log_p_slopes), scale = lanes_per_anchor(tile->grad_scales, range);
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k);
        vec p = v_mul(v_exp_centred(z, &normalizer.at, &constants), inverse);
        vec q = v_select(v_equal(normalizer.largest, v_set((real)k)),
                         v_mul(normalizer.others, inverse), v_sub(v_one(), p));
        vec log_p_slope = lanes_load(&tile->grads, range, k);
        vec slope = v_sub(v_mul(p, v_sub(all, log_p_slope)), v_mul(q, log_p_slope));
        lanes_store(&tile->grads, range, k, v_mul(slope, scale));
    }
    if (tile->expectations) {
        fx_matrix expectations = {tile->expectations, 1, 0};
        lanes_store(&expectations, range, 0, compensated_value(expectation));
    }
    lanes_store_losses(tile, range, compensated_limit(total));
    repair_infinite(tile, range, normalizer.maximum, softmax_exact_anchor);
}

/* What the one class that is a target contributes: its weight times its loss, and its slope by log
 * p. */
typedef struct {
    vec loss, log_p_slope, p, q;
} target_terms;

FX_INLINE target_terms target_terms_of(const int kind, const fx_tile *tile,
                                       const lanes_normalizer *normalizer, vec log_sum, vec inverse,
                                       vec z, vec column, vec target_weight) {
    exp_constants constants = make_exp_constants();
    vec p = v_mul(v_exp_centred(z, &normalizer->at, &constants), inverse);
    vec q = v_select(v_equal(normalizer->largest, column), v_mul(normalizer->others, inverse),
                     v_sub(v_one(), p));
    vec nll = v_add(v_sub(normalizer->maximum, z), log_sum);
    softmax_value value = softmax_value_of(kind, tile, power_of(tile->gamma_positive), nll, p, q);
    target_terms terms = {v_weighted(target_weight, value.loss), v_mul(target_weight, value.slope),
                          p, q};
    return terms;
}

/* Write the gradients of the classes that are targets: the labels, or those a `step` after them. */
FX_INLINE void put_target_grads(const fx_tile *tile, const lane_range *range,
                                const target_terms *terms, vec all, vec scale, ptrdiff_t step) {
    real grads[LANES];
    vec others = v_sub(all, terms->log_p_slope);
    vec slope = v_sub(v_mul(terms->p, others), v_mul(terms->q, terms->log_p_slope));
    v_store(grads, v_mul(slope, scale));
    for (int i = 0; i < range->count; i++) {
        ptrdiff_t anchor = range->first + i, label = tile->labels[anchor];
        if (label >= 0 && label + step < tile->classes)
            matrix_put(&tile->grads, anchor, label + step, grads[i]);
    }
}

/* The logits of any columns. */
FX_INLINE vec lanes_logits_at(const fx_tile *tile, const lane_range *range, vec columns) {
    vec found = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++)
        found =
            v_select(v_equal(columns, v_set((real)k)), lanes_load(&tile->logits, range, k), found);
    return found;
}

/* Labels, no smoothing: as softmax_general, but only the label, and with soft targets the class
 * after it, has a weight, so that all other classes need their exponentials alone. */
FX_INLINE void softmax_of_labels(const fx_tile *tile, const lane_range *range, const int kind,
                                 const int has_grads) {
    lane_labels labels = lanes_targets(tile, range);
    vec next_column = v_add(labels.columns, v_one()), factor = v_set((real)tile->positive);
    mask has_none = v_less(labels.columns, v_zero());
    lanes_normalizer normalizer = lanes_normalize(tile, range, has_grads);
    vec log_sum = lanes_log_sum(&normalizer), inverse = lanes_inverse(&normalizer);
    vec target_weight =
        v_mul(tile->soft_targets ? v_sub(v_one(), labels.soft_targets) : v_one(), factor);
    vec label_logits = lanes_label_logits(tile, range, labels.columns);
    target_terms own = target_terms_of(kind, tile, &normalizer, log_sum, inverse, label_logits,
                                       labels.columns, v_select(has_none, v_zero(), target_weight));
    target_terms next = {v_zero(), v_zero(), v_zero(), v_zero()};
    compensated total = {own.loss, v_zero()}, log_p_slopes = {own.log_p_slope, v_zero()};
    if (tile->soft_targets) {
        vec next_logits = lanes_logits_at(tile, range, next_column);
        target_weight = v_mul(labels.soft_targets, factor);
        next = target_terms_of(kind, tile, &normalizer, log_sum, inverse, next_logits, next_column,
                               v_select(has_none, v_zero(), target_weight));
        compensated_add(&total, next.loss);
        compensated_add(&log_p_slopes, next.log_p_slope);
    }
    vec all = compensated_value(log_p_slopes), scale = lanes_per_anchor(tile->grad_scales, range);
    for (ptrdiff_t k = 0; has_grads && k < tile->classes; k++) {
        vec p = v_mul(lanes_load(&tile->grads, range, k), inverse);
        lanes_store(&tile->grads, range, k, v_mul(v_mul(p, all), scale));
    }
    if (has_grads) put_target_grads(tile, range, &own, all, scale, 0);
    if (has_grads && tile->soft_targets) put_target_grads(tile, range, &next, all, scale, 1);
    lanes_store_losses(tile, range, compensated_limit(total));
    repair_infinite(tile, range, normalizer.maximum, softmax_exact_anchor);
}

/* The lane kernel of a loss: its loops are compiled for it. */
#define FX_SOFTMAX_LANES(name, kind)                                                               \
    FX_CALLED void name##_general(const fx_tile *tile, const lane_range *range) {                  \
        softmax_general(tile, range, kind);                                                        \
    }                                                                                              \
    FX_CALLED void name##_labels(const fx_tile *tile, const lane_range *range) {                   \
        softmax_of_labels(tile, range, kind, 0);                                                   \
    }                                                                                              \
    FX_CALLED void name##_gradients(const fx_tile *tile, const lane_range *range) {                \
        softmax_of_labels(tile, range, kind, 1);                                                   \
    }                                                                                              \
    static void name##_lanes(const fx_tile *tile) {                                                \
        if (tile->targets.data || tile->positive_weight || tile->label_smoothing != 0 ||           \
            tile->expectations)                                                                    \
            FX_FOR_LANES(tile, name##_general);                                                    \
        else if (tile->grads.data)                                                                 \
            FX_FOR_LANES(tile, name##_gradients);                                                  \
        else                                                                                       \
            FX_FOR_LANES(tile, name##_labels);                                                     \
    }
FX_SOFTMAX_LANES(softmax_with_options, FX_SOFTMAX_CROSS_ENTROPY)
FX_SOFTMAX_LANES(softmax_focal, FX_SOFTMAX_FOCAL)
FX_SOFTMAX_LANES(poly1, FX_POLY1)

#define FX_FEW_CLASSES 4 /* up to here, the kernel knows their number */
static void softmax_cross_entropy_lanes(const fx_tile *tile) {
    int has_options = tile->targets.data || tile->soft_targets || tile->positive_weight ||
                      tile->positive != 1 || tile->label_smoothing != 0 || tile->grads.data ||
                      tile->expectations;
    if (has_options)
        softmax_with_options_lanes(tile);
    else if (tile->classes == 2)
        FX_FOR_LANES(tile, softmax_pair);
    else if (tile->classes == 3)
        softmax_three(tile);
    else if (tile->classes == 4)
        softmax_four(tile);
    else
        softmax_many(tile);
}
