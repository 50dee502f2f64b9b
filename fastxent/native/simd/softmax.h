/* Softmax cross-entropy.
 *
 * With m the maximum and l the label: loss = (m - z_l) + log(sum_k exp(z_k - m)). The sum holds an
 * exact 1 for the maximum; taking it out and log1p of the rest keep the accuracy of tiny losses,
 * and both terms are non-negative, so nothing cancels.
 *
 * For labels the term taken out is the label's own: where the label is the maximum that is the 1,
 * and where it is not, the loss is above log 2 and the rounding of sum - 1 + exp(z_l - m) does not
 * matter.
 */
FX_REDUCE(v_reduce_max, v_max)

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
        double z = matrix_at(&tile->logits, anchor, k);
        result.has_nan |= isnan(z) != 0;
        if (z > result.maximum) {
            result.maximum = z;
            largest = k;
        }
    }
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = matrix_at(&tile->logits, anchor, k);
        if (k != largest && z > -INFINITY) others += exp(z - result.maximum);
    }
    int defined = !result.has_nan && result.maximum > -INFINITY;
    result.log_sum = defined ? log1p(others) : NAN;
    return result;
}

static double softmax_exact_anchor(const fx_tile *tile, ptrdiff_t anchor) {
    exact_normalizer normalizer = softmax_exact(tile, anchor);
    double keep = 1 - tile->label_smoothing;
    double spread = tile->label_smoothing / (double)tile->classes;
    double loss = normalizer.log_sum * 0;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double z = matrix_at(&tile->logits, anchor, k);
        double mass = target_at(tile, anchor, k) * keep + spread;
        if (tile->class_weight) mass *= ((const real *)tile->class_weight)[k];
        double gap = z == normalizer.maximum ? 0 : normalizer.maximum - z;
        if (mass != 0) loss += mass * (gap + normalizer.log_sum);
    }
    return loss;
}

FX_INLINE vec lanes_maximum(const fx_tile *tile, const lane_range *range) {
    vec maximum = lanes_load(&tile->logits, range, 0);
    for (ptrdiff_t k = 1; k < tile->classes; k++)
        maximum = v_max(maximum, lanes_load(&tile->logits, range, k));
    return maximum;
}

/* sum * exp(-small) for small within FX_NEAR, by two terms of the series: one rounding. */
#if FX_DOUBLE
#define FX_NEAR -0x1p-36
#else
#define FX_NEAR -0x1p-12f
#endif
FX_INLINE vec shifted_sum(vec sum, vec small) {
    vec change = v_sub(v_mul(v_mul(v_set((real)0.5), small), small), small);
    return v_fma(sum, change, sum);
}

/* The loss from the sum of the other classes' exp(z_k - c) and own = z_l - c, where the centre c is
 * the maximum rounded to a grid. Near the maximum, log1p(others / exp(own)); elsewhere others hold
 * the maximum, and the sum with the label's own term is at least about 1. */
FX_INLINE vec softmax_loss(vec others, vec own) {
    mask is_near = v_less(v_set(FX_NEAR), own);
    vec with_own = v_add(others, v_sub(v_exp_nonpositive(own), v_one()));
    vec rest = v_select(is_near, shifted_sum(others, own), with_own);
    return v_sub(v_log1p(rest), v_select(is_near, v_zero(), own));
}

/* exp(z_k - c), or 0 for the label, whose z_k - c is kept in `own`. */
FX_INLINE vec softmax_term(const fx_tile *tile, const lane_range *range, ptrdiff_t k, vec labels,
                           const centre *c, const int any_far, vec *own) {
    vec z = lanes_load(&tile->logits, range, k);
    mask is_label = v_equal(labels, v_set((real)k));
    *own = v_select(is_label, v_sub(z, c->value), *own);
    return v_select(is_label, v_zero(), v_exp_centred(z, c, any_far));
}

/* Labels, no weights, no smoothing. */
FX_INLINE void softmax_plain_centred(const fx_tile *tile, const lane_range *range, const centre *c,
                                     const int any_far) {
    vec labels = lanes_labels(tile, range), own = v_zero();
    compensated others = compensated_zero();
#define FX_TERMS1(k) softmax_term(tile, range, k, labels, c, any_far, &own)
#define FX_TERMS2(k) v_add(FX_TERMS1(k), FX_TERMS1(k + 1))
#define FX_TERMS4(k) v_add(FX_TERMS2(k), FX_TERMS2(k + 2))
#define FX_TERMS8(k) v_add(FX_TERMS4(k), FX_TERMS4(k + 4))
#define FX_JOIN(terms) compensated_add(&others, terms)
    FX_FOR_CLASSES(0, tile->classes, FX_TERMS, FX_JOIN);
#undef FX_JOIN
#undef FX_TERMS8
#undef FX_TERMS4
#undef FX_TERMS2
#undef FX_TERMS1
    vec loss = softmax_loss(compensated_value(others), own);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, softmax_exact_anchor);
}

FX_INLINE void softmax_plain(const fx_tile *tile, const lane_range *range) {
    centre c = centre_at(v_on_grid(lanes_maximum(tile, range)));
    if (v_mask_any(c.far))
        softmax_plain_centred(tile, range, &c, 1);
    else
        softmax_plain_centred(tile, range, &c, 0);
}

/* The maximum of each lane, where it first stands, and log of the sum of exp(z - maximum). */
typedef struct {
    vec maximum, largest, log_sum;
} lanes_normalizer;

FX_INLINE lanes_normalizer lanes_normalize(const fx_tile *tile, const lane_range *range) {
    lanes_normalizer result = {lanes_load(&tile->logits, range, 0), v_zero(), v_zero()};
    for (ptrdiff_t k = 1; k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k);
        result.largest = v_select(v_less(result.maximum, z), v_set((real)k), result.largest);
        result.maximum = v_max(result.maximum, z);
    }
    centre at = centre_at(v_on_grid(result.maximum));
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(result.largest, v_set((real)k));
        vec z = lanes_load(&tile->logits, range, k);
        vec e = v_exp_centred(z, &at, 1);
        /* z - z is 0, or NaN where the first class, which is the largest so far, is NaN. */
        compensated_add(&others, v_select(is_largest, v_sub(z, z), e));
    }
    /* The maximum less its centre is NaN where it is infinite, and so is the result. */
    vec own = v_sub(result.maximum, at.value);
    result.log_sum = v_log1p(shifted_sum(compensated_value(others), own));
    return result;
}

/* Every option: sum_k mass_k (log_sum + maximum - z_k). */
FX_INLINE void softmax_general(const fx_tile *tile, const lane_range *range) {
    vec keep = v_set((real)(1 - tile->label_smoothing));
    vec spread = v_set((real)(tile->label_smoothing / (double)tile->classes));
    vec labels = tile->targets.data ? v_zero() : lanes_labels(tile, range);
    lanes_normalizer normalizer = lanes_normalize(tile, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k);
        vec y = lanes_target(tile, range, k, labels);
        vec mass = v_mul(v_fma(y, keep, spread), class_value(tile->class_weight, k));
        vec gap = v_sub(normalizer.maximum, z);
        compensated_add(&total, v_mul(mass, v_add(gap, normalizer.log_sum)));
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, softmax_exact_anchor);
}

static void softmax_cross_entropy(const fx_tile *tile) {
    if (tile->targets.data || tile->class_weight || tile->label_smoothing != 0)
        FX_FOR_LANES(tile, softmax_general);
    else
        FX_FOR_LANES(tile, softmax_plain);
}

/* Classes as lanes, LANES anchors at a time: one reduction and one logarithm for all of them. */

FX_INLINE vec row_maximum(const real *z, ptrdiff_t classes) {
    vec lowest = v_set((real)-INFINITY);
    vec even = lowest, odd = lowest;
    ptrdiff_t k = 0;
    for (; k + 2 * LANES <= classes; k += 2 * LANES) {
        v_prefetch(z + k);
        v_prefetch(z + k + LANES);
        even = v_max(even, v_load(z + k));
        odd = v_max(odd, v_load(z + k + LANES));
    }
    for (; k < classes; k += LANES) {
        int count = classes - k < LANES ? (int)(classes - k) : LANES;
        v_prefetch(z + k);
        even = v_max(even, v_load_first(z + k, count, lowest));
    }
    return v_max(even, odd);
}

/* The sum of exp(z_k - c) over up to FX_ROW_CHUNK classes other than the label. */
FX_INLINE vec row_others(const real *z, const real *others, ptrdiff_t classes, const centre *c,
                         const int any_far) {
    vec even = v_zero(), odd = v_zero();
    ptrdiff_t k = 0;
    for (; k + 2 * LANES <= classes; k += 2 * LANES) {
        vec e = v_exp_centred(v_load(z + k), c, any_far);
        vec f = v_exp_centred(v_load(z + k + LANES), c, any_far);
        even = v_fma(e, v_load(others + k), even);
        odd = v_fma(f, v_load(others + k + LANES), odd);
    }
    for (; k < classes; k += LANES) {
        int count = classes - k < LANES ? (int)(classes - k) : LANES;
        vec padded = v_load_first(z + k, count, v_set((real)-INFINITY));
        even = v_fma(v_exp_centred(padded, c, any_far), v_load(others + k), even);
    }
    return v_add(even, odd);
}

FX_INLINE vec rows_others(const fx_tile *tile, const real *const *rows, const int32_t *labels,
                          const real *centres, const int any_far) {
    vec partial[LANES];
    for (int i = 0; i < LANES; i++) {
        centre at = centre_at(v_set(centres[i]));
        partial[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_CHUNK) {
            ptrdiff_t left = tile->classes - start;
            vec sum = row_others(rows[i] + start, others_than(labels[i], start),
                                 left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK, &at, any_far);
            partial[i] = v_add(partial[i], sum);
        }
    }
    return v_reduce_add(partial);
}

FX_INLINE void softmax_rows_block(const fx_tile *tile, ptrdiff_t first, int count) {
    vec partial[LANES];
    real centres[LANES], own[LANES];
    const real *rows[LANES];
    int32_t labels[LANES];
    for (int i = 0; i < LANES; i++) {
        ptrdiff_t anchor = first + (i < count ? i : count - 1);
        labels[i] = tile->labels[anchor];
        rows[i] = (const real *)tile->logits.data + anchor * tile->logits.anchor_stride;
        partial[i] = row_maximum(rows[i], tile->classes);
    }
    vec on_grid = v_on_grid(v_reduce_max(partial));
    v_store(centres, on_grid);
    for (int i = 0; i < LANES; i++) own[i] = labels[i] >= 0 ? rows[i][labels[i]] : centres[i];
    vec others;
    if (v_mask_any(v_is_far(on_grid)))
        others = rows_others(tile, rows, labels, centres, 1);
    else
        others = rows_others(tile, rows, labels, centres, 0);
    vec loss = softmax_loss(others, v_sub(v_load(own), on_grid));
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, softmax_exact_anchor);
}

static void softmax_cross_entropy_rows(const fx_tile *tile) {
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        softmax_rows_block(tile, first, left < LANES ? (int)left : LANES);
    }
}
