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

/* The exponentials are kept in the results, where rows_others has gradients. */
FX_INLINE void softmax_score_block(const fx_tile *scores, ptrdiff_t first, int count,
                                   softmax_block *block) {
    rows_others(scores, first, count, block);
    for (int i = count; i % LANES; i++) block->others[i] = v_one();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        softmax_divide(scores, &group, v_reduce_add(block->others + start));
        repair_infinite(scores, &group, v_load(block->maxima + start), softmax_exact_scores);
    }
}
static void softmax_score_rows(const fx_tile *tile) {
    fx_tile scores = *tile;
    softmax_block block;
    block.knows_maxima = 0;
    scores.grads = tile->results;
    /* Not more at a time: their results stay in the first-level cache. */
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        softmax_score_block(&scores, first, left < LANES ? (int)left : LANES, &block);
    }
}
