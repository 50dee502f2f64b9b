/* The portable vec of other compilers: an array, whose loops are theirs to vectorise. */
typedef struct {
    real lane[LANES];
} vec;
typedef struct {
    real_bits lane[LANES]; /* 0 or -1 */
} mask;
#define FX_BINARY(name, op)                                                                        \
    FX_INLINE vec name(vec a, vec b) {                                                             \
        FX_EACH a.lane[i] = a.lane[i] op b.lane[i];                                                \
        return a;                                                                                  \
    }
FX_INLINE mask v_bits(vec x) {
    mask r;
    memcpy(r.lane, x.lane, sizeof r.lane);
    return r;
}
FX_INLINE vec v_from_bits(mask x) {
    vec r;
    memcpy(r.lane, x.lane, sizeof r.lane);
    return r;
}
#define FX_BITWISE(name, op)                                                                       \
    FX_INLINE vec name(vec a, vec b) {                                                             \
        mask left = v_bits(a), right = v_bits(b);                                                  \
        FX_EACH left.lane[i] = left.lane[i] op right.lane[i];                                      \
        return v_from_bits(left);                                                                  \
    }
#define FX_COMPARE(name, op)                                                                       \
    FX_INLINE mask name(vec a, vec b) {                                                            \
        mask r;                                                                                    \
        FX_EACH r.lane[i] = -(real_bits)(a.lane[i] op b.lane[i]);                                  \
        return r;                                                                                  \
    }
FX_INLINE vec v_set(real x) {
    vec r;
    FX_EACH r.lane[i] = x;
    return r;
}
FX_INLINE vec v_select(mask m, vec yes, vec no) {
    mask a = v_bits(yes), b = v_bits(no);
    FX_EACH a.lane[i] = (a.lane[i] & m.lane[i]) | (b.lane[i] & ~m.lane[i]);
    return v_from_bits(a);
}
FX_BINARY(v_add, +)
FX_BINARY(v_sub, -)
FX_BINARY(v_mul, *)
FX_BINARY(v_div, /)
FX_BITWISE(v_and, &)
FX_BITWISE(v_or, |)
FX_BITWISE(v_xor, ^)
FX_COMPARE(v_less, <)
FX_COMPARE(v_equal, ==)
FX_COMPARE(v_differs, !=)
#undef FX_BINARY
#undef FX_BITWISE
#undef FX_COMPARE

FX_INLINE vec v_max(vec a, vec b) { return v_select(v_less(b, a), a, b); }
FX_INLINE vec v_min(vec a, vec b) { return v_select(v_less(a, b), a, b); }
FX_INLINE vec v_sqrt(vec x) {
    FX_EACH x.lane[i] = FX_SQRT(x.lane[i]);
    return x;
}
FX_INLINE int v_mask_any(mask m) {
    real_bits any = 0;
    FX_EACH any |= m.lane[i];
    return any != 0;
}
FX_INLINE int v_mask_all(mask m) {
    real_bits all = -1;
    FX_EACH all &= m.lane[i];
    return all != 0;
}
FX_INLINE uint32_t v_mask_bits(mask m) {
    uint32_t bits = 0;
    FX_EACH bits |= (uint32_t)(m.lane[i] != 0) << i;
    return bits;
}

/* Bits of any number, of which an overflow wraps: signed ones may not have one. */
FX_INLINE mask bits_add(mask m, real_bits number) {
    FX_EACH m.lane[i] = (real_bits)((real_unsigned)m.lane[i] + (real_unsigned)number);
    return m;
}
FX_INLINE mask bits_negate(mask m) {
    FX_EACH m.lane[i] = (real_bits)(0 - (real_unsigned)m.lane[i]);
    return m;
}
FX_INLINE mask bits_shift_left(mask m, int count) {
    FX_EACH m.lane[i] = (real_bits)((real_unsigned)m.lane[i] << count);
    return m;
}
FX_INLINE mask bits_shift_right(mask m, int count) {
    FX_EACH m.lane[i] >>= count;
    return m;
}
