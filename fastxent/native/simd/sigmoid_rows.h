/* The sigmoid family with classes as lanes: the partial sums of LANES anchors, one vector each, are
 * reduced together, so that what runs once an anchor runs once for all of them.
 *
 * With labels every class of a row is taken for a negative, and the label is masked out. The
 * labels' own terms follow, LANES of them in one vector.
 */

/* --- cross-entropy: one logarithm an anchor ------------------------------------------------------
 */

FX_INLINE void sigmoid_row_step(const class_row *row, ptrdiff_t k, int count, sigmoid_sums *sums,
                                const real *others, const exp_constants *constants,
                                const int has_targets, const int has_grads, const int type) {
    vec z = row_logits(row, k, count, 0, type);
    vec e = row_term(v_exp_nonpositive(v_negative_abs(z), constants), count);
    vec y = has_targets ? row_load(row->targets + k, count, 0) : v_zero();
    if (has_targets)
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    else
        sums->linear = v_add(sums->linear, v_and(v_relu(z), v_load(others + k)));
    sums->product = product_add(sums->product, e);
    if (!has_grads) return;
    vec slope = sigmoid_slope(z, e, y, has_targets);
    row_put_grads(row, k, count, v_mul(slope, row->scale), type);
}

/* The sums of up to FX_ROW_PIECE classes; `others` masks the label out of the linear term. */
FX_INLINE sigmoid_sums sigmoid_row(const class_row *row, const real *others, ptrdiff_t classes,
                                   const exp_constants *constants, const int has_targets,
                                   const int has_grads, const int type) {
    sigmoid_sums sums = {v_zero(), v_zero()};
    FX_FOR_ROW(row, type, classes, sigmoid_row_step, &sums, others, constants, has_targets,
               has_grads, type);
    return sums;
}

/* The sum of a row so long that the product of its terms would overflow. */
FX_INLINE vec sigmoid_long_row(const class_row *row, ptrdiff_t classes,
                               const exp_constants *constants, const int has_targets,
                               const int has_grads, const int type) {
    compensated total = compensated_zero();
    for (ptrdiff_t chunk = 0; chunk < classes; chunk += FX_ROW_CHUNK) {
        ptrdiff_t end = chunk + FX_ROW_CHUNK < classes ? chunk + FX_ROW_CHUNK : classes;
        sigmoid_sums sums = {v_zero(), v_zero()};
        for (ptrdiff_t start = chunk; start < end; start += FX_ROW_PIECE) {
            ptrdiff_t left = end - start;
            class_row piece = class_row_from(*row, start, type, type);
            sums = sigmoid_sums_join(sums, sigmoid_row(&piece, label_mask(row->label, start),
                                                       left < FX_ROW_PIECE ? left : FX_ROW_PIECE,
                                                       constants, has_targets, has_grads, type));
        }
        chunk_join(&total, v_add(v_log1p(sums.product), sums.linear), classes);
    }
    return compensated_value(total);
}

FX_INLINE void sigmoid_sums_typed(const fx_tile *tile, ptrdiff_t first, int count, vec *products,
                                  vec *linears, const int has_targets, const int has_grads,
                                  const int type) {
    exp_constants constants = pinned_exp_constants();
    if (tile->classes > FX_PRODUCT_FACTORS) {
        for (int i = 0; i < count; i++) {
            class_row row = class_row_of(tile, first + i, type, type);
            products[i] = v_zero();
            linears[i] =
                sigmoid_long_row(&row, tile->classes, &constants, has_targets, has_grads, type);
        }
        return;
    }
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        sigmoid_sums sums = sigmoid_row(&row, label_mask(row.label, 0), tile->classes, &constants,
                                        has_targets, has_grads, type);
        products[i] = sums.product;
        linears[i] = sums.linear;
    }
}

/* The sums of a block's anchors, and their gradients. */
FX_CALLED void sigmoid_block_sums(const fx_tile *tile, ptrdiff_t first, int count, vec *products,
                                  vec *linears) {
    FX_WITH_FLAGS_AND_TYPE(tile->targets.data, tile->grads.data, tile->logit_type,
                           sigmoid_sums_typed, tile, first, count, products, linears);
}

/* What the labels add, relu(-z); and the gradients there, -sigmoid(-z). */
FX_MATH vec sigmoid_labels(const fx_tile *tile, const lane_range *group) {
    real logits[LANES] = {0}, losses[LANES] = {0}, grads[LANES];
    const int type = tile->logit_type;
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label < 0) continue;
        real z = logits[i] = row_logit(&row, row.label, type);
        losses[i] = z > 0 ? 0 : -z; /* NaN stays one */
    }
    if (!tile->grads.data) return v_load(losses);
    exp_constants constants = make_exp_constants();
    v_store(grads, v_negate(sigmoid_parts_of(v_load(logits), &constants).q));
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label >= 0)
            row_put_grad(&row, row.label,
                         grads[i] * (real)per_anchor(tile->grad_scales, row.anchor), type);
    }
    return v_load(losses);
}

FX_INLINE void sigmoid_rows_block(const fx_tile *tile, ptrdiff_t first, int count) {
    vec products[FX_ROW_BLOCK], linears[FX_ROW_BLOCK];
    sigmoid_block_sums(tile, first, count, products, linears);
    for (int i = count; i % LANES; i++) products[i] = linears[i] = v_zero();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec loss =
            v_add(v_reduce_add(linears + start), v_log1p(v_reduce_product(products + start)));
        if (group_has_labels(tile, &group)) loss = v_add(loss, sigmoid_labels(tile, &group));
        lanes_store_losses(tile, &group, loss);
        repair(tile, &group, loss, sigmoid_exact_anchor);
    }
}

/* --- losses with a modulating factor -------------------------------------------------------------
 */

FX_INLINE void modulated_row_step(const class_row *row, ptrdiff_t k, int count, vec *sum,
                                  const real *others, const sigmoid_options *options,
                                  const exp_constants *constants, const int has_grads,
                                  const int type) {
    vec z = row_logits(row, k, count, 0, type);
    sigmoid_value value = options->is_clipped
                              ? shifted_value(z, options, constants)
                              : modulated_value(z, options->gamma_negative, constants);
    *sum = v_add(*sum, row_term(v_and(value.loss, v_load(others + k)), count));
    if (has_grads) row_put_grads(row, k, count, v_mul(value.slope, row->scale), type);
}

/* Chunks end with a piece, and join the compensated sum only where there are several. */
FX_INLINE vec modulated_row(const class_row *row, ptrdiff_t classes, const sigmoid_options *options,
                            const exp_constants *constants, const int has_grads, const int type) {
    compensated total;
    vec sum = v_zero();
    for (ptrdiff_t start = 0; start < classes;) {
        ptrdiff_t left = classes - start, length = left < FX_ROW_PIECE ? left : FX_ROW_PIECE;
        class_row piece = class_row_from(*row, start, type, type);
        const real *others = label_mask(row->label, start);
        vec terms = v_zero();
        FX_FOR_ROW(&piece, type, length, modulated_row_step, &terms, others, options, constants,
                   has_grads, type);
        sum = v_add(sum, terms);
        start += length;
        if (classes > FX_ROW_CHUNK && (start % FX_ROW_CHUNK == 0 || start == classes)) {
            if (start <= FX_ROW_CHUNK) total = compensated_zero();
            compensated_join(&total, sum);
            sum = v_zero();
        }
    }
    return classes > FX_ROW_CHUNK ? compensated_value(total) : sum;
}

FX_INLINE void modulated_sums_typed(const fx_tile *tile, ptrdiff_t first, int count, vec *sums,
                                    const sigmoid_options *options, const int has_grads,
                                    const int type) {
    exp_constants constants = stored_exp_constants();
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        row.scale = v_mul(row.scale, v_set((real)tile->negative));
        sums[i] = modulated_row(&row, tile->classes, options, &constants, has_grads, type);
    }
}

/* The sums of a block's anchors, and their gradients. gamma = 2, which nearly everybody uses, is
 * worth a loop in which the compiler knows it. */
FX_CALLED void modulated_block_sums(const fx_tile *tile, ptrdiff_t first, int count, vec *sums,
                                    const sigmoid_options *options) {
    sigmoid_options square = *options;
    square.gamma_negative.kind = POWER_2;
    square.gamma_negative.exponent = 2;
    square.is_clipped = 0;
    if (options->gamma_negative.kind == POWER_2 && !options->is_clipped)
        FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, modulated_sums_typed, tile, first,
                              count, sums, &square);
    else
        FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, modulated_sums_typed, tile, first,
                              count, sums, options);
}

/* The logit of what is not there: sigmoid(-2^100) = 0. */
#define FX_NO_LOSS ((real) - 0x1p100)

/* The losses of the labels' classes, and their gradients, which go into the rows. */
FX_MATH vec modulated_labels(const fx_tile *tile, const lane_range *group,
                             const sigmoid_options *options) {
    real losses[LANES] = {0}, slopes[LANES] = {0}, own[LANES];
    const int type = tile->logit_type, is_quality = tile->loss == FX_QUALITY_FOCAL;
    for (int i = 0; i < LANES; i++) {
        own[i] = FX_NO_LOSS;
        if (i >= group->count) continue;
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label < 0) continue;
        own[i] = -row_logit(&row, row.label, type);
        if (!is_quality) continue;
        /* Near the score, p - score cancels in floats. */
        exact_value value = exact_sigmoid_value(
            tile, -own[i], per_anchor(tile->soft_targets, row.anchor), row.label);
        losses[i] = (real)value.loss;
        slopes[i] = (real)value.slope;
    }
    if (!is_quality) {
        exp_constants constants = make_exp_constants();
        sigmoid_value value = modulated_value(v_load(own), options->gamma_positive, &constants);
        v_store(losses, v_mul(value.loss, v_set((real)tile->positive)));
        v_store(slopes, v_mul(value.slope, v_set((real)-tile->positive)));
    }
    for (int i = 0; tile->grads.data && i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label >= 0)
            row_put_grad(&row, row.label,
                         slopes[i] * (real)per_anchor(tile->grad_scales, row.anchor), type);
    }
    return v_load(losses);
}

FX_INLINE void modulated_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                    const sigmoid_options *options) {
    vec sums[FX_ROW_BLOCK], negative = v_set((real)tile->negative);
    modulated_block_sums(tile, first, count, sums, options);
    for (int i = count; i % LANES; i++) sums[i] = v_zero();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec own = v_zero();
        if (group_has_labels(tile, &group)) own = modulated_labels(tile, &group, options);
        vec loss = v_fma(v_reduce_add(sums + start), negative, own);
        lanes_store_losses(tile, &group, loss);
        repair(tile, &group, loss, sigmoid_exact_anchor);
    }
}

static void sigmoid_cross_entropy_rows(const fx_tile *tile) {
    FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count));
}
static void modulated_rows(const fx_tile *tile) {
    sigmoid_options options = sigmoid_options_of(tile);
    FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &options));
}
