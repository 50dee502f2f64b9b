/* The search for class labels and dense targets that are not valid, and not among the extra ones
 * that are ignored. Whole pieces are tested without a branch, for plain values, then for the first
 * of the extra ones as well. Only when there are still others are they searched. */

/* What is valid: lowest .. highest, as the type at hand compares it (of labels 0 .. highest_label),
 * and the extra ones. */
typedef struct {
    uint64_t highest_label;
    double lowest, highest, first_double;
    float lowest_float, highest_float, first_float;
    int64_t first; /* of the extra ones, or where there is none a number that is valid anyhow */
    const fx_label_map *map;
} valid_values;

static valid_values values_up_to(uint64_t highest_label, double highest, const fx_label_map *map) {
    int64_t first = map->ignored_count > 0 ? map->ignored[0] : 0;
    double first_double = (double)first;
    float first_float = (float)first_double == first_double ? (float)first_double : 0;
    valid_values valid = {.highest_label = highest_label,
                          .lowest = map->lowest,
                          .highest = highest,
                          .first_double = first_double,
                          .lowest_float = (float)map->lowest,
                          .highest_float = (float)highest,
                          .first_float = first_float,
                          .first = first,
                          .map = map};
    return valid;
}

/* Integers are compared as such, since not all of them are reals. Compared as unsigned numbers of
 * 64 bits, negative labels are large. */
FX_INLINE int is_plain(const char *p, valid_values valid, const int type, const int are_labels) {
    if (are_labels) return (uint64_t)integer_at(p, type) <= valid.highest_label;
    if (is_float(type)) {
        float value = float_at(p, type);
        return (value >= valid.lowest_float) & (value <= valid.highest_float);
    }
    double value = double_at(p, type);
    return (value >= valid.lowest) & (value <= valid.highest);
}
FX_INLINE int is_first_extra(const char *p, valid_values valid, const int type) {
    if (is_float(type)) return float_at(p, type) == valid.first_float;
    if (type == FX_FLOAT64) return double_at(p, type) == valid.first_double;
    return type == FX_UINT64 ? 0 : integer_at(p, type) == valid.first;
}
FX_INLINE int is_extra(const char *p, const fx_label_map *map, const int type) {
    if ((is_float(type) || type == FX_FLOAT64) && isnan(double_at(p, type))) return map->allows_nan;
    for (int j = 0; j < map->ignored_count; j++) {
        if (is_float(type) || type == FX_FLOAT64) {
            if (double_at(p, type) == (double)map->ignored[j]) return 1;
        } else if (!is_wrapped(integer_at(p, type), type)) {
            if (integer_at(p, type) == map->ignored[j]) return 1;
        }
    }
    return 0;
}

/* Whether packed numbers are in [0, highest], or NaN: by the signs of what lies between, so that
 * the answer may be no of -0. */
#define FX_LOOK (4 * LANES)
FX_INLINE vec signs_outside(const char *source, vec highest, const int is_bounded, const int type) {
    vec bits = v_zero();
    for (int v = 0; v < FX_LOOK; v += LANES) {
        vec value = load_as(source + v * number_size(type), type);
        bits = v_or(bits, value);
        if (is_bounded) bits = v_or(bits, v_sub(highest, value));
    }
    return bits;
}
FX_INLINE int are_all_between(const char *source, ptrdiff_t count, vec highest,
                              const int is_bounded, const int type) {
    vec bits = v_zero();
    if (count < FX_LOOK) return 0;
    for (ptrdiff_t i = 0; i + FX_LOOK <= count; i += FX_LOOK)
        bits = v_or(bits, signs_outside(source + i * number_size(type), highest, is_bounded, type));
    if (count % FX_LOOK) {
        const char *last = source + (count - FX_LOOK) * number_size(type);
        bits = v_or(bits, signs_outside(last, highest, is_bounded, type));
    }
    vec sign = v_or(v_one(), v_and(bits, v_set((real)-0.0)));
    return !v_mask_any(v_less(sign, v_zero()));
}
FX_INLINE int are_probabilities(const char *source, ptrdiff_t count, valid_values valid,
                                const int type) {
    vec highest = v_set((real)valid.highest);
    if (valid.highest == INFINITY) return are_all_between(source, count, highest, 0, type);
    return are_all_between(source, count, highest, 1, type);
}

/* Index of the first one, or -1; `has_outside`: there are some of the extra ones. */
#define FX_TEST_PIECE 512
FX_INLINE ptrdiff_t find_invalid(const char *source, ptrdiff_t stride, ptrdiff_t count,
                                 valid_values valid, int *has_outside, const int are_labels,
                                 const int type) {
    const int may_look = !are_labels && (type == FX_OWN_TYPE || FX_IS_HALF(type)) &&
                         stride == number_size(type) && valid.map->allows_nan;
    for (ptrdiff_t start = 0; start < count; start += FX_TEST_PIECE) {
        ptrdiff_t end = start + FX_TEST_PIECE < count ? start + FX_TEST_PIECE : count;
        int all_plain = 1, all_known = 1;
        if (may_look && are_probabilities(source + start * stride, end - start, valid, type))
            continue;
        for (ptrdiff_t i = start; i < end; i++)
            all_plain &= is_plain(source + i * stride, valid, type, are_labels);
        if (all_plain) continue;
        *has_outside = 1;
        for (ptrdiff_t i = start; i < end; i++)
            all_known &= is_plain(source + i * stride, valid, type, are_labels) |
                         is_first_extra(source + i * stride, valid, type);
        if (all_known) continue;
        for (ptrdiff_t i = start; i < end; i++)
            if (!is_plain(source + i * stride, valid, type, are_labels) &&
                !is_extra(source + i * stride, valid.map, type))
                return i;
    }
    return -1;
}
FX_INLINE void find_invalid_by_stride(const char *source, ptrdiff_t stride, ptrdiff_t count,
                                      valid_values valid, int *has_outside, ptrdiff_t *found,
                                      const int are_labels, const int type) {
    if (stride == number_size(type)) /* a constant, with which compilers vectorize */
        *found =
            find_invalid(source, number_size(type), count, valid, has_outside, are_labels, type);
    else
        *found = find_invalid(source, stride, count, valid, has_outside, are_labels, type);
}

static ptrdiff_t first_invalid_label(const char *source, ptrdiff_t stride, int type,
                                     ptrdiff_t count, uint64_t highest, const fx_label_map *map) {
    valid_values valid = values_up_to(highest, 0, map);
    int has_outside; /* of no interest here */
    ptrdiff_t found = -1;
    FX_WITH_INTEGER_TYPE(type, find_invalid_by_stride, source, stride, count, valid, &has_outside,
                         &found, 1);
    return found;
}

/* NaN is not valid, either, unless the map allows it. */
static ptrdiff_t first_invalid_target(const char *source, ptrdiff_t stride, int type,
                                      ptrdiff_t count, double highest, const fx_label_map *map,
                                      int *has_outside) {
    valid_values valid = values_up_to(0, highest, map);
    ptrdiff_t found = -1;
    FX_WITH_NUMBER_TYPE(type, find_invalid_by_stride, source, stride, count, valid, has_outside,
                        &found, 0);
    return found;
}
