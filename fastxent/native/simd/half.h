/* 16-bit numbers one at a time: strided ones, and everything in the portable build.
 *
 * float16 has 5 bits of exponent and 10 of mantissa; bfloat16 is the upper half of a float.
 * Rounding is to the nearest, ties to even; a NaN keeps its sign and stays one.
 */
FX_INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
FX_INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

FX_INLINE float bfloat16_value(uint16_t bits) { return float_of_bits((uint32_t)bits << 16); }
FX_INLINE uint16_t bfloat16_bits(float value) {
    uint32_t bits = bits_of_float(value);
    if (value != value) return (uint16_t)((bits | 0x400000) >> 16);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* Copy fewer than 16 numbers, by pieces whose lengths are known: any other memcpy is a call. */
#define FX_COPY_PIECE(numbers)                                                                     \
    do {                                                                                           \
        if (!(count & (numbers))) break;                                                           \
        memcpy(to, from, 2 * (numbers));                                                           \
        to += 2 * (numbers);                                                                       \
        from += 2 * (numbers);                                                                     \
    } while (0)
FX_INLINE void copy_halves(char *to, const char *from, int count) {
    FX_COPY_PIECE(8);
    FX_COPY_PIECE(4);
    FX_COPY_PIECE(2);
    FX_COPY_PIECE(1);
}
#undef FX_COPY_PIECE

#if !FX_DOUBLE && !defined(FX_ISA_AVX512)
/* The first 16-bit numbers of up to LANES to a buffer for all of them, and from one. */
FX_INLINE void v_load_first_halves(uint16_t *buffer, const char *p, int count) {
    copy_halves((char *)buffer, p, count);
}
FX_INLINE void v_store_first_halves(char *p, int count, const uint16_t *buffer) {
    copy_halves(p, (const char *)buffer, count);
}
#endif

/* Moved into a float's place, a float16 is too small by 2^112: the difference of the biases. */
FX_INLINE float float16_value(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = (uint32_t)(bits & 0x7FFF) << 13;
    float size = float_of_bits(rest) * 0x1p112f;
    if (rest >= 0x7C00u << 13) size = float_of_bits(rest | 0x7F800000);
    return float_of_bits(bits_of_float(size) | sign);
}
FX_INLINE uint16_t float16_bits(float value) {
    uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
    if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (size >> 13 & 0x3FF));
    if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* rounds to 2^16 or more */
    if (size < 0x38800000) { /* subnormal: the addition leaves the rounded bits at the lower end */
        uint32_t rounded = bits_of_float(float_of_bits(size) + 0.5f) - 0x3F000000;
        return (uint16_t)(sign | rounded);
    }
    uint32_t rounded = size + 0xFFF + (size >> 13 & 1);
    return (uint16_t)(sign | (rounded - (112u << 23)) >> 13);
}
