/* Any C compiler. With GCC and Clang a vec is four vectors of 16 bytes, which SSE2 and NEON have
 * registers for: they take a vector of 64 bytes apart lane by lane. With other compilers it is an
 * array. Rare operations go through an array with both. */
#if FX_DOUBLE
#define FX_SQRT sqrt
#else
#define FX_SQRT sqrtf
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

#include "vector_exponents.h"

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
