/* AVX-512 (F, DQ, BW, VL): one register a vec. */
#if FX_DOUBLE
typedef __m512d vec;
typedef __mmask8 mask;
#define FX_OP(name) _mm512_##name##_pd
#define FX_CAST_BITS _mm512_castpd_si512
#define FX_CAST_REAL _mm512_castsi512_pd
#else
typedef __m512 vec;
typedef __mmask16 mask;
#define FX_OP(name) _mm512_##name##_ps
#define FX_CAST_BITS _mm512_castps_si512
#define FX_CAST_REAL _mm512_castsi512_ps
#endif

FX_INLINE vec v_set(real x) {
#if FX_DOUBLE
    return _mm512_set1_pd(x);
#else
    return _mm512_set1_ps(x);
#endif
}
/* A constant that stays in a register: the compiler cannot make it again where it is used. */
FX_INLINE vec v_pin(vec x) {
#if defined(__GNUC__)
    __asm__("" : "+v"(x));
#endif
    return x;
}
/* A vector that is loaded once, for two operations: the compiler would have both load it, and what
 * crosses cache lines is loaded twice as it is. */
FX_INLINE vec v_once(vec x) { return v_pin(x); }
FX_INLINE vec v_load(const real *p) { return FX_OP(loadu)(p); }
FX_INLINE void v_store(real *p, vec x) { FX_OP(storeu)(p, x); }
/* Non-temporal stores of whole cache lines, and what has to follow the last of them. */
FX_INLINE void v_stream(real *p, vec x) { FX_OP(stream)(p, x); }
FX_INLINE void v_end_streams(void) { _mm_sfence(); }

FX_INLINE vec v_load_int32(const int32_t *p) {
#if FX_DOUBLE
    return _mm512_cvtepi32_pd(_mm256_loadu_si256((const __m256i *)p));
#else
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
#endif
}
FX_INLINE mask v_first(int count) { return (mask)((1u << count) - 1u); }
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    return FX_OP(mask_loadu)(fill, v_first(count), p);
}
/* x in the first lanes, 0 in the others. */
FX_INLINE vec v_clear_rest(vec x, int count) { return FX_OP(maskz_mov)(v_first(count), x); }
FX_INLINE void v_store_first(real *p, int count, vec x) {
    FX_OP(mask_storeu)(p, v_first(count), x);
}
FX_INLINE vec v_add(vec a, vec b) { return FX_OP(add)(a, b); }
FX_INLINE vec v_sub(vec a, vec b) { return FX_OP(sub)(a, b); }
FX_INLINE vec v_mul(vec a, vec b) { return FX_OP(mul)(a, b); }
FX_INLINE vec v_div(vec a, vec b) { return FX_OP(div)(a, b); }
FX_INLINE vec v_sqrt(vec x) { return FX_OP(sqrt)(x); }
FX_INLINE vec v_fma(vec a, vec b, vec c) { return FX_OP(fmadd)(a, b, c); }
FX_INLINE vec v_fnma(vec a, vec b, vec c) { return FX_OP(fnmadd)(a, b, c); }
FX_INLINE vec v_max(vec a, vec b) { return FX_OP(max)(a, b); }
FX_INLINE vec v_min(vec a, vec b) { return FX_OP(min)(a, b); }
FX_INLINE vec v_and(vec a, vec b) { return FX_OP (and)(a, b); }
FX_INLINE vec v_or(vec a, vec b) { return FX_OP(or)(a, b); }
FX_INLINE vec v_xor(vec a, vec b) { return FX_OP(xor)(a, b); }

#if FX_DOUBLE
FX_INLINE mask v_less(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
FX_INLINE mask v_equal(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FX_INLINE mask v_differs(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_NEQ_UQ); }
#else
FX_INLINE mask v_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FX_INLINE mask v_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FX_INLINE mask v_differs(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
#endif
FX_INLINE vec v_select(mask m, vec yes, vec no) { return FX_OP(mask_blend)(m, no, yes); }
FX_INLINE vec v_where(mask m, vec x) { return FX_OP(maskz_mov)(m, x); }
FX_INLINE int v_mask_all(mask m) { return m == (mask)-1; }
FX_INLINE int v_mask_any(mask m) { return m != 0; }
FX_INLINE uint32_t v_mask_bits(mask m) { return (uint32_t)m; }

/* p * 2^n for n <= 0, correctly rounded down into the subnormals; `biased` is n + FX_ROUND_MAGIC.
 */
FX_INLINE vec v_scale(vec p, vec n, vec biased) {
    (void)biased;
    return FX_OP(scalef)(p, n);
}

/* The power of two whose exponent field the low bits of `biased` are; 0 where they are. */
FX_INLINE vec v_power_of_field(vec biased) {
#if FX_DOUBLE
    return FX_CAST_REAL(_mm512_slli_epi64(FX_CAST_BITS(biased), 52));
#else
    return FX_CAST_REAL(_mm512_slli_epi32(FX_CAST_BITS(biased), 23));
#endif
}

/* The exponent k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x. */
FX_INLINE vec v_exponent(vec x, vec *inverse_power) {
#if FX_DOUBLE
    __m512i offset = _mm512_sub_epi64(FX_CAST_BITS(x), _mm512_set1_epi64(0x3FE8000000000000));
    __m512i k = _mm512_srai_epi64(offset, 52);
    __m512i power = _mm512_slli_epi64(_mm512_sub_epi64(_mm512_set1_epi64(1023), k), 52);
    *inverse_power = FX_CAST_REAL(power);
    return _mm512_cvtepi64_pd(k);
#else
    __m512i offset = _mm512_sub_epi32(FX_CAST_BITS(x), _mm512_set1_epi32(0x3F400000));
    __m512i k = _mm512_srai_epi32(offset, 23);
    __m512i power = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(127), k), 23);
    *inverse_power = FX_CAST_REAL(power);
    return _mm512_cvtepi32_ps(k);
#endif
}

/* The 4 x 128-bit chunks (0, 1) or (2, 3) of a, then of b; and the even or odd chunks likewise. */
#if FX_DOUBLE
#define FX_CHUNKS(a, b, which) _mm512_shuffle_f64x2(a, b, which)
#else
#define FX_CHUNKS(a, b, which) _mm512_shuffle_f32x4(a, b, which)
#endif
#define FX_FOLD_HALVES(op, a, b) op(FX_CHUNKS(a, b, 0x44), FX_CHUNKS(a, b, 0xEE))
#define FX_FOLD_QUARTERS(op, a, b) op(FX_CHUNKS(a, b, 0x88), FX_CHUNKS(a, b, 0xDD))

#if FX_DOUBLE
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec quads[2];                                                                              \
        for (int i = 0; i < 2; i++) {                                                              \
            vec low = FX_FOLD_HALVES(op, v[i], v[i + 2]);                                          \
            vec high = FX_FOLD_HALVES(op, v[i + 4], v[i + 6]);                                     \
            quads[i] = FX_FOLD_QUARTERS(op, low, high);                                            \
        }                                                                                          \
        return op(_mm512_unpacklo_pd(quads[0], quads[1]), _mm512_unpackhi_pd(quads[0], quads[1])); \
    }
#else
FX_INLINE vec v_pairs_low(vec a, vec b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
FX_INLINE vec v_pairs_high(vec a, vec b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
#define FX_REDUCE(name, op)                                                                        \
    FX_INLINE vec name(const vec *v) {                                                             \
        vec quads[4], pairs[2];                                                                    \
        for (int i = 0; i < 4; i++) {                                                              \
            vec low = FX_FOLD_HALVES(op, v[i], v[i + 4]);                                          \
            vec high = FX_FOLD_HALVES(op, v[i + 8], v[i + 12]);                                    \
            quads[i] = FX_FOLD_QUARTERS(op, low, high);                                            \
        }                                                                                          \
        for (int i = 0; i < 2; i++)                                                                \
            pairs[i] = op(v_pairs_low(quads[2 * i], quads[2 * i + 1]),                             \
                          v_pairs_high(quads[2 * i], quads[2 * i + 1]));                           \
        return op(_mm512_shuffle_ps(pairs[0], pairs[1], 0x88),                                     \
                  _mm512_shuffle_ps(pairs[0], pairs[1], 0xDD));                                    \
    }
#endif

/* Four 16-byte chunks that are `step` bytes apart. */
FX_INLINE vec v_load_chunks(const char *p, ptrdiff_t step) {
    __m512i x = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + step)), 1);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 2 * step)), 2);
    x = _mm512_inserti32x4(x, _mm_loadu_si128((const __m128i *)(p + 3 * step)), 3);
    return FX_CAST_REAL(x);
}
FX_INLINE void v_store_chunks(char *p, ptrdiff_t step, vec x) {
    __m512i bits = FX_CAST_BITS(x);
    _mm_storeu_si128((__m128i *)p, _mm512_castsi512_si128(bits));
    _mm_storeu_si128((__m128i *)(p + step), _mm512_extracti32x4_epi32(bits, 1));
    _mm_storeu_si128((__m128i *)(p + 2 * step), _mm512_extracti32x4_epi32(bits, 2));
    _mm_storeu_si128((__m128i *)(p + 3 * step), _mm512_extracti32x4_epi32(bits, 3));
}

/* Transpose FX_CHUNK vectors chunk by chunk: lane i of vector j becomes lane j of vector i. */
FX_INLINE void v_transpose_chunks(vec *v) {
#if FX_DOUBLE
    vec low = _mm512_unpacklo_pd(v[0], v[1]);
    v[1] = _mm512_unpackhi_pd(v[0], v[1]);
    v[0] = low;
#else
    vec low01 = _mm512_unpacklo_ps(v[0], v[1]), high01 = _mm512_unpackhi_ps(v[0], v[1]);
    vec low23 = _mm512_unpacklo_ps(v[2], v[3]), high23 = _mm512_unpackhi_ps(v[2], v[3]);
    v[0] = v_pairs_low(low01, low23);
    v[1] = v_pairs_high(low01, low23);
    v[2] = v_pairs_low(high01, high23);
    v[3] = v_pairs_high(high01, high23);
#endif
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    for (int i = 0; i < FX_CHUNK; i++) columns[i] = v_load_chunks(p + i * step, FX_CHUNK * step);
    v_transpose_chunks(columns);
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    vec rows[FX_CHUNK];
    for (int i = 0; i < FX_CHUNK; i++) rows[i] = columns[i];
    v_transpose_chunks(rows);
    for (int i = 0; i < FX_CHUNK; i++) v_store_chunks(p + i * step, FX_CHUNK * step, rows[i]);
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. */
FX_INLINE void v_transpose(vec *v) {
    /* v[FX_CHUNK i + j], chunk c: column FX_CHUNK c + j of rows FX_CHUNK i ... */
    for (int i = 0; i < LANES; i += FX_CHUNK) v_transpose_chunks(v + i);
#if FX_DOUBLE
    vec b[8];
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++) {
            b[4 * h + 2 * i] = FX_CHUNKS(v[4 * i + h], v[4 * i + 2 + h], 0x88);
            b[4 * h + 2 * i + 1] = FX_CHUNKS(v[4 * i + h], v[4 * i + 2 + h], 0xDD);
        }
    for (int h = 0; h < 2; h++) {
        const vec *even_low = b + 4 * h, *odd_low = even_low + 1;
        v[0 + h] = FX_CHUNKS(even_low[0], even_low[2], 0x88);
        v[4 + h] = FX_CHUNKS(even_low[0], even_low[2], 0xDD);
        v[2 + h] = FX_CHUNKS(odd_low[0], odd_low[2], 0x88);
        v[6 + h] = FX_CHUNKS(odd_low[0], odd_low[2], 0xDD);
    }
#else
    vec a[16];
    for (int j = 0; j < 4; j++)
        for (int h = 0; h < 2; h++) {
            a[8 * h + j] = FX_CHUNKS(v[8 * h + j], v[8 * h + 4 + j], 0x88);
            a[8 * h + 4 + j] = FX_CHUNKS(v[8 * h + j], v[8 * h + 4 + j], 0xDD);
        }
    for (int j = 0; j < 4; j++) {
        v[j] = FX_CHUNKS(a[j], a[8 + j], 0x88);
        v[8 + j] = FX_CHUNKS(a[j], a[8 + j], 0xDD);
        v[4 + j] = FX_CHUNKS(a[4 + j], a[12 + j], 0x88);
        v[12 + j] = FX_CHUNKS(a[4 + j], a[12 + j], 0xDD);
    }
#endif
}

#if !FX_DOUBLE
/* LANES rows of two, three or four numbers to as many vectors of LANES numbers. */
#define FX_HAS_SPLIT
FX_INLINE __m512i v_places(int first, int step, int second) {
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i upper = _mm512_set1_epi32(second - first - 8 * step);
    __m512i places = _mm512_mullo_epi32(lane, _mm512_set1_epi32(step));
    places = _mm512_add_epi32(places, _mm512_set1_epi32(first));
    return _mm512_mask_add_epi32(places, 0xFF00, places, upper);
}
FX_INLINE void v_split_pairs(const vec *rows, vec *columns) {
    columns[0] = _mm512_permutex2var_ps(rows[0], v_places(0, 2, 16), rows[1]);
    columns[1] = _mm512_permutex2var_ps(rows[0], v_places(1, 2, 17), rows[1]);
}
FX_INLINE void v_split_quads(const vec *rows, vec *columns) {
    __m512i low = v_places(0, 4, 1), high = v_places(2, 4, 3);
    vec low_first = _mm512_permutex2var_ps(rows[0], low, rows[1]);
    vec low_second = _mm512_permutex2var_ps(rows[2], low, rows[3]);
    vec high_first = _mm512_permutex2var_ps(rows[0], high, rows[1]);
    vec high_second = _mm512_permutex2var_ps(rows[2], high, rows[3]);
    columns[0] = FX_CHUNKS(low_first, low_second, 0x44);
    columns[1] = FX_CHUNKS(low_first, low_second, 0xEE);
    columns[2] = FX_CHUNKS(high_first, high_second, 0x44);
    columns[3] = FX_CHUNKS(high_first, high_second, 0xEE);
}

/* The first 16-bit numbers of up to LANES to a buffer for all of them, and from one. */
FX_INLINE void v_load_first_halves(uint16_t *buffer, const char *p, int count) {
    _mm256_storeu_si256((__m256i *)buffer, _mm256_maskz_loadu_epi16(v_first(count), p));
}
FX_INLINE void v_store_first_halves(char *p, int count, const uint16_t *buffer) {
    _mm256_mask_storeu_epi16(p, v_first(count), _mm256_loadu_si256((const __m256i *)buffer));
}

/* 16-bit numbers: LANES of them. float16 by instruction; bfloat16 is the upper half of a float,
 * rounded to the nearest, ties to even; a NaN keeps its sign and stays one. */
FX_INLINE vec v_load_float16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
FX_INLINE void v_store_float16(uint16_t *p, vec x) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
FX_INLINE vec v_load_bfloat16(const uint16_t *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return FX_CAST_REAL(_mm512_slli_epi32(wide, 16));
}
/* Two 16-bit numbers in each lane: those in the lower halves, and in the upper ones. */
FX_INLINE vec v_low_float16(vec x) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(FX_CAST_BITS(x)));
}
FX_INLINE vec v_low_bfloat16(vec x) { return FX_CAST_REAL(_mm512_slli_epi32(FX_CAST_BITS(x), 16)); }
FX_INLINE vec v_high_float16(vec x) {
    return v_low_float16(FX_CAST_REAL(_mm512_srli_epi32(FX_CAST_BITS(x), 16)));
}
FX_INLINE vec v_high_bfloat16(vec x) {
    return FX_CAST_REAL(_mm512_and_si512(FX_CAST_BITS(x), _mm512_set1_epi32(-65536)));
}
FX_INLINE void v_store_bfloat16(uint16_t *p, vec x) {
    __m512i bits = FX_CAST_BITS(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i carry = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
    __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    __m512i rounded = _mm512_mask_add_epi32(quiet, v_equal(x, x), bits, carry);
    /* Words 1, 3, 5, ...: two of them in each 32 bits. */
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i places = _mm512_mullo_epi32(lane, _mm512_set1_epi32(0x00040004));
    places = _mm512_add_epi32(places, _mm512_set1_epi32(0x00030001));
    __m512i upper = _mm512_permutexvar_epi16(places, rounded);
    _mm256_storeu_si256((__m256i *)p, _mm512_castsi512_si256(upper));
}
#endif
