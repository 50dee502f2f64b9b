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
FX_INLINE vec lanes_maximum(const fx_tile *tile, const lane_range *range) {
    vec maximum = lanes_load(&tile->logits, range, 0);
    for (ptrdiff_t k = 1; k < tile->classes; k++)
        maximum = v_max(maximum, lanes_stream(tile, range, k));
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
 * the label's logit or the maximum, rounded to a grid. Near the centre, log1p(others / exp(own));
 * elsewhere others hold the maximum, and the sum with the label's own term is at least about 1. */
FX_MATH vec softmax_loss(vec others, vec own) {
    exp_constants constants = make_exp_constants();
    mask is_near = v_less(v_set(FX_NEAR), own);
    vec with_own = v_add(others, v_sub(v_exp_nonpositive(own, &constants), v_one()));
    vec rest = v_select(is_near, shifted_sum(others, own), with_own);
    return v_sub(v_log1p(rest), v_select(is_near, v_zero(), own));
}

/* exp(z_k - c), but 0 for the label. */
FX_INLINE vec softmax_term(const fx_tile *tile, const lane_range *range, ptrdiff_t k, vec labels,
                           const centre *c, const exp_constants *constants, const int any_far) {
    vec e = v_exp_centred(lanes_stream(tile, range, k), c, any_far, constants);
    return v_where(v_differs(labels, v_set((real)k)), e);
}

/* The sums of exp(z_k - c) over the classes other than the label. Two terms are added up before
 * they join the others: half of the roundings. */
FX_INLINE void softmax_others(const fx_tile *tile, const lane_range *ranges, const int vectors,
                              const vec *labels, const centre *centres, vec *others,
                              const exp_constants *constants, const int any_far) {
    compensated totals[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) totals[v] = compensated_zero();
    for (ptrdiff_t group = 0; group < tile->classes; group += FX_CLASS_GROUP) {
        ptrdiff_t end = group + FX_CLASS_GROUP;
        if (end > tile->classes) end = tile->classes;
        vec sums[FX_LANE_VECTORS];
        for (int v = 0; v < vectors; v++) sums[v] = v_zero();
#define FX_TERM(v, k) softmax_term(tile, &ranges[v], k, labels[v], &centres[v], constants, any_far)
        ptrdiff_t k = group;
        FX_NO_UNROLL
        for (; k + 1 < end; k += 2)
            for (int v = 0; v < vectors; v++)
                sums[v] = v_add(sums[v], v_add(FX_TERM(v, k), FX_TERM(v, k + 1)));
        for (int v = 0; k < end && v < vectors; v++) sums[v] = v_add(sums[v], FX_TERM(v, k));
#undef FX_TERM
        for (int v = 0; v < vectors; v++) compensated_add(&totals[v], sums[v]);
        for (int v = 0; end % FX_SETTLED_CLASSES == 0 && v < vectors; v++)
            compensated_settle(&totals[v]);
    }
    for (int v = 0; v < vectors; v++) others[v] = compensated_value(totals[v]);
}
FX_CALLED vec softmax_far_others(const fx_tile *tile, const lane_range *range, vec labels,
                                 const centre *c) {
    exp_constants constants = make_exp_constants();
    vec others;
    softmax_others(tile, range, 1, &labels, c, &others, &constants, 1);
    return others;
}

/* The logits of the labels; those of the first class where there is none. */
#define FX_SELECTED_CLASSES 16 /* for more of them, one by one is faster */
FX_INLINE vec lanes_label_logits(const fx_tile *tile, const lane_range *range, vec labels) {
    vec own = lanes_load(&tile->logits, range, 0);
    if (tile->classes <= FX_SELECTED_CLASSES) {
        for (ptrdiff_t k = 1; k < tile->classes; k++) {
            mask is_label = v_equal(labels, v_set((real)k));
            own = v_select(is_label, lanes_load(&tile->logits, range, k), own);
        }
        return own;
    }
    real logits[LANES];
    v_store(logits, own);
    for (int i = 0; i < range->count; i++) {
        ptrdiff_t anchor = range->first + i;
        int32_t label = tile->labels[anchor];
        if (label > 0) logits[i] = matrix_at(&tile->logits, anchor, label);
    }
    return v_load(logits);
}

/* Whether sums of exponentials are in the range where v_exp_centred is right. */
FX_INLINE int v_all_summed(vec others) {
    return v_mask_all(v_less(v_set(-FX_EXP_LIMIT), v_negative_abs(others)));
}

/* Labels, no weights, no smoothing. The first choice for the centre is the label's own logit, which
 * needs no pass over the classes: there the sum is out of range only where the loss is above 66
 * (double: 665). */
FX_CALLED void softmax_plain_from_maximum(const fx_tile *tile, const lane_range *range, vec labels,
                                          vec own) {
    centre c = centre_at(v_on_grid(lanes_maximum(tile, range)));
    vec others = softmax_far_others(tile, range, labels, &c);
    vec loss = softmax_loss(others, v_sub(own, c.value));
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, softmax_exact_anchor);
}

FX_INLINE void softmax_plain(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                             const exp_constants *constants) {
    lane_range ranges[FX_LANE_VECTORS];
    vec labels[FX_LANE_VECTORS], own[FX_LANE_VECTORS], others[FX_LANE_VECTORS];
    centre centres[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        ranges[v] = range;
        labels[v] = lanes_labels(tile, &range);
        own[v] = lanes_label_logits(tile, &range, labels[v]);
        centres[v] = centre_at(v_on_grid(own[v]));
    }
    softmax_others(tile, ranges, vectors, labels, centres, others, constants, 0);
    for (int v = 0; v < vectors; v++) {
        if (v_mask_any(centres[v].far))
            others[v] = softmax_far_others(tile, &ranges[v], labels[v], &centres[v]);
        if (!v_all_summed(others[v])) {
            softmax_plain_from_maximum(tile, &ranges[v], labels[v], own[v]);
            continue;
        }
        vec loss = softmax_loss(others[v], v_sub(own[v], centres[v].value));
        lanes_store_losses(tile, &ranges[v], loss);
        repair(tile, &ranges[v], loss, softmax_exact_anchor);
    }
}
FX_CALLED void softmax_many(const fx_tile *tile) {
    exp_constants constants = pinned_exp_constants();
    FX_FOR_LANE_VECTORS(tile, FX_LANE_VECTORS, softmax_plain, &constants);
}

/* The same for so few classes that their sums need no compensation, several vectors of anchors at a
 * time (see sigmoid_few). */
FX_INLINE void softmax_few(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                           const int classes) {
    exp_constants constants = pinned_exp_constants();
    vec own[FX_LANE_BLOCK], centres[FX_LANE_BLOCK], sums[FX_LANE_BLOCK];
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        vec labels = lanes_labels(tile, &range), logit = lanes_load(&tile->logits, &range, 0);
        for (int k = 1; k < classes; k++)
            logit = v_select(v_equal(labels, v_set((real)k)), lanes_load(&tile->logits, &range, k),
                             logit);
        centre c = centre_at(v_on_grid(logit));
        vec sum = v_zero();
#define FX_TERM(k) softmax_term(tile, &range, k, labels, &c, &constants, 0)
        for (int k = 0; k + 1 < classes; k += 2)
            sum = v_add(sum, v_add(FX_TERM(k), FX_TERM(k + 1)));
        if (classes % 2) sum = v_add(sum, FX_TERM(classes - 1));
#undef FX_TERM
        /* `far` lanes are out of range, too. */
        sums[v] = v_select(c.far, v_set((real)INFINITY), sum);
        own[v] = logit;
        centres[v] = c.value;
    }
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        if (v_all_summed(sums[v]))
            lanes_store_losses(tile, &range, softmax_loss(sums[v], v_sub(own[v], centres[v])));
        else
            softmax_plain_from_maximum(tile, &range, lanes_labels(tile, &range), own[v]);
    }
}
FX_CALLED void softmax_three(const fx_tile *tile) {
    FX_FOR_LANE_VECTORS(tile, FX_LANE_BLOCK, softmax_few, 3);
}
FX_CALLED void softmax_four(const fx_tile *tile) {
    FX_FOR_LANE_VECTORS(tile, FX_LANE_BLOCK, softmax_few, 4);
}

/* Two classes: softplus(d) with d = z_other - z_label, whose rounding error is kept, for exp would
 * make it the relative error of a tiny loss. */
FX_INLINE void softmax_pair(const fx_tile *tile, const lane_range *range) {
    mask is_second = v_equal(lanes_labels(tile, range), v_one());
    vec first = lanes_stream(tile, range, 0), second = lanes_stream(tile, range, 1);
    vec own = v_select(is_second, second, first), other = v_select(is_second, first, second);
    vec distance = v_sub(other, own);
    vec lost = v_rounding_error(other, v_negate(own), distance);
    vec change = v_select(v_less(distance, v_zero()), lost, v_negate(lost));
    exp_constants constants = make_exp_constants();
    vec e = v_exp_nonpositive(v_negative_abs(distance), &constants);
    vec loss = v_add(v_relu(distance), v_log1p_unit(v_fma(e, change, e), &constants));
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, softmax_exact_anchor);
}

/* The maximum of each lane, and the class where it first stands. */
typedef struct {
    vec maximum, label;
} lanes_largest;

FX_INLINE lanes_largest lanes_find_largest(const fx_tile *tile, const lane_range *range) {
    lanes_largest largest = {lanes_stream(tile, range, 0), v_zero()};
    for (ptrdiff_t k = 1; k < tile->classes; k++) {
        vec z = lanes_stream(tile, range, k);
        largest.label = v_select(v_less(largest.maximum, z), v_set((real)k), largest.label);
        largest.maximum = v_max(largest.maximum, z);
    }
    return largest;
}

/* The maximum of each lane, where it first stands, and the sum of exp(z - centre) of the others. */
typedef struct {
    vec maximum, largest, others, own; /* own: the maximum less the centre */
    centre at;
} lanes_normalizer;

FX_MATH lanes_normalizer lanes_normalize(const fx_tile *tile, const lane_range *range) {
    exp_constants constants = make_exp_constants();
    lanes_largest found = lanes_find_largest(tile, range);
    vec maximum = found.maximum, largest = found.label;
    centre at = centre_at(v_on_grid(maximum));
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec z = lanes_load(&tile->logits, range, k);
        vec e = v_exp_centred(z, &at, 1, &constants);
        /* z - z is 0, or NaN where the first class, which is the largest so far, is NaN. */
        compensated_add(&others, v_select(is_largest, v_sub(z, z), e));
    }
    /* The maximum less its centre is NaN where it is infinite, and so are all results. */
    lanes_normalizer result = {maximum, largest, compensated_value(others),
                               v_sub(maximum, at.value), at};
    return result;
}
/* log of the sum of exp(z - maximum) */
FX_INLINE vec lanes_log_sum(const lanes_normalizer *normalizer) {
    return v_log1p(shifted_sum(normalizer->others, normalizer->own));
}
/* 1 / sum of exp(z - centre) */
FX_INLINE vec lanes_inverse(const lanes_normalizer *normalizer) {
    exp_constants constants = make_exp_constants();
    vec of_own = v_exp_nonpositive(normalizer->own, &constants);
    return v_div(v_one(), v_add(normalizer->others, of_own));
}
