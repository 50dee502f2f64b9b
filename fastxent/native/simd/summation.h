/* Sums of many terms without the rounding errors of many additions. */
#ifndef FX_SUMMATION_H
#define FX_SUMMATION_H

/* A running sum in two parts, sum + lost, so that its rounding errors do not add up (Knuth). */
typedef struct {
    vec sum, lost;
} compensated;

FX_INLINE compensated compensated_zero(void) {
    compensated zero = {v_zero(), v_zero()};
    return zero;
}
/* What the addition a + b = sum rounded away. */
FX_INLINE vec v_rounding_error(vec a, vec b, vec sum) {
    vec shadow = v_sub(sum, a);
    return v_add(v_sub(a, v_sub(sum, shadow)), v_sub(b, shadow));
}
FX_INLINE void compensated_add(compensated *total, vec term) {
    vec sum = v_add(total->sum, term);
    total->lost = v_add(total->lost, v_rounding_error(total->sum, term, sum));
    total->sum = sum;
}
/* What was lost joins the sum, except for what that rounds away: of very many terms it grows so
 * large that its own rounding errors matter. */
FX_MATH void compensated_settle(compensated *total) {
    vec sum = v_add(total->sum, total->lost);
    total->lost = v_sub(total->lost, v_sub(sum, total->sum));
    total->sum = sum;
}
/* A term that stands for so many others that settling after each costs nothing. */
FX_MATH void compensated_join(compensated *total, vec term) {
    compensated_add(total, term);
    compensated_settle(total);
}
FX_INLINE vec compensated_value(compensated total) { return v_add(total.sum, total.lost); }
/* The same of terms that may be infinite: what additions lost is NaN then. */
FX_INLINE vec compensated_limit(compensated total) {
    return v_add(total.sum, v_where(v_equal(total.lost, total.lost), total.lost));
}

#endif
