/* The softmax family with classes as lanes and labels, LANES anchors at a time: one reduction and
 * one logarithm for all of them. */
FX_REDUCE(v_reduce_max, v_max)

FX_MATH vec row_maximum(const class_row *row, ptrdiff_t classes, const int type) {
    const real lowest = (real)-INFINITY;
    vec even = v_set(lowest), odd = even;
#define FX_STEP(maximum, k, count) maximum = v_max(maximum, row_logits(row, k, count, lowest, type))
    FX_FOR_ROW(row, type, classes, even, odd, FX_STEP);
#undef FX_STEP
    return v_max(even, odd);
}

/* The sum of exp(z_k - c) over up to FX_ROW_PIECE classes other than the label. The exponentials
 * are kept where the gradient will be. */
FX_MATH vec row_others(const class_row *row, const real *others, ptrdiff_t classes, const centre *c,
                       const int any_far, const int has_grads, const int type) {
    vec even = v_zero(), odd = v_zero();
#define FX_STEP(sum, k, count)                                                                     \
    do {                                                                                           \
        vec e = v_exp_centred(row_logits(row, k, count, (real) - INFINITY, type), c, any_far);     \
        sum = v_fma(e, v_load(others + (k)), sum);                                                 \
        if (has_grads) row_put_grads(row, k, count, e, FX_OWN_TYPE);                               \
    } while (0)
    FX_FOR_ROW(row, type, classes, even, odd, FX_STEP);
#undef FX_STEP
    return v_add(even, odd);
}

FX_INLINE vec rows_others(const fx_tile *tile, const class_row *rows, const real *centres,
                          const int any_far, const int has_grads, const int type) {
    vec partial[LANES];
    for (int i = 0; i < LANES; i++) {
        centre at = centre_at(v_set(centres[i]));
        partial[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_PIECE) {
            ptrdiff_t left = tile->classes - start;
            class_row chunk = class_row_from(rows[i], start, type, FX_OWN_TYPE);
            vec sum = row_others(&chunk, others_than(rows[i].label, start),
                                 left < FX_ROW_PIECE ? left : FX_ROW_PIECE, &at, any_far, has_grads,
                                 type);
            partial[i] = v_add(partial[i], sum);
        }
    }
    return v_reduce_add(partial);
}

/* Exponentials to gradients: pull p_k, but -pull q at the label. */
FX_MATH void softmax_row_grads(const fx_tile *tile, const class_row *rows, int count, vec others,
                               vec total, vec pull) {
    real factors[LANES], own[LANES];
    vec factor = v_div(pull, total);
    v_store(factors, factor);
    v_store(own, v_negate(v_mul(others, factor)));
    for (int i = 0; i < count; i++) {
        vec scale = v_set(factors[i]);
        for (ptrdiff_t k = 0; k < tile->classes; k += LANES) {
            real *p = (real *)rows[i].grads + k;
            int width = tile->classes - k < LANES ? (int)(tile->classes - k) : LANES;
            row_store(p, width, v_mul(row_load(p, width, 0), scale));
        }
        if (rows[i].label >= 0) ((real *)rows[i].grads)[rows[i].label] = own[i];
    }
}

FX_INLINE void softmax_rows_block(const fx_tile *tile, ptrdiff_t first, int count, const int kind,
                                  const int has_grads, const int type) {
    vec partial[LANES];
    real centres[LANES], own_logits[LANES], factors[LANES];
    class_row rows[LANES];
    for (int i = 0; i < LANES; i++) {
        rows[i] = class_row_of(tile, first + (i < count ? i : count - 1), type, FX_OWN_TYPE);
        partial[i] = row_maximum(&rows[i], tile->classes, type);
    }
    vec on_grid = v_on_grid(v_reduce_max(partial));
    v_store(centres, on_grid);
    for (int i = 0; i < LANES; i++) {
        int32_t label = rows[i].label;
        own_logits[i] = label >= 0 ? row_logit(&rows[i], label, type) : centres[i];
        factors[i] =
            label >= 0 ? (real)class_factor(tile->positive_weight, tile->positive, label) : 1;
    }
    vec others = v_mask_any(v_is_far(on_grid))
                     ? rows_others(tile, rows, centres, 1, has_grads, type)
                     : rows_others(tile, rows, centres, 0, has_grads, type);
    vec own = v_sub(v_load(own_logits), on_grid);
    vec total = v_add(others, v_exp_nonpositive(own));
    vec p = v_div(v_exp_nonpositive(own), total), q = v_div(others, total);
    softmax_value value = softmax_value_of(kind, tile, power_of(tile->gamma_positive),
                                           softmax_loss(others, own), p, q);
    vec loss = v_mul(value.loss, v_load(factors));
    lane_range range = {first, count};
    if (has_grads) {
        vec scale = v_mul(v_load(factors), lanes_per_anchor(tile->grad_scales, &range));
        softmax_row_grads(tile, rows, count, others, total, v_mul(value.slope, scale));
    }
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, softmax_exact_anchor);
}

FX_INLINE void softmax_rows_typed(const fx_tile *tile, const int type) {
    const int plain = FX_SOFTMAX_CROSS_ENTROPY, other = tile->loss;
    int has_grads = tile->grads.data != NULL;
    if (tile->loss == plain && !has_grads)
        FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, plain, 0, type));
    else if (tile->loss == plain)
        FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, plain, 1, type));
    else if (has_grads)
        FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, other, 1, type));
    else
        FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, other, 0, type));
}

static void softmax_rows(const fx_tile *tile) {
#define FX_TYPED(type) softmax_rows_typed(tile, type)
    FX_FOR_TYPE(tile, FX_TYPED);
#undef FX_TYPED
}
