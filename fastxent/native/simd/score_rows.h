/* Scores over the class axis with classes as lanes, LANES anchors at a time. */

/* Centres, and the sums of exp(z - centre); softmax keeps the exponentials in its results. */
typedef struct {
    class_row rows[LANES];
    vec on_grid, sum;
} score_block;

FX_INLINE score_block score_block_of(const fx_tile *tile, ptrdiff_t first, int count,
                                     const int keeps, const int type) {
    score_block block;
    vec partial[LANES];
    real centres[LANES];
    for (int i = 0; i < LANES; i++) {
        ptrdiff_t anchor = first + (i < count ? i : count - 1);
        class_row row = class_row_of(tile, anchor, type, FX_OWN_TYPE);
        row.grads = (char *)row_of(&tile->results, anchor);
        block.rows[i] = row;
        partial[i] = row_maximum(&row, tile->classes, type);
    }
    block.on_grid = v_on_grid(v_reduce_max(partial));
    v_store(centres, block.on_grid);
    block.sum = v_mask_any(v_is_far(block.on_grid))
                    ? rows_others(tile, block.rows, centres, 1, keeps, type)
                    : rows_others(tile, block.rows, centres, 0, keeps, type);
    return block;
}

/* Divided, not multiplied by a reciprocal: one rounding less. */
FX_MATH void softmax_divide(const score_block *block, int count, ptrdiff_t classes) {
    real sums[LANES];
    v_store(sums, block->sum);
    for (int i = 0; i < count; i++) {
        real *p = (real *)block->rows[i].grads;
        vec sum = v_set(sums[i]);
        for (ptrdiff_t k = 0; k < classes; k += LANES) {
            int width = classes - k < LANES ? (int)(classes - k) : LANES;
            row_store(p + k, width, v_div(row_load(p + k, width, 0), sum));
        }
    }
}

FX_INLINE void softmax_score_block(const fx_tile *tile, ptrdiff_t first, int count,
                                   const int type) {
    score_block block = score_block_of(tile, first, count, 1, type);
    lane_range range = {first, count};
    softmax_divide(&block, count, tile->classes);
    repair(tile, &range, block.sum, softmax_exact_scores);
}

static void softmax_score_rows(const fx_tile *tile) {
#define FX_TYPED(type) FX_FOR_BLOCKS(tile, softmax_score_block(tile, first, count, type))
    FX_FOR_TYPE(tile, FX_TYPED);
#undef FX_TYPED
}
