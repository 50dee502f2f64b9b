/* AVX2 and FMA: two registers a vec. */
#if FX_DOUBLE
typedef __m256d half_vec;
#define FX_OP(name) _mm256_##name##_pd
#define FX_CAST_BITS _mm256_castpd_si256
#define FX_CAST_REAL _mm256_castsi256_pd
#else
typedef __m256 half_vec;
#define FX_OP(name) _mm256_##name##_ps
#define FX_CAST_BITS _mm256_castps_si256
#define FX_CAST_REAL _mm256_castsi256_ps
#endif
typedef struct {
    half_vec low, high;
} vec;
typedef vec mask; /* all bits of a lane set, or none */

#define FX_BOTH(expression_low, expression_high)                                                   \
    vec r;                                                                                         \
    r.low = expression_low;                                                                        \
    r.high = expression_high;                                                                      \
    return r

FX_INLINE vec v_set(real x) {
#if FX_DOUBLE
    half_vec both = _mm256_set1_pd(x);
#else
    half_vec both = _mm256_set1_ps(x);
#endif
    FX_BOTH(both, both);
}
/* A constant that the compiler cannot make again where it is used. */
FX_INLINE vec v_pin(vec x) {
#if defined(__GNUC__)
    __asm__("" : "+x"(x.low));
#endif
    FX_BOTH(x.low, x.low);
}
/* A vector that is loaded once, for two operations: the compiler would have both load it. */
FX_INLINE vec v_once(vec x) {
#if defined(__GNUC__)
    __asm__("" : "+x"(x.low), "+x"(x.high));
#endif
    return x;
}
FX_INLINE vec v_load(const real *p) { FX_BOTH(FX_OP(loadu)(p), FX_OP(loadu)(p + LANES / 2)); }
FX_INLINE void v_store(real *p, vec x) {
    FX_OP(storeu)(p, x.low);
    FX_OP(storeu)(p + LANES / 2, x.high);
}

/* Non-temporal stores of whole cache lines, and what has to follow the last of them. */
FX_INLINE void v_stream(real *p, vec x) {
    FX_OP(stream)(p, x.low);
    FX_OP(stream)(p + LANES / 2, x.high);
}
FX_INLINE void v_end_streams(void) { _mm_sfence(); }

FX_INLINE vec v_load_int32(const int32_t *p) {
#if FX_DOUBLE
    FX_BOTH(_mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)p)),
            _mm256_cvtepi32_pd(_mm_loadu_si128((const __m128i *)(p + 4))));
#else
    FX_BOTH(_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)p)),
            _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(p + 8))));
#endif
}

#define FX_BINARY(name, op)                                                                        \
    FX_INLINE vec name(vec a, vec b) {                                                             \
        FX_BOTH(FX_OP(op)(a.low, b.low), FX_OP(op)(a.high, b.high));                               \
    }
FX_BINARY(v_add, add)
FX_BINARY(v_sub, sub)
FX_BINARY(v_mul, mul)
FX_BINARY(v_div, div)
FX_BINARY(v_max, max)
FX_BINARY(v_min, min)
FX_BINARY(v_and, and)
FX_BINARY(v_or, or)
FX_BINARY(v_xor, xor)
#undef FX_BINARY

FX_INLINE vec v_sqrt(vec x) { FX_BOTH(FX_OP(sqrt)(x.low), FX_OP(sqrt)(x.high)); }
FX_INLINE vec v_fma(vec a, vec b, vec c) {
    FX_BOTH(FX_OP(fmadd)(a.low, b.low, c.low), FX_OP(fmadd)(a.high, b.high, c.high));
}
FX_INLINE vec v_fnma(vec a, vec b, vec c) {
    FX_BOTH(FX_OP(fnmadd)(a.low, b.low, c.low), FX_OP(fnmadd)(a.high, b.high, c.high));
}
FX_INLINE mask v_less(vec a, vec b) {
    FX_BOTH(FX_OP(cmp)(a.low, b.low, _CMP_LT_OQ), FX_OP(cmp)(a.high, b.high, _CMP_LT_OQ));
}
FX_INLINE mask v_equal(vec a, vec b) {
    FX_BOTH(FX_OP(cmp)(a.low, b.low, _CMP_EQ_OQ), FX_OP(cmp)(a.high, b.high, _CMP_EQ_OQ));
}
FX_INLINE vec v_select(mask m, vec yes, vec no) {
    FX_BOTH(FX_OP(blendv)(no.low, yes.low, m.low), FX_OP(blendv)(no.high, yes.high, m.high));
}
FX_INLINE mask v_differs(vec a, vec b) {
    FX_BOTH(FX_OP(cmp)(a.low, b.low, _CMP_NEQ_UQ), FX_OP(cmp)(a.high, b.high, _CMP_NEQ_UQ));
}
FX_INLINE vec v_where(mask m, vec x) { return v_and(x, m); }
FX_INLINE vec v_unless(mask m, vec x) {
    FX_BOTH(FX_OP(andnot)(m.low, x.low), FX_OP(andnot)(m.high, x.high));
}
FX_INLINE int v_mask_all(mask m) {
    return FX_OP(movemask)(FX_OP (and)(m.low, m.high)) == (1 << (LANES / 2)) - 1;
}
FX_INLINE int v_mask_any(mask m) { return FX_OP(movemask)(FX_OP(or)(m.low, m.high)) != 0; }
FX_INLINE uint32_t v_mask_bits(mask m) {
    return (uint32_t)FX_OP(movemask)(m.low) | (uint32_t)FX_OP(movemask)(m.high) << LANES / 2;
}

/* Masks for partial loads and stores come from the lane numbers. */
FX_INLINE __m256i v_first_half(int count) {
#if FX_DOUBLE
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
#else
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
#endif
}
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    __m256i low = v_first_half(count), high = v_first_half(count - LANES / 2);
    FX_BOTH(FX_OP(blendv)(fill.low, FX_OP(maskload)(p, low), FX_CAST_REAL(low)),
            FX_OP(blendv)(fill.high, FX_OP(maskload)(p + LANES / 2, high), FX_CAST_REAL(high)));
}
FX_INLINE vec v_clear_rest(vec x, int count) {
    FX_BOTH(FX_OP (and)(x.low, FX_CAST_REAL(v_first_half(count))),
            FX_OP (and)(x.high, FX_CAST_REAL(v_first_half(count - LANES / 2))));
}
FX_INLINE void v_store_first(real *p, int count, vec x) {
    FX_OP(maskstore)(p, v_first_half(count), x.low);
    FX_OP(maskstore)(p + LANES / 2, v_first_half(count - LANES / 2), x.high);
}

/* p * 2^n for n <= 0: the low bits of `biased` = n + FX_ROUND_MAGIC hold n, and shifted into an
 * exponent field they are a power of two; the guard keeps that field in range, and one
 * multiplication by its inverse rounds once into the subnormals. At FX_EXP_UNDERFLOW the field is
 * that of 0, so that the many exponentials of masked logits do not underflow, which is slow. */
FX_INLINE half_vec v_scale_half(half_vec p, half_vec biased) {
#if FX_DOUBLE
    __m256i field = _mm256_add_epi64(FX_CAST_BITS(biased), _mm256_set1_epi64x(1023 + 53));
    half_vec power = FX_CAST_REAL(_mm256_slli_epi64(field, 52));
    return _mm256_mul_pd(_mm256_mul_pd(p, power), _mm256_set1_pd(0x1p-53));
#else
    __m256i field = _mm256_add_epi32(FX_CAST_BITS(biased), _mm256_set1_epi32(127 + 24));
    half_vec power = FX_CAST_REAL(_mm256_slli_epi32(field, 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, power), _mm256_set1_ps(0x1p-24f));
#endif
}
FX_INLINE vec v_scale(vec p, vec n, vec biased) {
    (void)n;
    FX_BOTH(v_scale_half(p.low, biased.low), v_scale_half(p.high, biased.high));
}
/* The power of two whose exponent field the low bits of `biased` are; 0 where they are. */
FX_INLINE vec v_power_of_field(vec biased) {
#if FX_DOUBLE
    FX_BOTH(FX_CAST_REAL(_mm256_slli_epi64(FX_CAST_BITS(biased.low), 52)),
            FX_CAST_REAL(_mm256_slli_epi64(FX_CAST_BITS(biased.high), 52)));
#else
    FX_BOTH(FX_CAST_REAL(_mm256_slli_epi32(FX_CAST_BITS(biased.low), 23)),
            FX_CAST_REAL(_mm256_slli_epi32(FX_CAST_BITS(biased.high), 23)));
#endif
}

/* The exponent k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x. */
FX_INLINE half_vec v_exponent_half(half_vec x, half_vec *inverse_power) {
#if FX_DOUBLE
    /* AVX2 has no 64-bit arithmetic shift and no conversion: k + 1023 is not negative, so shift
     * it as it is and let the magic number of round-to-nearest convert it. */
    __m256i offset = _mm256_sub_epi64(FX_CAST_BITS(x),
                                      _mm256_set1_epi64x(0x3FE8000000000000 - 0x3FF0000000000000));
    __m256i biased = _mm256_srli_epi64(offset, 52);
    *inverse_power =
        FX_CAST_REAL(_mm256_slli_epi64(_mm256_sub_epi64(_mm256_set1_epi64x(2046), biased), 52));
    __m256i magic = _mm256_add_epi64(biased, _mm256_set1_epi64x(0x4338000000000000));
    return _mm256_sub_pd(FX_CAST_REAL(magic), _mm256_set1_pd(0x1.8p52 + 1023.0));
#else
    __m256i offset = _mm256_sub_epi32(FX_CAST_BITS(x), _mm256_set1_epi32(0x3F400000));
    __m256i k = _mm256_srai_epi32(offset, 23);
    *inverse_power =
        FX_CAST_REAL(_mm256_slli_epi32(_mm256_sub_epi32(_mm256_set1_epi32(127), k), 23));
    return _mm256_cvtepi32_ps(k);
#endif
}
FX_INLINE vec v_exponent(vec x, vec *inverse_power) {
    FX_BOTH(v_exponent_half(x.low, &inverse_power->low),
            v_exponent_half(x.high, &inverse_power->high));
}

/* FX_REDUCE folds the halves of each vec first, so that `op` sees one register of partial results
 * a vector; `op` takes vecs, hence pairs of such registers travel together. */
FX_INLINE half_vec v_swap_low(half_vec a, half_vec b) { return FX_OP(permute2f128)(a, b, 0x20); }
FX_INLINE half_vec v_swap_high(half_vec a, half_vec b) { return FX_OP(permute2f128)(a, b, 0x31); }

#if !FX_DOUBLE
FX_INLINE half_vec v_even(half_vec a, half_vec b) { return _mm256_shuffle_ps(a, b, 0x88); }
FX_INLINE half_vec v_odd(half_vec a, half_vec b) { return _mm256_shuffle_ps(a, b, 0xDD); }
FX_INLINE half_vec v_pairs_low(half_vec a, half_vec b) {
    return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
FX_INLINE half_vec v_pairs_high(half_vec a, half_vec b) {
    return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
#endif

/* Apply op to two independent pairs of registers at once. */
#define FX_FOLD(op, result, select_low, select_high, a, b, c, d)                                   \
    do {                                                                                           \
        vec left, right;                                                                           \
        left.low = select_low(a, b);                                                               \
        left.high = select_low(c, d);                                                              \
        right.low = select_high(a, b);                                                             \
        right.high = select_high(c, d);                                                            \
        result = op(left, right);                                                                  \
    } while (0)
#define FX_LOW_REGISTER(a, b) (a).low
#define FX_HIGH_REGISTER(a, b) (a).high

#if FX_DOUBLE
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec halves[4], quarters[2], result; /* .low: vectors 0 .. 3; .high: 4 .. 7 */              \
        for (int i = 0; i < 4; i++)                                                                \
            FX_FOLD(op, halves[i], FX_LOW_REGISTER, FX_HIGH_REGISTER, v[i], 0, v[i + 4], 0);       \
        for (int i = 0; i < 2; i++)                                                                \
            FX_FOLD(op, quarters[i], v_swap_low, v_swap_high, halves[i].low, halves[i + 2].low,    \
                    halves[i].high, halves[i + 2].high);                                           \
        FX_FOLD(op, result, _mm256_unpacklo_pd, _mm256_unpackhi_pd, quarters[0].low,               \
                quarters[1].low, quarters[0].high, quarters[1].high);                              \
        return result;                                                                             \
    }
#else
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec halves[8], quarters[4], pairs[2], result; /* .low: vectors 0 .. 7; .high: 8 .. 15 */   \
        for (int i = 0; i < 8; i++)                                                                \
            FX_FOLD(op, halves[i], FX_LOW_REGISTER, FX_HIGH_REGISTER, v[i], 0, v[i + 8], 0);       \
        for (int i = 0; i < 4; i++)                                                                \
            FX_FOLD(op, quarters[i], v_swap_low, v_swap_high, halves[i].low, halves[i + 4].low,    \
                    halves[i].high, halves[i + 4].high);                                           \
        for (int i = 0; i < 2; i++)                                                                \
            FX_FOLD(op, pairs[i], v_pairs_low, v_pairs_high, quarters[2 * i].low,                  \
                    quarters[2 * i + 1].low, quarters[2 * i].high, quarters[2 * i + 1].high);      \
        FX_FOLD(op, result, v_even, v_odd, pairs[0].low, pairs[1].low, pairs[0].high,              \
                pairs[1].high);                                                                    \
        return result;                                                                             \
    }
#endif

/* Two 16-byte chunks that are `step` bytes apart. */
FX_INLINE half_vec v_load_chunks(const char *p, ptrdiff_t step) {
    __m256i x = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
    return FX_CAST_REAL(
        _mm256_inserti128_si256(x, _mm_loadu_si128((const __m128i *)(p + step)), 1));
}
FX_INLINE void v_store_chunks(char *p, ptrdiff_t step, half_vec x) {
    __m256i bits = FX_CAST_BITS(x);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(bits));
    _mm_storeu_si128((__m128i *)(p + step), _mm256_extracti128_si256(bits, 1));
}

/* Transpose FX_CHUNK registers chunk by chunk: lane i of register j becomes lane j of register i.
 */
FX_INLINE void v_transpose_chunks(half_vec *r) {
#if FX_DOUBLE
    half_vec low = _mm256_unpacklo_pd(r[0], r[1]);
    r[1] = _mm256_unpackhi_pd(r[0], r[1]);
    r[0] = low;
#else
    half_vec low01 = _mm256_unpacklo_ps(r[0], r[1]), high01 = _mm256_unpackhi_ps(r[0], r[1]);
    half_vec low23 = _mm256_unpacklo_ps(r[2], r[3]), high23 = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = v_pairs_low(low01, low23);
    r[1] = v_pairs_high(low01, low23);
    r[2] = v_pairs_low(high01, high23);
    r[3] = v_pairs_high(high01, high23);
#endif
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    half_vec low[FX_CHUNK], high[FX_CHUNK];
    for (int i = 0; i < FX_CHUNK; i++) {
        low[i] = v_load_chunks(p + i * step, FX_CHUNK * step);
        high[i] = v_load_chunks(p + (LANES / 2 + i) * step, FX_CHUNK * step);
    }
    v_transpose_chunks(low);
    v_transpose_chunks(high);
    for (int i = 0; i < FX_CHUNK; i++) {
        columns[i].low = low[i];
        columns[i].high = high[i];
    }
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    half_vec low[FX_CHUNK], high[FX_CHUNK];
    for (int i = 0; i < FX_CHUNK; i++) {
        low[i] = columns[i].low;
        high[i] = columns[i].high;
    }
    v_transpose_chunks(low);
    v_transpose_chunks(high);
    for (int i = 0; i < FX_CHUNK; i++) {
        v_store_chunks(p + i * step, FX_CHUNK * step, low[i]);
        v_store_chunks(p + (LANES / 2 + i) * step, FX_CHUNK * step, high[i]);
    }
}

/* Transpose a block of LANES/2 registers in place. */
FX_INLINE void v_transpose_block(half_vec *r) {
    v_transpose_chunks(r);
    v_transpose_chunks(r + FX_CHUNK);
    for (int i = 0; i < FX_CHUNK; i++) {
        half_vec first = v_swap_low(r[i], r[i + FX_CHUNK]);
        r[i + FX_CHUNK] = v_swap_high(r[i], r[i + FX_CHUNK]);
        r[i] = first;
    }
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. */
FX_INLINE void v_transpose(vec *v) {
    half_vec block[4][LANES / 2]; /* top left, top right, bottom left, bottom right */
    for (int i = 0; i < LANES / 2; i++) {
        block[0][i] = v[i].low;
        block[1][i] = v[i].high;
        block[2][i] = v[i + LANES / 2].low;
        block[3][i] = v[i + LANES / 2].high;
    }
    for (int b = 0; b < 4; b++) v_transpose_block(block[b]);
    for (int i = 0; i < LANES / 2; i++) {
        v[i].low = block[0][i];
        v[i].high = block[2][i];
        v[i + LANES / 2].low = block[1][i];
        v[i + LANES / 2].high = block[3][i];
    }
}

#if !FX_DOUBLE
/* 16-bit numbers: LANES of them. float16 by instruction; bfloat16 is the upper half of a float,
 * rounded to the nearest, ties to even; a NaN keeps its sign and stays one. */
FX_INLINE __m128i v_load_16(const uint16_t *p) { return _mm_loadu_si128((const __m128i *)p); }
FX_INLINE vec v_load_float16(const uint16_t *p) {
    FX_BOTH(_mm256_cvtph_ps(v_load_16(p)), _mm256_cvtph_ps(v_load_16(p + 8)));
}
FX_INLINE void v_store_float16(uint16_t *p, vec x) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.high, _MM_FROUND_TO_NEAREST_INT));
}
FX_INLINE half_vec v_widen_bfloat16(__m128i x) {
    return FX_CAST_REAL(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
FX_INLINE vec v_load_bfloat16(const uint16_t *p) {
    FX_BOTH(v_widen_bfloat16(v_load_16(p)), v_widen_bfloat16(v_load_16(p + 8)));
}
/* Two 16-bit numbers in each lane: those in the lower halves, and in the upper ones. */
FX_INLINE half_vec v_half_float16(__m256i numbers) { /* below 2^16, one in each lane */
    __m128i low = _mm256_castsi256_si128(numbers), high = _mm256_extracti128_si256(numbers, 1);
    return _mm256_cvtph_ps(_mm_packus_epi32(low, high));
}
FX_INLINE vec v_low_float16(vec x) {
    const __m256i lower = _mm256_set1_epi32(0xFFFF);
    FX_BOTH(v_half_float16(_mm256_and_si256(FX_CAST_BITS(x.low), lower)),
            v_half_float16(_mm256_and_si256(FX_CAST_BITS(x.high), lower)));
}
FX_INLINE vec v_high_float16(vec x) {
    FX_BOTH(v_half_float16(_mm256_srli_epi32(FX_CAST_BITS(x.low), 16)),
            v_half_float16(_mm256_srli_epi32(FX_CAST_BITS(x.high), 16)));
}
FX_INLINE vec v_low_bfloat16(vec x) {
    FX_BOTH(FX_CAST_REAL(_mm256_slli_epi32(FX_CAST_BITS(x.low), 16)),
            FX_CAST_REAL(_mm256_slli_epi32(FX_CAST_BITS(x.high), 16)));
}
FX_INLINE vec v_high_bfloat16(vec x) {
    const __m256i upper = _mm256_set1_epi32(-65536);
    FX_BOTH(FX_CAST_REAL(_mm256_and_si256(FX_CAST_BITS(x.low), upper)),
            FX_CAST_REAL(_mm256_and_si256(FX_CAST_BITS(x.high), upper)));
}
FX_INLINE __m256i v_round_bfloat16(half_vec x) {
    __m256i bits = FX_CAST_BITS(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7FFF));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256i is_number = FX_CAST_BITS(_mm256_cmp_ps(x, x, _CMP_EQ_OQ));
    return _mm256_srli_epi32(_mm256_blendv_epi8(quiet, rounded, is_number), 16);
}
FX_INLINE void v_store_bfloat16(uint16_t *p, vec x) {
    __m256i packed = _mm256_packus_epi32(v_round_bfloat16(x.low), v_round_bfloat16(x.high));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(packed, 0xD8));
}
#endif
