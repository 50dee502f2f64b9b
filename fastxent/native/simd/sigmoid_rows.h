/* The sigmoid family with classes as lanes, LANES anchors at a time: their partial sums, one vector
 * each, are reduced together, so that what runs once an anchor runs once for all of them.
 *
 * With labels every class of a row is taken for a negative, and the label is masked out. The
 * labels' own terms follow, LANES of them in one vector.
 */

/* --- cross-entropy: one logarithm an anchor ------------------------------------------------------
 */

FX_INLINE void sigmoid_row_step(sigmoid_sums *sums, const class_row *row, const real *others,
                                ptrdiff_t k, int count, const int has_targets, const int has_grads,
                                const int type) {
    vec z = row_logits(row, k, count, FX_PADDING, type);
    vec e = v_exp_nonpositive(v_negative_abs(z));
    vec y = has_targets ? row_load(row->targets + k, count, 0) : v_zero();
    if (has_targets)
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    else
        sums->linear = v_fma(v_relu(z), v_load(others + k), sums->linear);
    sums->product = product_add(sums->product, e);
    if (!has_grads) return;
    mask is_negative = v_less(z, v_zero());
    vec larger = v_div(v_one(), v_add(v_one(), e)), smaller = v_mul(e, larger);
    vec slope = v_select(is_negative, smaller, larger);
    if (has_targets) {
        vec q = v_select(is_negative, larger, smaller);
        slope = v_sub(v_mul(v_sub(v_one(), y), slope), v_mul(y, q));
    }
    row_put_grads(row, k, count, v_mul(slope, row->scale), type);
}

/* The sums of up to FX_ROW_CHUNK classes; `others` masks the label out of the linear term. */
FX_MATH sigmoid_sums sigmoid_row(const class_row *row, const real *others, ptrdiff_t classes,
                                 const int has_targets, const int has_grads, const int type) {
    sigmoid_sums even = {v_zero(), v_zero()}, odd = even;
#define FX_STEP(sums, k, count)                                                                    \
    sigmoid_row_step(&sums, row, others, k, count, has_targets, has_grads, type)
    FX_FOR_ROW(row, type, classes, even, odd, FX_STEP);
#undef FX_STEP
    return sigmoid_sums_join(even, odd);
}

/* The gradient at the labels, -sigmoid(-z). */
FX_INLINE void sigmoid_label_grads(const fx_tile *tile, const class_row *rows, int count,
                                   const int type) {
    real own[LANES], grads[LANES];
    for (int i = 0; i < LANES; i++)
        own[i] = rows[i].label < 0 ? 0 : row_logit(&rows[i], rows[i].label, type);
    v_store(grads, v_negate(sigmoid_parts_of(v_load(own)).q));
    for (int i = 0; i < count; i++)
        if (rows[i].label >= 0)
            row_put_grad(&rows[i], rows[i].label,
                         grads[i] * (real)per_anchor(tile->grad_scales, rows[i].anchor), type);
}

FX_INLINE void sigmoid_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                  const int has_targets, const int has_grads, const int type) {
    vec products[LANES], linears[LANES];
    class_row rows[LANES];
    real own[LANES]; /* relu(-z) at the label */
    for (int i = 0; i < LANES; i++) {
        class_row row = rows[i] =
            class_row_of(tile, first + (i < count ? i : count - 1), type, type);
        real z = row.label >= 0 ? row_logit(&row, row.label, type) : 0;
        own[i] = z < 0 ? -z : 0;
        if (tile->classes <= FX_PRODUCT_FACTORS) {
            sigmoid_sums sums = sigmoid_row(&row, others_than(row.label, 0), tile->classes,
                                            has_targets, has_grads, type);
            products[i] = sums.product;
            linears[i] = sums.linear;
            continue;
        }
        linears[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_CHUNK) {
            ptrdiff_t left = tile->classes - start;
            class_row chunk = class_row_from(row, start, type, type);
            sigmoid_sums sums = sigmoid_row(&chunk, others_than(row.label, start),
                                            left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK, has_targets,
                                            has_grads, type);
            linears[i] = v_add(linears[i], v_add(v_log1p(sums.product), sums.linear));
        }
    }
    if (has_grads && !has_targets) sigmoid_label_grads(tile, rows, count, type);
    vec loss = v_add(v_reduce_add(linears), v_load(own));
    if (tile->classes <= FX_PRODUCT_FACTORS)
        loss = v_add(loss, v_log1p(v_reduce_product(products)));
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, sigmoid_exact_anchor);
}

/* --- losses with a modulating factor -------------------------------------------------------------
 */

FX_MATH vec modulated_row(const class_row *row, const real *others, ptrdiff_t classes,
                          const sigmoid_options *options, const int has_grads, const int type) {
    vec even = v_zero(), odd = v_zero();
#define FX_STEP(sum, k, count)                                                                     \
    do {                                                                                           \
        vec z = row_logits(row, k, count, FX_PADDING, type);                                       \
        sigmoid_value value = shifted_value(z, options);                                           \
        sum = v_fma(value.loss, v_load(others + (k)), sum);                                        \
        if (has_grads) row_put_grads(row, k, count, v_mul(value.slope, row->scale), type);         \
    } while (0)
    FX_FOR_ROW(row, type, classes, even, odd, FX_STEP);
#undef FX_STEP
    return v_add(even, odd);
}

/* The losses of the labels' classes, and their gradients, which go into the rows. */
FX_MATH vec modulated_labels(const fx_tile *tile, const class_row *rows, int count,
                             const sigmoid_options *options, const int has_grads, const int type) {
    real losses[LANES] = {0}, slopes[LANES] = {0};
    if (tile->loss == FX_QUALITY_FOCAL) { /* near the score, p - score cancels in floats */
        for (int i = 0; i < count; i++) {
            if (rows[i].label < 0) continue;
            exact_value value =
                exact_sigmoid_value(tile, row_logit(&rows[i], rows[i].label, type),
                                    per_anchor(tile->shares, rows[i].anchor), rows[i].label);
            losses[i] = (real)value.loss;
            slopes[i] = (real)value.slope;
        }
    } else {
        real own[LANES];
        for (int i = 0; i < LANES; i++) /* what is not there has no loss */
            own[i] = rows[i].label < 0 ? FX_PADDING : -row_logit(&rows[i], rows[i].label, type);
        sigmoid_value value = modulated_value(v_load(own), options->gamma_positive);
        v_store(losses, v_mul(value.loss, v_set((real)tile->positive)));
        v_store(slopes, v_mul(value.slope, v_set((real)-tile->positive)));
    }
    for (int i = 0; has_grads && i < count; i++)
        if (rows[i].label >= 0)
            row_put_grad(&rows[i], rows[i].label,
                         slopes[i] * (real)per_anchor(tile->grad_scales, rows[i].anchor), type);
    return v_load(losses);
}

FX_INLINE void modulated_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                    const sigmoid_options *options, const int has_grads,
                                    const int type) {
    vec partial[LANES], negative = v_set((real)tile->negative);
    class_row rows[LANES];
    for (int i = 0; i < LANES; i++) {
        class_row row = rows[i] =
            class_row_of(tile, first + (i < count ? i : count - 1), type, type);
        row.scale = v_mul(row.scale, negative);
        partial[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_PIECE) {
            ptrdiff_t left = tile->classes - start;
            class_row piece = class_row_from(row, start, type, type);
            vec sum =
                modulated_row(&piece, others_than(row.label, start),
                              left < FX_ROW_PIECE ? left : FX_ROW_PIECE, options, has_grads, type);
            partial[i] = v_add(partial[i], sum);
        }
    }
    vec own = modulated_labels(tile, rows, count, options, has_grads, type);
    vec loss = v_fma(v_reduce_add(partial), negative, own);
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, sigmoid_exact_anchor);
}

/* gamma = 2, which nearly everybody uses, is worth a loop in which the compiler knows it. */
FX_INLINE void modulated_rows(const fx_tile *tile, const int has_grads, const int type) {
    sigmoid_options any = sigmoid_options_of(tile), square = any;
    square.gamma_negative.kind = POWER_2;
    square.gamma_negative.exponent = 2;
    square.is_clipped = 0;
    if (any.gamma_negative.kind == POWER_2 && !any.is_clipped)
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &square, has_grads, type));
    else
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &any, has_grads, type));
}

FX_INLINE void sigmoid_rows_typed(const fx_tile *tile, const int type) {
    int has_targets = tile->targets.data != NULL, has_grads = tile->grads.data != NULL;
    if (tile->loss != FX_SIGMOID_CROSS_ENTROPY && has_grads)
        modulated_rows(tile, 1, type);
    else if (tile->loss != FX_SIGMOID_CROSS_ENTROPY)
        modulated_rows(tile, 0, type);
    else if (has_targets && has_grads)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 1, 1, type));
    else if (has_targets)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 1, 0, type));
    else if (has_grads)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 0, 1, type));
    else
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 0, 0, type));
}

static void sigmoid_rows(const fx_tile *tile) {
#define FX_TYPED(type) sigmoid_rows_typed(tile, type)
    FX_FOR_TYPE(tile, FX_TYPED);
#undef FX_TYPED
}
