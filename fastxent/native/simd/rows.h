/* How the row kernels see a tile: one anchor after the other, its classes as lanes. */
/* Pointer into the table of masks that leaves the label out, for classes from `start` on. */
FX_INLINE const real *label_mask(int32_t label, ptrdiff_t start) {
#if FX_DOUBLE
    const real *others = (const real *)fx_others_double;
#else
    const real *others = (const real *)fx_others_float;
#endif
    ptrdiff_t column = (ptrdiff_t)label - start;
    return column >= 0 && column < FX_ROW_CHUNK ? others + FX_MASK_CENTRE - column : others;
}

/* Where one anchor's row lies. `grads` and `targets` may be NULL. */
typedef struct {
    const char *logits;
    ptrdiff_t ahead; /* bytes from a row to a later one, to prefetch */
    const real *targets;
    char *grads; /* of the kernels' own type, or of that of the logits */
    ptrdiff_t anchor;
    int32_t label; /* -1: none */
    vec scale;     /* factor of the gradient */
} class_row;

FX_INLINE real *row_of(const fx_matrix *m, ptrdiff_t anchor) {
    return m->data ? (real *)m->data + anchor * m->anchor_stride : NULL;
}
FX_INLINE class_row class_row_of(const fx_tile *tile, ptrdiff_t anchor, const int type,
                                 const int grad_type) {
    ptrdiff_t step = tile->logits.anchor_stride * size_of_type(type);
    ptrdiff_t grad_step = tile->grads.anchor_stride * size_of_type(grad_type);
    char *grads = (char *)tile->grads.data;
    class_row row = {.logits = (const char *)tile->logits.data + anchor * step,
                     .ahead = tile->ahead,
                     .targets = row_of(&tile->targets, anchor),
                     .grads = grads ? grads + anchor * grad_step : NULL,
                     .anchor = anchor,
                     .label = tile->labels ? tile->labels[anchor] : FX_NO_CLASS,
                     .scale = v_set((real)per_anchor(tile->grad_scales, anchor))};
    return row;
}
FX_INLINE class_row class_row_from(class_row row, ptrdiff_t start, const int type,
                                   const int grad_type) {
    row.logits += start * size_of_type(type);
    if (row.targets) row.targets += start;
    if (row.grads) row.grads += start * size_of_type(grad_type);
    return row;
}
/* `count` is LANES but at a row's end. */
FX_INLINE vec row_load(const real *p, int count, real fill) {
    return count == LANES ? v_load(p) : v_load_first(p, count, v_set(fill));
}
FX_INLINE vec row_logits(const class_row *row, ptrdiff_t k, int count, real fill, const int type) {
    const char *p = row->logits + k * size_of_type(type);
    if (count == LANES) return load_as(p, type);
    vec z = load_first_as(p, count, type);
    if (fill == 0) return z;
    real logits[LANES];
    v_store(logits, z);
    return v_load_first(logits, count, v_set(fill));
}
FX_INLINE real row_logit(const class_row *row, ptrdiff_t k, const int type) {
    return load_one_as(row->logits + k * size_of_type(type), type);
}
FX_INLINE void row_prefetch(const class_row *row, ptrdiff_t k, const int type) {
    v_prefetch(row->logits + k * size_of_type(type) + row->ahead);
}
FX_INLINE void row_store(real *p, int count, vec x) {
    if (count == LANES)
        v_store(p, x);
    else
        v_store_first(p, count, x);
}

FX_INLINE void row_put_grads(const class_row *row, ptrdiff_t k, int count, vec x, const int type) {
    char *p = row->grads + k * size_of_type(type);
    if (count == LANES)
        store_as(p, x, type);
    else
        store_first_as(p, count, x, type);
}
FX_INLINE void row_put_grad(const class_row *row, ptrdiff_t k, real x, const int type) {
    store_one_as(row->grads + k * size_of_type(type), x, type);
}

/* A row's padding is read as 0, and its terms are cleared: exponentials that underflow would be
 * slow. */
FX_INLINE vec row_term(vec x, int count) { return count == LANES ? x : v_clear_rest(x, count); }

/* Classes whose terms are added up before they join the others: errors grow with the additions. */
#define FX_ROW_PIECE (8 * LANES)
/* And so do the sums of FX_ROW_CHUNK classes, without their rounding errors: a row may have
 * millions. */
FX_INLINE void chunk_join(compensated *total, vec sum, ptrdiff_t classes) {
    if (classes <= FX_ROW_CHUNK)
        total->sum = sum;
    else
        compensated_join(total, sum);
}

/* Call step(row, k, LANES, ...) for every vector of classes, and step(row, k, rest, ...) for those
 * that are left. That call is separate, because masks and buffers would cost the others their
 * registers. Unrolled, the loop would spill its constants. */
#define FX_FOR_ROW(row, type, classes, step, ...)                                                  \
    do {                                                                                           \
        ptrdiff_t k = 0;                                                                           \
        FX_NO_UNROLL                                                                               \
        for (; k + LANES <= (classes); k += LANES) {                                               \
            row_prefetch(row, k, type);                                                            \
            step(row, k, LANES, __VA_ARGS__);                                                      \
        }                                                                                          \
        if (k < (classes)) {                                                                       \
            row_prefetch(row, k, type);                                                            \
            step(row, k, (int)((classes) - k), __VA_ARGS__);                                       \
        }                                                                                          \
    } while (0)

/* Replace each x of a row by map(x, ...). The last vector overlaps the one before: a masked one,
 * stored, loaded and stored again, costs as much as three others. */
#define FX_REWRITE_ROW(row, classes, map, ...)                                                     \
    do {                                                                                           \
        ptrdiff_t end = (classes) - LANES;                                                         \
        if (end < 0) {                                                                             \
            int width = (int)(classes);                                                            \
            v_store_first(row, width, map(v_load_first(row, width, v_zero()), __VA_ARGS__));       \
            break;                                                                                 \
        }                                                                                          \
        vec last = map(v_load((row) + end), __VA_ARGS__);                                          \
        FX_NO_UNROLL                                                                               \
        for (ptrdiff_t k = 0; k < end; k += LANES)                                                 \
            v_store((row) + k, map(v_load((row) + k), __VA_ARGS__));                               \
        v_store((row) + end, last);                                                                \
    } while (0)

/* Vectors of a row whose exponentials are computed side by side, at most. Of the portable build's
 * registers the four of one vector, three times, leave four. */
#if FX_HAS_FMA
#define FX_ROW_VECTORS 3
#else
#define FX_ROW_VECTORS 1
#endif

/* Anchors whose partial sums are kept, to be reduced LANES at a time when all are there: the
 * reductions and logarithms of one group then overlap those of the next. */
#define FX_ROW_BLOCK (4 * LANES)
#define FX_FOR_BLOCKS(tile, body)                                                                  \
    do {                                                                                           \
        for (ptrdiff_t first = 0; first < (tile)->anchors; first += FX_ROW_BLOCK) {                \
            ptrdiff_t left = (tile)->anchors - first;                                              \
            int count = left < FX_ROW_BLOCK ? (int)left : FX_ROW_BLOCK;                            \
            body;                                                                                  \
        }                                                                                          \
    } while (0)

/* Up to LANES anchors of a block, from its anchor `start` on. */
FX_INLINE lane_range group_of(ptrdiff_t first, int count, int start) {
    lane_range group = {first + start, count - start < LANES ? count - start : LANES};
    return group;
}
FX_INLINE int group_has_labels(const fx_tile *tile, const lane_range *group) {
    int32_t highest = FX_NO_CLASS;
    for (int i = 0; tile->labels && i < group->count; i++) {
        int32_t label = tile->labels[group->first + i];
        highest = label > highest ? label : highest;
    }
    return highest >= 0;
}
