/* The lane kernels of the sigmoid family with an option or a modulating factor.
 *
 * What most calls of focal losses ask for goes through flat loops over up to FX_LANE_BLOCK vectors
 * of one class: first the exponentials, then what is made of them. An iteration is a short chain of
 * operations, so that a CPU has many of them in flight. The rest takes sigmoid_general, a vector of
 * anchors at a time through all classes; the results are the same bits.
 */

/* A class of a block of anchors; or several, if they lie one after the other. */
typedef struct {
    const real *logits, *targets; /* no targets: labels */
    const int32_t *labels;
    const real *scales; /* of the gradients */
    real *losses, *grads;
    ptrdiff_t k, ahead, targets_ahead, grads_ahead;
    int vectors;
} flat_class;

FX_INLINE real *flat_place(const fx_matrix *m, ptrdiff_t first) {
    return m->data ? (real *)m->data + first : NULL;
}
/* Where a class is a stream of its own, the other classes of a block are read until its next part
 * is: that part, and no less, has to be there then. */
FX_INLINE ptrdiff_t flat_ahead(ptrdiff_t ahead) {
    return ahead == FX_LANES_AHEAD ? FX_LANE_BLOCK * LANES * (ptrdiff_t)sizeof(real) : ahead;
}
FX_INLINE flat_class first_flat_class(const fx_tile *tile, ptrdiff_t first, int vectors) {
    flat_class row = {
        .logits = flat_place(&tile->logits, first),
        .targets = flat_place(&tile->targets, first),
        .labels = tile->labels ? tile->labels + first : NULL,
        .scales = tile->grad_scales ? (const real *)tile->grad_scales + first : NULL,
        .losses = flat_place(&tile->results, first),
        .grads = flat_place(&tile->grads, first),
        .ahead = flat_ahead(tile->ahead),
        .targets_ahead = flat_ahead(tile->targets_ahead),
        .grads_ahead = flat_ahead(tile->grads_ahead),
        .vectors = vectors,
    };
    return row;
}
FX_INLINE void skip_classes(flat_class *row, const fx_tile *tile, int count) {
    row->k += count;
    row->logits += count * tile->logits.class_stride;
    if (row->targets) row->targets += count * tile->targets.class_stride;
    if (row->grads) row->grads += count * tile->grads.class_stride;
    if (tile->results.data) row->losses += count * tile->results.class_stride;
}

/* How many classes of dense targets the loops take at a time: of packed rows of many classes, a
 * class has so few anchors that starting a loop for it would cost as much as its logits. */
FX_INLINE int has_stride(const fx_matrix *m, ptrdiff_t stride) {
    return !m->data || m->class_stride == stride;
}
FX_INLINE int classes_at_once(const fx_tile *tile, int vectors) {
    const ptrdiff_t stride = (ptrdiff_t)vectors * LANES;
    const int is_packed = tile->targets.data && has_stride(&tile->logits, stride) &&
                          has_stride(&tile->targets, stride) && has_stride(&tile->grads, stride) &&
                          has_stride(&tile->results, stride);
    return is_packed && !tile->positive_weight && !tile->negative_weight ? FX_LANE_BLOCK / vectors
                                                                         : 1;
}

FX_CALLED void flat_exponentials(const flat_class *row, real *exponentials) {
    const exp_constants constants = pinned_exp_constants();
    const real *logits = row->logits;
    const ptrdiff_t ahead = row->ahead;
    FX_NO_UNROLL
    for (ptrdiff_t i = 0, end = row->vectors * LANES; i < end; i += LANES) {
        prefetch_line((const char *)(logits + i) + ahead);
        v_store(exponentials + i,
                v_exp_nonpositive_inline(v_negative_abs(v_load(logits + i)), &constants));
    }
}

/* A target of 0 or 1: the focal loss of a negative, for which a positive's logit has its sign
 * flipped. The operations are those of focal_value, less what is multiplied by 0 or 1 there. */
FX_INLINE sigmoid_value hard_focal_value(vec z, vec e, mask is_positive,
                                         const class_factors *factors, power gamma,
                                         const exp_constants *constants, const int has_grads) {
    vec u = v_xor(z, v_where(is_positive, v_set((real)-0.0)));
    sigmoid_parts parts = sigmoid_parts_from(u, e, constants);
    vec size = v_add(v_relu(u), parts.tail);
    vec factor = v_select(is_positive, factors->positive, factors->negative);
    factor = v_mul(factor, sigmoid_power(u, &parts, gamma, constants));
    sigmoid_value value = {v_mul(factor, size), v_zero()};
    if (!has_grads) return value;
    vec log_base_slope = v_div(v_mul(parts.p, parts.q), v_max(parts.p, v_set(FX_SMALLEST)));
    vec slope = v_fma(v_mul(v_set(gamma.exponent), log_base_slope), size, parts.p);
    slope = v_select(is_positive, v_sub(v_zero(), slope), slope);
    value.slope = v_mul(factor, slope);
    return value;
}

/* Where some target of a focal loss is neither 0 nor 1. */
FX_CALLED void soft_focal_values(const flat_class *row, const class_factors *factors,
                                 const sigmoid_options *options) {
    const exp_constants constants = make_exp_constants();
    for (ptrdiff_t i = 0, end = row->vectors * LANES; i < end; i += LANES) {
        vec y = v_load(row->targets + i), z = v_load(row->logits + i);
        if (v_mask_all(is_hard_target(y))) continue;
        sigmoid_value value =
            sigmoid_value_at(FX_SIGMOID_FOCAL, factors, options, &constants, z, y);
        v_store(row->losses + i, value.loss);
        if (row->grads) v_store(row->grads + i, v_mul(value.slope, v_load(row->scales + i)));
    }
}

/* The exact values of quality_at_labels, in place. */
FX_CALLED void quality_values_at_labels(const fx_tile *tile, ptrdiff_t first,
                                        const flat_class *row) {
    for (ptrdiff_t i = 0; i < row->vectors * LANES; i++) {
        if (i % LANES == 0) {
            mask is_label = v_equal(v_load_int32(row->labels + i), v_set((real)row->k));
            if (!v_mask_any(is_label)) {
                i += LANES - 1;
                continue;
            }
        }
        if (row->labels[i] != row->k) continue;
        double z = row->logits[i], y = target_at(tile, first + i, row->k);
        exact_value exact = exact_sigmoid_value(tile, z, y, row->k);
        row->losses[i] = (real)exact.loss;
        if (row->grads) row->grads[i] = (real)exact.slope * row->scales[i];
    }
}

/* Numbers of a block of anchors. */
typedef union {
    vec vectors[FX_LANE_BLOCK];
    real numbers[FX_LANE_BLOCK * LANES];
} flat_numbers;

/* Write losses and gradients of a class, from its exponentials. Return whether some of them are
 * another function's: those of soft targets of a focal loss, and of scores. */
FX_INLINE int flat_values(const flat_class *row, const real *exponentials,
                          const class_factors *shared, const sigmoid_options *options,
                          const int kind, const int has_targets, const int has_grads) {
    const exp_constants constants = pinned_exp_constants();
    const class_factors factors = *shared;
    const flat_class at = *row;
    const vec column = v_set((real)at.k);
    const int is_focal = kind == FX_SIGMOID_FOCAL;
    const int is_clipped = kind == FX_ASYMMETRIC && options->is_clipped;
    flat_numbers shifted; /* probabilities, in a loop of their own */
    vec others = v_zero();
    if (is_clipped) {
        FX_NO_UNROLL
        for (int v = 0; v < at.vectors; v++) {
            vec z = v_load(at.logits + v * LANES), e = v_load(exponentials + v * LANES);
            sigmoid_parts parts = sigmoid_parts_from(z, e, &constants);
            shifted.vectors[v] = shifted_probability(z, &parts, options);
        }
    }
    FX_NO_UNROLL
    for (ptrdiff_t i = 0, end = at.vectors * LANES; i < end; i += LANES) {
        vec z = v_load(at.logits + i), e = v_load(exponentials + i), y = v_zero();
        sigmoid_value value;
        mask is_positive;
        if (has_targets) {
            prefetch_line((const char *)(at.targets + i) + at.targets_ahead);
            y = v_load(at.targets + i);
            is_positive = v_equal(y, v_one());
            if (is_focal) others = v_or(others, v_sub(v_mul(y, y), y)); /* 0 for 0 and 1 */
        } else {
            is_positive = v_equal(v_load_int32(at.labels + i), column);
            if (!is_focal) y = v_where(is_positive, v_one());
            if (kind == FX_QUALITY_FOCAL) others = v_or(others, y);
        }
        if (is_focal) {
            value = hard_focal_value(z, e, is_positive, &factors, options->gamma_positive,
                                     &constants, has_grads);
        } else if (is_clipped) {
            sigmoid_parts parts = sigmoid_parts_from(z, e, &constants);
            sigmoid_value of_negative =
                clipped_value(z, shifted.vectors[i / LANES], &parts, options);
            value = asymmetric_sum(&factors, options, &constants, z, y, &parts, of_negative);
        } else {
            sigmoid_parts parts = sigmoid_parts_from(z, e, &constants);
            value = sigmoid_value_of(kind, &factors, options, &constants, z, y, &parts);
        }
        v_store(at.losses + i, value.loss);
        if (!has_grads) continue;
        prefetch_line((const char *)(at.grads + i) + at.grads_ahead);
        v_store(at.grads + i, v_mul(value.slope, v_load(at.scales + i)));
    }
    return !v_mask_all(v_equal(others, v_zero()));
}
typedef int (*flat_kernel)(const flat_class *row, const real *exponentials,
                           const class_factors *factors, const sigmoid_options *options);

/* The options that a loop is compiled for: those that nearly everybody uses, or any. */
FX_INLINE sigmoid_options usual_options(const sigmoid_options *options, const int kind) {
    const int is_asymmetric = kind == FX_ASYMMETRIC;
    sigmoid_options usual = *options;
    usual.gamma_negative.kind = is_asymmetric ? POWER_4 : POWER_2;
    usual.gamma_negative.exponent = is_asymmetric ? 4 : 2;
    usual.gamma_positive.kind = is_asymmetric ? POWER_1 : POWER_2;
    usual.gamma_positive.exponent = is_asymmetric ? 1 : 2;
    usual.is_clipped = is_asymmetric;
    return usual;
}
FX_INLINE int are_usual(const sigmoid_options *options, const int kind) {
    const sigmoid_options usual = usual_options(options, kind);
    return options->gamma_negative.kind == usual.gamma_negative.kind &&
           options->gamma_positive.kind == usual.gamma_positive.kind &&
           options->is_clipped == usual.is_clipped;
}

/* Add the losses of some classes to compensated sums. */
FX_CALLED void flat_add(real *sums, flat_numbers *lost, const real *losses, int vectors,
                        int classes) {
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        compensated total = {v_load(sums + v * LANES), lost->vectors[v]};
        FX_NO_UNROLL
        for (int k = 0; k < classes; k++)
            compensated_add(&total, v_load(losses + (k * vectors + v) * LANES));
        v_store(sums + v * LANES, total.sum);
        lost->vectors[v] = total.lost;
    }
}
/* Add what was lost, and repair what is not finite. */
FX_CALLED void flat_finish(const fx_tile *tile, ptrdiff_t first, int vectors, real *sums,
                           const flat_numbers *lost) {
    vec outcome = v_zero(); /* not 0 where a loss is not finite */
    FX_NO_UNROLL
    for (int v = 0; v < vectors; v++) {
        vec loss = v_load(sums + v * LANES);
        if (tile->classes > 1) {
            loss = v_add(loss, lost->vectors[v]);
            v_store(sums + v * LANES, loss);
        }
        outcome = v_or(outcome, v_sub(loss, loss)); /* 0 or NaN */
    }
    if (v_mask_all(v_equal(outcome, v_zero()))) return;
    for (int v = 0; v < vectors; v++) {
        lane_range range = {first + v * LANES, LANES};
        repair(tile, &range, v_load(sums + v * LANES), sigmoid_exact_anchor);
    }
}

FX_INLINE void flat_block(const fx_tile *tile, ptrdiff_t first, int vectors,
                          const sigmoid_options *options, const int kind, flat_kernel kernel) {
    flat_numbers exponentials, terms, totals, lost, scales;
    const int most = tile->classes > 1 ? classes_at_once(tile, vectors) : 1;
    const size_t size = (size_t)(vectors * LANES);
    flat_class row = first_flat_class(tile, first, vectors);
    class_factors factors = class_factors_of(tile, 0);
    real *sums = tile->losses ? (real *)tile->losses + first : totals.numbers;
    for (int v = 0; v < vectors; v++) lost.vectors[v] = v_zero();
    if (most > 1 && row.grads) {
        for (int i = 0; i < most; i++)
            memcpy(scales.numbers + i * vectors * LANES, row.scales, size * sizeof(real));
        row.scales = scales.numbers;
    }
    while (row.k < tile->classes) {
        const ptrdiff_t k = row.k;
        int count = tile->classes - k < most ? (int)(tile->classes - k) : most, is_first = k == 0;
        row.vectors = count * vectors;
        if (tile->positive_weight || tile->negative_weight) factors = class_factors_of(tile, k);
        if (!tile->results.data) row.losses = is_first && count == 1 ? sums : terms.numbers;
        flat_exponentials(&row, exponentials.numbers);
        int has_others = kernel(&row, exponentials.numbers, &factors, options);
        if (has_others && kind == FX_SIGMOID_FOCAL) soft_focal_values(&row, &factors, options);
        if (has_others && kind == FX_QUALITY_FOCAL) quality_values_at_labels(tile, first, &row);
        if (is_first && row.losses != sums) memcpy(sums, row.losses, size * sizeof(real));
        if (count > is_first)
            flat_add(sums, &lost, row.losses + (is_first ? size : 0), vectors, count - is_first);
        skip_classes(&row, tile, count);
    }
    flat_finish(tile, first, vectors, sums, &lost);
}

/* Returns the first anchor that is left. */
FX_INLINE ptrdiff_t flat_lanes(const fx_tile *tile, const int kind,
                               const flat_kernel kernels[2][2][2]) {
    const sigmoid_options options = sigmoid_options_of(tile);
    flat_kernel kernel =
        kernels[tile->targets.data != NULL][tile->grads.data != NULL][are_usual(&options, kind)];
    ptrdiff_t first = 0;
    if (tile->weights.data || tile->grad_weights.data) return 0;
    while (tile->anchors - first >= LANES) {
        ptrdiff_t vectors = (tile->anchors - first) / LANES;
        vectors = vectors < FX_LANE_BLOCK ? vectors : FX_LANE_BLOCK;
        flat_block(tile, first, (int)vectors, &options, kind, kernel);
        first += vectors * LANES;
    }
    return first;
}

/* --- the lane kernels
 * -----------------------------------------------------------------------------
 */

#define FX_FLAT_KERNEL(name, kind, has_targets, has_grads, is_usual)                               \
    FX_CALLED int name##_##has_targets##has_grads##is_usual(                                       \
        const flat_class *row, const real *exponentials, const class_factors *factors,             \
        const sigmoid_options *options) {                                                          \
        const sigmoid_options usual = usual_options(options, kind);                                \
        return flat_values(row, exponentials, factors, is_usual ? &usual : options, kind,          \
                           has_targets, has_grads);                                                \
    }
#define FX_FLAT_KERNELS(name, kind, has_targets)                                                   \
    FX_FLAT_KERNEL(name, kind, has_targets, 0, 0)                                                  \
    FX_FLAT_KERNEL(name, kind, has_targets, 0, 1)                                                  \
    FX_FLAT_KERNEL(name, kind, has_targets, 1, 0)                                                  \
    FX_FLAT_KERNEL(name, kind, has_targets, 1, 1)
#define FX_FLAT_TABLE(name, has_targets)                                                           \
    {{name##_##has_targets##00, name##_##has_targets##01},                                         \
     {name##_##has_targets##10, name##_##has_targets##11}}

/* The lane kernel of a loss: its loops are compiled for it. Anchors that are no whole vector, and
 * options that the flat loops do not know, take the general one. */
#define FX_SIGMOID_GENERAL(name, kind)                                                             \
    FX_CALLED void name##_general(const fx_tile *tile, const lane_range *range) {                  \
        sigmoid_general(tile, range, kind);                                                        \
    }
#define FX_SIGMOID_FLAT_LANES(name, kind)                                                          \
    FX_FLAT_KERNELS(name##_flat, kind, 0)                                                          \
    FX_FLAT_KERNELS(name##_flat, kind, 1)                                                          \
    FX_SIGMOID_GENERAL(name, kind)                                                                 \
    static void name##_lanes(const fx_tile *tile) {                                                \
        static const flat_kernel kernels[2][2][2] = {FX_FLAT_TABLE(name##_flat, 0),                \
                                                     FX_FLAT_TABLE(name##_flat, 1)};               \
        FX_FOR_LANES_FROM(flat_lanes(tile, kind, kernels), tile, name##_general);                  \
    }
FX_SIGMOID_FLAT_LANES(sigmoid_focal, FX_SIGMOID_FOCAL)
FX_SIGMOID_FLAT_LANES(varifocal, FX_VARIFOCAL)
FX_SIGMOID_FLAT_LANES(asymmetric, FX_ASYMMETRIC)

/* This one has no dense targets. */
FX_FLAT_KERNELS(quality_focal_flat, FX_QUALITY_FOCAL, 0)
FX_SIGMOID_GENERAL(quality_focal, FX_QUALITY_FOCAL)
static void quality_focal_lanes(const fx_tile *tile) {
    static const flat_kernel kernels[2][2][2] = {FX_FLAT_TABLE(quality_focal_flat, 0)};
    FX_FOR_LANES_FROM(flat_lanes(tile, FX_QUALITY_FOCAL, kernels), tile, quality_focal_general);
}

FX_SIGMOID_GENERAL(sigmoid_focal_star, FX_SIGMOID_FOCAL_STAR)
static void sigmoid_focal_star_lanes(const fx_tile *tile) {
    FX_FOR_LANES(tile, sigmoid_focal_star_general);
}

FX_SIGMOID_GENERAL(sigmoid_cross_entropy, FX_SIGMOID_CROSS_ENTROPY)
static void sigmoid_cross_entropy_lanes(const fx_tile *tile) {
    int has_options = tile->weights.data || tile->results.data || tile->grad_weights.data ||
                      tile->positive_weight || tile->negative_weight || tile->positive != 1 ||
                      tile->negative != 1 || tile->label_smoothing != 0;
    if (has_options)
        FX_FOR_LANES(tile, sigmoid_cross_entropy_general);
    else
        sigmoid_without_options(tile);
}
