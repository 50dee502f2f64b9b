/* The sigmoid family with classes as lanes, LANES anchors at a time: their partial sums, one vector
 * each, are reduced together, so that what runs once an anchor runs once for all of them.
 *
 * With labels every class of a row is taken for a negative, and the label is masked out. The
 * labels' own terms follow, LANES of them in one vector.
 */

/* Pointer into the table that is 1 but 0 at the label, for classes from `start` on. */
FX_INLINE const real *others_than(int32_t label, ptrdiff_t start) {
#if FX_DOUBLE
    const real *others = fx_others_double;
#else
    const real *others = fx_others_float;
#endif
    ptrdiff_t column = (ptrdiff_t)label - start;
    return column >= 0 && column < FX_ROW_CHUNK ? others + FX_MASK_CENTRE - column : others;
}

/* Where one anchor's row lies. `grads` and `targets` may be NULL. */
typedef struct {
    const real *logits, *targets;
    real *grads;
    ptrdiff_t anchor;
    int32_t label; /* -1: none */
    vec scale;     /* factor of the gradient */
} class_row;

FX_INLINE real *row_of(const fx_matrix *m, ptrdiff_t anchor) {
    return m->data ? (real *)m->data + anchor * m->anchor_stride : NULL;
}
FX_INLINE class_row class_row_of(const fx_tile *tile, ptrdiff_t anchor) {
    class_row row = {.logits = row_of(&tile->logits, anchor),
                     .targets = row_of(&tile->targets, anchor),
                     .grads = row_of(&tile->grads, anchor),
                     .anchor = anchor,
                     .label = tile->targets.data ? -1 : tile->labels[anchor],
                     .scale = v_set((real)per_anchor(tile->grad_scales, anchor))};
    return row;
}
FX_INLINE class_row class_row_from(class_row row, ptrdiff_t start) {
    row.logits += start;
    if (row.targets) row.targets += start;
    if (row.grads) row.grads += start;
    return row;
}
/* `count` is LANES but at a row's end. */
FX_INLINE vec row_load(const real *p, int count, real fill) {
    return count == LANES ? v_load(p) : v_load_first(p, count, v_set(fill));
}
FX_INLINE void row_store(real *p, int count, vec x) {
    if (count == LANES)
        v_store(p, x);
    else
        v_store_first(p, count, x);
}

/* Every term of a row's padding is 0: exp(-2^100) = 0, and its target is 0. */
#define FX_PADDING ((real) - 0x1p100)

/* Call step(even, k, LANES) and step(odd, k, LANES) in turn, and step(even, k, rest) at the end. */
#define FX_FOR_ROW(z, classes, even, odd, step)                                                    \
    do {                                                                                           \
        ptrdiff_t k = 0;                                                                           \
        for (; k + 2 * LANES <= classes; k += 2 * LANES) {                                         \
            v_prefetch(z + k);                                                                     \
            v_prefetch(z + k + LANES);                                                             \
            step(even, k, LANES);                                                                  \
            step(odd, k + LANES, LANES);                                                           \
        }                                                                                          \
        for (; k < classes; k += LANES) {                                                          \
            int count = classes - k < LANES ? (int)(classes - k) : LANES;                          \
            v_prefetch(z + k);                                                                     \
            step(even, k, count);                                                                  \
        }                                                                                          \
    } while (0)

/* --- cross-entropy: one logarithm an anchor ------------------------------------------------------
 */

FX_INLINE void sigmoid_row_step(sigmoid_sums *sums, const class_row *row, const real *others,
                                ptrdiff_t k, int count, const int has_targets,
                                const int has_grads) {
    vec z = row_load(row->logits + k, count, FX_PADDING);
    vec e = v_exp_nonpositive(v_negative_abs(z));
    vec y = has_targets ? row_load(row->targets + k, count, 0) : v_zero();
    if (has_targets)
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    else
        sums->linear = v_fma(v_relu(z), v_load(others + k), sums->linear);
    sums->product = product_add(sums->product, e);
    if (!has_grads) return;
    mask is_negative = v_less(z, v_zero());
    vec larger = v_div(v_one(), v_add(v_one(), e)), smaller = v_mul(e, larger);
    vec slope = v_select(is_negative, smaller, larger);
    if (has_targets) {
        vec q = v_select(is_negative, larger, smaller);
        slope = v_sub(v_mul(v_sub(v_one(), y), slope), v_mul(y, q));
    }
    row_store(row->grads + k, count, v_mul(slope, row->scale));
}

/* The sums of up to FX_ROW_CHUNK classes; `others` masks the label out of the linear term. */
FX_MATH sigmoid_sums sigmoid_row(const class_row *row, const real *others, ptrdiff_t classes,
                                 const int has_targets, const int has_grads) {
    sigmoid_sums even = {v_zero(), v_zero()}, odd = even;
#define FX_STEP(sums, k, count)                                                                    \
    sigmoid_row_step(&sums, row, others, k, count, has_targets, has_grads)
    FX_FOR_ROW(row->logits, classes, even, odd, FX_STEP);
#undef FX_STEP
    return sigmoid_sums_join(even, odd);
}

/* The gradient at the labels, -sigmoid(-z). */
FX_INLINE void sigmoid_label_grads(const fx_tile *tile, const class_row *rows, int count) {
    real own[LANES], grads[LANES];
    for (int i = 0; i < LANES; i++) own[i] = rows[i].label < 0 ? 0 : rows[i].logits[rows[i].label];
    v_store(grads, v_negate(sigmoid_parts_of(v_load(own)).q));
    for (int i = 0; i < count; i++)
        if (rows[i].label >= 0)
            rows[i].grads[rows[i].label] =
                grads[i] * (real)per_anchor(tile->grad_scales, rows[i].anchor);
}

FX_INLINE void sigmoid_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                  const int has_targets, const int has_grads) {
    vec products[LANES], linears[LANES];
    class_row rows[LANES];
    real own[LANES]; /* relu(-z) at the label */
    for (int i = 0; i < LANES; i++) {
        class_row row = rows[i] = class_row_of(tile, first + (i < count ? i : count - 1));
        own[i] = row.label >= 0 && row.logits[row.label] < 0 ? -row.logits[row.label] : 0;
        if (tile->classes <= FX_PRODUCT_FACTORS) {
            sigmoid_sums sums =
                sigmoid_row(&row, others_than(row.label, 0), tile->classes, has_targets, has_grads);
            products[i] = sums.product;
            linears[i] = sums.linear;
            continue;
        }
        linears[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_CHUNK) {
            ptrdiff_t left = tile->classes - start;
            class_row chunk = class_row_from(row, start);
            sigmoid_sums sums =
                sigmoid_row(&chunk, others_than(row.label, start),
                            left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK, has_targets, has_grads);
            linears[i] = v_add(linears[i], v_add(v_log1p(sums.product), sums.linear));
        }
    }
    if (has_grads && !has_targets) sigmoid_label_grads(tile, rows, count);
    vec loss = v_add(v_reduce_add(linears), v_load(own));
    if (tile->classes <= FX_PRODUCT_FACTORS)
        loss = v_add(loss, v_log1p(v_reduce_product(products)));
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, sigmoid_exact_anchor);
}

/* --- losses with a modulating factor -------------------------------------------------------------
 */

/* Classes whose terms are added up before they join the others: errors grow with the additions. */
#define FX_ROW_PIECE (16 * LANES)

FX_MATH vec modulated_row(const class_row *row, const real *others, ptrdiff_t classes,
                          const sigmoid_options *options, const int has_grads) {
    vec even = v_zero(), odd = v_zero();
#define FX_STEP(sum, k, count)                                                                     \
    do {                                                                                           \
        vec z = row_load(row->logits + (k), count, FX_PADDING);                                    \
        sigmoid_value value = shifted_value(z, options);                                           \
        sum = v_fma(value.loss, v_load(others + (k)), sum);                                        \
        if (has_grads) row_store(row->grads + (k), count, v_mul(value.slope, row->scale));         \
    } while (0)
    FX_FOR_ROW(row->logits, classes, even, odd, FX_STEP);
#undef FX_STEP
    return v_add(even, odd);
}

/* The losses of the labels' classes, and their gradients, which go into the rows. */
FX_MATH vec modulated_labels(const fx_tile *tile, const class_row *rows, int count,
                             const sigmoid_options *options, const int has_grads) {
    real losses[LANES] = {0}, slopes[LANES] = {0};
    if (tile->loss == FX_QUALITY_FOCAL) { /* near the score, p - score cancels in floats */
        for (int i = 0; i < count; i++) {
            if (rows[i].label < 0) continue;
            exact_value value =
                exact_sigmoid_value(tile, rows[i].logits[rows[i].label],
                                    per_anchor(tile->shares, rows[i].anchor), rows[i].label);
            losses[i] = (real)value.loss;
            slopes[i] = (real)value.slope;
        }
    } else {
        real own[LANES];
        for (int i = 0; i < LANES; i++) /* what is not there has no loss */
            own[i] = rows[i].label < 0 ? FX_PADDING : -rows[i].logits[rows[i].label];
        sigmoid_value value = modulated_value(v_load(own), options->gamma_positive);
        v_store(losses, v_mul(value.loss, v_set((real)tile->positive)));
        v_store(slopes, v_mul(value.slope, v_set((real)-tile->positive)));
    }
    for (int i = 0; has_grads && i < count; i++)
        if (rows[i].label >= 0)
            rows[i].grads[rows[i].label] =
                slopes[i] * (real)per_anchor(tile->grad_scales, rows[i].anchor);
    return v_load(losses);
}

FX_INLINE void modulated_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                    const sigmoid_options *options, const int has_grads) {
    vec partial[LANES], negative = v_set((real)tile->negative);
    class_row rows[LANES];
    for (int i = 0; i < LANES; i++) {
        class_row row = rows[i] = class_row_of(tile, first + (i < count ? i : count - 1));
        row.scale = v_mul(row.scale, negative);
        partial[i] = v_zero();
        for (ptrdiff_t start = 0; start < tile->classes; start += FX_ROW_PIECE) {
            ptrdiff_t left = tile->classes - start;
            class_row piece = class_row_from(row, start);
            vec sum = modulated_row(&piece, others_than(row.label, start),
                                    left < FX_ROW_PIECE ? left : FX_ROW_PIECE, options, has_grads);
            partial[i] = v_add(partial[i], sum);
        }
    }
    vec own = modulated_labels(tile, rows, count, options, has_grads);
    vec loss = v_fma(v_reduce_add(partial), negative, own);
    lane_range range = {first, count};
    lanes_store_losses(tile, &range, loss);
    repair(tile, &range, loss, sigmoid_exact_anchor);
}

#define FX_FOR_BLOCKS(tile, body)                                                                  \
    do {                                                                                           \
        for (ptrdiff_t first = 0; first < (tile)->anchors; first += LANES) {                       \
            ptrdiff_t left = (tile)->anchors - first;                                              \
            int count = left < LANES ? (int)left : LANES;                                          \
            body;                                                                                  \
        }                                                                                          \
    } while (0)

/* gamma = 2, which nearly everybody uses, is worth a loop in which the compiler knows it. */
static void modulated_rows(const fx_tile *tile) {
    sigmoid_options any = sigmoid_options_of(tile), square = any;
    int is_square = any.gamma_negative.kind == POWER_2 && !any.is_clipped;
    square.gamma_negative.kind = POWER_2;
    square.gamma_negative.exponent = 2;
    square.is_clipped = 0;
    if (is_square && tile->grads.data)
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &square, 1));
    else if (is_square)
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &square, 0));
    else if (tile->grads.data)
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &any, 1));
    else
        FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &any, 0));
}

static void sigmoid_rows(const fx_tile *tile) {
    int has_targets = tile->targets.data != NULL, has_grads = tile->grads.data != NULL;
    if (tile->loss != FX_SIGMOID_CROSS_ENTROPY)
        modulated_rows(tile);
    else if (has_targets && has_grads)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 1, 1));
    else if (has_targets)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 1, 0));
    else if (has_grads)
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 0, 1));
    else
        FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count, 0, 0));
}
