/* Exponents, by arithmetic with the bits of the lanes: for a vec without instructions for them. */
#if FX_DOUBLE
#define FX_MANTISSA_BITS 52
#define FX_EXPONENT_BIAS 1023
#define FX_BITS_OF_THREE_QUARTERS 0x3FE8000000000000
#define FX_BITS_OF_ROUND_MAGIC 0x4338000000000000
#define FX_GUARD_POWER 0x1p-53
#define FX_GUARD_EXPONENT 53
#else
#define FX_MANTISSA_BITS 23
#define FX_EXPONENT_BIAS 127
#define FX_BITS_OF_THREE_QUARTERS 0x3F400000
#define FX_BITS_OF_ROUND_MAGIC 0x4B400000
#define FX_GUARD_POWER 0x1p-24f
#define FX_GUARD_EXPONENT 24
#endif

/* p * 2^n for n <= 0: the low bits of `biased` = n + FX_ROUND_MAGIC hold n, and shifted into an
 * exponent field they are a power of two; the guard keeps that field in range, and one
 * multiplication by its inverse rounds once into the subnormals. At FX_EXP_UNDERFLOW the field is
 * that of 0, so that the many exponentials of masked logits do not underflow, which is slow. */
FX_INLINE vec v_scale(vec p, vec n, vec biased) {
    mask field = bits_add(v_bits(biased), FX_EXPONENT_BIAS + FX_GUARD_EXPONENT);
    (void)n;
    field = bits_shift_left(field, FX_MANTISSA_BITS);
    return v_mul(v_mul(p, v_from_bits(field)), v_set(FX_GUARD_POWER));
}
/* The power of two whose exponent field the low bits of `biased` are; 0 where they are. */
FX_INLINE vec v_power_of_field(vec biased) {
    return v_from_bits(bits_shift_left(v_bits(biased), FX_MANTISSA_BITS));
}

/* The exponent k and 2^-k of x = 2^k * m with m in [0.75, 1.5), for normal positive x. Added to the
 * bits of FX_ROUND_MAGIC, k is the difference from it. */
FX_INLINE vec v_exponent(vec x, vec *inverse_power) {
    mask k = bits_shift_right(bits_add(v_bits(x), -FX_BITS_OF_THREE_QUARTERS), FX_MANTISSA_BITS);
    mask power = bits_shift_left(bits_add(bits_negate(k), FX_EXPONENT_BIAS), FX_MANTISSA_BITS);
    *inverse_power = v_from_bits(power);
    return v_sub(v_from_bits(bits_add(k, FX_BITS_OF_ROUND_MAGIC)), v_set(FX_ROUND_MAGIC));
}
