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

FX_MATH sigmoid_parts sigmoid_parts_of(vec z, const exp_constants *constants) {
    vec e = v_exp_nonpositive(v_negative_abs(z), constants);
    vec larger = v_div(v_one(), v_add(v_one(), e)), smaller = v_mul(e, larger);
    mask is_negative = v_less(z, v_zero());
    sigmoid_parts parts = {v_select(is_negative, smaller, larger),
                           v_select(is_negative, larger, smaller), v_log1p_unit(e, constants)};
    return parts;
}

/* positive softplus(-z) + negative softplus(z) */
FX_MATH sigmoid_value cross_entropy_value(vec z, const sigmoid_parts *parts, vec positive,
                                          vec negative) {
    vec side = v_select(v_less(z, v_zero()), positive, negative);
    vec both = v_mul(v_add(positive, negative), parts->tail);
    sigmoid_value value = {v_fma(v_negative_abs(z), v_negate(side), both),
                           v_sub(v_mul(negative, parts->p), v_mul(positive, parts->q))};
    return value;
}

/* p^gamma softplus(z): the focal loss of a negative; of a positive, for -z. */
FX_MATH sigmoid_value modulated_value(vec z, power gamma, const exp_constants *constants) {
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    vec softplus = v_add(v_relu(z), parts.tail), modulation = v_power(parts.p, gamma);
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), parts.q), softplus);
    sigmoid_value value = {v_mul(modulation, softplus),
                           v_mul(modulation, v_add(log_factor_slope, parts.p))};
    return value;
}

/* What the parameters of a call amount to, once a tile. */
typedef struct {
    power gamma_positive, gamma_negative;
    vec keep, spread;                   /* smoothed targets are y keep + spread */
    vec clip, threshold, threshold_low; /* clip = sigmoid(threshold), in two parts */
    int is_clipped;
    vec slope, slope_low, shift, shift_low, inverse_slope; /* each number in two parts */
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
FX_MATH sigmoid_value shifted_value(vec z, const sigmoid_options *options,
                                    const exp_constants *constants) {
    if (!options->is_clipped) return modulated_value(z, options->gamma_negative, constants);
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    vec above = v_sub(v_sub(z, options->threshold), options->threshold_low);
    vec share = v_negate(v_expm1_nonpositive(v_negate(v_relu(above))));
    vec m = v_mul(v_mul(parts.p, v_sub(v_one(), options->clip)), share);
    vec rest = v_add(parts.q, options->clip);
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
    vec slope = v_mul(v_mul(modulation, v_mul(parts.p, parts.q)), log_factor_slope);
    mask is_above = v_less(v_zero(), above);
    sigmoid_value value = {v_mul(modulation, size), v_select(is_above, slope, v_zero())};
    /* The exponent field of a NaN would pass for a number. */
    value.loss = v_select(v_equal(z, z), value.loss, z);
    return value;
}

/* factor m^gamma ce with m = y q + (1 - y) p, as torchvision has it for soft targets too. */
FX_INLINE sigmoid_value focal_value(const fx_tile *tile, const sigmoid_options *options,
                                    const exp_constants *constants, vec z, vec y, ptrdiff_t k) {
    power gamma = options->gamma_positive;
    vec rest = v_sub(v_one(), y);
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    sigmoid_value entropy = cross_entropy_value(z, &parts, y, rest);
    vec one_minus_pt = v_fma(y, parts.q, v_mul(rest, parts.p));
    vec factor = v_fma(y, lanes_positive(tile, k), v_mul(rest, lanes_negative(tile, k)));
    factor = v_mul(factor, v_power(one_minus_pt, gamma));
    vec log_base_slope = v_div(v_mul(parts.p, parts.q), v_max(one_minus_pt, v_set(FX_SMALLEST)));
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), v_sub(rest, y)), log_base_slope);
    sigmoid_value value = {v_mul(factor, entropy.loss),
                           v_mul(factor, v_fma(log_factor_slope, entropy.loss, entropy.slope))};
    return value;
}

FX_INLINE sigmoid_value varifocal_value(const fx_tile *tile, const sigmoid_options *options,
                                        const exp_constants *constants, vec z, vec y, ptrdiff_t k) {
    power gamma = options->gamma_negative;
    mask is_positive = v_less(v_zero(), y);
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    sigmoid_value entropy = cross_entropy_value(z, &parts, y, v_sub(v_one(), y));
    vec of_positive = v_mul(lanes_positive(tile, k), tile->iou_weighted ? y : v_one());
    vec of_negative = v_mul(lanes_negative(tile, k), v_power(parts.p, gamma));
    vec factor = v_select(is_positive, of_positive, of_negative);
    vec log_factor_slope = v_mul(v_mul(v_set(gamma.exponent), parts.q), entropy.loss);
    log_factor_slope = v_select(is_positive, v_zero(), log_factor_slope);
    sigmoid_value value = {v_mul(factor, entropy.loss),
                           v_mul(factor, v_add(log_factor_slope, entropy.slope))};
    return value;
}

/* Linear in y: y times the loss of a positive, 1 - y times that of a negative. */
FX_INLINE sigmoid_value asymmetric_value(const fx_tile *tile, const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         ptrdiff_t k) {
    sigmoid_value of_positive = modulated_value(v_negate(z), options->gamma_positive, constants);
    sigmoid_value of_negative = shifted_value(z, options, constants);
    vec positive = v_mul(y, lanes_positive(tile, k));
    vec negative = v_mul(v_sub(v_one(), y), lanes_negative(tile, k));
    sigmoid_value value = {
        v_fma(positive, of_positive.loss, v_mul(negative, of_negative.loss)),
        v_sub(v_mul(negative, of_negative.slope), v_mul(positive, of_positive.slope))};
    return value;
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
FX_INLINE sigmoid_value focal_star_value(const fx_tile *tile, const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         ptrdiff_t k) {
    sigmoid_value of_positive = shifted_softplus(z, options, constants);
    sigmoid_value of_negative = shifted_softplus(v_negate(z), options, constants);
    vec positive = v_mul(y, lanes_positive(tile, k));
    vec negative = v_mul(v_sub(v_one(), y), lanes_negative(tile, k));
    sigmoid_value value = {
        v_fma(positive, of_positive.loss, v_mul(negative, of_negative.loss)),
        v_sub(v_mul(negative, of_negative.slope), v_mul(positive, of_positive.slope))};
    return value;
}

/* With smoothed targets. */
FX_INLINE sigmoid_value smoothed_value(const fx_tile *tile, const sigmoid_options *options,
                                       const exp_constants *constants, vec z, vec y, ptrdiff_t k) {
    vec rest = v_sub(v_one(), y);
    vec positive = v_fma(y, options->keep, options->spread);
    vec negative = v_fma(rest, options->keep, options->spread);
    positive = v_mul(positive, lanes_positive(tile, k));
    negative = v_mul(negative, lanes_negative(tile, k));
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    return cross_entropy_value(z, &parts, positive, negative);
}

/* The target is 0 everywhere but at the label, where the caller puts the exact value. */
FX_INLINE sigmoid_value quality_value(const fx_tile *tile, const sigmoid_options *options,
                                      const exp_constants *constants, vec z, vec y, ptrdiff_t k) {
    sigmoid_value value = modulated_value(z, options->gamma_negative, constants);
    vec factor = lanes_positive(tile, k);
    (void)y;
    value.loss = v_mul(value.loss, factor);
    value.slope = v_mul(value.slope, factor);
    return value;
}

FX_INLINE sigmoid_value sigmoid_value_of(const int loss, const fx_tile *tile,
                                         const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y,
                                         ptrdiff_t k) {
    sigmoid_value value = {v_zero(), v_zero()};
    switch ((fx_sigmoid_loss)loss) {
    case FX_SIGMOID_CROSS_ENTROPY: value = smoothed_value(tile, options, constants, z, y, k); break;
    case FX_SIGMOID_FOCAL: value = focal_value(tile, options, constants, z, y, k); break;
    case FX_SIGMOID_FOCAL_STAR: value = focal_star_value(tile, options, constants, z, y, k); break;
    case FX_QUALITY_FOCAL: value = quality_value(tile, options, constants, z, y, k); break;
    case FX_VARIFOCAL: value = varifocal_value(tile, options, constants, z, y, k); break;
    case FX_ASYMMETRIC: value = asymmetric_value(tile, options, constants, z, y, k); break;
    }
    return value;
}
