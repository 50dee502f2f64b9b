/* The vector functions of one number over arrays, to measure their errors: see primitives.def. */
#define FX_PRIMITIVE(name, expression, ...)                                                        \
    static void name##_primitive(const void *values, void *results, ptrdiff_t count) {             \
        const exp_constants constants = make_exp_constants();                                      \
        const centre zero = centre_at(v_zero());                                                   \
        (void)constants, (void)zero;                                                               \
        for (ptrdiff_t i = 0; i < count; i += LANES) {                                             \
            int left = count - i < LANES ? (int)(count - i) : LANES;                               \
            vec x = v_load_first((const real *)values + i, left, v_one());                         \
            v_store_first((real *)results + i, left, expression);                                  \
        }                                                                                          \
    }
#include "primitives.def"
