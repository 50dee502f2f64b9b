/* The sigmoid family with classes as lanes: the partial sums of LANES anchors, one vector each, are
 * reduced together, so that what runs once an anchor runs once for all of them.
 *
 * With labels every class of a row is taken for a negative, and the label is masked out. The
 * labels' own terms follow, LANES of them in one vector.
 */

/* --- cross-entropy: one logarithm an anchor ------------------------------------------------------
 */

/* A row whose sums are taken: `others` masks the label out of its linear term, and its exponentials
 * may be in a buffer. */
typedef struct {
    class_row row;
    const real *others, *exponentials;
} sigmoid_row;

FX_INLINE sigmoid_row sigmoid_row_at(const class_row *row, ptrdiff_t start,
                                     const real *exponentials, const int type) {
    sigmoid_row piece = {class_row_from(*row, start, type, type), label_mask(row->label, start),
                         exponentials};
    return piece;
}

FX_INLINE vec sigmoid_row_targets(const class_row *row, ptrdiff_t k, int count,
                                  const int has_targets) {
    return has_targets ? row_load(row->targets + k, count, 0) : v_zero();
}

FX_INLINE void sigmoid_row_step(const sigmoid_row *summed, ptrdiff_t k, int count,
                                sigmoid_sums *sums, const exp_constants *constants,
                                const int has_targets, const int has_grads, const int type) {
    const class_row *row = &summed->row;
    vec z = row_logits(row, k, count, 0, type), e;
    if (FX_BUFFERED_EXPONENTIALS)
        e = row_load(summed->exponentials + k, count, 0);
    else
        e = row_term(v_exp_nonpositive(v_negative_abs(z), constants), count);
    vec y = sigmoid_row_targets(row, k, count, has_targets);
    if (has_targets)
        sums->linear = v_sub(sums->linear, negative_linear_term(z, y));
    else
        sums->linear = v_add(sums->linear, v_and(v_relu(z), v_load(summed->others + k)));
    sums->product = product_add(sums->product, e);
    if (!has_grads || FX_BUFFERED_EXPONENTIALS) return;
    vec slope = sigmoid_slope(z, e, y, has_targets);
    row_put_grads(row, k, count, v_mul(slope, row->scale), type);
}

/* The gradients of a run whose exponentials are in a buffer. */
FX_INLINE void sigmoid_grads_step(const int vectors, ptrdiff_t k, int count, const class_row *row,
                                  const real *exponentials, const int has_targets, const int type) {
    for (int v = 0; v < vectors; v++) {
        ptrdiff_t place = k + v * LANES;
        vec z = row_logits(row, place, count, 0, type), e = v_load(exponentials + place);
        vec y = sigmoid_row_targets(row, place, count, has_targets);
        vec slope = sigmoid_slope(z, e, y, has_targets);
        row_put_grads(row, place, count, v_mul(slope, row->scale), type);
    }
}

/* The sums of up to FX_ROW_PIECE classes of some rows. */
FX_INLINE void sigmoid_piece(const sigmoid_row *rows, const int count, ptrdiff_t classes,
                             sigmoid_sums *sums, const exp_constants *constants,
                             const int has_targets, const int has_grads, const int type) {
    ptrdiff_t k = 0;
    for (int i = 0; i < count; i++) sums[i].product = sums[i].linear = v_zero();
    FX_NO_UNROLL
    for (; k + LANES <= classes; k += LANES)
        for (int i = 0; i < count; i++) {
            if (!FX_BUFFERED_EXPONENTIALS) row_prefetch(&rows[i].row, k, type);
            sigmoid_row_step(rows + i, k, LANES, sums + i, constants, has_targets, has_grads, type);
        }
    if (k == classes) return;
    for (int i = 0; i < count; i++) {
        if (!FX_BUFFERED_EXPONENTIALS) row_prefetch(&rows[i].row, k, type);
        sigmoid_row_step(rows + i, k, (int)(classes - k), sums + i, constants, has_targets,
                         has_grads, type);
    }
}

/* The sum of a row so long that the product of its terms would overflow. */
FX_INLINE vec sigmoid_long_row(const class_row *row, ptrdiff_t classes, real *exponentials,
                               const exp_constants *constants, const int has_targets,
                               const int has_grads, const int type) {
    compensated total = compensated_zero();
    for (ptrdiff_t chunk = 0; chunk < classes; chunk += FX_ROW_CHUNK) {
        ptrdiff_t end = chunk + FX_ROW_CHUNK < classes ? chunk + FX_ROW_CHUNK : classes;
        sigmoid_sums sums = {v_zero(), v_zero()};
        class_row whole = class_row_from(*row, chunk, type, type);
        if (FX_BUFFERED_EXPONENTIALS)
            run_exponentials(&whole, end - chunk, exponentials, constants, type);
        if (FX_BUFFERED_EXPONENTIALS && has_grads)
            FX_FOR_RUN(end - chunk, sigmoid_grads_step, &whole, exponentials, has_targets, type);
        for (ptrdiff_t start = chunk; start < end; start += FX_ROW_PIECE) {
            ptrdiff_t left = end - start;
            sigmoid_row piece = sigmoid_row_at(row, start, exponentials + (start - chunk), type);
            sigmoid_sums terms;
            sigmoid_piece(&piece, 1, left < FX_ROW_PIECE ? left : FX_ROW_PIECE, &terms, constants,
                          has_targets, has_grads, type);
            sums = sigmoid_sums_join(sums, terms);
        }
        chunk_join(&total, v_add(v_log1p(sums.product), sums.linear), classes);
    }
    return compensated_value(total);
}

/* The sums of up to FX_RUN_ROWS rows. */
FX_INLINE void sigmoid_short_rows(const fx_tile *tile, ptrdiff_t first, int count,
                                  real *exponentials, vec *products, vec *linears,
                                  const exp_constants *constants, const int has_targets,
                                  const int has_grads, const int type) {
    enum { AT_ONCE = FX_BUFFERED_EXPONENTIALS ? FX_ROWS_AT_ONCE : 1 };
    if (FX_BUFFERED_EXPONENTIALS)
        rows_exponentials(tile, first, count, exponentials, constants, type);
    if (FX_BUFFERED_EXPONENTIALS && has_grads) {
        const int runs = grad_runs_of(tile, first, count);
        const ptrdiff_t length = tile->classes * (count / runs);
        for (int i = 0; i < runs; i++) {
            class_row row = class_row_of(tile, first + i, type, type);
            FX_FOR_RUN(length, sigmoid_grads_step, &row, exponentials + i * length, has_targets,
                       type);
        }
    }
    for (int i = 0; i < count; i += AT_ONCE) {
        sigmoid_row rows[AT_ONCE];
        sigmoid_sums sums[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) {
            int place = i + j < count ? i + j : i; /* the last row may come twice */
            class_row row = class_row_of(tile, first + place, type, type);
            rows[j] = sigmoid_row_at(&row, 0, exponentials + place * tile->classes, type);
        }
        sigmoid_piece(rows, AT_ONCE, tile->classes, sums, constants, has_targets, has_grads, type);
        for (int j = 0; j < AT_ONCE && i + j < count; j++) {
            products[i + j] = sums[j].product;
            linears[i + j] = sums[j].linear;
        }
    }
}

FX_INLINE void sigmoid_sums_typed(const fx_tile *tile, ptrdiff_t first, int count, vec *products,
                                  vec *linears, const int has_targets, const int has_grads,
                                  const int type) {
    exp_constants constants = row_exp_constants();
    real exponentials[FX_BUFFERED_EXPONENTIALS ? FX_RUN_BUFFER : 1];
    if (tile->classes > FX_PRODUCT_FACTORS) {
        for (int i = 0; i < count; i++) {
            class_row row = class_row_of(tile, first + i, type, type);
            products[i] = v_zero();
            linears[i] = sigmoid_long_row(&row, tile->classes, exponentials, &constants,
                                          has_targets, has_grads, type);
        }
        return;
    }
    for (int start = 0; start < count; start += FX_RUN_ROWS) {
        int rows = count - start < FX_RUN_ROWS ? count - start : FX_RUN_ROWS;
        sigmoid_short_rows(tile, first + start, rows, exponentials, products + start,
                           linears + start, &constants, has_targets, has_grads, type);
    }
}

/* The sums of a block's anchors, and their gradients. */
FX_CALLED void sigmoid_block_sums(const fx_tile *tile, ptrdiff_t first, int count, vec *products,
                                  vec *linears) {
    FX_WITH_FLAGS_AND_TYPE(tile->targets.data, tile->grads.data, tile->logit_type,
                           sigmoid_sums_typed, tile, first, count, products, linears);
}

/* What the labels add, relu(-z); and the gradients there, -sigmoid(-z). */
FX_MATH vec sigmoid_labels(const fx_tile *tile, const lane_range *group) {
    real logits[LANES] = {0}, losses[LANES] = {0}, grads[LANES];
    const int type = tile->logit_type;
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label < 0) continue;
        real z = logits[i] = row_logit(&row, row.label, type);
        losses[i] = z > 0 ? 0 : -z; /* NaN stays one */
    }
    if (!tile->grads.data) return v_load(losses);
    exp_constants constants = make_exp_constants();
    v_store(grads, v_negate(sigmoid_parts_of(v_load(logits), &constants).q));
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label >= 0)
            row_put_grad(&row, row.label,
                         grads[i] * (real)per_anchor(tile->grad_scales, row.anchor), type);
    }
    return v_load(losses);
}

FX_INLINE void sigmoid_rows_block(const fx_tile *tile, ptrdiff_t first, int count) {
    vec products[FX_ROW_BLOCK], linears[FX_ROW_BLOCK];
    sigmoid_block_sums(tile, first, count, products, linears);
    for (int i = count; i % LANES; i++) products[i] = linears[i] = v_zero();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec loss =
            v_add(v_reduce_add(linears + start), v_log1p(v_reduce_product(products + start)));
        if (group_has_labels(tile, &group)) loss = v_add(loss, sigmoid_labels(tile, &group));
        lanes_store_losses(tile, &group, loss);
        repair(tile, &group, loss, sigmoid_exact_anchor);
    }
}

/* --- losses with a modulating factor -------------------------------------------------------------
 */

FX_INLINE void modulated_row_step(const class_row *row, ptrdiff_t k, int count, vec *sum,
                                  const real *others, const sigmoid_options *options,
                                  const exp_constants *constants, const int has_grads,
                                  const int type) {
    vec z = row_logits(row, k, count, 0, type);
    sigmoid_value value = options->is_clipped
                              ? shifted_value(z, options, constants)
                              : modulated_value(z, options->gamma_negative, constants);
    *sum = v_add(*sum, row_term(v_and(value.loss, v_load(others + k)), count));
    if (has_grads) row_put_grads(row, k, count, v_mul(value.slope, row->scale), type);
}

/* Chunks end with a piece, and join the compensated sum only where there are several. */
FX_INLINE vec modulated_row(const class_row *row, ptrdiff_t classes, const sigmoid_options *options,
                            const exp_constants *constants, const int has_grads, const int type) {
    compensated total;
    vec sum = v_zero();
    for (ptrdiff_t start = 0; start < classes;) {
        ptrdiff_t left = classes - start, length = left < FX_ROW_PIECE ? left : FX_ROW_PIECE;
        class_row piece = class_row_from(*row, start, type, type);
        const real *others = label_mask(row->label, start);
        vec terms = v_zero();
        FX_FOR_ROW(&piece, type, length, modulated_row_step, &terms, others, options, constants,
                   has_grads, type);
        sum = v_add(sum, terms);
        start += length;
        if (classes > FX_ROW_CHUNK && (start % FX_ROW_CHUNK == 0 || start == classes)) {
            if (start <= FX_ROW_CHUNK) total = compensated_zero();
            compensated_join(&total, sum);
            sum = v_zero();
        }
    }
    return classes > FX_ROW_CHUNK ? compensated_value(total) : sum;
}

FX_INLINE void modulated_sums_typed(const fx_tile *tile, ptrdiff_t first, int count, vec *sums,
                                    const sigmoid_options *options, const int has_grads,
                                    const int type) {
    exp_constants constants = stored_exp_constants();
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        row.scale = v_mul(row.scale, v_set((real)tile->negative));
        sums[i] = modulated_row(&row, tile->classes, options, &constants, has_grads, type);
    }
}

/* gamma = 2 in three loops: exponentials, terms, and sums. */
FX_INLINE void square_step(const int vectors, ptrdiff_t k, int count, const class_row *row,
                           const real *exponentials, real *terms, const exp_constants *constants,
                           const int has_grads, const int type) {
    const power square = {POWER_2, 2, 0};
    for (int v = 0; v < vectors; v++) {
        ptrdiff_t place = k + v * LANES;
        vec z = row_logits(row, place, count, 0, type), e = v_load(exponentials + place);
        sigmoid_parts parts = sigmoid_parts_from(z, e, constants);
        sigmoid_value value = modulated_value_from(z, &parts, square, constants);
        v_store(terms + place, value.loss);
        if (has_grads) row_put_grads(row, place, count, v_mul(value.slope, row->scale), type);
    }
}

/* The sums of as many rows as buffers hold. */
FX_INLINE void square_rows(const fx_tile *tile, ptrdiff_t first, int count, real *exponentials,
                           real *terms, vec *sums, const exp_constants *constants,
                           const int has_grads, const int type) {
    const int runs = has_grads ? grad_runs_of(tile, first, count) : runs_of(tile, count);
    const ptrdiff_t length = tile->classes * (count / runs);
    rows_exponentials(tile, first, count, exponentials, constants, type);
    for (int i = 0; i < runs; i++) {
        class_row row = class_row_of(tile, first + i, type, type);
        row.scale = v_mul(row.scale, v_set((real)tile->negative));
        FX_FOR_RUN(length, square_step, &row, exponentials + i * length, terms + i * length,
                   constants, has_grads, type);
    }
    for (int i = 0; i < count; i++) {
        int32_t label = tile->labels[first + i];
        if (label >= 0) terms[i * tile->classes + label] = 0;
    }
    buffer_sums(terms, count, tile->classes, sums);
}

FX_INLINE void square_sums_typed(const fx_tile *tile, ptrdiff_t first, int count, vec *sums,
                                 const int has_grads, const int type) {
    exp_constants constants = row_exp_constants();
    real exponentials[FX_RUN_BUFFER], terms[FX_RUN_BUFFER];
    const int most = tile->classes <= FX_PRODUCT_FACTORS ? FX_RUN_ROWS : 1;
    for (int start = 0; start < count; start += most) {
        int rows = count - start < most ? count - start : most;
        square_rows(tile, first + start, rows, exponentials, terms, sums + start, &constants,
                    has_grads, type);
    }
}

/* The sums of a block's anchors, and their gradients. gamma = 2, which nearly everybody uses, is
 * worth a loop in which the compiler knows it. */
FX_CALLED void modulated_block_sums(const fx_tile *tile, ptrdiff_t first, int count, vec *sums,
                                    const sigmoid_options *options) {
    const int is_square = options->gamma_negative.kind == POWER_2 && !options->is_clipped;
    sigmoid_options square = *options;
    square.gamma_negative.kind = POWER_2;
    square.gamma_negative.exponent = 2;
    square.is_clipped = 0;
    if (is_square && FX_BUFFERED_TERMS && tile->classes <= FX_ROW_CHUNK)
        FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, square_sums_typed, tile, first,
                              count, sums);
    else if (is_square)
        FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, modulated_sums_typed, tile, first,
                              count, sums, &square);
    else
        FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, modulated_sums_typed, tile, first,
                              count, sums, options);
}

/* The logit of what is not there: sigmoid(-2^100) = 0. */
#define FX_NO_LOSS ((real) - 0x1p100)

/* The losses of the labels' classes, and their gradients, which go into the rows. */
FX_MATH vec modulated_labels(const fx_tile *tile, const lane_range *group,
                             const sigmoid_options *options) {
    real losses[LANES] = {0}, slopes[LANES] = {0}, own[LANES];
    const int type = tile->logit_type, is_quality = tile->loss == FX_QUALITY_FOCAL;
    for (int i = 0; i < LANES; i++) {
        own[i] = FX_NO_LOSS;
        if (i >= group->count) continue;
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label < 0) continue;
        own[i] = -row_logit(&row, row.label, type);
        if (!is_quality) continue;
        /* Near the score, p - score cancels in floats. */
        exact_value value = exact_sigmoid_value(
            tile, -own[i], per_anchor(tile->soft_targets, row.anchor), row.label);
        losses[i] = (real)value.loss;
        slopes[i] = (real)value.slope;
    }
    if (!is_quality) {
        exp_constants constants = make_exp_constants();
        vec z = v_load(own);
        sigmoid_value value = modulated_value(z, options->gamma_positive, &constants);
        /* Of a label that is masked, 0 times an infinite softplus. */
        value.slope = v_select(v_equal(z, v_set((real)INFINITY)), v_one(), value.slope);
        v_store(losses, v_mul(value.loss, v_set((real)tile->positive)));
        v_store(slopes, v_mul(value.slope, v_set((real)-tile->positive)));
    }
    for (int i = 0; tile->grads.data && i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, type);
        if (row.label >= 0)
            row_put_grad(&row, row.label,
                         slopes[i] * (real)per_anchor(tile->grad_scales, row.anchor), type);
    }
    return v_load(losses);
}

FX_INLINE void modulated_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                    const sigmoid_options *options) {
    vec sums[FX_ROW_BLOCK], negative = v_set((real)tile->negative);
    modulated_block_sums(tile, first, count, sums, options);
    for (int i = count; i % LANES; i++) sums[i] = v_zero();
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        vec own = v_zero();
        if (group_has_labels(tile, &group)) own = modulated_labels(tile, &group, options);
        vec loss = v_fma(v_reduce_add(sums + start), negative, own);
        lanes_store_losses(tile, &group, loss);
        repair(tile, &group, loss, sigmoid_exact_anchor);
    }
}

static void sigmoid_cross_entropy_rows(const fx_tile *tile) {
    FX_FOR_BLOCKS(tile, sigmoid_rows_block(tile, first, count));
}
static void modulated_rows(const fx_tile *tile) {
    sigmoid_options options = sigmoid_options_of(tile);
    FX_FOR_BLOCKS(tile, modulated_rows_block(tile, first, count, &options));
}
