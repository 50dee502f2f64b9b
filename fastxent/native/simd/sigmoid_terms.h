/* One logit of the losses of the sigmoid family: its loss and the slope d loss / d z.
 *
 * All of them are made of p = sigmoid(z), q = 1 - p and softplus(z), and these of e = exp(-|z|),
 * none by subtracting nearly equal numbers. The slope of a hard target is a sum of terms of one
 * sign; that of a soft target, (1 - y) p - y q, is a difference by nature.
 */
typedef struct {
    vec loss, slope;
} sigmoid_value;

typedef struct {
    vec p, q, tail; /* sigmoid(z), sigmoid(-z), log1p(exp(-|z|)) */
} sigmoid_parts;

/* From e = exp(-|z|). */
FX_INLINE sigmoid_parts sigmoid_parts_from(vec z, vec e, const exp_constants *constants) {
    vec larger = v_div(v_one(), v_add(v_one(), e)), smaller = v_mul(e, larger);
    mask is_negative = v_less(z, v_zero());
    sigmoid_parts parts = {v_select(is_negative, smaller, larger),
                           v_select(is_negative, larger, smaller), v_log1p_unit(e, constants)};
    return parts;
}
FX_MATH sigmoid_parts sigmoid_parts_of(vec z, const exp_constants *constants) {
    return sigmoid_parts_from(z, v_exp_nonpositive(v_negative_abs(z), constants), constants);
}

/* sigmoid(z)^g = exp(g (min(z, 0) - tail)), for g > 0. The product g min(z, 0) may be large, and
 * exp makes an absolute error a relative one: it is kept in two parts, and reduced before g tail
 * joins it. Of logits below FX_LOWEST_LOGIT the losses are 0 whatever the power is, so that it may
 * stop there. */
#define FX_LOWEST_LOGIT -1e4f
FX_MATH vec sigmoid_power_any(vec z, vec tail, power exponent, const exp_constants *constants) {
    vec g = v_set(exponent.exponent);
    vec below = v_max(v_set((real)FX_LOWEST_LOGIT), v_min(v_zero(), z)); /* NaN stays NaN */
    vec product = v_mul(g, below), lost = v_product_error(g, below, product);
    lost = v_fma(v_set(exponent.exponent_low), below, lost);
    vec whole = v_max(constants->underflow, v_fnma(g, tail, product));
    vec biased = v_fma(whole, constants->log2_e, constants->magic);
    vec n = v_sub(biased, constants->magic);
    vec r = v_fnma(n, constants->ln2_high, product);
    r = v_fnma(n, constants->ln2_low, r);
    r = v_fnma(g, tail, v_add(r, lost));
    /* Where the power underflows, r is far off. */
    r = v_max(v_set((real)-1), r);
    return v_scale(v_exp_reduced(r, constants), n, biased);
}
FX_INLINE vec sigmoid_power(vec z, const sigmoid_parts *parts, power gamma,
                            const exp_constants *constants) {
    if (gamma.kind == POWER_ANY) return sigmoid_power_any(z, parts->tail, gamma, constants);
    return v_power(parts->p, gamma);
}

/* -|z|, but 0 where its factor is 0: of an infinite logit, too. */
FX_INLINE vec size_on_side(vec z, vec side) {
    return v_unless(v_equal(side, v_zero()), v_negative_abs(z));
}

/* positive softplus(-z) + negative softplus(z) */
FX_INLINE sigmoid_value cross_entropy_value(vec z, const sigmoid_parts *parts, vec positive,
                                            vec negative) {
    vec side = v_select(v_less(z, v_zero()), positive, negative);
    vec both = v_mul(v_add(positive, negative), parts->tail);
    sigmoid_value value = {v_fma(size_on_side(z, side), v_negate(side), both),
                           v_sub(v_mul(negative, parts->p), v_mul(positive, parts->q))};
    return value;
}

/* p^gamma softplus(z): the focal loss of a negative; of a positive, for -z. */
FX_INLINE sigmoid_value modulated_value_from(vec z, const sigmoid_parts *parts, power gamma,
                                             const exp_constants *constants) {
    vec softplus = v_add(v_relu(z), parts->tail);
    vec modulation = sigmoid_power(z, parts, gamma, constants);
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), parts->q), softplus);
    sigmoid_value value = {v_mul(modulation, softplus),
                           v_mul(modulation, v_add(log_factor_slope, parts->p))};
    return value;
}
FX_MATH sigmoid_value modulated_value(vec z, power gamma, const exp_constants *constants) {
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    return modulated_value_from(z, &parts, gamma, constants);
}

/* What the parameters of a call amount to, once a tile. */
typedef struct {
    power gamma_positive, gamma_negative;
    vec keep, spread;                   /* smoothed targets are y keep + spread */
    vec clip, threshold, threshold_low; /* clip = sigmoid(threshold), in two parts */
    int is_clipped;
    vec slope, slope_low, shift, shift_low, inverse_slope; /* each number in two parts */
    int iou_weighted;
} sigmoid_options;

FX_INLINE sigmoid_options sigmoid_options_of(const fx_tile *tile) {
    sigmoid_options options = {
        .gamma_positive = power_of(tile->gamma_positive),
        .gamma_negative = power_of(tile->gamma_negative),
        .keep = v_set((real)(1 - tile->label_smoothing)),
        .spread = v_set((real)(tile->label_smoothing / 2)),
        .clip = v_set((real)tile->clip),
        .is_clipped = tile->clip > 0,
        .slope = v_set((real)tile->slope),
        .slope_low = v_set((real)(tile->slope - (real)tile->slope)),
        .shift = v_set((real)tile->shift),
        .shift_low = v_set((real)(tile->shift - (real)tile->shift)),
        .inverse_slope = v_set((real)(1 / tile->slope)),
        .iou_weighted = tile->iou_weighted,
    };
    double threshold = options.is_clipped ? log(tile->clip) - log1p(-tile->clip) : 0;
    options.threshold = v_set((real)threshold);
    options.threshold_low = v_set((real)(threshold - (real)threshold));
    return options;
}

/* A focal negative with its probability shifted down, m = max(p - clip, 0): m^gamma (-log(1 - m)).
 *
 * p - clip would cancel near clip = sigmoid(threshold). There
 * sigmoid(z) - sigmoid(t) = sigmoid(z) (1 - sigmoid(t)) (1 - exp(t - z)). */
FX_INLINE vec above_threshold(vec z, const sigmoid_options *options) {
    return v_sub(v_sub(z, options->threshold), options->threshold_low);
}
FX_INLINE vec shifted_probability(vec z, const sigmoid_parts *parts,
                                  const sigmoid_options *options) {
    vec above = above_threshold(z, options);
    vec share = v_negate(v_expm1_nonpositive(v_negate(v_relu(above))));
    return v_mul(v_mul(parts->p, v_sub(v_one(), options->clip)), share);
}
FX_INLINE sigmoid_value clipped_value(vec z, vec m, const sigmoid_parts *parts,
                                      const sigmoid_options *options) {
    vec rest = v_add(parts->q, options->clip);
    /* log(1 - m), of whichever of m and 1 - m is the smaller. */
    mask is_small = v_less(m, v_set((real)0.5));
    vec inverse_power;
    vec k = v_exponent(v_select(is_small, v_sub(v_one(), m), rest), &inverse_power);
    vec of_small = v_fma(v_negate(m), inverse_power, v_sub(inverse_power, v_one()));
    vec of_rest = v_fma(rest, inverse_power, v_set((real)-1));
    vec size = v_negate(v_log_sum(k, v_select(is_small, of_small, of_rest)));
    vec modulation = v_power(m, options->gamma_negative);
    vec ratio = v_div(size, v_max(m, v_set(FX_SMALLEST)));
    vec log_factor_slope =
        v_fma(v_set(options->gamma_negative.exponent), ratio, v_div(v_one(), rest));
    vec slope = v_mul(v_mul(modulation, v_mul(parts->p, parts->q)), log_factor_slope);
    mask is_above = v_less(v_zero(), above_threshold(z, options));
    sigmoid_value value = {v_mul(modulation, size), v_select(is_above, slope, v_zero())};
    /* The exponent field of a NaN would pass for a number. */
    value.loss = v_select(v_equal(z, z), value.loss, z);
    return value;
}
FX_INLINE sigmoid_value shifted_value_from(vec z, const sigmoid_parts *parts,
                                           const sigmoid_options *options,
                                           const exp_constants *constants) {
    if (!options->is_clipped)
        return modulated_value_from(z, parts, options->gamma_negative, constants);
    return clipped_value(z, shifted_probability(z, parts, options), parts, options);
}
FX_MATH sigmoid_value shifted_value(vec z, const sigmoid_options *options,
                                    const exp_constants *constants) {
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    return shifted_value_from(z, &parts, options, constants);
}

/* What the terms of targets y and of 1 - y are multiplied by. */
typedef struct {
    vec positive, negative;
} class_factors;
FX_INLINE class_factors class_factors_of(const fx_tile *tile, ptrdiff_t k) {
    class_factors factors = {lanes_positive(tile, k), lanes_negative(tile, k)};
    return factors;
}

/* 0 and 1, of numbers from 0 to 1. */
FX_INLINE mask is_hard_target(vec y) { return v_equal(v_mul(y, y), y); }

/* m^gamma with m = y q + (1 - y) p, which is a sigmoid where y is 0 or 1. */
FX_INLINE vec focal_modulation(vec z, vec y, vec m, const sigmoid_parts *parts, power gamma,
                               const exp_constants *constants) {
    if (gamma.kind != POWER_ANY) return v_power(m, gamma);
    vec flipped = v_select(v_equal(y, v_one()), v_negate(z), z);
    vec hard = sigmoid_power_any(flipped, parts->tail, gamma, constants);
    mask is_hard = is_hard_target(y);
    return v_mask_all(is_hard) ? hard : v_select(is_hard, hard, v_pow(m, gamma));
}

/* factor m^gamma ce with m = y q + (1 - y) p, as torchvision has it for soft targets too. */
FX_INLINE sigmoid_value focal_value(const class_factors *factors, const sigmoid_options *options,
                                    const exp_constants *constants, vec z, vec y,
                                    const sigmoid_parts *parts) {
    power gamma = options->gamma_positive;
    vec rest = v_sub(v_one(), y);
    sigmoid_value entropy = cross_entropy_value(z, parts, y, rest);
    vec one_minus_pt = v_fma(y, parts->q, v_mul(rest, parts->p));
    vec factor = v_fma(y, factors->positive, v_mul(rest, factors->negative));
    factor = v_mul(factor, focal_modulation(z, y, one_minus_pt, parts, gamma, constants));
    vec log_base_slope = v_div(v_mul(parts->p, parts->q), v_max(one_minus_pt, v_set(FX_SMALLEST)));
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), v_sub(rest, y)), log_base_slope);
    sigmoid_value value = {v_mul(factor, entropy.loss),
                           v_mul(factor, v_fma(log_factor_slope, entropy.loss, entropy.slope))};
    return value;
}

FX_INLINE sigmoid_value varifocal_value(const class_factors *factors,
                                        const sigmoid_options *options,
                                        const exp_constants *constants, vec z, vec y,
                                        const sigmoid_parts *parts) {
    power gamma = options->gamma_negative;
    mask is_positive = v_less(v_zero(), y);
    sigmoid_value entropy = cross_entropy_value(z, parts, y, v_sub(v_one(), y));
    vec of_positive = v_mul(factors->positive, options->iou_weighted ? y : v_one());
    vec of_negative = v_mul(factors->negative, sigmoid_power(z, parts, gamma, constants));
    vec factor = v_select(is_positive, of_positive, of_negative);
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), parts->q), entropy.loss);
    log_factor_slope = v_select(is_positive, v_zero(), log_factor_slope);
    sigmoid_value value = {v_mul(factor, entropy.loss),
                           v_mul(factor, v_add(log_factor_slope, entropy.slope))};
    return value;
}

/* Linear in y: y times the loss of a positive, 1 - y times that of a negative. */
FX_INLINE sigmoid_value asymmetric_sum(const class_factors *factors, const sigmoid_options *options,
                                       const exp_constants *constants, vec z, vec y,
                                       const sigmoid_parts *parts, sigmoid_value of_negative) {
    const sigmoid_parts flipped = {parts->q, parts->p, parts->tail};
    sigmoid_value of_positive =
        modulated_value_from(v_negate(z), &flipped, options->gamma_positive, constants);
    vec positive = v_mul(y, factors->positive);
    vec negative = v_mul(v_sub(v_one(), y), factors->negative);
    sigmoid_value value = {
        v_fma(positive, of_positive.loss, v_mul(negative, of_negative.loss)),
        v_sub(v_mul(negative, of_negative.slope), v_mul(positive, of_positive.slope))};
    return value;
}
FX_INLINE sigmoid_value asymmetric_value(const class_factors *factors,
                                         const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         const sigmoid_parts *parts) {
    sigmoid_value of_negative = shifted_value_from(z, parts, options, constants);
    return asymmetric_sum(factors, options, constants, z, y, parts, of_negative);
}

/* softplus(-u) / slope with u = slope x + shift, and sigmoid(-u).
 *
 * exp(-|u|) makes the absolute error of u a relative one, so u has two parts. Beyond
 * FX_SHIFTED_LIMIT they make no difference, and of infinite logits the second would be NaN. */
#define FX_SHIFTED_LIMIT 0x1p20f
FX_MATH sigmoid_value shifted_softplus(vec x, const sigmoid_options *options,
                                       const exp_constants *constants) {
    vec product = v_mul(options->slope, x), sum = v_add(product, options->shift);
    vec added = v_sub(sum, product);
    vec low = v_add(v_sub(product, v_sub(sum, added)), v_sub(options->shift, added));
    low = v_add(low, v_product_error(options->slope, x, product));
    low = v_add(low, v_fma(options->slope_low, x, options->shift_low));
    mask is_far = v_less(v_negative_abs(sum), v_set((real)-FX_SHIFTED_LIMIT));
    low = v_select(is_far, v_zero(), low);
    vec u = v_add(sum, low);
    low = v_select(is_far, v_zero(), v_add(v_sub(sum, u), low));
    mask is_negative = v_less(u, v_zero());
    vec e = v_exp_nonpositive(v_negative_abs(u), constants);
    e = v_fma(e, v_select(is_negative, low, v_negate(low)), e);
    vec larger = v_div(v_one(), v_add(v_one(), e)), smaller = v_mul(e, larger);
    vec softplus = v_add(v_relu(v_negate(u)), v_log1p_unit(e, constants));
    sigmoid_value value = {v_mul(softplus, options->inverse_slope),
                           v_select(is_negative, larger, smaller)};
    return value;
}

/* Linear in y, as the asymmetric loss. */
FX_INLINE sigmoid_value focal_star_value(const class_factors *factors,
                                         const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         const sigmoid_parts *parts) {
    (void)parts;
    sigmoid_value of_positive = shifted_softplus(z, options, constants);
    sigmoid_value of_negative = shifted_softplus(v_negate(z), options, constants);
    vec positive = v_mul(y, factors->positive);
    vec negative = v_mul(v_sub(v_one(), y), factors->negative);
    sigmoid_value value = {
        v_fma(positive, of_positive.loss, v_mul(negative, of_negative.loss)),
        v_sub(v_mul(negative, of_negative.slope), v_mul(positive, of_positive.slope))};
    return value;
}

/* With smoothed targets. */
FX_INLINE sigmoid_value smoothed_value(const class_factors *factors, const sigmoid_options *options,
                                       const exp_constants *constants, vec z, vec y,
                                       const sigmoid_parts *parts) {
    (void)constants;
    vec rest = v_sub(v_one(), y);
    vec positive = v_fma(y, options->keep, options->spread);
    vec negative = v_fma(rest, options->keep, options->spread);
    positive = v_mul(positive, factors->positive);
    negative = v_mul(negative, factors->negative);
    return cross_entropy_value(z, parts, positive, negative);
}

/* The target is 0 everywhere but at the label, where the caller puts the exact value. */
FX_INLINE sigmoid_value quality_value(const class_factors *factors, const sigmoid_options *options,
                                      const exp_constants *constants, vec z, vec y,
                                      const sigmoid_parts *parts) {
    sigmoid_value value = modulated_value_from(z, parts, options->gamma_negative, constants);
    vec factor = factors->positive;
    (void)y;
    value.loss = v_mul(value.loss, factor);
    value.slope = v_mul(value.slope, factor);
    return value;
}

FX_INLINE sigmoid_value sigmoid_value_of(const int loss, const class_factors *factors,
                                         const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         const sigmoid_parts *parts) {
    sigmoid_value value = {v_zero(), v_zero()};
    switch ((fx_sigmoid_loss)loss) {
    case FX_SIGMOID_CROSS_ENTROPY:
        value = smoothed_value(factors, options, constants, z, y, parts);
        break;
    case FX_SIGMOID_FOCAL: value = focal_value(factors, options, constants, z, y, parts); break;
    case FX_SIGMOID_FOCAL_STAR:
        value = focal_star_value(factors, options, constants, z, y, parts);
        break;
    case FX_QUALITY_FOCAL: value = quality_value(factors, options, constants, z, y, parts); break;
    case FX_VARIFOCAL: value = varifocal_value(factors, options, constants, z, y, parts); break;
    case FX_ASYMMETRIC: value = asymmetric_value(factors, options, constants, z, y, parts); break;
    }
    return value;
}
