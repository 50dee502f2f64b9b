/* The vec of NEON, and the portable one of GCC and Clang: four vectors of 16 bytes. */
#pragma GCC diagnostic ignored                                                                     \
    "-Wpsabi" /* vectors are passed between functions of one file alone */
typedef real part __attribute__((vector_size(16)));
typedef real_bits part_bits __attribute__((vector_size(16)));
typedef real_unsigned part_unsigned __attribute__((vector_size(16)));
typedef struct {
    part a, b, c, d;
} vec;
typedef struct {
    part_bits a, b, c, d; /* 0 or -1 */
} mask;

#define FX_BINARY(name, op)                                                                        \
    FX_INLINE vec name(vec x, vec y) {                                                             \
        vec r = {x.a op y.a, x.b op y.b, x.c op y.c, x.d op y.d};                                  \
        return r;                                                                                  \
    }
#define FX_BITWISE(name, op)                                                                       \
    FX_INLINE vec name(vec x, vec y) {                                                             \
        vec r = {                                                                                  \
            (part)((part_bits)x.a op(part_bits) y.a), (part)((part_bits)x.b op(part_bits) y.b),    \
            (part)((part_bits)x.c op(part_bits) y.c), (part)((part_bits)x.d op(part_bits) y.d)};   \
        return r;                                                                                  \
    }
#define FX_COMPARE(name, op)                                                                       \
    FX_INLINE mask name(vec x, vec y) {                                                            \
        mask r = {(part_bits)(x.a op y.a), (part_bits)(x.b op y.b), (part_bits)(x.c op y.c),       \
                  (part_bits)(x.d op y.d)};                                                        \
        return r;                                                                                  \
    }
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

FX_INLINE vec v_set(real x) {
    part all = x - (part){0}; /* a scalar and a vector: -0 stays one */
    vec r = {all, all, all, all};
    return r;
}
FX_INLINE mask v_bits(vec x) {
    mask r = {(part_bits)x.a, (part_bits)x.b, (part_bits)x.c, (part_bits)x.d};
    return r;
}
FX_INLINE vec v_from_bits(mask m) {
    vec r = {(part)m.a, (part)m.b, (part)m.c, (part)m.d};
    return r;
}
/* Bits of any number, of which an overflow wraps: signed ones may not have one. */
#define FX_WRAPPING(m, op, number)                                                                 \
    {(part_bits)((part_unsigned)m.a op number), (part_bits)((part_unsigned)m.b op number),         \
     (part_bits)((part_unsigned)m.c op number), (part_bits)((part_unsigned)m.d op number)}
FX_INLINE mask bits_add(mask m, real_bits number) {
    mask r = FX_WRAPPING(m, +, (real_unsigned)number);
    return r;
}
FX_INLINE mask bits_shift_left(mask m, int count) {
    mask r = FX_WRAPPING(m, <<, count);
    return r;
}
FX_INLINE mask bits_negate(mask m) {
    mask r = {~m.a, ~m.b, ~m.c, ~m.d};
    return bits_add(r, 1);
}
#undef FX_WRAPPING
FX_INLINE mask bits_shift_right(mask m, int count) {
    mask r = {m.a >> count, m.b >> count, m.c >> count, m.d >> count};
    return r;
}

/* What a compiler does not make of operators. The maximum and minimum are those of x86, for which
 * NEON has no instruction: its own make NaN of a NaN, or never. */
#if FX_HAS_NEON
#if FX_DOUBLE
#define FX_OP(name) v##name##q_f64
#define FX_SUM_OF_BITS vaddvq_u64
#define FX_PLACES {1, 2}
typedef uint64x2_t part_mask;
#else
#define FX_OP(name) v##name##q_f32
#define FX_SUM_OF_BITS vaddvq_u32
#define FX_PLACES {1, 2, 4, 8}
typedef uint32x4_t part_mask;
#endif
FX_INLINE part part_select(part_bits m, part yes, part no) {
    return FX_OP(bsl)((part_mask)m, yes, no);
}
FX_INLINE part part_sqrt(part x) { return FX_OP(sqrt)(x); }
FX_INLINE int part_signs(part_bits m) {
    const part_mask places = FX_PLACES;
    return (int)FX_SUM_OF_BITS((part_mask)m & places);
}
#else
FX_INLINE part part_select(part_bits m, part yes, part no) {
    return (part)(((part_bits)yes & m) | ((part_bits)no & ~m));
}
#endif
#if defined(__SSE2__)
#include <emmintrin.h>
#if FX_DOUBLE
#define FX_SSE(name) _mm_##name##_pd
#else
#define FX_SSE(name) _mm_##name##_ps
#endif
FX_INLINE part part_max(part x, part y) { return FX_SSE(max)(x, y); }
FX_INLINE part part_min(part x, part y) { return FX_SSE(min)(x, y); }
FX_INLINE part part_sqrt(part x) { return FX_SSE(sqrt)(x); }
FX_INLINE int part_signs(part_bits m) { return FX_SSE(movemask)((part)m); }
#else
FX_INLINE part part_max(part x, part y) { return part_select((part_bits)(y < x), x, y); }
FX_INLINE part part_min(part x, part y) { return part_select((part_bits)(x < y), x, y); }
#endif
#if !defined(__SSE2__) && !FX_HAS_NEON
FX_INLINE part part_sqrt(part x) {
    for (int i = 0; i < FX_CHUNK; i++) x[i] = FX_SQRT(x[i]);
    return x;
}
FX_INLINE int part_signs(part_bits m) {
    int signs = 0;
    for (int i = 0; i < FX_CHUNK; i++) signs |= (m[i] != 0) << i;
    return signs;
}
#endif
#define FX_ALL_SIGNS ((1 << FX_CHUNK) - 1)

FX_INLINE vec v_select(mask m, vec yes, vec no) {
    vec r = {part_select(m.a, yes.a, no.a), part_select(m.b, yes.b, no.b),
             part_select(m.c, yes.c, no.c), part_select(m.d, yes.d, no.d)};
    return r;
}

FX_INLINE vec v_max(vec x, vec y) {
    vec r = {part_max(x.a, y.a), part_max(x.b, y.b), part_max(x.c, y.c), part_max(x.d, y.d)};
    return r;
}
FX_INLINE vec v_min(vec x, vec y) {
    vec r = {part_min(x.a, y.a), part_min(x.b, y.b), part_min(x.c, y.c), part_min(x.d, y.d)};
    return r;
}
FX_INLINE vec v_sqrt(vec x) {
    vec r = {part_sqrt(x.a), part_sqrt(x.b), part_sqrt(x.c), part_sqrt(x.d)};
    return r;
}
FX_INLINE int v_mask_any(mask m) { return part_signs(m.a | m.b | m.c | m.d) != 0; }
FX_INLINE int v_mask_all(mask m) { return part_signs(m.a & m.b & m.c & m.d) == FX_ALL_SIGNS; }
FX_INLINE uint32_t v_mask_bits(mask m) {
    return (uint32_t)part_signs(m.a) | (uint32_t)part_signs(m.b) << FX_CHUNK |
           (uint32_t)part_signs(m.c) << 2 * FX_CHUNK | (uint32_t)part_signs(m.d) << 3 * FX_CHUNK;
}
