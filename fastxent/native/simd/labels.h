/* Class labels of any integer type and any stride: their columns; and what a tile's labels and
 * targets count for. */

FX_INLINE int any_is_ignored(const int32_t *columns, ptrdiff_t count) {
    int32_t lowest = 0; /* FX_IGNORED is the lowest column there is */
    for (ptrdiff_t i = 0; i < count; i++) lowest = columns[i] < lowest ? columns[i] : lowest;
    return lowest == FX_IGNORED;
}

/* Ignored anchors of a run have lost nothing. */
static void clear_ignored(const int32_t *columns, ptrdiff_t count, void *losses) {
    real *loss = (real *)losses;
    if (!any_is_ignored(columns, count)) return;
    for (ptrdiff_t i = 0; i < count; i++) loss[i] = columns[i] == FX_IGNORED ? 0 : loss[i];
}

/* And their gradient is zero, whatever their logits are. */
static void clear_ignored_grads(const fx_tile *tile) {
    const fx_matrix *m = &tile->grads;
    ptrdiff_t size = size_of_type(tile->grad_type);
    if (!m->data || !tile->labels || !any_is_ignored(tile->labels, tile->anchors)) return;
    for (ptrdiff_t a = 0; a < tile->anchors; a++) {
        if (tile->labels[a] != FX_IGNORED) continue;
        char *row = (char *)m->data + a * m->anchor_stride * size;
        for (ptrdiff_t k = 0; k < tile->classes; k++)
            memset(row + k * m->class_stride * size, 0, (size_t)size);
    }
}

/* How many columns are `lowest` or above, but not `other`. */
static ptrdiff_t count_columns(const int32_t *columns, ptrdiff_t count, int32_t lowest,
                               int32_t other) {
    int32_t found = 0; /* a run is shorter than 2^31 */
    for (ptrdiff_t i = 0; i < count; i++) found += (columns[i] >= lowest) & (columns[i] != other);
    return found;
}

/* Sum losses: the sums of every eighth one, folded in halves. */
#define FX_SUMS 8
static double sum_losses(const void *losses, ptrdiff_t count) {
    const real *loss = (const real *)losses;
    double sums[FX_SUMS] = {0};
    ptrdiff_t whole = count / FX_SUMS * FX_SUMS;
    for (ptrdiff_t i = 0; i < whole; i += FX_SUMS)
        for (int j = 0; j < FX_SUMS; j++) sums[j] += (double)loss[i + j];
    for (ptrdiff_t i = whole; i < count; i++) sums[i - whole] += (double)loss[i];
    for (int half = FX_SUMS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) sums[j] += sums[j + half];
    return sums[0];
}

/* How many anchors have a dense target above 0. */
static ptrdiff_t count_positive_rows(const fx_tile *tile) {
    ptrdiff_t found = 0;
    for (ptrdiff_t a = 0; a < tile->anchors; a++) {
        const real *targets = row_of(&tile->targets, a);
        vec highest = v_zero();
        for (ptrdiff_t k = 0; k < tile->classes; k += LANES) {
            ptrdiff_t left = tile->classes - k;
            highest = v_max(highest, row_load(targets + k, left < LANES ? (int)left : LANES, 0));
        }
        found += v_mask_any(v_less(v_zero(), highest));
    }
    return found;
}

FX_INLINE vec are_positive(const fx_tile *tile, const lane_range *range, ptrdiff_t other) {
    vec highest = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++)
        if (k != other) highest = v_max(highest, lanes_load(&tile->targets, range, k));
    return v_where(v_less(v_zero(), highest), v_one());
}
/* The same except for targets of the class `other`: a background, which losses that take rows of
 * dense targets do not have. */
static ptrdiff_t count_positive(const fx_tile *tile, ptrdiff_t other) {
    if (tile->targets.anchor_stride != 1) return count_positive_rows(tile);
    vec found = v_zero();
    for (ptrdiff_t first = 0; first < tile->anchors; first += LANES) {
        ptrdiff_t left = tile->anchors - first;
        lane_range range = {first, left < LANES ? (int)left : LANES};
        found = v_add(found, are_positive(tile, &range, other));
    }
    real counts[LANES];
    ptrdiff_t sum = 0;
    v_store(counts, found);
    for (int i = 0; i < LANES; i++) sum += (ptrdiff_t)counts[i];
    return sum;
}

/* The column of each label: -1 where it means "no class", -2 where it is ignored. Kernels take
 * columns for indices, so there are none except those of classes, whatever the labels have become
 * since they were checked. */
FX_INLINE int32_t column_of(int64_t label, int64_t first_ignored, int32_t first_column,
                            int64_t none, int64_t gap, uint32_t classes) {
    uint32_t place = (uint32_t)label - (label > gap);
    int32_t column = place < classes ? (int32_t)place : FX_NO_CLASS;
    column = label == none ? FX_NO_CLASS : column;
    return label == first_ignored ? first_column : column;
}
#define FX_LABEL_PIECE 64
/* Labels of 64 bits as 32, in half the instructions. False where one does not fit. */
FX_INLINE int narrow_labels(const char *source, int32_t *narrow) {
    uint64_t lost = 0;
    for (int i = 0; i < FX_LABEL_PIECE; i++) {
        int64_t label = integer_at(source + i * (ptrdiff_t)sizeof label, FX_INT64);
        narrow[i] = (int32_t)label;
        lost |= (uint64_t)label + 0x80000000u;
    }
    return lost >> 32 == 0;
}
FX_INLINE int fits_narrow(int64_t number) { return number == (int32_t)number; }
/* Their columns; the first ignored label fits, too. Tells whether a label may be invalid. */
FX_INLINE int narrow_columns(const int32_t *labels, const fx_label_map *map, int32_t *columns) {
    /* What does not fit is no label's value, and -1 is no class in any case. */
    const int32_t none = fits_narrow(map->none) ? (int32_t)map->none : FX_NO_CLASS;
    const int32_t has_none = -(int32_t)fits_narrow(map->none);
    int32_t strays = 0;
    const int32_t gap = fits_narrow(map->gap) ? (int32_t)map->gap : INT32_MAX;
    const int32_t first_ignored = map->ignored_count > 0 ? (int32_t)map->ignored[0] : none;
    const int32_t first_column = map->ignored_count > 0 ? FX_IGNORED : FX_NO_CLASS;
    const uint32_t classes = map->classes;
    for (int i = 0; i < FX_LABEL_PIECE; i++) {
        int32_t label = labels[i];
        uint32_t place = (uint32_t)label - (label > gap);
        int32_t column = place < classes ? (int32_t)place : FX_NO_CLASS;
        int32_t is_none = -(label == none);
        column = label == first_ignored ? first_column : column | is_none;
        strays |= -(column == FX_NO_CLASS) & ~(is_none & has_none);
        columns[i] = column;
    }
    return strays != 0;
}
/* The labels of the next block are prefetched: the kernel runs between them, and the hardware
 * forgets the stream. */
FX_INLINE int fill_columns(const char *source, ptrdiff_t stride, ptrdiff_t count,
                           const fx_label_map *map, int32_t *columns, const int type) {
    const int64_t first_ignored = map->ignored_count > 0 ? map->ignored[0] : map->none;
    const int32_t first_column = map->ignored_count > 0 ? FX_IGNORED : FX_NO_CLASS;
    const int64_t none = map->none, gap = map->gap;
    const uint32_t classes = map->classes;
    const int may_narrow = type == FX_INT64 && stride == integer_size(type) &&
                           (map->ignored_count == 0 || fits_narrow(map->ignored[0]));
    int may_stray = 0;
    for (ptrdiff_t start = 0; start < count; start += FX_LABEL_PIECE) {
        ptrdiff_t end = start + FX_LABEL_PIECE < count ? start + FX_LABEL_PIECE : count;
        if (stride == integer_size(type))
            for (int i = 0; i < FX_LABEL_PIECE * stride; i += FX_LINE)
                prefetch_line(source + (start + count) * stride + i);
        int32_t narrow[FX_LABEL_PIECE];
        if (may_narrow && end - start == FX_LABEL_PIECE &&
            narrow_labels(source + start * stride, narrow)) {
            may_stray |= narrow_columns(narrow, map, columns + start);
            continue;
        }
        may_stray = 1;
        for (ptrdiff_t i = start; i < end; i++)
            columns[i] = column_of(integer_at(source + i * stride, type), first_ignored,
                                   first_column, none, gap, classes);
    }
    for (int j = 1; j < map->ignored_count; j++)
        for (ptrdiff_t i = 0; i < count; i++)
            if (integer_at(source + i * stride, type) == map->ignored[j]) columns[i] = FX_IGNORED;
    return may_stray;
}
FX_INLINE void fill_columns_by_stride(const char *source, ptrdiff_t stride, ptrdiff_t count,
                                      const fx_label_map *map, int32_t *columns, int *may_stray,
                                      const int type) {
    if (stride == integer_size(type)) /* a constant, with which compilers vectorize */
        *may_stray = fill_columns(source, integer_size(type), count, map, columns, type);
    else
        *may_stray = fill_columns(source, stride, count, map, columns, type);
}

/* Tells whether a label may be neither a class, nor "no class", nor ignored. */
static int label_columns(const char *source, ptrdiff_t stride, int type, ptrdiff_t count,
                         const fx_label_map *map, int32_t *columns) {
    int may_stray = 1;
    FX_WITH_INTEGER_TYPE(type, fill_columns_by_stride, source, stride, count, map, columns,
                         &may_stray);
    return may_stray;
}
