/* Scores over the class axis with classes as lanes. */

FX_CALLED void softmax_divide(const fx_tile *tile, const lane_range *group, vec sum) {
    real sums[LANES], inverses[LANES];
    v_store(sums, sum);
    v_store(inverses, v_div(v_one(), sum));
    for (int i = 0; i < group->count; i++) {
        real *p = row_of(&tile->results, group->first + i);
        vec divisor = v_set(sums[i]), inverse = v_set(inverses[i]);
        FX_REWRITE_ROW(p, tile->classes, v_divide_by, divisor, inverse);
    }
}

/* The exponentials are kept in the results, where rows_others has gradients. Without labels, sums
 * start from the first class. */
static void softmax_score_rows(const fx_tile *tile) {
    fx_tile scores = *tile;
    scores.grads = tile->results;
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        lane_range group = {first, left < LANES ? (int)left : LANES};
        softmax_block block;
        rows_others(&scores, first, group.count, &block);
        for (int i = group.count; i < LANES; i++) block.others[i] = v_one();
        vec sum = v_reduce_add(block.others);
        if (!v_all_summed(sum)) {
            group_others_from_maxima(&scores, &group, &block);
            sum = v_reduce_add(block.others);
        }
        softmax_divide(tile, &group, sum);
        repair(tile, &group, sum, softmax_exact_scores);
    }
}
