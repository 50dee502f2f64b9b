/* The softmax family with classes as lanes and labels: one reduction and one logarithm for LANES
 * anchors.
 *
 * LANES rows at a time, in two loops: exponentials, to a buffer in the first-level cache, or to
 * where gradients and scores will be; and their sums. Each loop has all registers for itself: an
 * exponential is a chain of some fifty cycles, of which several have to go on at the same time.
 */
FX_REDUCE(v_reduce_max, v_max)

FX_INLINE vec row_maximum(const class_row *row, ptrdiff_t classes, const int type) {
    ptrdiff_t last = classes - LANES;
    if (last < 0) return row_logits(row, 0, (int)classes, (real)-INFINITY, type);
    vec maximum = load_as(row->logits + last * size_of_type(type), type);
    FX_NO_UNROLL
    for (ptrdiff_t k = 0; k < last; k += LANES)
        maximum = v_max(maximum, load_as(row->logits + k * size_of_type(type), type));
    return maximum;
}

/* Exponentials of a few vectors of classes next to each other, from class k on; the last of them
 * begins no later than at class `last`. */
FX_INLINE void centred_step(const int vectors, const class_row *row, ptrdiff_t k, ptrdiff_t last,
                            real *to, const centre *at, const int any_far,
                            const exp_constants *constants, const int type) {
    vec x[FX_ROW_VECTORS], biased[FX_ROW_VECTORS], e[FX_ROW_VECTORS];
    ptrdiff_t end = k + (vectors - 1) * LANES;
    if (end > last) end = last;
#define FX_PLACE(i) ((i) == vectors - 1 ? end : k + (i) * LANES)
#define FX_EACH_VECTOR for (int i = 0; i < vectors; i++)
    FX_EACH_VECTOR x[i] = load_as(row->logits + FX_PLACE(i) * size_of_type(type), type);
    FX_EACH_VECTOR row_prefetch(row, k + i * LANES, type);
    FX_EACH_VECTOR x[i] = v_max(at->lowest, any_far ? v_sub(x[i], at->shift) : x[i]);
    FX_EACH_VECTOR biased[i] = v_fma(x[i], constants->log2_e, at->magic);
    FX_EACH_VECTOR e[i] = v_sub(biased[i], at->magic);
    FX_EACH_VECTOR x[i] = v_fnma(e[i], constants->ln2_high, x[i]);
    FX_EACH_VECTOR x[i] = v_fnma(e[i], constants->ln2_low, x[i]);
    FX_EACH_VECTOR e[i] = constants->tail[FX_COUNT(exp_tail) - 1];
    for (int j = FX_COUNT(exp_tail) - 2; j >= 0; j--)
        FX_EACH_VECTOR e[i] = v_fma(e[i], x[i], constants->tail[j]);
    FX_EACH_VECTOR e[i] = v_fma(e[i], x[i], constants->one);
    FX_EACH_VECTOR e[i] = v_fma(e[i], x[i], constants->one);
    FX_EACH_VECTOR e[i] = v_mul(e[i], v_power_of_field(biased[i]));
    FX_EACH_VECTOR v_store(to + FX_PLACE(i), e[i]);
#undef FX_EACH_VECTOR
#undef FX_PLACE
}

/* Exponentials of a row. The last vector overlaps the one before, so that none is masked. */
FX_INLINE void row_exponentials(const class_row *row, ptrdiff_t classes, real *to, const centre *at,
                                const int any_far, const exp_constants *constants, const int type) {
    ptrdiff_t last = classes - LANES, k = 0, left = (classes + LANES - 1) / LANES;
    if (last < 0) {
        vec z = row_logits(row, 0, (int)classes, 0, type);
        row_prefetch(row, 0, type);
        v_store_first(to, (int)classes, v_exp_centred(z, at, constants));
        return;
    }
#define FX_STEP(vectors)                                                                           \
    do {                                                                                           \
        centred_step(vectors, row, k, last, to, at, any_far, constants, type);                     \
        k += (vectors) * LANES;                                                                    \
        left -= (vectors);                                                                         \
    } while (0)
    if (FX_ROW_VECTORS == 1) {
        FX_NO_UNROLL
        while (left > 0) FX_STEP(1);
        return;
    }
    FX_NO_UNROLL
    while (left > 4 || left == 3) FX_STEP(FX_ROW_VECTORS);
    FX_NO_UNROLL
    while (left > 1) FX_STEP(2);
    if (left > 0) FX_STEP(1);
#undef FX_STEP
}

/* The sum of up to FX_ROW_CHUNK exponentials. */
FX_INLINE vec piece_sum(const real *e, ptrdiff_t classes) {
    vec sum = v_zero();
    ptrdiff_t k = 0;
    FX_NO_UNROLL
    for (; k + LANES <= classes; k += LANES) sum = v_add(sum, v_load(e + k));
    if (k < classes) sum = v_add(sum, v_load_first(e + k, (int)(classes - k), v_zero()));
    return sum;
}
FX_INLINE vec row_sum(const real *e, ptrdiff_t classes) {
    if (classes <= FX_ROW_PIECE) return piece_sum(e, classes);
    vec sum = v_zero();
    for (ptrdiff_t start = 0; start < classes; start += FX_ROW_PIECE) {
        ptrdiff_t left = classes - start;
        sum = v_add(sum, piece_sum(e + start, left < FX_ROW_PIECE ? left : FX_ROW_PIECE));
    }
    return sum;
}

/* Both in one loop, and nothing kept. Where a vec is one register that is faster than a buffer: the
 * registers suffice, and its stores would cost more than the chains. */
#if defined(FX_ISA_AVX512)
#define FX_SUMS_AT_ONCE 1
#else
#define FX_SUMS_AT_ONCE 0
#endif
FX_INLINE void term_step(const class_row *row, ptrdiff_t k, int count, vec *sum, const real *others,
                         const centre *at, const int any_far, const exp_constants *constants,
                         const int type) {
    vec z = row_logits(row, k, count, 0, type);
    vec e = v_exp_centred_if(any_far, z, at, constants);
    *sum = v_add(*sum, row_term(v_and(e, v_load(others + k)), count));
}
FX_INLINE vec piece_terms(const class_row *row, const real *others, ptrdiff_t classes,
                          const centre *at, const int any_far, const exp_constants *constants,
                          const int type) {
    vec sum = v_zero();
    FX_FOR_ROW(row, type, classes, term_step, &sum, others, at, any_far, constants, type);
    return sum;
}
FX_INLINE vec row_terms(const class_row *row, ptrdiff_t classes, const centre *at,
                        const int any_far, const exp_constants *constants, const int type) {
    vec sum = v_zero();
    if (classes <= FX_ROW_PIECE)
        return piece_terms(row, label_mask(row->label, 0), classes, at, any_far, constants, type);
    for (ptrdiff_t start = 0; start < classes; start += FX_ROW_PIECE) {
        ptrdiff_t left = classes - start, length = left < FX_ROW_PIECE ? left : FX_ROW_PIECE;
        class_row piece = class_row_from(*row, start, type, FX_OWN_TYPE);
        sum = v_add(sum, piece_terms(&piece, label_mask(row->label, start), length, at, any_far,
                                     constants, type));
    }
    return sum;
}

/* What the losses of some anchors are made of. Maxima come in one vector for each of the LANES rows
 * after those whose exponentials are computed: reading them takes no time next to arithmetic. */
#define FX_ROW_BUFFER (4 * FX_ROW_CHUNK)
typedef struct {
    _Alignas(FX_LINE) real buffer[FX_ROW_BUFFER]; /* for exponentials that are not kept */
    real maxima[FX_ROW_BLOCK], own_logits[FX_ROW_BLOCK];
    vec others[FX_ROW_BLOCK], next_maxima[LANES];
    int knows_maxima; /* `maxima` are there already */
} softmax_block;

FX_INLINE void find_next_maximum(const fx_tile *tile, ptrdiff_t anchor, int i, softmax_block *block,
                                 const int type) {
    if (block->knows_maxima) return;
    block->next_maxima[i] = v_zero();
    if (anchor >= tile->anchors) return;
    class_row row = class_row_of(tile, anchor, type, FX_OWN_TYPE);
    block->next_maxima[i] = row_maximum(&row, tile->classes, type);
}

/* The centres of LANES anchors, to be read one by one. */
typedef struct {
    real shifts[LANES], lowest[LANES], magics[LANES];
    int any_far;
} group_centres;
FX_INLINE group_centres group_centres_of(vec maxima) {
    group_centres result;
    centre at = centre_at(maxima);
    v_store(result.shifts, at.shift);
    v_store(result.lowest, at.lowest);
    v_store(result.magics, at.magic);
    result.any_far = v_mask_any(v_differs(at.shift, v_zero()));
    return result;
}
FX_INLINE centre centre_of_row(const group_centres *centres, int i) {
    centre at = {v_set(centres->shifts[i]), v_set(centres->lowest[i]), v_set(centres->magics[i])};
    return at;
}

/* Where the exponentials of a row go: to its gradient, or to the buffer. */
FX_INLINE real *row_destination(const fx_tile *tile, ptrdiff_t anchor, real *buffer, int i,
                                ptrdiff_t step, const int has_grads) {
    return has_grads ? row_of(&tile->grads, anchor) : buffer + i * step;
}

/* The sums of the other classes' exponentials for LANES rows, `most` of which the buffer has room
 * for at a time. */
FX_INLINE void group_others(const fx_tile *tile, const lane_range *group, softmax_block *block,
                            vec *others, const group_centres *centres, ptrdiff_t ahead,
                            const int any_far, const exp_constants *constants, const int has_grads,
                            const int type) {
    ptrdiff_t step = (tile->classes + LANES - 1) / LANES * LANES;
    int most = has_grads ? LANES : (int)(FX_ROW_BUFFER / step);
    for (int begin = 0; begin < group->count; begin += most) {
        int end = begin + most < group->count ? begin + most : group->count;
        FX_NO_UNROLL
        for (int i = begin; i < end; i++) {
            ptrdiff_t anchor = group->first + i;
            class_row row = class_row_of(tile, anchor, type, FX_OWN_TYPE);
            centre at = centre_of_row(centres, i);
            real *to = row_destination(tile, anchor, block->buffer, i - begin, step, has_grads);
            row.ahead = ahead;
            find_next_maximum(tile, anchor + LANES, i, block, type);
            row_exponentials(&row, tile->classes, to, &at, any_far, constants, type);
            /* Now: just before the sums, their loads would wait for it. */
            if (row.label >= 0) to[row.label] = 0;
        }
        FX_NO_UNROLL
        for (int i = begin; i < end; i++)
            others[i] = row_sum(
                row_destination(tile, group->first + i, block->buffer, i - begin, step, has_grads),
                tile->classes);
    }
}
FX_INLINE void group_others_at_once(const fx_tile *tile, const lane_range *group,
                                    softmax_block *block, vec *others, const group_centres *centres,
                                    ptrdiff_t ahead, const int any_far,
                                    const exp_constants *constants, const int type) {
    FX_NO_UNROLL
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        centre at = centre_of_row(centres, i);
        row.ahead = ahead;
        find_next_maximum(tile, group->first + LANES + i, i, block, type);
        others[i] = row_terms(&row, tile->classes, &at, any_far, constants, type);
    }
}

/* The same for rows of any length, chunk by chunk. */
FX_INLINE void long_group_others(const fx_tile *tile, const lane_range *group, softmax_block *block,
                                 vec *others, const group_centres *centres,
                                 const exp_constants *constants, const int has_grads,
                                 const int type) {
    for (int i = 0; i < group->count; i++) {
        compensated total = compensated_zero();
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        centre at = centre_of_row(centres, i);
        find_next_maximum(tile, group->first + i + LANES, i, block, type);
        for (ptrdiff_t first = 0; first < tile->classes; first += FX_ROW_CHUNK) {
            ptrdiff_t left = tile->classes - first;
            ptrdiff_t count = left < FX_ROW_CHUNK ? left : FX_ROW_CHUNK;
            class_row chunk = class_row_from(row, first, type, FX_OWN_TYPE);
            real *to = has_grads ? (real *)chunk.grads : block->buffer;
            row_exponentials(&chunk, count, to, &at, 1, constants, type);
            if (row.label >= first && row.label < first + count) to[row.label - first] = 0;
            compensated_join(&total, row_sum(to, count));
        }
        others[i] = compensated_value(total);
    }
}

FX_INLINE void find_own_logits(const fx_tile *tile, const lane_range *group, real *own,
                               const int type) {
    v_store(own, v_zero());
    for (int i = 0; tile->labels && i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        own[i] = row_logit(&row, row.label >= 0 ? row.label : 0, type);
    }
}

FX_INLINE void rows_others_typed(const fx_tile *tile, ptrdiff_t first, int count,
                                 softmax_block *block, const exp_constants *constants,
                                 const int is_long, const int has_grads, const int type) {
    /* The next rows but LANES are prefetched, for the maxima of those before come first. */
    ptrdiff_t ahead = 2 * LANES * tile->logits.anchor_stride * size_of_type(type);
    if (ahead < tile->ahead) ahead = tile->ahead;
    for (int i = 0; first == 0 && i < LANES; i++) find_next_maximum(tile, i, i, block, type);
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        if (!block->knows_maxima) v_store(block->maxima + start, v_reduce_max(block->next_maxima));
        group_centres centres = group_centres_of(v_load(block->maxima + start));
        find_own_logits(tile, &group, block->own_logits + start, type);
        vec *others = block->others + start;
        if (is_long)
            long_group_others(tile, &group, block, others, &centres, constants, has_grads, type);
        else if (FX_SUMS_AT_ONCE && !has_grads && centres.any_far)
            group_others_at_once(tile, &group, block, others, &centres, ahead, 1, constants, type);
        else if (FX_SUMS_AT_ONCE && !has_grads)
            group_others_at_once(tile, &group, block, others, &centres, ahead, 0, constants, type);
        else if (centres.any_far)
            group_others(tile, &group, block, others, &centres, ahead, 1, constants, has_grads,
                         type);
        else
            group_others(tile, &group, block, others, &centres, ahead, 0, constants, has_grads,
                         type);
    }
    for (int i = count; i % LANES; i++) block->others[i] = v_zero();
}
FX_INLINE void rows_others_of(const fx_tile *tile, ptrdiff_t first, int count, softmax_block *block,
                              const int is_long) {
    exp_constants constants = row_exp_constants();
    FX_WITH_FLAG_AND_TYPE(tile->grads.data, tile->logit_type, rows_others_typed, tile, first, count,
                          block, &constants, is_long);
}
/* The sums of some anchors, block after block: each finds the maxima that the next begins with. The
 * loops are functions of their own, for their constants to have all registers. */
FX_CALLED void short_rows_others(const fx_tile *tile, ptrdiff_t first, int count,
                                 softmax_block *block) {
    rows_others_of(tile, first, count, block, 0);
}
FX_CALLED void long_rows_others(const fx_tile *tile, ptrdiff_t first, int count,
                                softmax_block *block) {
    rows_others_of(tile, first, count, block, 1);
}
FX_INLINE void rows_others(const fx_tile *tile, ptrdiff_t first, int count, softmax_block *block) {
    if (tile->classes <= FX_ROW_CHUNK)
        short_rows_others(tile, first, count, block);
    else
        long_rows_others(tile, first, count, block);
}

/* Exponentials to gradients: b p_k, but -b q at the label, where b is `log_p_slope`. */
FX_MATH void softmax_row_grads(const fx_tile *tile, const lane_range *group, vec others, vec total,
                               vec log_p_slope) {
    real factors[LANES], own[LANES];
    vec factor = v_div(log_p_slope, total);
    v_store(factors, factor);
    v_store(own, v_negate(v_mul(others, factor)));
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, FX_OWN_TYPE, FX_OWN_TYPE);
        vec scale = v_set(factors[i]);
        real *grads = (real *)row.grads;
        FX_REWRITE_ROW(grads, tile->classes, v_mul, scale);
        if (row.label >= 0) grads[row.label] = own[i];
    }
}

/* Alpha of the labels' classes. */
FX_INLINE vec label_factors(const fx_tile *tile, const lane_range *group) {
    if (!tile->positive_weight) return v_set((real)tile->positive);
    real factors[LANES] = {0};
    for (int i = 0; i < group->count; i++) {
        int32_t label = tile->labels[group->first + i];
        factors[i] = label >= 0 ? ((const real *)tile->positive_weight)[label] : 1;
    }
    return v_load(factors);
}

/* From the sums of the other classes' exponentials to losses and gradients. */
FX_INLINE void softmax_rows_group(const fx_tile *tile, const lane_range *group, vec others, vec own,
                                  vec maximum, const int kind) {
    exp_constants constants = make_exp_constants();
    vec factors = label_factors(tile, group);
    centre at = centre_at(maximum);
    vec of_own = v_exp_centred(own, &at, &constants), total = v_add(others, of_own);
    vec p = v_one(), q = v_one();
    if (kind != FX_SOFTMAX_CROSS_ENTROPY) {
        p = v_div(of_own, total);
        q = v_div(others, total);
    }
    softmax_value value =
        softmax_value_of(kind, tile, power_of(tile->gamma_positive),
                         softmax_loss(others, own, of_own, maximum, &at, &constants), p, q);
    if (tile->grads.data) {
        vec scale = v_mul(factors, lanes_per_anchor(tile->grad_scales, group));
        softmax_row_grads(tile, group, others, total, v_mul(value.slope, scale));
    }
    lanes_store_losses(tile, group, v_weighted(factors, value.loss));
    repair_infinite(tile, group, maximum, softmax_exact_anchor);
}

FX_INLINE void softmax_rows_block(const fx_tile *tile, ptrdiff_t first, int count,
                                  softmax_block *block, const int kind) {
    rows_others(tile, first, count, block);
    for (int start = 0; start < count; start += LANES) {
        lane_range group = group_of(first, count, start);
        softmax_rows_group(tile, &group, v_reduce_add(block->others + start),
                           v_load(block->own_logits + start), v_load(block->maxima + start), kind);
    }
}

static void softmax_cross_entropy_rows(const fx_tile *tile) {
    softmax_block block;
    block.knows_maxima = 0;
    FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, &block, FX_SOFTMAX_CROSS_ENTROPY));
}
static void softmax_rows(const fx_tile *tile) {
    softmax_block block;
    block.knows_maxima = 0;
    FX_FOR_BLOCKS(tile, softmax_rows_block(tile, first, count, &block, tile->loss));
}
