/* Scores over the class axis with classes as lanes. */

/* Divided, not multiplied by a reciprocal: one rounding less. */
FX_MATH void softmax_divide(const fx_tile *tile, const lane_range *group, vec sum) {
    real sums[LANES];
    v_store(sums, sum);
    for (int i = 0; i < group->count; i++) {
        real *p = row_of(&tile->results, group->first + i);
        vec divisor = v_set(sums[i]);
        for (ptrdiff_t k = 0; k < tile->classes; k += LANES) {
            int width = tile->classes - k < LANES ? (int)(tile->classes - k) : LANES;
            row_store(p + k, width, v_div(row_load(p + k, width, 0), divisor));
        }
    }
}

/* The exponentials are kept in the results, where rows_others has gradients. */
static void softmax_score_rows(const fx_tile *tile) {
    fx_tile scores = *tile;
    scores.grads = tile->results;
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        lane_range group = {first, left < LANES ? (int)left : LANES};
        softmax_block block;
        group_centres(&scores, &group, block.centres);
        rows_others(&scores, first, group.count, &block, 1);
        for (int i = group.count; i < LANES; i++) block.others[i] = v_one();
        vec sum = v_reduce_add(block.others);
        softmax_divide(tile, &group, sum);
        repair(tile, &group, sum, softmax_exact_scores);
    }
}
