/* NEON of AArch64: four registers a vec, with the fma of AVX2 and so its bits. */
#include "vector_parts.h"

#include "vector_exponents.h"

FX_INLINE part part_load(const real *p) { return FX_OP(ld1)(p); }
FX_INLINE void part_store(real *p, part x) { FX_OP(st1)(p, x); }
FX_INLINE part part_load_bytes(const char *p) { return (part)vld1q_u8((const uint8_t *)p); }
FX_INLINE void part_store_bytes(char *p, part x) { vst1q_u8((uint8_t *)p, (uint8x16_t)x); }
FX_INLINE part part_of_int32(const int32_t *p) {
#if FX_DOUBLE
    return vcvtq_f64_s64(vmovl_s32(vld1_s32(p)));
#else
    return vcvtq_f32_s32(vld1q_s32(p));
#endif
}
/* The even lanes of two parts, interleaved, and the odd ones; with `pairs`, of their 8-byte halves;
 * with `unzip`, one after the other. */
FX_INLINE part part_even(part x, part y) { return FX_OP(trn1)(x, y); }
FX_INLINE part part_odd(part x, part y) { return FX_OP(trn2)(x, y); }
#if !FX_DOUBLE
FX_INLINE part part_pairs_low(part x, part y) {
    return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
}
FX_INLINE part part_pairs_high(part x, part y) {
    return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(x), vreinterpretq_f64_f32(y)));
}
FX_INLINE part part_unzip_even(part x, part y) { return vuzp1q_f32(x, y); }
FX_INLINE part part_unzip_odd(part x, part y) { return vuzp2q_f32(x, y); }
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

#include "vector_part_memory.h"

/* The non-temporal stores of AArch64 have no intrinsics. */
FX_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FX_INLINE void v_end_streams(void) {}

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
