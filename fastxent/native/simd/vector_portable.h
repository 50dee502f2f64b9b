/* Any C compiler. With GCC and Clang a vec is four vectors of 16 bytes, which SSE2 and NEON have
 * registers for: they take a vector of 64 bytes apart lane by lane. With other compilers it is an
 * array. Rare operations go through an array with both. */
#if FX_DOUBLE
#define FX_SQRT sqrt
#define FX_MANTISSA_BITS 52
#define FX_EXPONENT_BIAS 1023
#define FX_BITS_OF_THREE_QUARTERS 0x3FE8000000000000
#define FX_BITS_OF_ROUND_MAGIC 0x4338000000000000
#define FX_GUARD_POWER 0x1p-60
#define FX_GUARD_EXPONENT 60
typedef uint64_t real_unsigned;
#else
#define FX_SQRT sqrtf
#define FX_MANTISSA_BITS 23
#define FX_EXPONENT_BIAS 127
#define FX_BITS_OF_THREE_QUARTERS 0x3F400000
#define FX_BITS_OF_ROUND_MAGIC 0x4B400000
#define FX_GUARD_POWER 0x1p-28f
#define FX_GUARD_EXPONENT 28
typedef uint32_t real_unsigned;
#endif
#define FX_EACH for (int i = 0; i < LANES; i++)

#if defined(__GNUC__)
#include "vector_parts.h"
#else
#include "vector_array.h"
#endif

FX_INLINE vec v_fma(vec a, vec b, vec c) { return v_add(v_mul(a, b), c); }
FX_INLINE vec v_fnma(vec a, vec b, vec c) { return v_sub(c, v_mul(a, b)); }
FX_INLINE vec v_where(mask m, vec x) { return v_and(x, v_from_bits(m)); }

FX_INLINE vec v_load(const real *p) {
    vec r;
    memcpy(&r, p, sizeof r);
    return r;
}
FX_INLINE void v_store(real *p, vec x) { memcpy(p, &x, sizeof x); }
FX_INLINE vec v_load_int32(const int32_t *p) {
    real lanes[LANES];
    FX_EACH lanes[i] = (real)p[i];
    return v_load(lanes);
}
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    real lanes[LANES];
    v_store(lanes, fill);
    for (int i = 0; i < count; i++) lanes[i] = p[i];
    return v_load(lanes);
}
/* There are no non-temporal stores. */
FX_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FX_INLINE void v_end_streams(void) {}
FX_INLINE vec v_clear_rest(vec x, int count) {
    real lanes[LANES];
    v_store(lanes, x);
    FX_EACH lanes[i] = i < count ? lanes[i] : 0;
    return v_load(lanes);
}
FX_INLINE void v_store_first(real *p, int count, vec x) {
    real lanes[LANES];
    v_store(lanes, x);
    for (int i = 0; i < count; i++) p[i] = lanes[i];
}

/* p * 2^n for n <= 0: the low bits of `biased` = n + FX_ROUND_MAGIC hold n, and shifted into an
 * exponent field they are a power of two; the guard keeps that field in range, and one
 * multiplication by its inverse rounds once into the subnormals. */
FX_INLINE vec v_scale(vec p, vec n, vec biased) {
    mask field = bits_add(v_bits(biased), FX_EXPONENT_BIAS + FX_GUARD_EXPONENT);
    (void)n;
    field = bits_shift_left(field, FX_MANTISSA_BITS);
    return v_mul(v_mul(p, v_from_bits(field)), v_set(FX_GUARD_POWER));
}
/* The same for any n: from FX_SCALE_OVERFLOW on that field is the one of infinity. */
#define FX_SCALE_OVERFLOW (FX_EXPONENT_BIAS + 1 - FX_GUARD_EXPONENT)
FX_INLINE vec v_scale_up(vec p, vec n, vec biased) {
    return v_scale(p, n, v_min(v_set(FX_ROUND_MAGIC + FX_SCALE_OVERFLOW), biased));
}

/* The exponent k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x. Added to the
 * bits of FX_ROUND_MAGIC, k is the difference from it. */
FX_INLINE vec v_exponent(vec x, vec *inverse_power) {
    mask k = bits_shift_right(bits_add(v_bits(x), -FX_BITS_OF_THREE_QUARTERS), FX_MANTISSA_BITS);
    mask power = bits_shift_left(bits_add(bits_negate(k), FX_EXPONENT_BIAS), FX_MANTISSA_BITS);
    *inverse_power = v_from_bits(power);
    return v_sub(v_from_bits(bits_add(k, FX_BITS_OF_ROUND_MAGIC)), v_set(FX_ROUND_MAGIC));
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    real rows[LANES][FX_CHUNK], lanes[FX_CHUNK][LANES];
    FX_EACH memcpy(rows[i], p + i * step, sizeof rows[i]);
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH lanes[j][i] = rows[i][j];
    for (int j = 0; j < FX_CHUNK; j++) columns[j] = v_load(lanes[j]);
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    real rows[LANES][FX_CHUNK], lanes[FX_CHUNK][LANES];
    for (int j = 0; j < FX_CHUNK; j++) v_store(lanes[j], columns[j]);
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH rows[i][j] = lanes[j][i];
    FX_EACH memcpy(p + i * step, rows[i], sizeof rows[i]);
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. */
FX_CALLED void v_transpose(vec *v) {
    real rows[LANES][LANES], columns[LANES][LANES];
    memcpy(rows, v, sizeof rows);
    for (int j = 0; j < LANES; j++) FX_EACH columns[i][j] = rows[j][i];
    memcpy(v, columns, sizeof columns);
}

/* Transposed, the fold of each vector's halves is a fold of whole vectors. */
#define FX_REDUCE(name, op)                                                                        \
    FX_CALLED vec name(const vec *v) {                                                             \
        vec column[LANES];                                                                         \
        memcpy(column, v, sizeof column);                                                          \
        v_transpose(column);                                                                       \
        for (int half = LANES / 2; half > 0; half /= 2)                                            \
            for (int i = 0; i < half; i++) column[i] = op(column[i], column[i + half]);            \
        return column[0];                                                                          \
    }

#if !FX_DOUBLE
/* The first 16-bit numbers of up to LANES to a buffer for all of them, and from one. */
FX_INLINE void v_load_first_halves(uint16_t *buffer, const char *p, int count) {
    copy_halves((char *)buffer, p, count);
}
FX_INLINE void v_store_first_halves(char *p, int count, const uint16_t *buffer) {
    copy_halves(p, (const char *)buffer, count);
}

/* 16-bit numbers: LANES of them (half.h). */
FX_CALLED vec v_load_float16(const uint16_t *p) {
    real lanes[LANES];
    FX_EACH lanes[i] = float16_value(p[i]);
    return v_load(lanes);
}
FX_CALLED void v_store_float16(uint16_t *p, vec x) {
    real lanes[LANES];
    v_store(lanes, x);
    FX_EACH p[i] = float16_bits(lanes[i]);
}
FX_CALLED vec v_load_bfloat16(const uint16_t *p) {
    real lanes[LANES];
    FX_EACH lanes[i] = bfloat16_value(p[i]);
    return v_load(lanes);
}
FX_CALLED void v_store_bfloat16(uint16_t *p, vec x) {
    real lanes[LANES];
    v_store(lanes, x);
    FX_EACH p[i] = bfloat16_bits(lanes[i]);
}
/* Two 16-bit numbers in each lane: those in the lower halves, and in the upper ones. */
#define FX_HALF_OF_LANES(name, value, shift)                                                       \
    FX_CALLED vec name(vec x) {                                                                    \
        real lanes[LANES];                                                                         \
        v_store(lanes, x);                                                                         \
        FX_EACH lanes[i] = value((uint16_t)(bits_of_float(lanes[i]) >> (shift)));                  \
        return v_load(lanes);                                                                      \
    }
FX_HALF_OF_LANES(v_low_float16, float16_value, 0)
FX_HALF_OF_LANES(v_high_float16, float16_value, 16)
FX_HALF_OF_LANES(v_low_bfloat16, bfloat16_value, 0)
FX_HALF_OF_LANES(v_high_bfloat16, bfloat16_value, 16)
#endif
