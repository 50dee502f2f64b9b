/* The softmax family with classes as lanes and labels: one reduction and one logarithm for LANES
 * anchors.
 *
 * As in softmax_plain, sums start from the labels' logits, and groups of anchors whose sums are out
 * of range are processed again, from their maxima.
 */
FX_REDUCE(v_reduce_max, v_max)

FX_INLINE void row_maximum_step(const class_row *row, ptrdiff_t k, int count, vec *maximum,
                                const int type) {
    *maximum = v_max(*maximum, row_logits(row, k, count, (real)-INFINITY, type));
}
FX_MATH vec row_maximum(const class_row *row, ptrdiff_t classes, const int type) {
    vec maximum = v_set((real)-INFINITY);
    FX_FOR_ROW(row, type, classes, row_maximum_step, &maximum, type);
    return maximum;
}

/* The sum of exp(z_k - c) over up to FX_ROW_PIECE classes other than the label. The exponentials
 * are kept where the gradient will be. */
FX_INLINE void others_step(const class_row *row, ptrdiff_t k, int count, vec *sum,
                           const real *others, const centre *c, const exp_constants *constants,
                           const int any_far, const int has_grads, const int type) {
    vec e = v_exp_centred(row_logits(row, k, count, 0, type), c, any_far, constants);
    *sum = v_add(*sum, row_term(v_and(e, v_load(others + k)), count));
    if (has_grads) row_put_grads(row, k, count, e, FX_OWN_TYPE);
}
FX_INLINE vec piece_others(const class_row *row, const real *others, ptrdiff_t classes,
                           const centre *c, const exp_constants *constants, const int any_far,
                           const int has_grads, const int type) {
    vec sum = v_zero();
    FX_FOR_ROW(row, type, classes, others_step, &sum, others, c, constants, any_far, has_grads,
               type);
    return sum;
}

FX_INLINE vec row_others(const class_row *row, ptrdiff_t classes, real centre_of_row,
                         const exp_constants *constants, const int any_far, const int has_grads,
                         const int type) {
    centre at = centre_at(v_set(centre_of_row));
    vec sum = v_zero();
    if (classes <= FX_ROW_PIECE)
        return piece_others(row, label_mask(row->label, 0), classes, &at, constants, any_far,
                            has_grads, type);
    for (ptrdiff_t start = 0; start < classes; start += FX_ROW_PIECE) {
        ptrdiff_t left = classes - start;
        class_row piece = class_row_from(*row, start, type, FX_OWN_TYPE);
        sum = v_add(sum, piece_others(&piece, label_mask(row->label, start),
                                      left < FX_ROW_PIECE ? left : FX_ROW_PIECE, &at, constants,
                                      any_far, has_grads, type));
    }
    return sum;
}

/* The same for a row of any length, chunk by chunk. */
FX_INLINE vec long_row_others(const class_row *row, ptrdiff_t classes, real centre_of_row,
                              const exp_constants *constants, const int any_far,
                              const int has_grads, const int type) {
    compensated total = compensated_zero();
    for (ptrdiff_t start = 0; start < classes; start += FX_ROW_CHUNK) {
        ptrdiff_t left = classes - start;
        class_row chunk = class_row_from(*row, start, type, FX_OWN_TYPE);
        chunk.label = (int32_t)(row->label - start);
        compensated_join(&total, row_others(&chunk, left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK,
                                            centre_of_row, constants, any_far, has_grads, type));
    }
    return compensated_value(total);
}

/* Where the sums of some anchors start from, and what they are. */
typedef struct {
    real own_logits[FX_ROW_BLOCK], centres[FX_ROW_BLOCK];
    vec others[FX_ROW_BLOCK];
} softmax_block;

FX_INLINE void far_rows_others(const fx_tile *tile, const lane_range *group, softmax_block *block,
                               int start, const exp_constants *constants, const int has_grads,
                               const int type) {
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        block->others[start + i] = long_row_others(&row, tile->classes, block->centres[start + i],
                                                   constants, 1, has_grads, type);
    }
}

/* Whether any centre is beyond the grid, or NaN. */
FX_INLINE int any_is_far(vec centres) {
    return v_mask_any(v_is_far(centres)) || !v_mask_all(v_equal(centres, centres));
}

/* Up to LANES anchors, from anchor `start` of the block on. The sums start from the labels' logits,
 * those of the first class where there is none. */
FX_INLINE void group_others(const fx_tile *tile, const lane_range *group, softmax_block *block,
                            int start, const exp_constants *constants, const int is_long,
                            const int has_grads, const int type) {
    v_store(block->own_logits + start, v_zero());
    v_store(block->centres + start, v_zero());
    for (int i = start; i < start + group->count; i++) {
        class_row row = class_row_of(tile, group->first - start + i, type, FX_OWN_TYPE);
        real own = row_logit(&row, row.label >= 0 ? row.label : 0, type);
        real at = (own + FX_CENTRE_GRID) - FX_CENTRE_GRID;
        block->own_logits[i] = own;
        block->centres[i] = at;
        block->others[i] =
            is_long ? long_row_others(&row, tile->classes, at, constants, 0, has_grads, type)
                    : row_others(&row, tile->classes, at, constants, 0, has_grads, type);
    }
    vec logits = v_load(block->own_logits + start);
    if (!any_is_far(logits)) return;
    v_store(block->centres + start, v_on_grid(logits));
    far_rows_others(tile, group, block, start, constants, has_grads, type);
}

FX_INLINE void rows_others_typed(const fx_tile *tile, ptrdiff_t first, int count,
                                 softmax_block *block, const exp_constants *constants,
                                 const int is_long, const int has_grads, const int type) {
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        group_others(tile, &group, block, start, constants, is_long, has_grads, type);
    }
}
FX_INLINE void rows_others_of(const fx_tile *tile, ptrdiff_t first, int count, softmax_block *block,
                              const int is_long) {
    exp_constants constants = row_exp_constants();
    FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, rows_others_typed, tile, first, count,
                          block, &constants, is_long);
}
/* The sums of some anchors. The loops are functions of their own, for their constants to have all
 * registers. */
FX_CALLED void short_rows_others(const fx_tile *tile, ptrdiff_t first, int count,
                                 softmax_block *block) {
    rows_others_of(tile, first, count, block, 0);
}
FX_CALLED void long_rows_others(const fx_tile *tile, ptrdiff_t first, int count,
                                softmax_block *block) {
    rows_others_of(tile, first, count, block, 1);
}
FX_INLINE void rows_others(const fx_tile *tile, ptrdiff_t first, int count, softmax_block *block) {
    if (tile->classes <= FX_ROW_CHUNK)
        short_rows_others(tile, first, count, block);
    else
        long_rows_others(tile, first, count, block);
}

FX_INLINE void group_others_from_maxima_typed(const fx_tile *tile, const lane_range *group,
                                              softmax_block *block, const int has_grads,
                                              const int type) {
    vec maxima[LANES];
    exp_constants constants = make_exp_constants();
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        maxima[i] = row_maximum(&row, tile->classes, type);
    }
    for (int i = group->count; i < LANES; i++) maxima[i] = v_zero();
    v_store(block->centres, v_on_grid(v_reduce_max(maxima)));
    far_rows_others(tile, group, block, 0, &constants, has_grads, type);
}
/* The sums of a group again, from its maxima, rounded to the grid. */
FX_CALLED void group_others_from_maxima(const fx_tile *tile, const lane_range *group,
                                        softmax_block *block) {
    FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, group_others_from_maxima_typed, tile,
                          group, block);
}

/* Exponentials to gradients: b p_k, but -b q at the label, where b is `log_p_slope`. */
FX_MATH void softmax_row_grads(const fx_tile *tile, const lane_range *group, vec others, vec total,
                               vec log_p_slope) {
    real factors[LANES], own[LANES];
    vec factor = v_div(log_p_slope, total);
    v_store(factors, factor);
    v_store(own, v_negate(v_mul(others, factor)));
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, FX_OWN_TYPE, FX_OWN_TYPE);
        vec scale = v_set(factors[i]);
        real *grads = (real *)row.grads;
        FX_REWRITE_ROW(grads, tile->classes, v_mul, scale);
        if (row.label >= 0) grads[row.label] = own[i];
    }
}

/* Alpha of the labels' classes. */
FX_INLINE vec label_factors(const fx_tile *tile, const lane_range *group) {
    if (!tile->positive_weight) return v_set((real)tile->positive);
    real factors[LANES] = {0};
    for (int i = 0; i < group->count; i++) {
        int32_t label = tile->labels[group->first + i];
        factors[i] = label >= 0 ? ((const real *)tile->positive_weight)[label] : 1;
    }
    return v_load(factors);
}

/* From the sums of the other classes' exponentials to losses and gradients. */
FX_INLINE void softmax_rows_group(const fx_tile *tile, const lane_range *group, vec others, vec own,
                                  const int kind) {
    vec factors = label_factors(tile, group);
    vec p = v_one(), q = v_one(), total = v_one();
    if (kind != FX_SOFTMAX_CROSS_ENTROPY || tile->grads.data) {
        exp_constants constants = make_exp_constants();
        vec of_own = v_exp_nonpositive(own, &constants);
        total = v_add(others, of_own);
        p = v_div(of_own, total);
        q = v_div(others, total);
    }
    softmax_value value = softmax_value_of(kind, tile, power_of(tile->gamma_positive),
                                           softmax_loss(others, own), p, q);
    vec loss = v_mul(value.loss, factors);
    if (tile->grads.data) {
        vec scale = v_mul(factors, lanes_per_anchor(tile->grad_scales, group));
        softmax_row_grads(tile, group, others, total, v_mul(value.slope, scale));
    }
    lanes_store_losses(tile, group, loss);
    repair(tile, group, loss, softmax_exact_anchor);
}

FX_INLINE void softmax_rows_block(const fx_tile *tile, ptrdiff_t first, int count, const int kind) {
    softmax_block block;
    rows_others(tile, first, count, &block);
    for (int i = count; i % LANES; i++) block.others[i] = v_zero();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec own = v_load(block.own_logits + start), others = v_reduce_add(block.others + start);
        vec centres = v_load(block.centres + start);
        if (!v_all_summed(others)) {
            softmax_block again;
            group_others_from_maxima(tile, &group, &again);
            for (int i = group.count; i < LANES; i++) again.others[i] = v_zero();
            others = v_reduce_add(again.others);
            centres = v_load(again.centres);
        }
        softmax_rows_group(tile, &group, others, v_sub(own, centres), kind);
    }
}

static void softmax_cross_entropy_rows(const fx_tile *tile) {
    FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, FX_SOFTMAX_CROSS_ENTROPY));
}
static void softmax_rows(const fx_tile *tile) {
    FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, tile->loss));
}
