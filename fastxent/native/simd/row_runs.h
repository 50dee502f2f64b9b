/* Runs: the logits of one row, or of several that lie side by side.
 *
 * An exponential is a chain of operations that leaves most of the CPU idle, so those of several
 * vectors are computed side by side, stage by stage. Sums in the same loop would take their
 * registers: so what is computed of each logit goes to a buffer in the first-level cache, and the
 * sums are taken from there, in the order that they have without it. With the registers of AVX-512
 * one loop is faster for cross-entropy, but not for what takes more operations.
 */
#if defined(FX_ISA_AVX2) || !FX_HAS_FMA
#define FX_BUFFERED_EXPONENTIALS 1
#else
#define FX_BUFFERED_EXPONENTIALS 0
#endif
#if defined(FX_ISA_AVX2) || defined(FX_ISA_AVX512) || !FX_HAS_FMA
#define FX_BUFFERED_TERMS 1
#else
#define FX_BUFFERED_TERMS 0
#endif

/* The numbers in a buffer: those of FX_RUN_ROWS rows, or of one of up to FX_ROW_CHUNK classes; and
 * a vector that is written whole. */
#define FX_RUN_ROWS 16
#define FX_RUN_NUMBERS (FX_RUN_ROWS * FX_PRODUCT_FACTORS)
#define FX_RUN_BUFFER (FX_RUN_NUMBERS + LANES)
/* Rows whose sums are taken side by side from a buffer. */
#define FX_ROWS_AT_ONCE 2

/* Call step(vectors, k, LANES, ...) for the vectors of a run, and step(1, 0, count, ...) for a run
 * of less than a vector. The last vector overlaps the one before: steps may not replace what they
 * read. */
#define FX_FOR_RUN(count, step, ...)                                                               \
    do {                                                                                           \
        ptrdiff_t k = 0;                                                                           \
        FX_NO_UNROLL                                                                               \
        for (; FX_EXPS_AT_ONCE > 1 && k + FX_EXPS_AT_ONCE * LANES <= (count);                      \
             k += FX_EXPS_AT_ONCE * LANES)                                                         \
            step(FX_EXPS_AT_ONCE, k, LANES, __VA_ARGS__);                                          \
        FX_NO_UNROLL                                                                               \
        for (; k + LANES <= (count); k += LANES) step(1, k, LANES, __VA_ARGS__);                   \
        if (k < (count) && k > 0)                                                                  \
            step(1, (count) - LANES, LANES, __VA_ARGS__);                                          \
        else if (k < (count))                                                                      \
            step(1, 0, (int)(count), __VA_ARGS__);                                                 \
    } while (0)

/* How many runs some rows are, each of which begins a row. */
FX_INLINE int runs_of(const fx_tile *tile, int rows) {
    return tile->logits.anchor_stride == tile->classes ? 1 : rows;
}

/* The same where gradients are written: rows of one run have one factor. */
FX_INLINE int grad_runs_of(const fx_tile *tile, ptrdiff_t first, int rows) {
    const real *scales = (const real *)tile->grad_scales;
    if (tile->grads.anchor_stride != tile->classes) return rows;
    if (tile->targets.data && tile->targets.anchor_stride != tile->classes) return rows;
    if (scales && memcmp(scales + first, scales + first + 1, (size_t)(rows - 1) * sizeof(real)))
        return rows;
    return runs_of(tile, rows);
}

/* exp(-|z|) of a run, whose later part is prefetched. */
FX_INLINE void exponentials_step(const int vectors, ptrdiff_t k, int count, const class_row *row,
                                 real *to, const exp_constants *constants, const int type) {
    vec x[FX_EXPS_AT_ONCE], e[FX_EXPS_AT_ONCE];
    for (int v = 0; v < vectors; v++) {
        row_prefetch(row, k + v * LANES, type);
        x[v] = v_negative_abs(row_logits(row, k + v * LANES, count, 0, type));
    }
    v_exps_nonpositive(vectors, x, e, constants);
    for (int v = 0; v < vectors; v++) v_store(to + k + v * LANES, e[v]);
}
FX_INLINE void run_exponentials(const class_row *row, ptrdiff_t count, real *to,
                                const exp_constants *constants, const int type) {
    FX_FOR_RUN(count, exponentials_step, row, to, constants, type);
}

/* The same of some rows; those in the buffer lie side by side. */
FX_INLINE void rows_exponentials(const fx_tile *tile, ptrdiff_t first, int rows, real *to,
                                 const exp_constants *constants, const int type) {
    const int runs = runs_of(tile, rows);
    const ptrdiff_t length = tile->classes * (rows / runs);
    for (int i = 0; i < runs; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        run_exponentials(&row, length, to + i * length, constants, type);
    }
}

/* The sums of up to FX_ROW_PIECE numbers of each of some rows in a buffer. */
FX_INLINE void piece_sums(const real *const *rows, ptrdiff_t count, vec *sums) {
    for (int i = 0; i < FX_ROWS_AT_ONCE; i++) sums[i] = v_zero();
    ptrdiff_t k = 0;
    FX_NO_UNROLL
    for (; k + LANES <= count; k += LANES)
        for (int i = 0; i < FX_ROWS_AT_ONCE; i++) sums[i] = v_add(sums[i], v_load(rows[i] + k));
    if (k == count) return;
    for (int i = 0; i < FX_ROWS_AT_ONCE; i++)
        sums[i] = v_add(sums[i], v_load_first(rows[i] + k, (int)(count - k), v_zero()));
}
/* The sums of the rows in a buffer, of up to FX_ROW_CHUNK classes. */
FX_INLINE void buffer_sums(const real *numbers, int rows, ptrdiff_t classes, vec *sums) {
    for (int i = 0; i < rows; i += FX_ROWS_AT_ONCE) {
        vec totals[FX_ROWS_AT_ONCE], pieces[FX_ROWS_AT_ONCE];
        for (int j = 0; j < FX_ROWS_AT_ONCE; j++) totals[j] = v_zero();
        for (ptrdiff_t start = 0; start < classes; start += FX_ROW_PIECE) {
            const real *places[FX_ROWS_AT_ONCE];
            ptrdiff_t left = classes - start;
            for (int j = 0; j < FX_ROWS_AT_ONCE; j++) /* the last row may come twice */
                places[j] = numbers + (i + j < rows ? i + j : i) * classes + start;
            piece_sums(places, left < FX_ROW_PIECE ? left : FX_ROW_PIECE, pieces);
            for (int j = 0; j < FX_ROWS_AT_ONCE; j++) totals[j] = v_add(totals[j], pieces[j]);
        }
        for (int j = 0; j < FX_ROWS_AT_ONCE && i + j < rows; j++) sums[i + j] = totals[j];
    }
}
