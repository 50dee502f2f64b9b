/* categorical_cross_entropy of labels with classes as lanes: one reduction and one logarithm for
 * LANES anchors.
 *
 * Rows are a vector long at least. What is left of one besides whole vectors comes first, with the
 * classes after it, which are cleared: loads and stores under a mask cost several others.
 */

/* A vector of classes but the label; and `bits`, those that any of them has, where that `looks`. */
FX_INLINE vec vector_of_others(const class_row *row, const real *others, ptrdiff_t k, vec *bits,
                               const int looks, const int type) {
    row_prefetch(row, k, type);
    vec p = row_logits(row, k, LANES, 0, type);
    if (looks) {
        p = v_once(p);
        *bits = v_or(*bits, p);
    }
    return v_and(p, v_load(others + k));
}

/* `sum` and all classes from `first` on, which are whole vectors, one at least. Counting up to 0
 * takes no comparison. */
FX_INLINE vec vectors_of_others(const class_row *row, const real *others, ptrdiff_t first,
                                ptrdiff_t classes, vec sum, vec *bits, const int looks,
                                const int type) {
    class_row end = class_row_from(*row, classes, type, type);
    ptrdiff_t k = first - classes;
    do {
        sum = v_add(sum, vector_of_others(&end, others + classes, k, bits, looks, type));
        k += LANES;
    } while (k < 0);
    return sum;
}

FX_INLINE vec row_of_others(const class_row *row, ptrdiff_t classes, vec *bits, const int looks,
                            const int type) {
    const real *others = label_mask(row->label, 0);
    ptrdiff_t rest = classes % LANES;
    vec sum = v_zero();
    if (rest > 0)
        sum = v_clear_rest(vector_of_others(row, others, 0, bits, looks, type), (int)rest);
    if (classes <= FX_ROW_PIECE)
        return vectors_of_others(row, others, rest, classes, sum, bits, looks, type);
    compensated total = {sum, v_zero()};
    for (ptrdiff_t start = rest; start < classes; start += FX_ROW_PIECE) {
        ptrdiff_t left = classes - start;
        class_row piece = class_row_from(*row, start, type, type);
        sum = vectors_of_others(&piece, label_mask(row->label, start), 0,
                                left < FX_ROW_PIECE ? left : FX_ROW_PIECE, v_zero(), bits, looks,
                                type);
        compensated_add(&total, sum);
    }
    return compensated_value(total);
}

/* The probabilities of some anchors' labels, those of the first class where there is none; and what
 * the other classes add up to. */
typedef struct {
    real own[FX_ROW_BLOCK];
    vec others[FX_ROW_BLOCK];
} probability_block;

FX_INLINE void note_rows_outside_typed(const fx_tile *tile, ptrdiff_t first, int count,
                                       const int type) {
    vec lowest = v_zero();
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        for (ptrdiff_t k = 0; row.label != FX_IGNORED && k < tile->classes; k++)
            lowest = v_min(v_set(row_logit(&row, k, type)), lowest);
    }
    note_outside(tile, v_zero(), lowest);
}
/* The closer look at some anchors. */
FX_CALLED void note_rows_outside(const fx_tile *tile, ptrdiff_t first, int count) {
    FX_WITH_TYPE(tile->logit_type, note_rows_outside_typed, tile, first, count);
}

FX_INLINE void rows_of_others_typed(const fx_tile *tile, ptrdiff_t first, int count,
                                    probability_block *block, const int looks, const int type) {
    vec bits = v_zero();
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        block->own[i] = row_logit(&row, row.label >= 0 ? row.label : 0, type);
        block->others[i] = row_of_others(&row, tile->classes, &bits, looks, type);
    }
    if (looks && v_mask_any(v_less(sign_and_exponent(bits), v_zero())))
        note_rows_outside(tile, first, count);
}
FX_CALLED void rows_of_others(const fx_tile *tile, ptrdiff_t first, int count,
                              probability_block *block) {
    FX_WITH_FLAG_AND_TYPE(looks_outside(tile), tile->logit_type, rows_of_others_typed, tile, first,
                          count, block);
    for (int i = count; i % LANES; i++) {
        block->own[i] = 0;
        block->others[i] = v_zero();
    }
}

FX_INLINE void categorical_row_grads_typed(const fx_tile *tile, const lane_range *group,
                                           const label_slopes *slopes, const int type) {
    real own[LANES], others[LANES];
    const ptrdiff_t size = size_of_type(type), step = tile->grads.anchor_stride * size;
    ptrdiff_t length = tile->classes * size, rest = tile->classes % LANES * size;
    const int32_t *labels = tile->labels + group->first;
    char *row = (char *)tile->grads.data + group->first * step;
    int count = group->count; /* a copy, which the stores cannot change */
    v_store(own, slopes->own);
    v_store(others, slopes->others);
    for (int i = 0; i < count; i++, row += step) {
        vec slope = v_set(others[i]);
        if (rest > 0) store_as(row, slope, type);
        for (ptrdiff_t place = rest; place < length; place += LANES * size)
            store_as(row + place, slope, type);
        if (labels[i] >= 0) store_one_as(row + labels[i] * size, own[i], type);
    }
}
/* A row's gradient is one number except at the label. */
FX_CALLED void categorical_row_grads(const fx_tile *tile, const lane_range *group,
                                     const label_slopes *slopes) {
    FX_WITH_TYPE(tile->logit_type, categorical_row_grads_typed, tile, group, slopes);
}

FX_INLINE void probability_rows_block(const fx_tile *tile, ptrdiff_t first, int count) {
    probability_block block;
    rows_of_others(tile, first, count, &block);
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec own = v_load(block.own + start), others = v_reduce_add(block.others + start);
        label_slopes slopes =
            categorical_of_labels(tile, &group, lanes_labels(tile, &group), own, others);
        if (tile->grads.data) categorical_row_grads(tile, &group, &slopes);
    }
}

static void categorical_rows(const fx_tile *tile) {
    FX_FOR_BLOCKS(tile, probability_rows_block(tile, first, count));
}
