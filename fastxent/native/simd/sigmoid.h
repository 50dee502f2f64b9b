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
    return v_mul(v_negative_abs(z), v_select(v_less(z, v_zero()), y, v_sub(v_one(), y)));
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

/* The terms of a class: a product of one factor, and the linear part. */
FX_INLINE sigmoid_sums sigmoid_term(const fx_tile *tile, const lane_range *range, ptrdiff_t k,
                                    mask is_label, const int has_targets) {
    vec z = lanes_stream(&tile->logits, range, k);
    sigmoid_sums term;
    if (has_targets) {
        vec y = lanes_load(&tile->targets, range, k);
        term.linear = v_negate(negative_linear_term(z, y));
    } else { /* softplus(z) - z = softplus(-z): flip the logit of the label */
        z = v_select(is_label, v_negate(z), z);
        term.linear = v_relu(z);
    }
    term.product = v_exp_nonpositive(v_negative_abs(z));
    return term;
}

/* The sums of some classes. */
FX_MATH sigmoid_sums sigmoid_terms(const fx_tile *tile, const lane_range *range, ptrdiff_t first,
                                   const int count, vec labels, const int has_targets) {
    sigmoid_sums terms[FX_CLASS_GROUP];
    vec column = v_sub(labels, v_set((real)first));
    for (int i = 0; i < count; i++)
        terms[i] =
            sigmoid_term(tile, range, first + i, v_equal(column, v_set((real)i)), has_targets);
    for (int left = count; left > 1; left /= 2)
        for (int i = 0; i < left / 2; i++)
            terms[i] = sigmoid_sums_join(terms[2 * i], terms[2 * i + 1]);
    return terms[0];
}

/* Products of more factors up to 2 would come near overflow (2^127). */
#define FX_PRODUCT_FACTORS 112

/* No weights, no smoothing, per anchor. */
FX_INLINE void sigmoid_many(const fx_tile *tile, const lane_range *range, const int has_targets) {
    vec labels = lanes_targets(tile, range).columns;
    compensated total = compensated_zero(), product;
    for (ptrdiff_t start = 0; start < tile->classes; start += FX_PRODUCT_FACTORS) {
        ptrdiff_t left = tile->classes - start;
        ptrdiff_t end = start + (left < FX_PRODUCT_FACTORS ? left : FX_PRODUCT_FACTORS);
        product = compensated_zero();
#define FX_TERMS(k, count)                                                                         \
    sigmoid_join(&total, &product, sigmoid_terms(tile, range, k, count, labels, has_targets))
        FX_FOR_CLASSES(start, end, FX_TERMS);
#undef FX_TERMS
        compensated_add(&total, v_log1p(compensated_value(product)));
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, sigmoid_exact_anchor);
}

/* So few classes that their sums need no compensation. One class: one logarithm a logit is one an
 * anchor, and its argument is at most 1. */
FX_INLINE void sigmoid_few(const fx_tile *tile, ptrdiff_t first, const int vectors, int count,
                           const int classes, const int has_targets) {
    sigmoid_sums sums[FX_LANE_BLOCK];
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        vec labels = lanes_targets(tile, &range).columns;
        sums[v] = sigmoid_terms(tile, &range, 0, 1, labels, has_targets);
        for (int k = 1; k < classes; k++)
            sums[v] =
                sigmoid_sums_join(sums[v], sigmoid_terms(tile, &range, k, 1, labels, has_targets));
    }
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, count};
        vec tail = classes == 1 ? v_log1p_unit(sums[v].product) : v_log1p(sums[v].product);
        vec loss = v_add(sums[v].linear, tail);
        lanes_store_losses(tile, &range, loss);
        repair(tile, &range, loss, sigmoid_exact_anchor);
    }
}

/* Loops in which the compiler knows the number of classes and the kind of targets. */
FX_INLINE void sigmoid_few_loop(const fx_tile *tile, const int classes, const int has_targets) {
#define FX_BODY(first, vectors, count)                                                             \
    sigmoid_few(tile, first, vectors, count, classes, has_targets)
    FX_FOR_LANE_BLOCKS(tile, FX_BODY);
#undef FX_BODY
}
#define FX_SIGMOID_FEW(name, classes)                                                              \
    FX_CALLED void name(const fx_tile *tile) {                                                     \
        if (tile->targets.data)                                                                    \
            sigmoid_few_loop(tile, classes, 1);                                                    \
        else                                                                                       \
            sigmoid_few_loop(tile, classes, 0);                                                    \
    }
FX_SIGMOID_FEW(sigmoid_one, 1)
FX_SIGMOID_FEW(sigmoid_two, 2)
FX_SIGMOID_FEW(sigmoid_three, 3)
FX_SIGMOID_FEW(sigmoid_four, 4)

FX_INLINE void sigmoid_many_targets(const fx_tile *tile, const lane_range *range) {
    sigmoid_many(tile, range, 1);
}
FX_INLINE void sigmoid_many_labels(const fx_tile *tile, const lane_range *range) {
    sigmoid_many(tile, range, 0);
}
FX_CALLED void sigmoid_plain(const fx_tile *tile) {
    if (tile->targets.data)
        FX_FOR_LANES(tile, sigmoid_many_targets);
    else
        FX_FOR_LANES(tile, sigmoid_many_labels);
}

FX_INLINE void sigmoid_without_options(const fx_tile *tile) {
    switch (tile->classes) {
    case 1: sigmoid_one(tile); break;
    case 2: sigmoid_two(tile); break;
    case 3: sigmoid_three(tile); break;
    case 4: sigmoid_four(tile); break;
    default: sigmoid_plain(tile);
    }
}

/* Every loss of the family with every option: one logarithm a logit. */

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
    sigmoid_options options = sigmoid_options_of(tile);
    lane_labels labels = lanes_targets(tile, range);
    vec scales = lanes_per_anchor(tile->grad_scales, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec z = lanes_stream(&tile->logits, range, k);
        vec y = lanes_target(tile, range, k, &labels);
        sigmoid_value value = sigmoid_value_of(kind, tile, &options, z, y, k);
        if (kind == FX_QUALITY_FOCAL) quality_at_labels(tile, range, k, &labels, &value);
        if (tile->weights.data) {
            vec weight = lanes_load(&tile->weights, range, k);
            value.loss = v_mul(value.loss, weight);
            value.slope = v_mul(value.slope, weight);
        }
        if (tile->results.data) lanes_store(&tile->results, range, k, value.loss);
        if (tile->grad_weights.data)
            value.slope = v_mul(value.slope, lanes_load(&tile->grad_weights, range, k));
        if (tile->grads.data) lanes_store(&tile->grads, range, k, v_mul(value.slope, scales));
        compensated_add(&total, value.loss);
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, sigmoid_exact_anchor);
}

#define FX_SIGMOID_KIND(name, kind)                                                                \
    FX_CALLED void name(const fx_tile *tile, const lane_range *range) {                            \
        sigmoid_general(tile, range, kind);                                                        \
    }
FX_SIGMOID_KIND(sigmoid_cross_entropy_general, FX_SIGMOID_CROSS_ENTROPY)
FX_SIGMOID_KIND(sigmoid_focal_general, FX_SIGMOID_FOCAL)
FX_SIGMOID_KIND(quality_focal_general, FX_QUALITY_FOCAL)
FX_SIGMOID_KIND(varifocal_general, FX_VARIFOCAL)
FX_SIGMOID_KIND(asymmetric_general, FX_ASYMMETRIC)

static void sigmoid_losses(const fx_tile *tile) {
    int has_options = tile->weights.data || tile->results.data || tile->grads.data ||
                      tile->positive_weight || tile->negative_weight || tile->positive != 1 ||
                      tile->negative != 1 || tile->label_smoothing != 0;
    switch (tile->loss) {
    case FX_SIGMOID_FOCAL: FX_FOR_LANES(tile, sigmoid_focal_general); break;
    case FX_QUALITY_FOCAL: FX_FOR_LANES(tile, quality_focal_general); break;
    case FX_VARIFOCAL: FX_FOR_LANES(tile, varifocal_general); break;
    case FX_ASYMMETRIC: FX_FOR_LANES(tile, asymmetric_general); break;
    default:
        if (has_options)
            FX_FOR_LANES(tile, sigmoid_cross_entropy_general);
        else
            sigmoid_without_options(tile);
    }
}
