/* The losses of the softmax family in scalar double, with their limits: for anchors whose vector
 * result is not finite. */
typedef struct {
    double maximum, log_sum; /* logsumexp = maximum + log_sum */
    int has_nan;
} exact_normalizer;

/* The normalizer of one anchor, in double: the maximum's term is left out of the sum once. */
static exact_normalizer softmax_exact(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer result = {-INFINITY, 0, 0};
    ptrdiff_t largest = 0;
    double others = 0;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = logit_at(tile, anchor, k);
        result.has_nan |= isnan(z) != 0;
        if (z > result.maximum) {
            result.maximum = z;
            largest = k;
        }
    }
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = logit_at(tile, anchor, k);
        if (k != largest && z > -INFINITY) others += exp(z - result.maximum);
    }
    int defined = !result.has_nan && result.maximum > -INFINITY;
    result.log_sum = defined ? log1p(others) : NAN;
    return result;
}

/* One class, before its target: the loss as a function of log p, and -d loss / d log p. */
typedef struct {
    double loss, slope;
} exact_class;

static exact_class exact_softmax_class(const fx_tile *tile, double nll, double p, double q) {
    exact_class value = {nll, 1};
    switch ((fx_softmax_loss)tile->loss) {
    case FX_SOFTMAX_CROSS_ENTROPY:
    case FX_DISTRIBUTION_FOCAL: break;
    case FX_SOFTMAX_FOCAL: {
        double modulation = pow(q, tile->gamma_positive);
        double ratio = q > 0 ? nll / q : 1;
        value.loss = modulation == 0 ? 0 : modulation * nll;
        value.slope = modulation * (1 + tile->gamma_positive * (p == 0 ? 0 : p * ratio));
        break;
    }
    case FX_POLY1:
        value.loss = nll + tile->epsilon * q;
        value.slope = 1 + tile->epsilon * p;
        break;
    }
    return value;
}

/* What a class has of an anchor's loss, and what of its gradient that is not p_k times all. */
typedef struct {
    double loss, log_p_slope, p, q;
} exact_terms;

static exact_terms softmax_exact_terms(const fx_tile *tile, ptrdiff_t anchor, ptrdiff_t k,
                                       const exact_normalizer *normalizer) {
    double keep = 1 - tile->label_smoothing;
    double spread = tile->label_smoothing / (double)tile->classes;
    double z = logit_at(tile, anchor, k);
    double gap = z == normalizer->maximum ? 0 : normalizer->maximum - z;
    double nll = gap + normalizer->log_sum;
    double target_weight = target_at(tile, anchor, k) * keep + spread;
    exact_terms terms = {0, 0, exp(-nll), -expm1(-nll)};
    exact_class value = exact_softmax_class(tile, nll, terms.p, terms.q);
    target_weight *= class_factor(tile->positive_weight, tile->positive, k);
    terms.loss = target_weight != 0 ? target_weight * value.loss : 0;
    terms.log_p_slope = target_weight * value.slope;
    return terms;
}

static double softmax_exact_anchor(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer normalizer = softmax_exact(tile, anchor);
    double loss = normalizer.log_sum * 0, log_p_slope = 0, expectation = 0;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        exact_terms terms = softmax_exact_terms(tile, anchor, k, &normalizer);
        loss += terms.loss;
        log_p_slope += terms.log_p_slope;
        expectation += (double)k * terms.p;
    }
    for (ptrdiff_t k = 0; tile->grads.data && k < tile->classes; k++) {
        exact_terms terms = softmax_exact_terms(tile, anchor, k, &normalizer);
        double slope = terms.p * (log_p_slope - terms.log_p_slope) - terms.q * terms.log_p_slope;
        grad_put(tile, anchor, k, slope * per_anchor(tile->grad_scales, anchor));
    }
    if (tile->expectations) ((real *)tile->expectations)[anchor] = (real)expectation;
    return loss;
}
