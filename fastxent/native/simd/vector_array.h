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

FX_INLINE vec v_where(mask m, vec x) { return v_and(x, v_from_bits(m)); }

FX_INLINE vec v_load(const real *p) {
    vec r;
    memcpy(&r, p, sizeof r);
    return r;
}
FX_INLINE void v_store(real *p, vec x) { memcpy(p, &x, sizeof x); }
FX_INLINE vec v_load_int32(const int32_t *p) {
    real lanes[LANES];
    FX_EACH lanes[i] = (real)p[i];
    return v_load(lanes);
}
FX_INLINE vec v_load_first(const real *p, int count, vec fill) {
    real lanes[LANES];
    v_store(lanes, fill);
    for (int i = 0; i < count; i++) lanes[i] = p[i];
    return v_load(lanes);
}
FX_INLINE vec v_clear_rest(vec x, int count) {
    real lanes[LANES];
    v_store(lanes, x);
    FX_EACH lanes[i] = i < count ? lanes[i] : 0;
    return v_load(lanes);
}
FX_INLINE void v_store_first(real *p, int count, vec x) {
    real lanes[LANES];
    v_store(lanes, x);
    for (int i = 0; i < count; i++) p[i] = lanes[i];
}

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    real rows[LANES][FX_CHUNK], lanes[FX_CHUNK][LANES];
    FX_EACH memcpy(rows[i], p + i * step, sizeof rows[i]);
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH lanes[j][i] = rows[i][j];
    for (int j = 0; j < FX_CHUNK; j++) columns[j] = v_load(lanes[j]);
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    real rows[LANES][FX_CHUNK], lanes[FX_CHUNK][LANES];
    for (int j = 0; j < FX_CHUNK; j++) v_store(lanes[j], columns[j]);
    for (int j = 0; j < FX_CHUNK; j++) FX_EACH rows[i][j] = lanes[j][i];
    FX_EACH memcpy(p + i * step, rows[i], sizeof rows[i]);
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. */
FX_CALLED void v_transpose(vec *v) {
    real rows[LANES][LANES], columns[LANES][LANES];
    memcpy(rows, v, sizeof rows);
    for (int j = 0; j < LANES; j++) FX_EACH columns[i][j] = rows[j][i];
    memcpy(v, columns, sizeof columns);
}

/* Transposed, the fold of each vector's halves is a fold of whole vectors. */
#define FX_REDUCE(name, op)                                                                        \
    FX_CALLED vec name(const vec *v) {                                                             \
        vec column[LANES];                                                                         \
        memcpy(column, v, sizeof column);                                                          \
        v_transpose(column);                                                                       \
        for (int half = LANES / 2; half > 0; half /= 2)                                            \
            for (int i = 0; i < half; i++) column[i] = op(column[i], column[i + half]);            \
        return column[0];                                                                          \
    }
