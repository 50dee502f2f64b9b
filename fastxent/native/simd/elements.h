/* Vectors of logits as they lie in memory; a kernel's own type, or a half-precision one. */
#if FX_DOUBLE
#define FX_OWN_TYPE FX_FLOAT64
#define FX_IS_HALF(type) 0
#else
#define FX_OWN_TYPE FX_FLOAT32
#define FX_IS_HALF(type) ((type) == FX_FLOAT16 || (type) == FX_BFLOAT16)
#endif
FX_INLINE vec load_as(const char *p, const int type) {
#if !FX_DOUBLE
    if (type == FX_FLOAT16) return v_load_float16((const uint16_t *)p);
    if (type == FX_BFLOAT16) return v_load_bfloat16((const uint16_t *)p);
#endif
    (void)type;
    return v_load((const real *)p);
}
FX_INLINE void store_as(char *p, vec x, const int type) {
#if !FX_DOUBLE
    if (type == FX_FLOAT16) {
        v_store_float16((uint16_t *)p, x);
        return;
    }
    if (type == FX_BFLOAT16) {
        v_store_bfloat16((uint16_t *)p, x);
        return;
    }
#endif
    (void)type;
    v_store((real *)p, x);
}
FX_INLINE ptrdiff_t size_of_type(const int type) {
    (void)type;
    return FX_IS_HALF(type) ? 2 : (ptrdiff_t)sizeof(real);
}
FX_INLINE real load_one_as(const char *p, const int type) {
    real value;
    uint16_t bits;
    if (FX_IS_HALF(type)) {
        memcpy(&bits, p, sizeof bits);
        return (real)(type == FX_FLOAT16 ? float16_value(bits) : bfloat16_value(bits));
    }
    memcpy(&value, p, sizeof value);
    return value;
}
FX_INLINE vec load_first_as(const char *p, int count, vec fill, const int type) {
    if (type == FX_OWN_TYPE) return v_load_first((const real *)p, count, fill);
    char halves[LANES * sizeof(real)] = {0};
    real values[LANES];
    memcpy(halves, p, (size_t)(count * size_of_type(type)));
    v_store(values, fill);
    v_store_first(values, count, load_as(halves, type));
    return v_load(values);
}
FX_INLINE void store_one_as(char *p, real value, const int type) {
    if (FX_IS_HALF(type)) {
        uint16_t bits =
            type == FX_FLOAT16 ? float16_bits((float)value) : bfloat16_bits((float)value);
        memcpy(p, &bits, sizeof bits);
        return;
    }
    memcpy(p, &value, sizeof value);
}
FX_INLINE void store_first_as(char *p, int count, vec x, const int type) {
    char values[LANES * sizeof(real)];
    if (type == FX_OWN_TYPE) {
        v_store_first((real *)p, count, x);
        return;
    }
    store_as(values, x, type);
    memcpy(p, values, (size_t)(count * size_of_type(type)));
}
