/* Vectors of logits as they lie in memory; a kernel's own type, or a 16-bit one. */
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
/* The classes in a chunk. */
FX_INLINE ptrdiff_t chunk_classes(const int type) { return 16 / size_of_type(type); }
/* Of the two halves in each lane the first ones, and the second ones. */
FX_INLINE vec low_as(vec x, const int type) {
#if !FX_DOUBLE
    return type == FX_FLOAT16 ? v_low_float16(x) : v_low_bfloat16(x);
#endif
    (void)type;
    return x;
}
FX_INLINE vec high_as(vec x, const int type) {
#if !FX_DOUBLE
    return type == FX_FLOAT16 ? v_high_float16(x) : v_high_bfloat16(x);
#endif
    (void)type;
    return x;
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
/* The first `count` numbers, and 0. */
FX_INLINE vec load_first_as(const char *p, int count, const int type) {
#if !FX_DOUBLE
    if (FX_IS_HALF(type)) {
        uint16_t halves[LANES] = {0};
        v_load_first_halves(halves, p, count);
        return load_as((const char *)halves, type);
    }
#endif
    (void)type;
    return v_load_first((const real *)p, count, v_zero());
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
#if !FX_DOUBLE
    if (FX_IS_HALF(type)) {
        uint16_t halves[LANES];
        store_as((char *)halves, x, type);
        v_store_first_halves(p, count, halves);
        return;
    }
#endif
    (void)type;
    v_store_first((real *)p, count, x);
}
