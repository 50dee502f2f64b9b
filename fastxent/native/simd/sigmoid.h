/* Sigmoid cross-entropy.
 *
 * One logit: softplus(z) - y z = log1p(e) + (1 - y) relu(z) + y relu(-z), e = exp(-|z|): every term
 * is non-negative, so nothing cancels. An anchor's log1p(e_k) are summed as one product,
 * Q = prod(1 + e_k) - 1 by Q <- Q + (e + Q e), and one log1p(Q): one logarithm for many logits, and
 * Q keeps the relative accuracy of tiny losses that a product near 1 would lose.
 */
FX_INLINE vec product_add(vec q, vec e) { return v_add(q, v_fma(q, e, e)); }
FX_REDUCE(v_reduce_product, product_add)
FX_REDUCE(v_reduce_add, v_add)

/* (1 - y) relu(z) + y relu(-z), negated: -|z| times 1 - y for positive z, y for negative. */
FX_INLINE vec negative_linear_term(vec z, vec y) {
    vec side = v_select(v_less(z, v_zero()), y, v_sub(v_one(), y));
    return v_mul(size_on_side(z, side), side);
}

/* d loss / d z = (1 - y) sigmoid(z) - y sigmoid(-z), from e = exp(-|z|): by one division, for one
 * of these is 1 / (1 + e) and the other e / (1 + e). Without targets y = 0. */
FX_INLINE vec sigmoid_slope(vec z, vec e, vec y, const int has_targets) {
    mask is_negative = v_less(z, v_zero());
    vec both = v_add(v_one(), e), rest = v_sub(v_one(), y);
    if (!has_targets) return v_div(v_select(is_negative, e, v_one()), both);
    vec larger = v_select(is_negative, y, rest), smaller = v_select(is_negative, rest, y);
    vec slope = v_div(v_fnma(smaller, e, larger), both);
    return v_select(is_negative, v_negate(slope), slope);
}

typedef struct {
    vec product, linear;
} sigmoid_sums;

FX_MATH sigmoid_sums sigmoid_sums_join(sigmoid_sums a, sigmoid_sums b) {
    sigmoid_sums joined = {product_add(a.product, b.product), v_add(a.linear, b.linear)};
    return joined;
}

/* Join some classes' sums to an anchor's: the product's rounding error is kept as if the product
 * were a sum, which it is where errors matter, for small factors. */
FX_MATH void sigmoid_join(compensated *linear, compensated *product, sigmoid_sums terms) {
    vec grown = v_fma(product->sum, terms.product, terms.product);
    compensated_add(product, grown);
    compensated_add(linear, terms.linear);
}

/* A vector of anchors: what their terms need besides logits and dense targets. */
typedef struct {
    lane_range range;
    vec labels, scales; /* the latter are factors of the gradients */
    vec label_terms;    /* as lanes_label_terms has them: gradients need the label's -z anyway */
} sigmoid_anchors;

FX_INLINE sigmoid_anchors sigmoid_anchors_of(const fx_tile *tile, ptrdiff_t first, int count,
                                             const int has_grads) {
    sigmoid_anchors anchors = {{first, count}, v_zero(), v_zero(), v_zero()};
    anchors.labels = lanes_targets(tile, &anchors.range).columns;
    if (has_grads) anchors.scales = lanes_per_anchor(tile->grad_scales, &anchors.range);
    return anchors;
}

/* Add a class's terms to the sums of its anchors, and write its gradients. Of the label,
 * softplus(z) - z = softplus(-z): its linear term is relu(-z), which lanes_label_terms may add
 * instead, and its slope -sigmoid(-z). */
FX_INLINE void sigmoid_add_class(sigmoid_sums *sums, const fx_tile *tile, sigmoid_anchors *anchors,
                                 ptrdiff_t k, const exp_constants *constants, const int has_targets,
                                 const int has_grads, const int with_label) {
    const lane_range *range = &anchors->range;
    vec z = lanes_stream(tile, range, k), y = v_zero(), scale = anchors->scales;
    vec e = v_exp_nonpositive(v_negative_abs(z), constants);
    sums->product = product_add(sums->product, e);
    if (has_targets) {
        y = lanes_stream_targets(tile, range, k);
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    } else {
        vec column = v_set((real)k);
        if (!with_label) {
            vec others = v_where(v_differs(anchors->labels, column), v_relu(z));
            sums->linear = v_add(sums->linear, others);
        }
        mask is_label = v_equal(anchors->labels, column);
        z = v_select(is_label, v_negate(z), z);
        scale = v_select(is_label, v_negate(scale), scale);
        if (with_label)
            sums->linear = v_add(sums->linear, v_relu(z));
        else if (has_grads)
            anchors->label_terms = v_select(is_label, v_relu(z), anchors->label_terms);
    }
    if (has_grads)
        lanes_stream_grads(tile, range, k, v_mul(sigmoid_slope(z, e, y, has_targets), scale));
}

/* What the labels add, relu(-z). */
FX_CALLED vec lanes_label_terms(const fx_tile *tile, const lane_range *range) {
    real terms[LANES] = {0};
    for (int i = 0; i < range->count; i++) {
        int32_t label = tile->labels[range->first + i];
        if (label < 0) continue;
        real z = matrix_at(&tile->logits, range->first + i, label);
        terms[i] = z > 0 ? 0 : -z; /* NaN stays one */
    }
    return v_load(terms);
}

/* Products of more factors up to 2 would come near overflow (2^127). */
#define FX_PRODUCT_FACTORS 112

/* Add up to FX_PRODUCT_FACTORS classes to the sums of several vectors of anchors, whose chains of
 * operations overlap. */
FX_INLINE void sigmoid_range(const fx_tile *tile, sigmoid_anchors *anchors, const int vectors,
                             ptrdiff_t start, ptrdiff_t end, compensated *totals,
                             const exp_constants *constants, const int has_targets,
                             const int has_grads) {
    compensated products[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) products[v] = compensated_zero();
    for (ptrdiff_t group = start; group < end; group += FX_CLASS_GROUP) {
        ptrdiff_t group_end = group + FX_CLASS_GROUP < end ? group + FX_CLASS_GROUP : end;
        sigmoid_sums sums[FX_LANE_VECTORS];
        for (int v = 0; v < vectors; v++) sums[v].product = sums[v].linear = v_zero();
        FX_NO_UNROLL
        for (ptrdiff_t k = group; k < group_end; k++)
            for (int v = 0; v < vectors; v++)
                sigmoid_add_class(&sums[v], tile, &anchors[v], k, constants, has_targets, has_grads,
                                  0);
        for (int v = 0; v < vectors; v++) sigmoid_join(&totals[v], &products[v], sums[v]);
    }
    for (int v = 0; v < vectors; v++)
        compensated_add(&totals[v], v_log1p(compensated_value(products[v])));
}

/* No weights, no smoothing, losses per anchor. */
FX_INLINE void sigmoid_many(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                            const int has_targets, const int has_grads) {
    exp_constants constants = pinned_exp_constants();
    sigmoid_anchors anchors[FX_LANE_VECTORS];
    compensated totals[FX_LANE_VECTORS];
    for (int v = 0; v < vectors; v++) {
        anchors[v] = sigmoid_anchors_of(tile, first + v * LANES, count, has_grads);
        totals[v] = compensated_zero();
    }
    for (ptrdiff_t start = 0; start < tile->classes; start += FX_PRODUCT_FACTORS) {
        ptrdiff_t end = start + FX_PRODUCT_FACTORS;
        sigmoid_range(tile, anchors, vectors, start, end < tile->classes ? end : tile->classes,
                      totals, &constants, has_targets, has_grads);
    }
    for (int v = 0; v < vectors; v++) {
        const lane_range *range = &anchors[v].range;
        if (!has_targets && has_grads)
            compensated_add(&totals[v], anchors[v].label_terms);
        else if (!has_targets && group_has_labels(tile, range))
            compensated_add(&totals[v], lanes_label_terms(tile, range));
        vec loss = compensated_value(totals[v]);
        lanes_store_losses(tile, range, loss);
        repair(tile, range, loss, sigmoid_exact_anchor);
    }
}

/* So few classes that their sums need no compensation. Of one class, one logarithm a logit is one
 * an anchor, and its argument is at most 1. */
FX_INLINE void sigmoid_few(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                           const exp_constants *constants, const int classes, const int has_targets,
                           const int has_grads) {
    sigmoid_sums sums[FX_LANE_BLOCK];
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        sigmoid_anchors anchors = sigmoid_anchors_of(tile, first + v * LANES, count, has_grads);
        sums[v].product = sums[v].linear = v_zero();
        for (int k = 0; k < classes; k++)
            sigmoid_add_class(&sums[v], tile, &anchors, k, constants, has_targets, has_grads, 1);
    }
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        vec q = sums[v].product;
        vec loss = v_add(sums[v].linear, classes == 1 ? v_log1p_unit(q, constants) : v_log1p(q));
        lanes_store_losses(tile, &range, loss);
        repair(tile, &range, loss, sigmoid_exact_anchor);
    }
}

/* Loops in which the compiler knows what tiles have, and how many classes, where these are few. */
FX_INLINE void sigmoid_few_loop(const fx_tile *tile, const int classes, const int has_targets,
                                const int has_grads) {
    exp_constants constants = pinned_exp_constants();
    FX_FOR_LANE_VECTORS(tile, classes == 1 ? 1 : FX_LANE_BLOCK, sigmoid_few, &constants, classes,
                        has_targets, has_grads);
}
FX_INLINE void sigmoid_many_loop(const fx_tile *tile, const int has_targets, const int has_grads) {
    FX_FOR_LANE_VECTORS(tile, FX_LANE_VECTORS, sigmoid_many, has_targets, has_grads);
}
FX_CALLED void sigmoid_one(const fx_tile *tile) {
    FX_WITH_FLAGS(tile->targets.data, tile->grads.data, sigmoid_few_loop, tile, 1);
}
FX_CALLED void sigmoid_two(const fx_tile *tile) {
    FX_WITH_FLAGS(tile->targets.data, tile->grads.data, sigmoid_few_loop, tile, 2);
}
FX_CALLED void sigmoid_three(const fx_tile *tile) {
    FX_WITH_FLAGS(tile->targets.data, tile->grads.data, sigmoid_few_loop, tile, 3);
}
FX_CALLED void sigmoid_four(const fx_tile *tile) {
    FX_WITH_FLAGS(tile->targets.data, tile->grads.data, sigmoid_few_loop, tile, 4);
}
FX_CALLED void sigmoid_more(const fx_tile *tile) {
    FX_WITH_FLAGS(tile->targets.data, tile->grads.data, sigmoid_many_loop, tile);
}

FX_INLINE void sigmoid_without_options(const fx_tile *tile) {
    switch (tile->classes) {
    case 1: sigmoid_one(tile); break;
    case 2: sigmoid_two(tile); break;
    case 3: sigmoid_three(tile); break;
    case 4: sigmoid_four(tile); break;
    default: sigmoid_more(tile);
    }
}

/* Every loss of the family with every option: one logarithm a logit. */

FX_INLINE sigmoid_value sigmoid_value_at(const int kind, const class_factors *factors,
                                         const sigmoid_options *options,
                                         const exp_constants *constants, vec z, vec y) {
    sigmoid_parts parts = {v_zero(), v_zero(), v_zero()};
    if (kind != FX_SIGMOID_FOCAL_STAR) parts = sigmoid_parts_of(z, constants);
    return sigmoid_value_of(kind, factors, options, constants, z, y, &parts);
}

/* Put the exact values where a label says that the target is a score: near it, p - score cancels.
 */
FX_INLINE void quality_at_labels(const fx_tile *tile, const lane_range *range, ptrdiff_t k,
                                 const lane_labels *labels, sigmoid_value *value) {
    if (!v_mask_any(v_equal(labels->columns, v_set((real)k)))) return;
    real losses[LANES], slopes[LANES];
    v_store(losses, value->loss);
    v_store(slopes, value->slope);
    for (int i = 0; i < range->count; i++) {
        ptrdiff_t anchor = range->first + i;
        if (tile->labels[anchor] != k) continue;
        double z = logit_at(tile, anchor, k), y = target_at(tile, anchor, k);
        exact_value exact = exact_sigmoid_value(tile, z, y, k);
        losses[i] = (real)exact.loss;
        slopes[i] = (real)exact.slope;
    }
    value->loss = v_load(losses);
    value->slope = v_load(slopes);
}

FX_INLINE void sigmoid_general(const fx_tile *tile, const lane_range *range, const int kind) {
    exp_constants constants = make_exp_constants();
    sigmoid_options options = sigmoid_options_of(tile);
    lane_labels labels = lanes_targets(tile, range);
    vec scales = lanes_per_anchor(tile->grad_scales, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        class_factors factors = class_factors_of(tile, k);
        vec z = lanes_stream(tile, range, k);
        vec y = lanes_target(tile, range, k, &labels);
        sigmoid_value value = sigmoid_value_at(kind, &factors, &options, &constants, z, y);
        if (kind == FX_QUALITY_FOCAL) quality_at_labels(tile, range, k, &labels, &value);
        if (tile->weights.data) {
            vec weight = lanes_load(&tile->weights, range, k);
            value.loss = v_mul(value.loss, weight);
            value.slope = v_mul(value.slope, weight);
        }
        if (tile->results.data) lanes_store(&tile->results, range, k, value.loss);
        if (tile->grad_weights.data)
            value.slope = v_mul(value.slope, lanes_load(&tile->grad_weights, range, k));
        if (tile->grads.data) lanes_stream_grads(tile, range, k, v_mul(value.slope, scales));
        compensated_add(&total, value.loss);
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, sigmoid_exact_anchor);
}
