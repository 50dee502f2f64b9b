/* The losses of the sigmoid family in scalar double, with their limits: for anchors whose vector
 * result is not finite, and where a float would not do. */
typedef struct {
    double loss, slope;
} exact_value;

typedef struct {
    double p, q, softplus, softplus_negated; /* the last: of -z */
} exact_parts;

static exact_parts exact_parts_of(double z) {
    double e = exp(-fabs(z)), tail = log1p(e), larger = 1 / (1 + e), smaller = e / (1 + e);
    exact_parts parts = {z < 0 ? smaller : larger, z < 0 ? larger : smaller, fmax(z, 0) + tail,
                         fmax(-z, 0) + tail};
    return parts;
}

/* 0 times an infinite softplus is its limit, 0: the other factor falls exponentially. */
static double vanishing(double factor, double value) { return factor == 0 ? 0 : factor * value; }

static exact_value exact_modulated(double z, double gamma) {
    exact_parts parts = exact_parts_of(z);
    double modulation = pow(parts.p, gamma);
    exact_value value = {vanishing(modulation, parts.softplus),
                         modulation * (gamma * vanishing(parts.q, parts.softplus) + parts.p)};
    return value;
}

static exact_value exact_shifted(double z, double gamma, double clip) {
    if (clip == 0) return exact_modulated(z, gamma);
    exact_parts parts = exact_parts_of(z);
    double m = parts.p - clip;
    exact_value value = {0, 0};
    if (m <= 0) return value;
    double size = m < 0.5 ? -log1p(-m) : -log(parts.q + clip);
    double log_factor_slope = gamma * size / m + 1 / (parts.q + clip);
    value.loss = pow(m, gamma) * size;
    value.slope = pow(m, gamma) * parts.p * parts.q * log_factor_slope;
    return value;
}

/* softplus(-u) / slope with u = slope x + shift, and sigmoid(-u). Where u overflows, the loss need
 * not. */
static exact_value exact_shifted_softplus(double x, double slope, double shift) {
    double u = fma(slope, x, shift), e = exp(-fabs(u));
    double linear = isfinite(u) ? -u / slope : -x - shift / slope;
    exact_value value = {(u < 0 ? linear : 0) + log1p(e) / slope, (u < 0 ? 1 : e) / (1 + e)};
    return value;
}

/* The loss of weighted targets: the factor 0 removes even an infinite term. */
static exact_value exact_cross_entropy(const exact_parts *parts, double positive, double negative) {
    exact_value value = {weighted(negative, parts->softplus) +
                             weighted(positive, parts->softplus_negated),
                         negative * parts->p - positive * parts->q};
    return value;
}

/* modulation(distance) ce: the derivative of ln modulation with respect to z is `log_factor_slope`.
 */
static exact_value exact_product(double modulation, double log_factor_slope, exact_value entropy) {
    exact_value value = {vanishing(modulation, entropy.loss), 0};
    value.slope = modulation * (vanishing(log_factor_slope, entropy.loss) + entropy.slope);
    return value;
}

static exact_value custom_exact_value(const fx_tile *tile, double z, double y) {
    double numbers[2];
    ((const fx_custom *)tile->settings)->value(tile, z, y, numbers);
    exact_value value = {numbers[0], numbers[1]};
    return value;
}

/* The loss of class k before class and logit weights that are not part of the formula. */
static exact_value exact_sigmoid_value(const fx_tile *tile, double z, double y, ptrdiff_t k) {
    exact_parts parts = exact_parts_of(z);
    exact_value entropy = exact_cross_entropy(&parts, y, 1 - y);
    double positive = class_factor(tile->positive_weight, tile->positive, k);
    double negative = class_factor(tile->negative_weight, tile->negative, k);
    double gamma = tile->gamma_negative, distance;
    exact_value value = {NAN, NAN}, other;
    if (isnan(z) || isnan(y)) return value;
    if (tile->loss == FX_CUSTOM) {
        value = custom_exact_value(tile, z, y);
        value.loss = weighted(positive, value.loss);
        value.slope *= positive;
        return value;
    }
    switch ((fx_sigmoid_loss)tile->loss) {
    case FX_SIGMOID_CROSS_ENTROPY: {
        double keep = 1 - tile->label_smoothing, spread = tile->label_smoothing / 2;
        return exact_cross_entropy(&parts, (y * keep + spread) * positive,
                                   ((1 - y) * keep + spread) * negative);
    }
    case FX_SIGMOID_FOCAL:
        distance = y * parts.q + (1 - y) * parts.p;
        gamma *= (1 - 2 * y) * (distance > 0 ? parts.p * parts.q / distance : 0);
        value = exact_product(pow(distance, tile->gamma_negative), gamma, entropy);
        positive = y * positive + (1 - y) * negative;
        break;
    case FX_SIGMOID_FOCAL_STAR:
        value = exact_shifted_softplus(z, tile->slope, tile->shift);
        other = exact_shifted_softplus(-z, tile->slope, tile->shift);
        value.loss = weighted(y * positive, value.loss) + weighted((1 - y) * negative, other.loss);
        value.slope = (1 - y) * negative * other.slope - y * positive * value.slope;
        positive = 1;
        break;
    case FX_QUALITY_FOCAL:
        distance =
            (1 - y) * parts.p - y * parts.q; /* p - y, right to the last digit at y = 1 too */
        gamma *= distance != 0 ? parts.p * parts.q / distance : 0;
        value = exact_product(pow(fabs(distance), tile->gamma_negative), gamma, entropy);
        break;
    case FX_VARIFOCAL:
        value = y > 0 ? entropy : exact_modulated(z, gamma);
        positive = y > 0 ? positive * (tile->iou_weighted ? y : 1) : negative;
        break;
    case FX_ASYMMETRIC:
        value = exact_modulated(-z, tile->gamma_positive);
        other = exact_shifted(z, gamma, tile->clip);
        value.loss = weighted(y * positive, value.loss) + weighted((1 - y) * negative, other.loss);
        value.slope = (1 - y) * negative * other.slope - y * positive * value.slope;
        positive = 1;
        break;
    }
    value.loss = weighted(positive, value.loss);
    value.slope *= positive;
    return value;
}

static void put_exact_value(const fx_tile *tile, double z, double y, ptrdiff_t k,
                            double *loss_and_slope) {
    exact_value value = exact_sigmoid_value(tile, z, y, k);
    loss_and_slope[0] = value.loss;
    loss_and_slope[1] = value.slope;
}

/* Whether a logit's loss is infinite, where every factor is positive. */
static int is_infinite_loss(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k) {
    double z = logit_at(tile, anchor, k);
    if (z == -INFINITY) return target_at(tile, anchor, k) > 0;
    return z == INFINITY && tile->clip == 0 && target_at(tile, anchor, k) < 1;
}

/* Whether an anchor's loss is known to be infinite: the vector code says so, which makes NaN of a
 * NaN and of 0 times an infinity, and it is no overflow, because one logit's loss is infinite. */
static int has_infinite_loss(const fx_tile *tile, ptrdiff_t anchor) {
    const int has_options = tile->weights.data || tile->results.data || tile->grad_weights.data ||
                            tile->positive_weight || tile->negative_weight ||
                            tile->label_smoothing != 0 || tile->loss == FX_CUSTOM;
    if (has_options || !tile->losses || !(tile->positive > 0 && tile->negative > 0)) return 0;
    if (((const real *)tile->losses)[anchor] != (real)INFINITY) return 0;
    int32_t label = tile->targets.data ? FX_NO_CLASS : tile->labels[anchor];
    if (label >= 0 && is_infinite_loss(tile, anchor, label)) return 1;
    for (ptrdiff_t k = 0; k < tile->classes; k++)
        if (is_infinite_loss(tile, anchor, k)) return 1;
    return 0;
}

static int has_finite_grad(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k) {
    const fx_matrix *m = &tile->grads;
    ptrdiff_t place = anchor * m->anchor_stride + k * m->class_stride;
    real grad =
        load_one_as((const char *)m->data + place * size_of_type(tile->grad_type), tile->grad_type);
    return grad - grad == 0;
}

/* Of an anchor whose loss is infinite, the gradients are the vector code's, but for 0 times an
 * infinity. */
static void repair_grads(const fx_tile *tile, ptrdiff_t anchor) {
    ptrdiff_t k = 0;
    if (tile->grads.class_stride == 1 && tile->grad_type == FX_OWN_TYPE) {
        const real *grads = (const real *)tile->grads.data + anchor * tile->grads.anchor_stride;
        while (k + LANES <= tile->classes && v_all_finite(v_load(grads + k))) k += LANES;
    }
    for (; k < tile->classes; k++) {
        if (has_finite_grad(tile, anchor, k)) continue;
        double z = logit_at(tile, anchor, k), y = target_at(tile, anchor, k);
        exact_value value = exact_sigmoid_value(tile, z, y, k);
        grad_put(tile, anchor, k, value.slope * per_anchor(tile->grad_scales, anchor));
    }
}

/* All classes of an anchor; its per-logit results and gradients are written. */
static double sigmoid_exact_anchor(const fx_tile *tile, ptrdiff_t anchor) {
    double total = 0;
    if (has_infinite_loss(tile, anchor)) {
        if (tile->grads.data) repair_grads(tile, anchor);
        return INFINITY;
    }
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = logit_at(tile, anchor, k), y = target_at(tile, anchor, k);
        exact_value value = exact_sigmoid_value(tile, z, y, k);
        double slope = value.slope * per_anchor(tile->grad_scales, anchor);
        if (tile->weights.data) {
            value.loss = weighted(matrix_at(&tile->weights, anchor, k), value.loss);
            slope *= matrix_at(&tile->weights, anchor, k);
        }
        if (tile->grad_weights.data) slope *= matrix_at(&tile->grad_weights, anchor, k);
        matrix_put(&tile->results, anchor, k, value.loss);
        grad_put(tile, anchor, k, slope);
        total += value.loss;
    }
    return total;
}
