/* exp, expm1, log, log1p and powers of a vec: branch-free, one polynomial each.
 *
 * The coefficients come from scripts/fit_polynomials.py. primitives.def says in which domain each
 * function is off by how much; tests/scores/test_scores.py holds what is promised of the functions
 * made of them.
 */
#ifndef FX_VECTOR_MATH_H
#define FX_VECTOR_MATH_H

#if FX_DOUBLE
#define FX_EXP_UNDERFLOW -746.0       /* n = -1076, and exp rounds to 0: 2^-1075 = exp(-745.13) */
#define FX_EXPM1_LIMIT -40.0          /* exp(x) is less than half an ULP of 1 */
#define FX_LN2_HIGH 0x1.62e42fefa4p-1 /* 41 bits: a product with an exponent is exact */
#define FX_LN2_LOW -0x1.8432a1b0e2634p-43
static const real exp_tail[] = {0x1.0000000000001p-1,  0x1.5555555555556p-3,  0x1.5555555553d63p-5,
                                0x1.11111111109b3p-7,  0x1.6c16c1788bd90p-10, 0x1.a01a01a7c41d5p-13,
                                0x1.a019b90d2ae7ap-16, 0x1.71de0dae63bb3p-19, 0x1.289185613a3d6p-22,
                                0x1.af38a9b0ec855p-26};
static const real log1p_tail[] = {0x1.5555555555555p-1, 0x1.9999999999f17p-2, 0x1.24924923de6edp-2,
                                  0x1.c71c72df580fcp-3, 0x1.745cac43cc003p-3, 0x1.3b29d0452d426p-3,
                                  0x1.0e8c55b42945fp-3, 0x1.169c38cc826bep-3};
#else
#define FX_EXP_UNDERFLOW -104.4f /* n = -151, and exp rounds to 0: 2^-150 = exp(-103.97) */
#define FX_EXPM1_LIMIT -20.0f    /* exp(x) is less than half an ULP of 1 */
#define FX_LN2_HIGH 0x1.62e4p-1f /* 15 bits */
#define FX_LN2_LOW 0x1.7f7d1cp-20f
static const real exp_tail[] = {0.5f, 0x1.5554a4p-3f, 0x1.555688p-5f, 0x1.122f88p-7f,
                                0x1.6b6e42p-10f};
static const real log1p_tail[] = {-0.5f,           0x1.5555a6p-2f,  -0x1.000024p-2f,
                                  0x1.99685ap-3f,  -0x1.54f23ep-3f, 0x1.2897b0p-3f,
                                  -0x1.0d8ff6p-3f, 0x1.abf6bcp-4f,  -0x1.6fe688p-5f};
static const real log1p_unit_tail[] = {-0x1.ffff14p-2f, 0x1.5535d8p-2f,  -0x1.fd131ep-3f,
                                       0x1.884446p-3f,  -0x1.19ad70p-3f, 0x1.446bc0p-4f,
                                       -0x1.ec988ap-6f, 0x1.5f964ep-8f};
#endif
#define FX_LOG2_E ((real)0x1.71547652b82fep0)
#define FX_COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Horner's rule; the loop has a constant length and unrolls. */
FX_INLINE vec v_polynomial(const real *coefficients, int count, vec x) {
    vec sum = v_set(coefficients[count - 1]);
    for (int i = count - 2; i >= 0; i--) sum = v_fma(sum, x, v_set(coefficients[i]));
    return sum;
}

#define FX_EXP_CONSTANTS (6 + FX_COUNT(exp_tail))
/* The constants of exp, and of v_log1p_unit, which follows it. A function that loops over vectors
 * takes them once and passes them on. */
typedef struct {
    vec underflow, log2_e, magic, ln2_high, ln2_low, one, tail[FX_COUNT(exp_tail)];
#if !FX_DOUBLE
    vec log1p_unit_tail[FX_COUNT(log1p_unit_tail)];
#endif
} exp_constants;
FX_INLINE exp_constants make_exp_constants(void) {
#if FX_HAS_FMA
    exp_constants constants = {
        .underflow = v_set(FX_EXP_UNDERFLOW),
        .log2_e = v_set(FX_LOG2_E),
        .magic = v_set(FX_ROUND_MAGIC),
        .ln2_high = v_set(FX_LN2_HIGH),
        .ln2_low = v_set(FX_LN2_LOW),
        .one = v_one(),
    };
#else /* in memory, which an initializer would fill with zeros first, and copy */
    exp_constants constants;
    constants.underflow = v_set(FX_EXP_UNDERFLOW);
    constants.log2_e = v_set(FX_LOG2_E);
    constants.magic = v_set(FX_ROUND_MAGIC);
    constants.ln2_high = v_set(FX_LN2_HIGH);
    constants.ln2_low = v_set(FX_LN2_LOW);
    constants.one = v_one();
#endif
    for (int i = 0; i < FX_COUNT(exp_tail); i++) constants.tail[i] = v_set(exp_tail[i]);
#if !FX_DOUBLE
    for (int i = 0; i < FX_COUNT(log1p_unit_tail); i++)
        constants.log1p_unit_tail[i] = v_set(log1p_unit_tail[i]);
#endif
    return constants;
}

#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
FX_INLINE exp_constants pin_exp_constants(exp_constants constants) {
    vec *all = (vec *)&constants; /* those of exp come first */
    for (int i = 0; i < FX_EXP_CONSTANTS; i++) all[i] = v_pin(all[i]);
    return constants;
}
#endif
/* The same in registers, where there are enough of them, on AVX-512: left to itself, the compiler
 * reads them from memory again in every row, which costs a row of 21 classes a quarter of its
 * time. */
FX_INLINE exp_constants pinned_exp_constants(void) {
#if defined(FX_ISA_AVX512)
    return pin_exp_constants(make_exp_constants());
#else
    return make_exp_constants();
#endif
}
/* The same for kernels that have registers for most of them on AVX2, too. */
FX_INLINE exp_constants row_exp_constants(void) {
#if defined(FX_ISA_AVX2)
    return pin_exp_constants(make_exp_constants());
#else
    return pinned_exp_constants();
#endif
}
/* The same for kernels that have none left on AVX2: there the constants stay in memory, from where
 * operations read them as operands. */
FX_INLINE exp_constants stored_exp_constants(void) {
#if defined(FX_ISA_AVX2)
    exp_constants constants = make_exp_constants();
    vec *all = (vec *)&constants;
    FX_NO_UNROLL
    for (int i = 0; i < (int)(sizeof constants / sizeof *all); i++) all[i] = v_pin(all[i]);
    return constants;
#else
    return pinned_exp_constants();
#endif
}

/* Horner's rule with coefficients that are vectors. */
FX_INLINE vec v_horner(const vec *coefficients, int count, vec x) {
    vec sum = coefficients[count - 1];
    for (int i = count - 2; i >= 0; i--) sum = v_fma(sum, x, coefficients[i]);
    return sum;
}

/* exp(r) for r within half an octave. */
FX_INLINE vec v_exp_reduced(vec r, const exp_constants *constants) {
    vec p = v_horner(constants->tail, FX_COUNT(exp_tail), r);
    return v_fma(v_fma(p, r, constants->one), r, constants->one);
}

/* exp(x) for x <= 0 (Cody and Waite: x = n ln 2 + r); exp(-inf) = 0, NaN stays NaN. */
FX_INLINE vec v_exp_nonpositive_inline(vec x, const exp_constants *constants) {
    vec magic = constants->magic;
    vec clamped = v_max(constants->underflow, x);
    vec biased = v_fma(clamped, constants->log2_e, magic);
    vec n = v_sub(biased, magic);
    vec r = v_fnma(n, constants->ln2_high, clamped);
    r = v_fnma(n, constants->ln2_low, r);
    return v_scale(v_exp_reduced(r, constants), n, biased);
}
FX_MATH vec v_exp_nonpositive(vec x, const exp_constants *constants) {
    return v_exp_nonpositive_inline(x, constants);
}

/* The same of several vectors, stage by stage: alone, each is a chain of operations. */
#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
#define FX_EXPS_AT_ONCE 3
#else
#define FX_EXPS_AT_ONCE 1
#endif
FX_INLINE void v_exps_nonpositive(const int vectors, const vec *x, vec *e,
                                  const exp_constants *constants) {
    enum { TERMS = FX_COUNT(exp_tail) };
    vec biased[FX_EXPS_AT_ONCE], n[FX_EXPS_AT_ONCE], r[FX_EXPS_AT_ONCE];
    for (int v = 0; v < vectors; v++) r[v] = v_max(constants->underflow, x[v]);
    for (int v = 0; v < vectors; v++) biased[v] = v_fma(r[v], constants->log2_e, constants->magic);
    for (int v = 0; v < vectors; v++) n[v] = v_sub(biased[v], constants->magic);
    for (int v = 0; v < vectors; v++) r[v] = v_fnma(n[v], constants->ln2_high, r[v]);
    for (int v = 0; v < vectors; v++) r[v] = v_fnma(n[v], constants->ln2_low, r[v]);
    for (int v = 0; v < vectors; v++) e[v] = constants->tail[TERMS - 1];
    for (int i = TERMS - 2; i >= 0; i--)
        for (int v = 0; v < vectors; v++) e[v] = v_fma(e[v], r[v], constants->tail[i]);
    for (int i = 0; i < 2; i++)
        for (int v = 0; v < vectors; v++) e[v] = v_fma(e[v], r[v], constants->one);
    for (int v = 0; v < vectors; v++) e[v] = v_scale(e[v], n[v], biased[v]);
}

/* exp(z - c) * 2^FX_EXP_SCALE for z up to a maximum, whose nearest multiple of ln 2 is c.
 *
 * A centre on a grid of ln 2 takes nothing from accuracy: z is reduced by its own multiple n ln 2,
 * as in v_exp_nonpositive, and the centre's is taken off the exponent. The scale keeps what is not
 * 0 in the range of normal numbers: whatever the logits are, no operation meets subnormal ones.
 * Below `lowest` the exponent's field is 0, and so is the product.
 *
 * Maxima beyond FX_CENTRE_LIMIT are subtracted first: what is near enough to count has no more than
 * twice their size, so that the difference is exact. */
#if FX_DOUBLE
#define FX_CENTRE_LIMIT 2048.0
#define FX_EXP_SCALE 53 /* 2^-1075 rounds to 0 */
#define FX_EXP_BIAS 1023
#else
#define FX_CENTRE_LIMIT 224.0f
#define FX_EXP_SCALE 24 /* 2^-150 rounds to 0 */
#define FX_EXP_BIAS 127
#endif
#define FX_EXP_UNSCALE ((real)1 / ((real)((int64_t)1 << FX_EXP_SCALE)))
typedef struct {
    vec shift; /* what is subtracted from z: 0, or the maximum */
    vec lowest, magic;
} centre;

/* The multiple of ln 2 that a maximum is nearest to, less what is subtracted. */
FX_INLINE vec centre_octave(vec shifted_maximum) {
    vec magic = v_set(FX_ROUND_MAGIC);
    return v_sub(v_fma(shifted_maximum, v_set(FX_LOG2_E), magic), magic);
}
/* Of infinite maxima, and of NaN, all exponentials are NaN. */
FX_INLINE centre centre_at(vec maximum) {
    mask far = v_less(v_negative_abs(maximum), v_set(-FX_CENTRE_LIMIT));
    vec shift = v_where(far, maximum), octave = centre_octave(v_sub(maximum, shift));
    vec lowest = v_sub(octave, v_set(FX_EXP_BIAS + FX_EXP_SCALE));
    centre result = {shift, v_mul(lowest, v_set(FX_LN2_HIGH + FX_LN2_LOW)),
                     v_sub(v_set(FX_ROUND_MAGIC + (FX_EXP_BIAS + FX_EXP_SCALE)), octave)};
    return result;
}
/* `any_far` may be 0 where there is nothing to subtract. */
FX_INLINE vec v_exp_centred_if(const int any_far, vec z, const centre *c,
                               const exp_constants *constants) {
    vec x = v_max(c->lowest, any_far ? v_sub(z, c->shift) : z);
    vec biased = v_fma(x, constants->log2_e, c->magic);
    vec n = v_sub(biased, c->magic);
    vec r = v_fnma(n, constants->ln2_high, x);
    r = v_fnma(n, constants->ln2_low, r);
    return v_mul(v_exp_reduced(r, constants), v_power_of_field(biased));
}
FX_INLINE vec v_exp_centred(vec z, const centre *c, const exp_constants *constants) {
    return v_exp_centred_if(1, z, c, constants);
}

/* sum * exp(c - maximum), without the scale: exp(-r) is 1 - r + (r^2 t(-r)), whose first sum is
 * kept in two parts, for what is left of the rounding errors of one multiplication. */
FX_MATH vec v_over_maximum(vec sum, vec maximum, const centre *c, const exp_constants *constants) {
    vec x = v_sub(maximum, c->shift), octave = centre_octave(x);
    vec reduced = v_fnma(octave, constants->ln2_high, x);
    vec r = v_fnma(octave, constants->ln2_low, reduced);
    vec lost = v_fnma(octave, constants->ln2_low, v_sub(reduced, r));
    vec tail = v_horner(constants->tail, FX_COUNT(exp_tail), v_negate(r));
    vec high = v_sub(constants->one, r);
    vec low = v_sub(v_sub(constants->one, high), r);
    low = v_add(low, v_sub(v_mul(v_mul(r, r), tail), lost));
    return v_mul(v_fma(sum, high, v_mul(sum, low)), v_set(FX_EXP_UNSCALE));
}

/* k ln 2 + log(1 + f) for f in [-0.25, 0.5]. */
FX_INLINE vec v_log_sum(vec k, vec f) {
#if FX_DOUBLE
    vec s = v_div(f, v_add(v_set(2.0), f));
    vec z = v_mul(s, s);
    vec half_square = v_mul(v_mul(v_set(0.5), f), f);
    vec tail = v_mul(z, v_polynomial(log1p_tail, FX_COUNT(log1p_tail), z));
    tail = v_fma(s, v_add(half_square, tail), v_mul(k, v_set(FX_LN2_LOW)));
    vec log_mantissa = v_sub(f, v_sub(half_square, tail));
#else
    vec tail = v_polynomial(log1p_tail, FX_COUNT(log1p_tail), f);
    tail = v_fma(v_mul(f, f), tail, v_mul(k, v_set(FX_LN2_LOW)));
    vec log_mantissa = v_add(f, tail);
#endif
    return v_fma(k, v_set(FX_LN2_HIGH), log_mantissa);
}

/* log(1 + x) for x >= -0.5 up to 2^126 (double: 2^1022); relative accuracy down to the smallest
 * x, without a division: 2^-k (1 + x) - 1 = 2^-k x + (2^-k - 1), and 2^-k - 1 is exact. */
FX_MATH vec v_log1p(vec x) {
    vec inverse_power;
    vec k = v_exponent(v_add(v_one(), x), &inverse_power);
    vec f = v_fma(x, inverse_power, v_sub(inverse_power, v_one()));
    return v_log_sum(k, f);
}

/* log(1 + x) for x from 0 to 1, where one polynomial does: half the operations. */
FX_INLINE vec v_log1p_unit(vec x, const exp_constants *constants) {
#if FX_DOUBLE
    (void)constants;
    return v_log1p(x);
#else
    vec tail = v_horner(constants->log1p_unit_tail, FX_COUNT(log1p_unit_tail), x);
    return v_fma(x, v_mul(x, tail), x);
#endif
}

/* log(x) for normal positive x up to 2^126 (double: 2^1022). */
FX_MATH vec v_log(vec x) {
    vec inverse_power;
    vec k = v_exponent(x, &inverse_power);
    return v_log_sum(k, v_fma(x, inverse_power, v_set((real)-1)));
}

/* a / b from inverse = 1 / b: the rounding error of the first quotient is exact, and taken off it
 * leaves what a division gives, for a third of its time. */
FX_INLINE vec v_divide_by(vec a, vec b, vec inverse) {
    vec quotient = v_mul(a, inverse);
    return v_fma(v_fma(v_negate(quotient), b, a), inverse, quotient);
}

/* Powers with the exponents that losses use most have forms of their own. */
typedef struct {
    enum { POWER_0, POWER_HALF, POWER_1, POWER_2, POWER_3, POWER_4, POWER_ANY } kind;
    real exponent, exponent_low; /* in two parts */
} power;
FX_INLINE power power_of(double exponent) {
    /* Beyond the largest, x^g is 0 for all x but 1; times the exponent of x it does not overflow.
     */
    real high = (real)(exponent < 1e30 ? exponent : 1e30);
    power result = {POWER_ANY, high, exponent < 1e30 ? (real)(exponent - high) : 0};
    if (exponent == 0.5) result.kind = POWER_HALF;
    for (int n = 0; n <= 4; n++)
        if (exponent == n) result.kind = n == 0 ? POWER_0 : POWER_1 + n - 1;
    return result;
}

/* x^g for x from 0 to 1 and g > 0: with x = 2^k (1 + f), exp(g k ln 2 + g log(1 + f)), where g k is
 * kept in two parts, because exp makes an absolute error a relative one. */
#if FX_DOUBLE
#define FX_SMALL_NORMAL 0x1p-900
#define FX_SMALL_SCALE 0x1p128
#define FX_SMALL_EXPONENT 128
#define FX_POWER_UNDERFLOW -1076.0
#define FX_SPLIT 0x1.0000002p27 /* 2^27 + 1 */
#else
#define FX_SMALL_NORMAL 0x1p-100f
#define FX_SMALL_SCALE 0x1p64f
#define FX_SMALL_EXPONENT 64
#define FX_POWER_UNDERFLOW -151.0f
#define FX_SPLIT 4097.0f /* 2^12 + 1 */
#endif
#if FX_HAS_FMA
/* The rounding error of a product. */
FX_INLINE vec v_product_error(vec a, vec b, vec product) { return v_fma(a, b, v_negate(product)); }
#else
/* Without an fma, both are split in halves whose products are exact (Dekker, Veltkamp). */
FX_INLINE vec v_high_half(vec a) {
    vec scaled = v_mul(a, v_set(FX_SPLIT));
    return v_sub(scaled, v_sub(scaled, a));
}
FX_INLINE vec v_product_error(vec a, vec b, vec product) {
    vec a_high = v_high_half(a), a_low = v_sub(a, a_high);
    vec b_high = v_high_half(b), b_low = v_sub(b, b_high);
    vec error = v_sub(v_mul(a_high, b_high), product);
    error = v_add(v_add(error, v_mul(a_high, b_low)), v_mul(a_low, b_high));
    return v_add(error, v_mul(a_low, b_low));
}
#endif
FX_CALLED vec v_pow(vec x, power exponent) {
    exp_constants constants = make_exp_constants();
    vec g = v_set(exponent.exponent);
    mask is_small = v_less(x, v_set(FX_SMALL_NORMAL)); /* v_exponent takes no subnormals */
    vec scaled = v_select(is_small, v_mul(x, v_set(FX_SMALL_SCALE)), x);
    vec inverse_power, k = v_exponent(scaled, &inverse_power);
    k = v_select(is_small, v_sub(k, v_set(FX_SMALL_EXPONENT)), k);
    vec log_mantissa = v_log_sum(v_zero(), v_fma(scaled, inverse_power, v_set((real)-1)));
    vec octaves = v_mul(g, k), lost = v_product_error(g, k, octaves);
    vec rest = v_fma(lost, v_set(FX_LN2_HIGH), v_mul(g, log_mantissa));
    vec log_x = v_fma(k, v_set(FX_LN2_HIGH), log_mantissa);
    rest = v_fma(v_set(exponent.exponent_low), log_x, rest);
    vec whole = v_max(v_set(FX_POWER_UNDERFLOW), v_fma(rest, v_set(FX_LOG2_E), octaves));
    vec biased = v_add(whole, v_set(FX_ROUND_MAGIC));
    vec n = v_sub(biased, v_set(FX_ROUND_MAGIC));
    vec distance = v_sub(octaves, n);
    vec r = v_fma(distance, v_set(FX_LN2_HIGH), v_fma(distance, v_set(FX_LN2_LOW), rest));
    vec result = v_scale(v_exp_reduced(r, &constants), n, biased);
    result = v_select(v_less(whole, v_set(FX_POWER_UNDERFLOW + 1)), v_zero(), result);
    return v_select(v_equal(x, v_zero()), v_zero(), result);
}
FX_INLINE vec v_power(vec x, power g) {
    vec square = v_mul(x, x);
    switch (g.kind) {
    case POWER_0: return v_one();
    case POWER_HALF: return v_sqrt(x);
    case POWER_1: return x;
    case POWER_2: return square;
    case POWER_3: return v_mul(square, x);
    case POWER_4: return v_mul(square, square);
    default: return v_pow(x, g);
    }
}

/* exp(x) - 1 for x <= 0, relative accuracy down to the smallest x. */
FX_MATH vec v_expm1_nonpositive(vec x) {
    vec clamped = v_max(v_set(FX_EXPM1_LIMIT), x);
    vec biased = v_fma(clamped, v_set(FX_LOG2_E), v_set(FX_ROUND_MAGIC));
    vec n = v_sub(biased, v_set(FX_ROUND_MAGIC));
    vec r = v_fma(n, v_set(-FX_LN2_HIGH), clamped);
    r = v_fma(n, v_set(-FX_LN2_LOW), r);
    vec p = v_polynomial(exp_tail, FX_COUNT(exp_tail), r);
    vec octave = v_scale(v_one(), n, biased);
    return v_fma(v_fma(v_mul(p, r), r, r), octave, v_sub(octave, v_one()));
}

#endif
