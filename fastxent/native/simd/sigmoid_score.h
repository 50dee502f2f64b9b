/* The score that both scores and candidates are made of. */
#ifndef FX_SIGMOID_SCORE_H
#define FX_SIGMOID_SCORE_H

/* From e = exp(-|x|). */
FX_INLINE vec sigmoid_score_of(vec x, vec e) {
    return v_div(v_select(v_less(x, v_zero()), e, v_one()), v_add(v_one(), e));
}
/* Inline: with a call of exp, the portable build's sigmoid takes 1.7 times as long. */
FX_INLINE vec v_sigmoid(vec x, const exp_constants *constants) {
    vec e = v_exp_nonpositive_inline(v_negative_abs(x), constants);
    return sigmoid_score_of(x, e);
}

/* Scores from the `first` on, as long as there are enough to compute several vectors side by side.
 * Returns how many are done. */
FX_INLINE ptrdiff_t several_sigmoids(const real *x, real *scores, ptrdiff_t first, ptrdiff_t count,
                                     const exp_constants *constants, const int streams) {
    enum { AT_ONCE = FX_EXPS_AT_ONCE };
    ptrdiff_t i = first;
    if (AT_ONCE == 1) return i;
    for (; i + AT_ONCE * LANES <= count; i += AT_ONCE * LANES) {
        vec z[AT_ONCE], negative[AT_ONCE], e[AT_ONCE];
        for (int v = 0; v < AT_ONCE; v++) z[v] = v_load(x + i + v * LANES);
        for (int v = 0; v < AT_ONCE; v++) negative[v] = v_negative_abs(z[v]);
        v_exps_nonpositive(AT_ONCE, negative, e, constants);
        for (int v = 0; v < AT_ONCE; v++) {
            vec score = sigmoid_score_of(z[v], e[v]);
            if (streams)
                v_stream(scores + i + v * LANES, score);
            else
                v_store(scores + i + v * LANES, score);
        }
    }
    return i;
}

#endif
