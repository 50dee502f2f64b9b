/* Softmax cross-entropy.
 *
 * With m the maximum and l the label: loss = (m - z_l) + log(sum_k exp(z_k - m)). The sum holds an
 * exact 1 for the maximum; taking it out and log1p of the rest keep the accuracy of tiny losses,
 * and both terms are non-negative, so nothing cancels.
 *
 * For labels the term taken out is the label's own: where the label is the maximum that is the 1,
 * and where it is not, the loss is above log 2 and the rounding of sum - exp(0) + exp(z_l - m) does
 * not matter.
 *
 * Exponentials are those of v_exp_centred, with its scale, and what is infinite comes out as it
 * should: a masked class is worth 0, a masked label has an infinite loss. So does NaN. Only where
 * the maximum itself is infinite, an anchor is computed again (repair_infinite).
 */
/* The maxima of some vectors of anchors, each in two chains: alone, one waits for itself. */
FX_INLINE void lanes_maxima(const fx_tile *tile, const lane_range *ranges, const int vectors,
                            vec *maxima) {
    vec odd[FX_LANE_VECTORS];
    ptrdiff_t k = 1;
    for (int v = 0; v < vectors; v++) maxima[v] = odd[v] = lanes_load(&tile->logits, &ranges[v], 0);
    FX_NO_UNROLL
    for (; k + 1 < tile->classes; k += 2)
        for (int v = 0; v < vectors; v++) {
            odd[v] = v_max(odd[v], lanes_load(&tile->logits, &ranges[v], k));
            maxima[v] = v_max(maxima[v], lanes_load(&tile->logits, &ranges[v], k + 1));
        }
    for (int v = 0; v < vectors; v++) {
        if (k < tile->classes) odd[v] = v_max(odd[v], lanes_load(&tile->logits, &ranges[v], k));
        maxima[v] = v_max(odd[v], maxima[v]);
    }
}
FX_INLINE vec lanes_maximum(const fx_tile *tile, const lane_range *range) {
    vec maximum;
    lanes_maxima(tile, range, 1, &maximum);
    return maximum;
}

/* Compute again, in scalar double, the anchors whose maximum is infinite. */
FX_INLINE void repair_infinite(const fx_tile *tile, const lane_range *range, vec maximum,
                               fx_exact_kernel exact) {
    repair(tile, range, v_sub(maximum, maximum), exact);
}

/* The loss from the sum of the other classes' exponentials, and the label's own. Where the label is
 * the maximum, log1p(others / own); elsewhere others hold the maximum. */
FX_MATH vec softmax_loss(vec others, vec own, vec of_own, vec maximum, const centre *c,
                         const exp_constants *constants) {
    vec of_maximum = v_exp_centred(maximum, c, constants);
    vec rest = v_select(v_equal(own, maximum), others, v_add(others, v_sub(of_own, of_maximum)));
    vec log_sum = v_log1p(v_over_maximum(rest, maximum, c, constants));
    return v_add(v_sub(maximum, own), log_sum);
}

/* The exponential of a class, but 0 for the label. */
FX_INLINE vec softmax_term(const fx_tile *tile, const lane_range *range, ptrdiff_t k, vec labels,
                           const centre *c, const exp_constants *constants) {
    vec e = v_exp_centred(lanes_stream(tile, range, k), c, constants);
    return v_where(v_differs(labels, v_set((real)k)), e);
}

/* The sums of the exponentials of the classes other than the label. Two terms are added up before
 * they join the others: half of the roundings. */
FX_INLINE void softmax_others(const fx_tile *tile, const lane_range *ranges, const int vectors,
                              const vec *labels, const centre *centres, vec *others,
                              const exp_constants *constants) {
    compensated totals[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) totals[v] = compensated_zero();
    for (ptrdiff_t group = 0; group < tile->classes; group += FX_CLASS_GROUP) {
        ptrdiff_t end = group + FX_CLASS_GROUP;
        if (end > tile->classes) end = tile->classes;
        vec sums[FX_LANE_VECTORS];
        for (int v = 0; v < vectors; v++) sums[v] = v_zero();
#define FX_TERM(v, k) softmax_term(tile, &ranges[v], k, labels[v], &centres[v], constants)
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

/* Labels, no weights, no smoothing. */
FX_INLINE void softmax_plain(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                             const exp_constants *constants) {
    lane_range ranges[FX_LANE_VECTORS];
    vec labels[FX_LANE_VECTORS], maxima[FX_LANE_VECTORS], others[FX_LANE_VECTORS];
    centre centres[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        ranges[v] = range;
        labels[v] = lanes_labels(tile, &range);
    }
    lanes_maxima(tile, ranges, vectors, maxima);
    for (int v = 0; v < vectors; v++) centres[v] = centre_at(maxima[v]);
    softmax_others(tile, ranges, vectors, labels, centres, others, constants);
    for (int v = 0; v < vectors; v++) {
        vec own = lanes_label_logits(tile, &ranges[v], labels[v]);
        vec of_own = v_exp_centred(own, &centres[v], constants);
        vec loss = softmax_loss(others[v], own, of_own, maxima[v], &centres[v], constants);
        lanes_store_losses(tile, &ranges[v], loss);
        repair_infinite(tile, &ranges[v], maxima[v], softmax_exact_anchor);
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
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        vec labels = lanes_labels(tile, &range), own = lanes_load(&tile->logits, &range, 0);
        vec maximum = own;
        for (int k = 1; k < classes; k++) {
            vec z = lanes_load(&tile->logits, &range, k);
            own = v_select(v_equal(labels, v_set((real)k)), z, own);
            maximum = v_max(maximum, z);
        }
        centre c = centre_at(maximum);
        vec sum = v_zero();
#define FX_TERM(k) softmax_term(tile, &range, k, labels, &c, &constants)
        for (int k = 0; k + 1 < classes; k += 2)
            sum = v_add(sum, v_add(FX_TERM(k), FX_TERM(k + 1)));
        if (classes % 2) sum = v_add(sum, FX_TERM(classes - 1));
#undef FX_TERM
        vec of_own = v_exp_centred(own, &c, &constants);
        lanes_store_losses(tile, &range, softmax_loss(sum, own, of_own, maximum, &c, &constants));
        repair_infinite(tile, &range, maximum, softmax_exact_anchor);
    }
}
FX_CALLED void softmax_three(const fx_tile *tile) {
    FX_FOR_LANE_VECTORS(tile, FX_LANE_BLOCK, softmax_few, 3);
}
FX_CALLED void softmax_four(const fx_tile *tile) {
    FX_FOR_LANE_VECTORS(tile, FX_LANE_BLOCK, softmax_few, 4);
}

/* Two classes: softplus(d) with d = z_other - z_label, whose rounding error is kept, for exp would
 * make it the relative error of a tiny loss; that of an infinite distance is NaN. Infinite logits
 * and NaN come out as they should. */
FX_INLINE void softmax_pair(const fx_tile *tile, const lane_range *range) {
    mask is_second = v_equal(lanes_labels(tile, range), v_one());
    vec first = lanes_stream(tile, range, 0), second = lanes_stream(tile, range, 1);
    vec own = v_select(is_second, second, first), other = v_select(is_second, first, second);
    vec distance = v_sub(other, own);
    vec lost = v_rounding_error(other, v_negate(own), distance);
    lost = v_where(v_equal(lost, lost), lost);
    vec change = v_select(v_less(distance, v_zero()), lost, v_negate(lost));
    exp_constants constants = make_exp_constants();
    centre c = centre_at(v_zero());
    vec e = v_exp_centred(v_negative_abs(distance), &c, &constants);
    e = v_mul(e, v_set(FX_EXP_UNSCALE));
    vec loss = v_add(v_relu(distance), v_log1p_unit(v_fma(e, change, e), &constants));
    lanes_store_losses(tile, range, loss);
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

/* The maximum of each lane, where it first stands, and the sum of the exponentials of the others.
 */
typedef struct {
    vec maximum, largest, others;
    centre at;
} lanes_normalizer;

/* `keeps`: the exponentials go to where the gradients will be. */
FX_MATH lanes_normalizer lanes_normalize(const fx_tile *tile, const lane_range *range,
                                         const int keeps) {
    exp_constants constants = make_exp_constants();
    lanes_largest found = lanes_find_largest(tile, range);
    vec maximum = found.maximum, largest = found.label;
    centre at = centre_at(maximum);
    compensated others = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        mask is_largest = v_equal(largest, v_set((real)k));
        vec z = lanes_load(&tile->logits, range, k);
        vec e = v_exp_centred(z, &at, &constants);
        if (keeps) lanes_stream_grads(tile, range, k, e);
        /* z - z is 0, or NaN where the first class, which is the largest so far, is NaN. */
        compensated_add(&others, v_select(is_largest, v_sub(z, z), e));
    }
    lanes_normalizer result = {maximum, largest, compensated_value(others), at};
    return result;
}
/* log of the sum of exp(z - maximum) */
FX_INLINE vec lanes_log_sum(const lanes_normalizer *normalizer) {
    exp_constants constants = make_exp_constants();
    return v_log1p(
        v_over_maximum(normalizer->others, normalizer->maximum, &normalizer->at, &constants));
}
/* 1 / sum of the exponentials */
FX_INLINE vec lanes_inverse(const lanes_normalizer *normalizer) {
    exp_constants constants = make_exp_constants();
    vec of_maximum = v_exp_centred(normalizer->maximum, &normalizer->at, &constants);
    return v_div(v_one(), v_add(normalizer->others, of_maximum));
}
