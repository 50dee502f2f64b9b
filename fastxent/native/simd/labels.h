/* Class labels and dense targets as the user holds them: any integer or float type, any stride. */

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
/* The same but for targets of the class `other`: a background, which losses that take rows of dense
 * targets do not have. */
static ptrdiff_t count_positive(const fx_tile *tile, ptrdiff_t other) {
    if (tile->targets.anchor_stride != 1) return count_positive_rows(tile);
    vec found = v_zero();
#define FX_COUNT_LANES(tile, range)                                                                \
    do {                                                                                           \
        vec highest = v_zero();                                                                    \
        for (ptrdiff_t k = 0; k < (tile)->classes; k++)                                            \
            if (k != other) highest = v_max(highest, lanes_load(&(tile)->targets, range, k));      \
        found = v_add(found, v_where(v_less(v_zero(), highest), v_one()));                         \
    } while (0)
    FX_FOR_LANES(tile, FX_COUNT_LANES);
#undef FX_COUNT_LANES
    real counts[LANES];
    ptrdiff_t sum = 0;
    v_store(counts, found);
    for (int i = 0; i < LANES; i++) sum += (ptrdiff_t)counts[i];
    return sum;
}

/* The column of each label: -1 where it means "no class", -2 where it is ignored. Kernels take
 * columns for indices, so there are no others but those of classes, whatever the labels have become
 * since they were checked. The labels of the next block are asked for: the kernel's work is between
 * them, and the hardware forgets the stream. */
#define FX_LABEL_PIECE 64
#define FX_LABEL_COLUMNS(type)                                                                     \
    do {                                                                                           \
        const int64_t first_ignored = map->ignored_count > 0 ? map->ignored[0] : map->none;        \
        const int32_t first_column = map->ignored_count > 0 ? FX_IGNORED : FX_NO_CLASS;            \
        const int64_t none = map->none, gap = map->gap;                                            \
        const uint32_t classes = map->classes;                                                     \
        for (ptrdiff_t start = 0; start < count; start += FX_LABEL_PIECE) {                        \
            ptrdiff_t end = start + FX_LABEL_PIECE < count ? start + FX_LABEL_PIECE : count;       \
            for (int i = 0; stride == sizeof(type) && i < FX_LABEL_PIECE * stride; i += FX_LINE)   \
                prefetch_line(source + (start + count) * stride + i);                              \
            for (ptrdiff_t i = start; i < end; i++) {                                              \
                type element;                                                                      \
                memcpy(&element, source + i * stride, sizeof element);                             \
                int64_t label = (int64_t)element;                                                  \
                uint32_t place = (uint32_t)label - (label > gap);                                  \
                int32_t column = place < classes ? (int32_t)place : FX_NO_CLASS;                   \
                column = label == none ? FX_NO_CLASS : column;                                     \
                columns[i] = label == first_ignored ? first_column : column;                       \
            }                                                                                      \
        }                                                                                          \
        for (int j = 1; j < map->ignored_count; j++)                                               \
            for (ptrdiff_t i = 0; i < count; i++) {                                                \
                type element;                                                                      \
                memcpy(&element, source + i * stride, sizeof element);                             \
                if ((int64_t)element == map->ignored[j]) columns[i] = FX_IGNORED;                  \
            }                                                                                      \
    } while (0)
/* A constant stride lets the compiler vectorise the common case. */
#define FX_LABEL_CASE(code, type)                                                                  \
    case code:                                                                                     \
        if (stride == (ptrdiff_t)sizeof(type)) {                                                   \
            const ptrdiff_t stride = sizeof(type);                                                 \
            FX_LABEL_COLUMNS(type);                                                                \
        } else                                                                                     \
            FX_LABEL_COLUMNS(type);                                                                \
        break

static void label_columns(const char *source, ptrdiff_t stride, int type, ptrdiff_t count,
                          const fx_label_map *map, int32_t *columns) {
    switch (type) {
        FX_LABEL_CASE(FX_INT8, int8_t);
        FX_LABEL_CASE(FX_UINT8, uint8_t);
        FX_LABEL_CASE(FX_INT16, int16_t);
        FX_LABEL_CASE(FX_UINT16, uint16_t);
        FX_LABEL_CASE(FX_INT32, int32_t);
        FX_LABEL_CASE(FX_UINT32, uint32_t);
        FX_LABEL_CASE(FX_INT64, int64_t);
        FX_LABEL_CASE(FX_UINT64, uint64_t);
    }
}

/* Index of the first label outside 0 .. highest and not among the extra ones, or -1. Whole pieces
 * are tested without a branch, for plain labels, then for the first of the extra ones as well. Only
 * when there are still others are they searched. */
#define FX_TEST_PIECE 512
#define FX_TEST_ALL(type, result, test)                                                            \
    for (ptrdiff_t i = start; i < end; i++) {                                                      \
        type element;                                                                              \
        memcpy(&element, source + i * stride, sizeof element);                                     \
        result &= test;                                                                            \
    }
#define FX_FIRST_INVALID(type, is_plain, is_first, is_valid)                                       \
    do {                                                                                           \
        for (ptrdiff_t start = 0; start < count; start += FX_TEST_PIECE) {                         \
            ptrdiff_t end = start + FX_TEST_PIECE < count ? start + FX_TEST_PIECE : count;         \
            int all_plain = 1, all_known = 1;                                                      \
            FX_TEST_ALL(type, all_plain, is_plain)                                                 \
            if (all_plain) continue;                                                               \
            *has_outside = 1;                                                                      \
            FX_TEST_ALL(type, all_known, (is_plain | is_first))                                    \
            if (all_known) continue;                                                               \
            for (ptrdiff_t i = start; i < end; i++) {                                              \
                type element;                                                                      \
                memcpy(&element, source + i * stride, sizeof element);                             \
                if (!(is_plain) && !(is_valid)) return i;                                          \
            }                                                                                      \
        }                                                                                          \
        return -1;                                                                                 \
    } while (0)
#define FX_INVALID_CASE(code, type, is_plain, is_first, is_valid)                                  \
    case code:                                                                                     \
        if (stride == (ptrdiff_t)sizeof(type)) {                                                   \
            const ptrdiff_t stride = sizeof(type);                                                 \
            FX_FIRST_INVALID(type, is_plain, is_first, is_valid);                                  \
        } else                                                                                     \
            FX_FIRST_INVALID(type, is_plain, is_first, is_valid)

/* Compared as unsigned 64-bit numbers, negative labels are large. */
#define FX_IN_RANGE ((uint64_t)(int64_t)element <= highest)
#define FX_LABEL_TEST(code, type)                                                                  \
    FX_INVALID_CASE(code, type, FX_IN_RANGE, ((int64_t)element == first), is_extra(element, map))

static int is_extra(int64_t label, const fx_label_map *map) {
    for (int j = 0; j < map->ignored_count; j++)
        if (label == map->ignored[j]) return 1;
    return 0;
}
/* The first of the extra ones, or, where there is none, a number that is valid anyhow. */
static int64_t first_extra(const fx_label_map *map) {
    return map->ignored_count > 0 ? map->ignored[0] : 0;
}

static ptrdiff_t first_invalid_label(const char *source, ptrdiff_t stride, int type,
                                     ptrdiff_t count, uint64_t highest, const fx_label_map *map) {
    int outside, *has_outside = &outside; /* of no interest here */
    const int64_t first = first_extra(map);
    switch (type) {
        FX_LABEL_TEST(FX_INT8, int8_t);
        FX_LABEL_TEST(FX_UINT8, uint8_t);
        FX_LABEL_TEST(FX_INT16, int16_t);
        FX_LABEL_TEST(FX_UINT16, uint16_t);
        FX_LABEL_TEST(FX_INT32, int32_t);
        FX_LABEL_TEST(FX_UINT32, uint32_t);
        FX_LABEL_TEST(FX_INT64, int64_t);
        FX_INVALID_CASE(FX_UINT64, uint64_t, FX_IN_RANGE, 0,
                        element <= (uint64_t)INT64_MAX && is_extra((int64_t)element, map));
    }
    return -1;
}

/* Index of the first target that is outside [0, highest] or NaN, and not among the extra ones, or
 * -1. Integers are compared as such, since not all of them are reals. */
#define FX_IN_INTERVAL(number, value)                                                              \
    (((number)(value) >= 0) & ((number)(value) <= (number)highest))
static int is_extra_real(double value, const fx_label_map *map) {
    for (int j = 0; j < map->ignored_count; j++)
        if (value == (double)map->ignored[j]) return 1;
    return 0;
}
#define FX_REAL_TEST(code, type, number, value)                                                    \
    FX_INVALID_CASE(code, type, FX_IN_INTERVAL(number, value),                                     \
                    ((number)(value) == first_##number), is_extra_real((double)(value), map))
#define FX_INTEGER_TEST(code, type)                                                                \
    FX_INVALID_CASE(code, type, FX_IN_INTERVAL(double, element), ((int64_t)element == first),      \
                    is_extra(element, map))

static ptrdiff_t first_invalid_target(const char *source, ptrdiff_t stride, int type,
                                      ptrdiff_t count, double highest, const fx_label_map *map,
                                      int *has_outside) {
    const int64_t first = first_extra(map);
    const double first_double = (double)first;
    const float first_float = (float)first_double == first_double ? (float)first_double : 0;
    switch (type) {
        FX_INTEGER_TEST(FX_INT8, int8_t);
        FX_INTEGER_TEST(FX_UINT8, uint8_t);
        FX_INTEGER_TEST(FX_INT16, int16_t);
        FX_INTEGER_TEST(FX_UINT16, uint16_t);
        FX_INTEGER_TEST(FX_INT32, int32_t);
        FX_INTEGER_TEST(FX_UINT32, uint32_t);
        FX_INTEGER_TEST(FX_INT64, int64_t);
        FX_INVALID_CASE(FX_UINT64, uint64_t, FX_IN_INTERVAL(double, element), 0,
                        element <= (uint64_t)INT64_MAX && is_extra((int64_t)element, map));
        FX_REAL_TEST(FX_FLOAT16, uint16_t, float, float16_value(element));
        FX_REAL_TEST(FX_BFLOAT16, uint16_t, float, bfloat16_value(element));
        FX_REAL_TEST(FX_FLOAT32, float, float, element);
        FX_REAL_TEST(FX_FLOAT64, double, double, element);
    }
    return -1;
}
