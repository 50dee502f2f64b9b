/* Any C compiler. GCC and Clang have vectors of any length and cut them to what the machine has
 * (SSE2, NEON); for others a vec is an array, and the loops are theirs to vectorise. */
#if FX_DOUBLE
#define FX_SQRT sqrt
#else
#define FX_SQRT sqrtf
#endif
#define FX_EACH for (int i = 0; i < LANES; i++)

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi" /* every function here is inlined: no ABI is involved */
typedef real vec __attribute__((vector_size(LANES * sizeof(real))));
typedef real_bits mask __attribute__((vector_size(LANES * sizeof(real)))); /* 0 or -1 */
#define FX_LANE(x, i) (x)[i]
#define FX_BINARY(name, op)                                                                        \
    FX_INLINE vec name(vec a, vec b) { return a op b; }
#define FX_BITWISE(name, op)                                                                       \
    FX_INLINE vec name(vec a, vec b) { return (vec)((mask)a op(mask) b); }
#define FX_COMPARE(name, op)                                                                       \
    FX_INLINE mask name(vec a, vec b) { return (mask)(a op b); }
FX_INLINE mask v_bits(vec x) { return (mask)x; }
FX_INLINE vec v_from_bits(mask x) { return (vec)x; }
FX_INLINE vec v_set(real x) { return x - (vec){0}; }
FX_INLINE vec v_select(mask m, vec yes, vec no) { return (vec)(((mask)yes & m) | ((mask)no & ~m)); }
#else
typedef struct {
    real lane[LANES];
} vec;
typedef struct {
    real_bits lane[LANES]; /* 0 or -1 */
} mask;
#define FX_LANE(x, i) (x).lane[i]
#define FX_BINARY(name, op)                                                                        \
    FX_INLINE vec name(vec a, vec b) {                                                             \
        FX_EACH a.lane[i] = a.lane[i] op b.lane[i];                                                \
        return a;                                                                                  \
    }
FX_INLINE mask v_bits(vec x) {
    mask r;
    memcpy(r.lane, x.lane, sizeof r.lane);
    return r;
}
FX_INLINE vec v_from_bits(mask x) {
    vec r;
    memcpy(r.lane, x.lane, sizeof r.lane);
    return r;
}
#define FX_BITWISE(name, op)                                                                       \
    FX_INLINE vec name(vec a, vec b) {                                                             \
        mask left = v_bits(a), right = v_bits(b);                                                  \
        FX_EACH left.lane[i] = left.lane[i] op right.lane[i];                                      \
        return v_from_bits(left);                                                                  \
    }
#define FX_COMPARE(name, op)                                                                       \
    FX_INLINE mask name(vec a, vec b) {                                                            \
        mask r;                                                                                    \
        FX_EACH r.lane[i] = -(real_bits)(a.lane[i] op b.lane[i]);                                  \
        return r;                                                                                  \
    }
FX_INLINE vec v_set(real x) {
    vec r;
    FX_EACH r.lane[i] = x;
    return r;
}
FX_INLINE vec v_select(mask m, vec yes, vec no) {
    mask a = v_bits(yes), b = v_bits(no);
    FX_EACH a.lane[i] = (a.lane[i] & m.lane[i]) | (b.lane[i] & ~m.lane[i]);
    return v_from_bits(a);
}
#endif

FX_BINARY(v_add, +)
FX_BINARY(v_sub, -)
FX_BINARY(v_mul, *)
FX_BINARY(v_div, /)
FX_BITWISE(v_and, &)
FX_BITWISE(v_or, |)
FX_BITWISE(v_xor, ^)
FX_COMPARE(v_less, <)
FX_COMPARE(v_equal, ==)
FX_COMPARE(v_differs, !=)
#undef FX_BINARY
#undef FX_BITWISE
#undef FX_COMPARE

FX_INLINE vec v_fma(vec a, vec b, vec c) { return v_add(v_mul(a, b), c); }
FX_INLINE vec v_fnma(vec a, vec b, vec c) { return v_sub(c, v_mul(a, b)); }
FX_INLINE vec v_sqrt(vec x) {
    FX_EACH FX_LANE(x, i) = FX_SQRT(FX_LANE(x, i));
    return x;
}
FX_INLINE vec v_max(vec a, vec b) { return v_select(v_less(b, a), a, b); }
FX_INLINE vec v_min(vec a, vec b) { return v_select(v_less(a, b), a, b); }

FX_INLINE vec v_load(const real *p) {
    vec r;
    memcpy(&r, p, sizeof r);
    return r;
}
FX_INLINE void v_store(real *p, vec x) { memcpy(p, &x, sizeof x); }
FX_INLINE vec v_load_int32(const int32_t *p) {
    vec r;
    FX_EACH FX_LANE(r, i) = (real)p[i];
    return r;
}
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    memcpy(&fill, p, (size_t)count * sizeof(real));
    return fill;
}
/* There are no stores past the caches. */
FX_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FX_INLINE void v_end_streams(void) {}
FX_INLINE vec v_clear_rest(vec x, int count) {
    FX_EACH FX_LANE(x, i) = i < count ? FX_LANE(x, i) : 0;
    return x;
}
FX_INLINE void v_store_first(real *p, int count, vec x) {
    memcpy(p, &x, (size_t)count * sizeof(real));
}
FX_INLINE vec v_where(mask m, vec x) { return v_select(m, x, v_set((real)0)); }
FX_INLINE int v_mask_any(mask m) {
    real_bits any = 0;
    FX_EACH any |= FX_LANE(m, i);
    return any != 0;
}
FX_INLINE int v_mask_all(mask m) {
    real_bits all = -1;
    FX_EACH all &= FX_LANE(m, i);
    return all != 0;
}

#if FX_DOUBLE
#define FX_MANTISSA_BITS 52
#define FX_EXPONENT_BIAS 1023
#define FX_BITS_OF_THREE_QUARTERS 0x3FE8000000000000
#define FX_GUARD_POWER 0x1p-60
#define FX_GUARD_EXPONENT 60
typedef uint64_t real_unsigned;
#else
#define FX_MANTISSA_BITS 23
#define FX_EXPONENT_BIAS 127
#define FX_BITS_OF_THREE_QUARTERS 0x3F400000
#define FX_GUARD_POWER 0x1p-28f
#define FX_GUARD_EXPONENT 28
typedef uint32_t real_unsigned;
#endif

/* p * 2^n for n <= 0: the low bits of `biased` = n + FX_ROUND_MAGIC hold n, and shifted into an
 * exponent field they are a power of two; the guard keeps that field in range, and one
 * multiplication by its inverse rounds once into the subnormals. */
FX_INLINE vec v_scale(vec p, vec n, vec biased) {
    mask field = v_bits(biased);
    (void)n;
    FX_EACH FX_LANE(field, i) =
        (real_bits)(((real_unsigned)FX_LANE(field, i) + FX_EXPONENT_BIAS + FX_GUARD_EXPONENT)
                    << FX_MANTISSA_BITS);
    return v_mul(v_mul(p, v_from_bits(field)), v_set(FX_GUARD_POWER));
}
/* The same for any n: from FX_SCALE_OVERFLOW on that field is the one of infinity. */
#define FX_SCALE_OVERFLOW (FX_EXPONENT_BIAS + 1 - FX_GUARD_EXPONENT)
FX_INLINE vec v_scale_up(vec p, vec n, vec biased) {
    return v_scale(p, n, v_min(v_set(FX_ROUND_MAGIC + FX_SCALE_OVERFLOW), biased));
}

/* The exponent k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x. */
FX_INLINE vec v_exponent(vec x, vec *inverse_power) {
    mask bits = v_bits(x), power;
    vec exponent;
    FX_EACH {
        real_bits k = (FX_LANE(bits, i) - FX_BITS_OF_THREE_QUARTERS) >> FX_MANTISSA_BITS;
        FX_LANE(power, i) = (real_bits)((real_unsigned)(FX_EXPONENT_BIAS - k) << FX_MANTISSA_BITS);
        FX_LANE(exponent, i) = (real)k;
    }
    *inverse_power = v_from_bits(power);
    return exponent;
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    real rows[LANES][FX_CHUNK];
    FX_EACH memcpy(rows[i], p + i * step, sizeof rows[i]);
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH FX_LANE(columns[j], i) = rows[i][j];
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    real rows[LANES][FX_CHUNK];
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH rows[i][j] = FX_LANE(columns[j], i);
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
FX_INLINE vec v_load_float16(const uint16_t *p) {
    vec r;
    FX_EACH FX_LANE(r, i) = float16_value(p[i]);
    return r;
}
FX_INLINE void v_store_float16(uint16_t *p, vec x) { FX_EACH p[i] = float16_bits(FX_LANE(x, i)); }
FX_INLINE vec v_load_bfloat16(const uint16_t *p) {
    vec r;
    FX_EACH FX_LANE(r, i) = bfloat16_value(p[i]);
    return r;
}
/* Two 16-bit numbers in each lane: those in the lower halves, and in the upper ones. */
#define FX_HALF_OF_LANES(name, value, shift)                                                       \
    FX_INLINE vec name(vec x) {                                                                    \
        FX_EACH FX_LANE(x, i) = value((uint16_t)(bits_of_float(FX_LANE(x, i)) >> (shift)));        \
        return x;                                                                                  \
    }
FX_HALF_OF_LANES(v_low_float16, float16_value, 0)
FX_HALF_OF_LANES(v_high_float16, float16_value, 16)
FX_HALF_OF_LANES(v_low_bfloat16, bfloat16_value, 0)
FX_HALF_OF_LANES(v_high_bfloat16, bfloat16_value, 16)
FX_INLINE void v_store_bfloat16(uint16_t *p, vec x) { FX_EACH p[i] = bfloat16_bits(FX_LANE(x, i)); }
#endif
