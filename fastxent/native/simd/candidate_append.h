/* Lanes that are kept, one after the other, with their numbers. */
#if defined(FX_ISA_AVX512)
FX_INLINE void append_lanes(real *values, int32_t *numbers, vec x, uint32_t bits, int32_t first) {
    mask kept = (mask)bits;
    v_store(values, FX_OP(maskz_compress)(kept, x));
#if FX_DOUBLE
    __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    lanes = _mm256_maskz_compress_epi32(kept, lanes);
    _mm256_storeu_si256((__m256i *)numbers, _mm256_add_epi32(lanes, _mm256_set1_epi32(first)));
#else
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    lanes = _mm512_maskz_compress_epi32(kept, lanes);
    _mm512_storeu_si512(numbers, _mm512_add_epi32(lanes, _mm512_set1_epi32(first)));
#endif
}
#elif defined(FX_ISA_AVX2) && !FX_DOUBLE
/* Of each number of eight bits the places of those that are set, a byte each. */
#define FX_BIT(bits, i) ((uint64_t)((bits) >> (i) & 1))
#define FX_BITS_BELOW_4(bits)                                                                      \
    (FX_BIT(bits, 0) + FX_BIT(bits, 1) + FX_BIT(bits, 2) + FX_BIT(bits, 3))
#define FX_BITS_OF_3(bits) (FX_BIT(bits, 0) + FX_BIT(bits, 1) + FX_BIT(bits, 2))
#define FX_PLACE(bits, i, below) (FX_BIT(bits, i) * (i) << 8 * (below))
#define FX_PLACES(bits)                                                                            \
    (FX_PLACE(bits, 1, FX_BIT(bits, 0)) | FX_PLACE(bits, 2, FX_BITS_OF_3((bits) & 3)) |            \
     FX_PLACE(bits, 3, FX_BITS_OF_3(bits)) | FX_PLACE(bits, 4, FX_BITS_BELOW_4(bits)) |            \
     FX_PLACE(bits, 5, FX_BITS_BELOW_4(bits) + FX_BIT(bits, 4)) |                                  \
     FX_PLACE(bits, 6, FX_BITS_BELOW_4(bits) + FX_BITS_OF_3((bits) >> 4 & 3)) |                    \
     FX_PLACE(bits, 7, FX_BITS_BELOW_4(bits) + FX_BITS_OF_3((bits) >> 4)))
#define FX_PLACES_4(bits)                                                                          \
    FX_PLACES(bits), FX_PLACES((bits) + 1), FX_PLACES((bits) + 2), FX_PLACES((bits) + 3)
#define FX_PLACES_16(bits)                                                                         \
    FX_PLACES_4(bits), FX_PLACES_4((bits) + 4), FX_PLACES_4((bits) + 8), FX_PLACES_4((bits) + 12)
#define FX_PLACES_64(bits)                                                                         \
    FX_PLACES_16(bits), FX_PLACES_16((bits) + 16), FX_PLACES_16((bits) + 32),                      \
        FX_PLACES_16((bits) + 48)
static const uint64_t places_of_bits[256] = {FX_PLACES_64(0), FX_PLACES_64(64), FX_PLACES_64(128),
                                             FX_PLACES_64(192)};

FX_INLINE void append_half(real *values, int32_t *numbers, half_vec x, uint32_t bits,
                           int32_t first) {
    __m256i places = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)&places_of_bits[bits]));
    _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(x, places));
    _mm256_storeu_si256((__m256i *)numbers, _mm256_add_epi32(places, _mm256_set1_epi32(first)));
}
FX_INLINE void append_lanes(real *values, int32_t *numbers, vec x, uint32_t bits, int32_t first) {
    int low = count_bits(bits & 255);
    append_half(values, numbers, x.low, bits & 255, first);
    append_half(values + low, numbers + low, x.high, bits >> 8, first + 8);
}
#else
FX_INLINE void append_lanes(real *values, int32_t *numbers, vec x, uint32_t bits, int32_t first) {
    real lanes[LANES];
    v_store(lanes, x);
    for (int i = 0; bits; bits &= bits - 1, i++) {
        values[i] = lanes[first_bit(bits)];
        numbers[i] = first + first_bit(bits);
    }
}
#endif
