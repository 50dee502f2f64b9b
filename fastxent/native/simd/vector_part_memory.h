/* Memory and lanes of a vec that is four parts: what NEON and the portable build have in common. */
FX_INLINE vec v_where(mask m, vec x) { return v_and(x, v_from_bits(m)); }

FX_INLINE vec v_load(const real *p) {
    vec r = {part_load(p), part_load(p + FX_CHUNK), part_load(p + 2 * FX_CHUNK),
             part_load(p + 3 * FX_CHUNK)};
    return r;
}
FX_INLINE void v_store(real *p, vec x) {
    part_store(p, x.a);
    part_store(p + FX_CHUNK, x.b);
    part_store(p + 2 * FX_CHUNK, x.c);
    part_store(p + 3 * FX_CHUNK, x.d);
}
FX_INLINE vec v_load_int32(const int32_t *p) {
    vec r = {part_of_int32(p), part_of_int32(p + FX_CHUNK), part_of_int32(p + 2 * FX_CHUNK),
             part_of_int32(p + 3 * FX_CHUNK)};
    return r;
}

/* Part of a vec, of which the first `count` lanes are there, none or more than all of them: there
 * are no masked loads and stores. */
FX_INLINE part part_load_first(const real *p, int count, part fill) {
    if (count >= FX_CHUNK) return part_load(p);
    if (count > 0) fill[0] = p[0];
#if !FX_DOUBLE
    if (count > 1) fill[1] = p[1];
    if (count > 2) fill[2] = p[2];
#endif
    return fill;
}
FX_MATH vec v_load_first(const real *p, int count, vec fill) {
    vec r = {part_load_first(p, count, fill.a),
             part_load_first(p + FX_CHUNK, count - FX_CHUNK, fill.b),
             part_load_first(p + 2 * FX_CHUNK, count - 2 * FX_CHUNK, fill.c),
             part_load_first(p + 3 * FX_CHUNK, count - 3 * FX_CHUNK, fill.d)};
    return r;
}
FX_INLINE void part_store_first(real *p, int count, part x) {
    if (count >= FX_CHUNK) {
        part_store(p, x);
        return;
    }
    if (count > 0) p[0] = x[0];
#if !FX_DOUBLE
    if (count > 1) p[1] = x[1];
    if (count > 2) p[2] = x[2];
#endif
}
FX_MATH void v_store_first(real *p, int count, vec x) {
    part_store_first(p, count, x.a);
    part_store_first(p + FX_CHUNK, count - FX_CHUNK, x.b);
    part_store_first(p + 2 * FX_CHUNK, count - 2 * FX_CHUNK, x.c);
    part_store_first(p + 3 * FX_CHUNK, count - 3 * FX_CHUNK, x.d);
}
FX_INLINE vec v_clear_rest(vec x, int count) {
#if FX_DOUBLE
    const part_bits first = {0, 1};
#else
    const part_bits first = {0, 1, 2, 3};
#endif
    mask m = {(part_bits)(first < count), (part_bits)(first < count - FX_CHUNK),
              (part_bits)(first < count - 2 * FX_CHUNK), (part_bits)(first < count - 3 * FX_CHUNK)};
    return v_where(m, x);
}

/* --- folds and transpositions ----------------------------------------------------------------- */

/* Apply op to what is selected from the pairs of parts of two vecs. */
#define FX_FOLD(op, result, select_low, select_high, x, y)                                         \
    do {                                                                                           \
        vec low = {select_low((x).a, (x).b), select_low((x).c, (x).d), select_low((y).a, (y).b),   \
                   select_low((y).c, (y).d)};                                                      \
        vec high = {select_high((x).a, (x).b), select_high((x).c, (x).d),                          \
                    select_high((y).a, (y).b), select_high((y).c, (y).d)};                         \
        result = op(low, high);                                                                    \
    } while (0)
#define FX_FIRST_PART(x, y) (x)
#define FX_SECOND_PART(x, y) (y)

/* The halves of each vec first, then quarters, of which a vec has four: one of each vector. */
#define FX_FOLD_TO_PARTS(op, quarters, v)                                                          \
    do {                                                                                           \
        for (int i = 0; i < LANES / 4; i++) {                                                      \
            vec halves[2];                                                                         \
            for (int j = 0; j < 2; j++) {                                                          \
                vec x = v[4 * i + 2 * j], y = v[4 * i + 2 * j + 1];                                \
                vec low = {x.a, x.b, y.a, y.b}, high = {x.c, x.d, y.c, y.d};                       \
                halves[j] = op(low, high);                                                         \
            }                                                                                      \
            FX_FOLD(op, quarters[i], FX_FIRST_PART, FX_SECOND_PART, halves[0], halves[1]);         \
        }                                                                                          \
    } while (0)
#if FX_DOUBLE
#define FX_REDUCE(name, op)                                                                        \
    FX_MATH vec name(const vec *v) {                                                               \
        vec quarters[2], result;                                                                   \
        FX_FOLD_TO_PARTS(op, quarters, v);                                                         \
        FX_FOLD(op, result, part_even, part_odd, quarters[0], quarters[1]);                        \
        return result;                                                                             \
    }
#else
#define FX_REDUCE(name, op)                                                                        \
    FX_MATH vec name(const vec *v) {                                                               \
        vec quarters[4], pairs[2], result;                                                         \
        FX_FOLD_TO_PARTS(op, quarters, v);                                                         \
        for (int i = 0; i < 2; i++)                                                                \
            FX_FOLD(op, pairs[i], part_pairs_low, part_pairs_high, quarters[2 * i],                \
                    quarters[2 * i + 1]);                                                          \
        FX_FOLD(op, result, part_unzip_even, part_unzip_odd, pairs[0], pairs[1]);                  \
        return result;                                                                             \
    }
#endif

/* FX_CHUNK classes of LANES rows that are `step` bytes apart: a vector for each class. */
FX_INLINE void parts_load(const char *p, ptrdiff_t step, part *r) {
    for (int i = 0; i < FX_CHUNK; i++) r[i] = part_load_bytes(p + i * step);
    parts_transpose(r);
}
FX_INLINE void v_load_columns(const char *p, ptrdiff_t step, vec *columns) {
    part r[4][FX_CHUNK];
    for (int j = 0; j < 4; j++) parts_load(p + j * FX_CHUNK * step, step, r[j]);
    for (int i = 0; i < FX_CHUNK; i++) {
        vec column = {r[0][i], r[1][i], r[2][i], r[3][i]};
        columns[i] = column;
    }
}
FX_INLINE void parts_store(char *p, ptrdiff_t step, part *r) {
    parts_transpose(r);
    for (int i = 0; i < FX_CHUNK; i++) part_store_bytes(p + i * step, r[i]);
}
FX_INLINE void v_store_columns(char *p, ptrdiff_t step, const vec *columns) {
    part r[4][FX_CHUNK];
    for (int i = 0; i < FX_CHUNK; i++) {
        r[0][i] = columns[i].a;
        r[1][i] = columns[i].b;
        r[2][i] = columns[i].c;
        r[3][i] = columns[i].d;
    }
    for (int j = 0; j < 4; j++) parts_store(p + j * FX_CHUNK * step, step, r[j]);
}

/* Transpose LANES vectors in place: lane i of vector j becomes lane j of vector i. They are four by
 * four blocks of FX_CHUNK parts, each of which is transposed and takes the place of its mirror
 * image. */
FX_CALLED void v_transpose(vec *v) {
    part *parts = (part *)v;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j <= i; j++) {
            part lower[FX_CHUNK], upper[FX_CHUNK];
            for (int k = 0; k < FX_CHUNK; k++) {
                lower[k] = parts[4 * (FX_CHUNK * i + k) + j];
                upper[k] = parts[4 * (FX_CHUNK * j + k) + i];
            }
            parts_transpose(lower);
            parts_transpose(upper);
            for (int k = 0; k < FX_CHUNK; k++) {
                parts[4 * (FX_CHUNK * j + k) + i] = lower[k];
                parts[4 * (FX_CHUNK * i + k) + j] = upper[k];
            }
        }
}
