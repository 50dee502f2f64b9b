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

#include "vector_shuffles.h"
#else
#include "vector_array.h"
#endif

FX_INLINE vec v_fma(vec a, vec b, vec c) { return v_add(v_mul(a, b), c); }
FX_INLINE vec v_fnma(vec a, vec b, vec c) { return v_sub(c, v_mul(a, b)); }

/* There are no non-temporal stores. */
FX_INLINE void v_stream(real *p, vec x) { v_store(p, x); }
FX_INLINE void v_end_streams(void) {}

#include "vector_exponents.h"

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
