/* NEON of AArch64: four registers a vec, with the fma of AVX2 and so its bits. */
#include "vector_parts.h"

#include "vector_exponents.h"

FX_INLINE vec v_load(const real *p) {
    vec r = {FX_OP(ld1)(p), FX_OP(ld1)(p + FX_CHUNK), FX_OP(ld1)(p + 2 * FX_CHUNK),
             FX_OP(ld1)(p + 3 * FX_CHUNK)};
    return r;
}
FX_INLINE void v_store(real *p, vec x) {
    FX_OP(st1)(p, x.a);
    FX_OP(st1)(p + FX_CHUNK, x.b);
    FX_OP(st1)(p + 2 * FX_CHUNK, x.c);
    FX_OP(st1)(p + 3 * FX_CHUNK, x.d);
}
/* The non-temporal stores of AArch64 have no intrinsics. */
FX_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FX_INLINE void v_end_streams(void) {}

FX_INLINE part part_of_int32(const int32_t *p) {
#if FX_DOUBLE
    return vcvtq_f64_s64(vmovl_s32(vld1_s32(p)));
#else
    return vcvtq_f32_s32(vld1q_s32(p));
#endif
}
FX_INLINE vec v_load_int32(const int32_t *p) {
    vec r = {part_of_int32(p), part_of_int32(p + FX_CHUNK), part_of_int32(p + 2 * FX_CHUNK),
             part_of_int32(p + 3 * FX_CHUNK)};
    return r;
}

FX_INLINE vec v_fma(vec x, vec y, vec z) {
    vec r = {FX_OP(fma)(z.a, x.a, y.a), FX_OP(fma)(z.b, x.b, y.b), FX_OP(fma)(z.c, x.c, y.c),
             FX_OP(fma)(z.d, x.d, y.d)};
    return r;
}
FX_INLINE vec v_fnma(vec x, vec y, vec z) {
    vec r = {FX_OP(fms)(z.a, x.a, y.a), FX_OP(fms)(z.b, x.b, y.b), FX_OP(fms)(z.c, x.c, y.c),
             FX_OP(fms)(z.d, x.d, y.d)};
    return r;
}
FX_INLINE vec v_where(mask m, vec x) { return v_and(x, v_from_bits(m)); }

/* Part of a vec, of which the first `count` lanes are there, none or more than all of them: there
 * are no masked loads and stores. */
FX_INLINE part part_load_first(const real *p, int count, part fill) {
    if (count >= FX_CHUNK) return FX_OP(ld1)(p);
    if (count > 0) fill[0] = p[0];
#if !FX_DOUBLE
    if (count > 1) fill[1] = p[1];
    if (count > 2) fill[2] = p[2];
#endif
    return fill;
}
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    vec r = {part_load_first(p, count, fill.a),
             part_load_first(p + FX_CHUNK, count - FX_CHUNK, fill.b),
             part_load_first(p + 2 * FX_CHUNK, count - 2 * FX_CHUNK, fill.c),
             part_load_first(p + 3 * FX_CHUNK, count - 3 * FX_CHUNK, fill.d)};
    return r;
}
FX_INLINE void part_store_first(real *p, int count, part x) {
    if (count >= FX_CHUNK) {
        FX_OP(st1)(p, x);
        return;
    }
    if (count > 0) p[0] = x[0];
#if !FX_DOUBLE
    if (count > 1) p[1] = x[1];
    if (count > 2) p[2] = x[2];
#endif
}
FX_INLINE void v_store_first(real *p, int count, vec x) {
    part_store_first(p, count, x.a);
    part_store_first(p + FX_CHUNK, count - FX_CHUNK, x.b);
    part_store_first(p + 2 * FX_CHUNK, count - 2 * FX_CHUNK, x.c);
    part_store_first(p + 3 * FX_CHUNK, count - 3 * FX_CHUNK, x.d);
}
FX_INLINE vec v_clear_rest(vec x, int count) {
#if FX_DOUBLE
    const part_bits first = {0, 1};
#else
    const part_bits first = {0, 1, 2, 3};
#endif
    mask m = {(part_bits)(first < count), (part_bits)(first < count - FX_CHUNK),
              (part_bits)(first < count - 2 * FX_CHUNK), (part_bits)(first < count - 3 * FX_CHUNK)};
    return v_where(m, x);
}

/* --- folds and transpositions ----------------------------------------------------------------- */

/* The even lanes of two parts, interleaved, and the odd ones; with `pairs`, of their 8-byte halves.
 */
FX_INLINE part part_even(part x, part y) { return FX_OP(trn1)(x, y); }
FX_INLINE part part_odd(part x, part y) { return FX_OP(trn2)(x, y); }
#if !FX_DOUBLE
FX_INLINE part part_pairs_low(part x, part y) {
    return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
}
FX_INLINE part part_pairs_high(part x, part y) {
    return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
}
#endif

/* Apply op to what is selected from the pairs of parts of two vecs. */
#define FX_FOLD(op, result, select_low, select_high, x, y)                                         \
    do {                                                                                           \
        vec low = {select_low((x).a, (x).b), select_low((x).c, (x).d), select_low((y).a, (y).b),   \
                   select_low((y).c, (y).d)};                                                      \
        vec high = {select_high((x).a, (x).b), select_high((x).c, (x).d),                          \
                    select_high((y).a, (y).b), select_high((y).c, (y).d)};                         \
        result = op(low, high);                                                                    \
    } while (0)
#define FX_FIRST_PART(x, y) (x)
#define FX_SECOND_PART(x, y) (y)

/* The halves of each vec first, then quarters, of which a vec has four: one of each vector. */
#define FX_FOLD_TO_PARTS(op, quarters, v)                                                          \
    do {                                                                                           \
        for (int i = 0; i < LANES / 4; i++) {                                                      \
            vec halves[2];                                                                         \
            for (int j = 0; j < 2; j++) {                                                          \
                vec x = v[4 * i + 2 * j], y = v[4 * i + 2 * j + 1];                                \
                vec low = {x.a, x.b, y.a, y.b}, high = {x.c, x.d, y.c, y.d};                       \
                halves[j] = op(low, high);                                                         \
            }                                                                                      \
            FX_FOLD(op, quarters[i], FX_FIRST_PART, FX_SECOND_PART, halves[0], halves[1]);         \
        }                                                                                          \
    } while (0)
#if FX_DOUBLE
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec quarters[2], result;                                                                   \
        FX_FOLD_TO_PARTS(op, quarters, v);                                                         \
        FX_FOLD(op, result, part_even, part_odd, quarters[0], quarters[1]);                        \
        return result;                                                                             \
    }
#else
FX_INLINE part part_unzip_even(part x, part y) { return vuzp1q_f32(x, y); }
FX_INLINE part part_unzip_odd(part x, part y) { return vuzp2q_f32(x, y); }
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec quarters[4], pairs[2], result;                                                         \
        FX_FOLD_TO_PARTS(op, quarters, v);                                                         \
        for (int i = 0; i < 2; i++)                                                                \
            FX_FOLD(op, pairs[i], part_pairs_low, part_pairs_high, quarters[2 * i],                \
                    quarters[2 * i + 1]);                                                          \
        FX_FOLD(op, result, part_unzip_even, part_unzip_odd, pairs[0], pairs[1]);                  \
        return result;                                                                             \
    }
#endif

/* Transpose FX_CHUNK parts in place: lane i of part j becomes lane j of part i. */
FX_INLINE void parts_transpose(part *r) {
#if FX_DOUBLE
    part even = part_even(r[0], r[1]);
    r[1] = part_odd(r[0], r[1]);
    r[0] = even;
#else
    part even01 = part_even(r[0], r[1]), odd01 = part_odd(r[0], r[1]);
    part even23 = part_even(r[2], r[3]), odd23 = part_odd(r[2], r[3]);
    r[0] = part_pairs_low(even01, even23);
    r[1] = part_pairs_low(odd01, odd23);
    r[2] = part_pairs_high(even01, even23);
    r[3] = part_pairs_high(odd01, odd23);
#endif
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void parts_load(const char *p, ptrdiff_t step, part *r) {
    for (int i = 0; i < FX_CHUNK; i++) r[i] = (part)vld1q_u8((const uint8_t *)(p + i * step));
    parts_transpose(r);
}
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    part r[4][FX_CHUNK];
    for (int j = 0; j < 4; j++) parts_load(p + j * FX_CHUNK * step, step, r[j]);
    for (int i = 0; i < FX_CHUNK; i++) {
        vec column = {r[0][i], r[1][i], r[2][i], r[3][i]};
        columns[i] = column;
    }
}
FX_INLINE void parts_store(char *p, ptrdiff_t step, part *r) {
    parts_transpose(r);
    for (int i = 0; i < FX_CHUNK; i++) vst1q_u8((uint8_t *)(p + i * step), (uint8x16_t)r[i]);
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    part r[4][FX_CHUNK];
    for (int i = 0; i < FX_CHUNK; i++) {
        r[0][i] = columns[i].a;
        r[1][i] = columns[i].b;
        r[2][i] = columns[i].c;
        r[3][i] = columns[i].d;
    }
    for (int j = 0; j < 4; j++) parts_store(p + j * FX_CHUNK * step, step, r[j]);
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. They are four by
 * four blocks of FX_CHUNK parts, each of which is transposed and takes the place of its mirror
 * image. */
FX_CALLED void v_transpose(vec *v) {
    part *parts = (part *)v;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j <= i; j++) {
            part lower[FX_CHUNK], upper[FX_CHUNK];
            for (int k = 0; k < FX_CHUNK; k++) {
                lower[k] = parts[4 * (FX_CHUNK * i + k) + j];
                upper[k] = parts[4 * (FX_CHUNK * j + k) + i];
            }
            parts_transpose(lower);
            parts_transpose(upper);
            for (int k = 0; k < FX_CHUNK; k++) {
                parts[4 * (FX_CHUNK * j + k) + i] = lower[k];
                parts[4 * (FX_CHUNK * i + k) + j] = upper[k];
            }
        }
}

#if !FX_DOUBLE
/* --- 16-bit numbers, LANES of them ------------------------------------------------------------ */

/* float16 by instruction; bfloat16 is the upper half of a float, rounded to the nearest, ties to
 * even; a NaN keeps its sign and stays one. */
FX_INLINE part part_of_float16(uint16x4_t numbers) {
    return vcvt_f32_f16(vreinterpret_f16_u16(numbers));
}
FX_INLINE part part_of_bfloat16(uint16x4_t numbers) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(numbers), 16));
}
FX_INLINE uint16x4_t float16_of_part(part x) { return vreinterpret_u16_f16(vcvt_f16_f32(x)); }
FX_INLINE uint16x4_t bfloat16_of_part(part x) {
    uint32x4_t bits = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7FFF));
    uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16);
}
/* Two 16-bit numbers in each lane: those in the lower halves, and in the upper ones. */
FX_INLINE uint16x4_t part_lower(part x) { return vmovn_u32(vreinterpretq_u32_f32(x)); }
FX_INLINE uint16x4_t part_upper(part x) { return vshrn_n_u32(vreinterpretq_u32_f32(x), 16); }

#define FX_HALVES(name)                                                                            \
    FX_INLINE vec v_load_##name(const uint16_t *p) {                                               \
        vec r = {part_of_##name(vld1_u16(p)), part_of_##name(vld1_u16(p + 4)),                     \
                 part_of_##name(vld1_u16(p + 8)), part_of_##name(vld1_u16(p + 12))};               \
        return r;                                                                                  \
    }                                                                                              \
    FX_INLINE void v_store_##name(uint16_t *p, vec x) {                                            \
        vst1_u16(p, name##_of_part(x.a));                                                          \
        vst1_u16(p + 4, name##_of_part(x.b));                                                      \
        vst1_u16(p + 8, name##_of_part(x.c));                                                      \
        vst1_u16(p + 12, name##_of_part(x.d));                                                     \
    }                                                                                              \
    FX_INLINE vec v_low_##name(vec x) {                                                            \
        vec r = {part_of_##name(part_lower(x.a)), part_of_##name(part_lower(x.b)),                 \
                 part_of_##name(part_lower(x.c)), part_of_##name(part_lower(x.d))};                \
        return r;                                                                                  \
    }                                                                                              \
    FX_INLINE vec v_high_##name(vec x) {                                                           \
        vec r = {part_of_##name(part_upper(x.a)), part_of_##name(part_upper(x.b)),                 \
                 part_of_##name(part_upper(x.c)), part_of_##name(part_upper(x.d))};                \
        return r;                                                                                  \
    }
FX_HALVES(float16)
FX_HALVES(bfloat16)
#undef FX_HALVES
#endif
