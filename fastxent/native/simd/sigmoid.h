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

/* The loss of a logit with positive and negative target mass, in double, with its limits. */
static double sigmoid_exact_logit(double z, double positive, double negative) {
    double tail = log1p(exp(-fabs(z)));
    double loss = 0;
    if (isnan(z) || isnan(positive + negative)) return NAN;
    if (negative != 0) loss += negative * (fmax(z, 0) + tail);
    if (positive != 0) loss += positive * (fmax(-z, 0) + tail);
    return loss;
}

static double sigmoid_exact_anchor(const fx_tile *tile, ptrdiff_t anchor) {
    double keep = 1 - tile->label_smoothing, spread = tile->label_smoothing / 2, total = 0;
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        double y = target_at(tile, anchor, k);
        double positive = y * keep + spread, negative = (1 - y) * keep + spread;
        if (tile->pos_weight) positive *= ((const real *)tile->pos_weight)[k];
        double loss = sigmoid_exact_logit(matrix_at(&tile->logits, anchor, k), positive, negative);
        if (tile->class_weight) loss = weighted(((const real *)tile->class_weight)[k], loss);
        if (tile->weights.data) loss = weighted(matrix_at(&tile->weights, anchor, k), loss);
        if (tile->results.data)
            ((real *)tile->results
                 .data)[anchor * tile->results.anchor_stride + k * tile->results.class_stride] =
                (real)loss;
        total += loss;
    }
    return total;
}

typedef struct {
    vec product, linear;
} sigmoid_sums;

FX_INLINE sigmoid_sums sigmoid_sums_join(sigmoid_sums a, sigmoid_sums b) {
    sigmoid_sums joined = {product_add(a.product, b.product), v_add(a.linear, b.linear)};
    return joined;
}

/* Join some classes' sums to an anchor's: the product's rounding error is kept as if the product
 * were a sum, which it is where errors matter, for small factors. */
FX_INLINE void sigmoid_join(compensated *linear, compensated *product, sigmoid_sums terms) {
    vec grown = v_fma(product->sum, terms.product, terms.product);
    compensated_add(product, grown);
    compensated_add(linear, terms.linear);
}

/* The terms of class k: a product of one factor, and the linear part. */
FX_INLINE sigmoid_sums sigmoid_term(const fx_tile *tile, const lane_range *range, ptrdiff_t k,
                                    vec labels) {
    vec z = lanes_load(&tile->logits, range, k);
    sigmoid_sums term;
    if (tile->targets.data) {
        term.linear = v_negate(negative_linear_term(z, lanes_load(&tile->targets, range, k)));
    } else { /* softplus(z) - z = softplus(-z): flip the logit of the class */
        z = v_select(v_equal(labels, v_set((real)k)), v_negate(z), z);
        term.linear = v_relu(z);
    }
    term.product = v_exp_nonpositive(v_negative_abs(z));
    return term;
}

/* Products of more factors up to 2 would come near overflow (2^127). */
#define FX_PRODUCT_FACTORS 112

/* No weights, no smoothing, per anchor. */
FX_INLINE void sigmoid_plain(const fx_tile *tile, const lane_range *range) {
    vec labels = tile->targets.data ? v_zero() : lanes_labels(tile, range);
    compensated total = compensated_zero(), product;
    for (ptrdiff_t start = 0; start < tile->classes; start += FX_PRODUCT_FACTORS) {
        ptrdiff_t left = tile->classes - start;
        ptrdiff_t end = start + (left < FX_PRODUCT_FACTORS ? left : FX_PRODUCT_FACTORS);
        product = compensated_zero();
#define FX_TERMS1(k) sigmoid_term(tile, range, k, labels)
#define FX_TERMS2(k) sigmoid_sums_join(FX_TERMS1(k), FX_TERMS1(k + 1))
#define FX_TERMS4(k) sigmoid_sums_join(FX_TERMS2(k), FX_TERMS2(k + 2))
#define FX_TERMS8(k) sigmoid_sums_join(FX_TERMS4(k), FX_TERMS4(k + 4))
#define FX_JOIN(terms) sigmoid_join(&total, &product, terms)
        FX_FOR_CLASSES(start, end, FX_TERMS, FX_JOIN);
#undef FX_JOIN
#undef FX_TERMS8
#undef FX_TERMS4
#undef FX_TERMS2
#undef FX_TERMS1
        compensated_add(&total, v_log1p(compensated_value(product)));
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, sigmoid_exact_anchor);
}

/* Every option: one logarithm a logit. */
FX_INLINE void sigmoid_general(const fx_tile *tile, const lane_range *range) {
    vec keep = v_set((real)(1 - tile->label_smoothing));
    vec spread = v_set((real)(tile->label_smoothing / 2));
    vec labels = tile->targets.data ? v_zero() : lanes_labels(tile, range);
    compensated total = compensated_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k);
        vec y = lanes_target(tile, range, k, labels);
        vec positive = v_mul(v_fma(y, keep, spread), class_value(tile->pos_weight, k));
        vec negative = v_fma(v_sub(v_one(), y), keep, spread);
        vec tail = v_log1p(v_exp_nonpositive(v_negative_abs(z)));
        vec side = v_select(v_less(z, v_zero()), positive, negative);
        vec loss = v_fma(v_negative_abs(z), v_negate(side), v_mul(v_add(positive, negative), tail));
        loss = v_mul(loss, class_value(tile->class_weight, k));
        if (tile->weights.data) loss = v_mul(loss, lanes_load(&tile->weights, range, k));
        if (tile->results.data) lanes_store(&tile->results, range, k, loss);
        compensated_add(&total, loss);
    }
    vec loss = compensated_value(total);
    lanes_store_losses(tile, range, loss);
    repair(tile, range, loss, sigmoid_exact_anchor);
}

static void sigmoid_cross_entropy(const fx_tile *tile) {
    if (tile->weights.data || tile->results.data || tile->class_weight || tile->pos_weight ||
        tile->label_smoothing != 0)
        FX_FOR_LANES(tile, sigmoid_general);
    else
        FX_FOR_LANES(tile, sigmoid_plain);
}

/* Classes as lanes. LANES anchors at a time: their partial products and sums, one vector each, are
 * reduced together, so that the logarithm runs once for all of them. */

/* Pointer into the table that is 1 but 0 at the label, for classes from `start` on. */
FX_INLINE const real *others_than(int32_t label, ptrdiff_t start) {
#if FX_DOUBLE
    const real *others = fx_others_double;
#else
    const real *others = fx_others_float;
#endif
    ptrdiff_t column = (ptrdiff_t)label - start;
    return column >= 0 && column < FX_ROW_CHUNK ? others + FX_MASK_CENTRE - column : others;
}

FX_INLINE void sigmoid_sums_add(sigmoid_sums *sums, vec z, const real *others, const real *targets,
                                int count) {
    if (targets) {
        vec y = count == LANES ? v_load(targets) : v_load_first(targets, count, v_zero());
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    } else {
        sums->linear = v_fma(v_relu(z), v_load(others), sums->linear);
    }
    sums->product = product_add(sums->product, v_exp_nonpositive(v_negative_abs(z)));
}

/* The sums of up to FX_ROW_CHUNK classes; `others` masks the label out of the linear term. */
FX_INLINE sigmoid_sums sigmoid_row(const real *z, const real *others, const real *targets,
                                   ptrdiff_t classes) {
    sigmoid_sums even = {v_zero(), v_zero()}, odd = even;
    ptrdiff_t k = 0;
    for (; k + 2 * LANES <= classes; k += 2 * LANES) {
        v_prefetch(z + k);
        v_prefetch(z + k + LANES);
        sigmoid_sums_add(&even, v_load(z + k), others + k, targets ? targets + k : NULL, LANES);
        sigmoid_sums_add(&odd, v_load(z + k + LANES), others + k + LANES,
                         targets ? targets + k + LANES : NULL, LANES);
    }
    for (; k < classes; k += LANES) {
        int count = classes - k < LANES ? (int)(classes - k) : LANES;
        v_prefetch(z + k);
        /* -2^100 adds nothing to a loss: exp(-2^100) = 0 and its target is 0. */
        vec padded = v_load_first(z + k, count, v_set((real)-0x1p100));
        sigmoid_sums_add(&even, padded, others + k, targets ? targets + k : NULL, count);
    }
    return sigmoid_sums_join(even, odd);
}

FX_INLINE void sigmoid_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                  const int has_targets) {
    vec products[LANES], linears[LANES];
    real own[LANES]; /* relu(-z) at the label */
    for (int i = 0; i < LANES; i++) {
        ptrdiff_t anchor = first + (i < count ? i : count - 1);
        const real *z = (const real *)tile->logits.data + anchor * tile->logits.anchor_stride;
        const real *y =
            has_targets ? (const real *)tile->targets.data + anchor * tile->targets.anchor_stride
                        : NULL;
        int32_t label = has_targets ? -1 : tile->labels[anchor];
        own[i] = label >= 0 && z[label] < 0 ? -z[label] : 0;
        if (tile->classes <= FX_PRODUCT_FACTORS) {
            sigmoid_sums sums = sigmoid_row(z, others_than(label, 0), y, tile->classes);
            products[i] = sums.product;
            linears[i] = sums.linear;
            continue;
        }
        linears[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_CHUNK) {
            ptrdiff_t left = tile->classes - start;
            sigmoid_sums sums = sigmoid_row(z + start, others_than(label, start), y ? y + start : y,
                                            left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK);
            linears[i] = v_add(linears[i], v_add(v_log1p(sums.product), sums.linear));
        }
    }
    vec loss = v_add(v_reduce_add(linears), v_load(own));
    if (tile->classes <= FX_PRODUCT_FACTORS)
        loss = v_add(loss, v_log1p(v_reduce_product(products)));
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, sigmoid_exact_anchor);
}

static void sigmoid_cross_entropy_rows(const fx_tile *tile) {
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        int count = left < LANES ? (int)left : LANES;
        if (tile->targets.data)
            sigmoid_rows_block(tile, first, count, 1);
        else
            sigmoid_rows_block(tile, first, count, 0);
    }
}
