/* log_softmax and logsumexp, via the cross-entropy of each anchor's largest class: it is the
 * logarithm of the sum of exp(z - maximum), accurate where that is tiny.
 *
 *     logsumexp = maximum + loss        log_softmax = -((maximum - z) + loss)
 *
 * Both terms of log_softmax are non-negative, so nothing cancels.
 */

/* The largest classes of some anchors, the first of equal ones, and their losses. */
#define FX_LARGEST_BLOCK (FX_LANE_BLOCK * LANES)
typedef struct {
    real maxima[FX_LARGEST_BLOCK], losses[FX_LARGEST_BLOCK];
    int32_t labels[FX_LARGEST_BLOCK];
} largest_block;

/* What the kernels of the losses see of them. */
FX_INLINE fx_tile tile_of_largest(const fx_tile *tile, ptrdiff_t first, ptrdiff_t count,
                                  largest_block *block) {
    ptrdiff_t start = first * tile->logits.anchor_stride * size_of_type(tile->logit_type);
    fx_tile piece = {.loss = FX_SOFTMAX_CROSS_ENTROPY,
                     .anchors = count,
                     .classes = tile->classes,
                     .logits = tile->logits,
                     .logit_type = tile->logit_type,
                     .labels = block->labels,
                     .positive = 1,
                     .losses = block->losses};
    piece.logits.data = (char *)tile->logits.data + start;
    return piece;
}

FX_INLINE void store_largest(largest_block *block, ptrdiff_t first, vec maximum, vec label) {
    real labels[LANES];
    v_store(labels, label);
    for (int i = 0; i < LANES; i++) block->labels[first + i] = (int32_t)labels[i];
    v_store(block->maxima + first, maximum);
}

typedef void (*find_largest)(const fx_tile *piece, largest_block *block);
typedef void (*losses_of_largest)(const fx_tile *piece, const largest_block *block);
typedef void (*finish_largest)(const fx_tile *tile, ptrdiff_t first, int count,
                               const largest_block *block);

/* Scores of `most` anchors at a time. While their losses are computed, the logits of the next ones
 * are prefetched, which are that many bytes ahead. */
FX_INLINE void scores_by_largest(const fx_tile *tile, int most, ptrdiff_t ahead, find_largest find,
                                 losses_of_largest losses, finish_largest finish) {
    largest_block block;
    for (ptrdiff_t first = 0; first < tile->anchors; first += most) {
        ptrdiff_t left = tile->anchors - first;
        int count = left < most ? (int)left : most;
        fx_tile piece = tile_of_largest(tile, first, count, &block);
        find(&piece, &block);
        piece.ahead = ahead;
        losses(&piece, &block);
        finish(tile, first, count, &block);
    }
}

/* The maxima and losses of up to LANES anchors of a block. */
typedef struct {
    lane_range anchors; /* in the tile */
    vec maximum, loss;
} largest_group;

FX_INLINE largest_group largest_group_of(const largest_block *block, ptrdiff_t first, int count,
                                         int start) {
    lane_range anchors = group_of(first, count, start), places = group_of(0, count, start);
    largest_group group = {anchors, lanes_per_anchor(block->maxima, &places),
                           lanes_per_anchor(block->losses, &places)};
    return group;
}

FX_CALLED void logsumexp_of_largest(const fx_tile *tile, ptrdiff_t first, int count,
                                    const largest_block *block) {
    for (int start = 0; start < count; start += LANES) {
        largest_group group = largest_group_of(block, first, count, start);
        lanes_store_losses(tile, &group.anchors, v_add(group.maximum, group.loss));
        repair_infinite(tile, &group.anchors, group.maximum, logsumexp_exact);
    }
}

/* --- anchors as lanes ---------------------------------------------------------------------------
 */

FX_CALLED void lanes_find_largest_classes(const fx_tile *piece, largest_block *block) {
#define FX_FIND(piece, range)                                                                      \
    do {                                                                                           \
        lanes_largest largest = lanes_find_largest(piece, range);                                  \
        store_largest(block, (range)->first, largest.maximum, largest.label);                      \
    } while (0)
    FX_FOR_LANES(piece, FX_FIND);
#undef FX_FIND
}

FX_CALLED void log_softmax_of_largest(const fx_tile *tile, ptrdiff_t first, int count,
                                      const largest_block *block) {
    ptrdiff_t ahead = FX_LANES_AHEAD + count * (ptrdiff_t)sizeof(real); /* of the next anchors */
    for (int start = 0; start < count; start += LANES) {
        largest_group group = largest_group_of(block, first, count, start);
        for (ptrdiff_t k = 0; k < tile->classes; k++) {
            vec gap = v_sub(lanes_load(&tile->logits, &group.anchors, k), group.maximum);
            lanes_prefetch(&tile->results, &group.anchors, k, ahead);
            lanes_store(&tile->results, &group.anchors, k, v_sub(gap, group.loss));
        }
        repair_infinite(tile, &group.anchors, group.maximum, log_softmax_exact_scores);
    }
}

static void lane_losses_of_largest(const fx_tile *piece, const largest_block *unused) {
    (void)unused;
    softmax_cross_entropy_lanes(piece);
}

/* As many anchors as the kernel of the losses takes at a time. */
FX_INLINE void lane_scores_by_largest(const fx_tile *tile, finish_largest finish) {
    int most = (tile->classes <= FX_FEW_CLASSES ? FX_LANE_BLOCK : FX_LANE_VECTORS) * LANES;
    ptrdiff_t ahead = tile->ahead + most * (ptrdiff_t)sizeof(real);
    scores_by_largest(tile, most, ahead, lanes_find_largest_classes, lane_losses_of_largest,
                      finish);
}
static void log_softmax(const fx_tile *tile) {
    lane_scores_by_largest(tile, log_softmax_of_largest);
}
static void logsumexp(const fx_tile *tile) { lane_scores_by_largest(tile, logsumexp_of_largest); }

/* --- classes as lanes ---------------------------------------------------------------------------
 */

FX_REDUCE(v_reduce_min, v_min)

FX_INLINE void row_largest_step(const class_row *row, ptrdiff_t k, int count,
                                lanes_largest *largest, vec *column, const int type) {
    vec z = row_logits(row, k, count, (real)-INFINITY, type);
    largest->label = v_select(v_less(largest->maximum, z), *column, largest->label);
    largest->maximum = v_max(largest->maximum, z);
    *column = v_add(*column, v_set((real)LANES));
}
/* The largest logit in each lane, and the class where it first stands. */
FX_INLINE lanes_largest row_largest(const class_row *row, ptrdiff_t classes, vec steps,
                                    const int type) {
    lanes_largest largest = {v_set((real)-INFINITY), v_zero()};
    vec column = steps;
    FX_FOR_ROW(row, type, classes, row_largest_step, &largest, &column, type);
    return largest;
}

/* The columns of the maxima of LANES anchors; the last one where there is none, for NaN. */
FX_INLINE void group_find_largest(const fx_tile *tile, const lane_range *group,
                                  largest_block *block, ptrdiff_t start, vec steps,
                                  const int type) {
    vec maxima[LANES], labels[LANES];
    for (int i = 0; i < group->count; i++) {
        class_row row = class_row_of(tile, group->first + i, type, FX_OWN_TYPE);
        lanes_largest largest = row_largest(&row, tile->classes, steps, type);
        maxima[i] = largest.maximum;
        labels[i] = largest.label;
    }
    for (int i = group->count; i < LANES; i++) maxima[i] = labels[i] = v_zero();
    vec maximum = v_reduce_max(maxima), last = v_set((real)(tile->classes - 1));
    v_store(block->maxima + start, maximum);
    for (int i = 0; i < LANES; i++) {
        mask is_largest = v_equal(maxima[i], v_set(block->maxima[start + i]));
        labels[i] = v_select(is_largest, labels[i], last);
    }
    store_largest(block, start, maximum, v_reduce_min(labels));
}

/* The same for a row of so many classes that floats do not hold their numbers: each of its parts
 * has its own. */
#define FX_NUMBERED_CLASSES 65536
FX_INLINE void long_row_find_largest(const fx_tile *tile, ptrdiff_t anchor, largest_block *block,
                                     vec steps, const int type) {
    class_row row = class_row_of(tile, anchor, type, FX_OWN_TYPE);
    block->maxima[anchor] = (real)-INFINITY;
    block->labels[anchor] = (int32_t)(tile->classes - 1);
    for (ptrdiff_t start = 0; start < tile->classes; start += FX_NUMBERED_CLASSES) {
        ptrdiff_t left = tile->classes - start;
        class_row piece = class_row_from(row, start, type, FX_OWN_TYPE);
        lanes_largest largest = row_largest(
            &piece, left < FX_NUMBERED_CLASSES ? left : FX_NUMBERED_CLASSES, steps, type);
        real maxima[LANES], labels[LANES];
        v_store(maxima, largest.maximum);
        v_store(labels, largest.label);
        for (int i = 0; i < LANES; i++) {
            int32_t label = (int32_t)(start + (ptrdiff_t)labels[i]);
            int is_first = maxima[i] == block->maxima[anchor] && label < block->labels[anchor];
            if (!(maxima[i] > block->maxima[anchor] || is_first)) continue;
            block->maxima[anchor] = maxima[i];
            block->labels[anchor] = label;
        }
    }
}

FX_INLINE void rows_find_largest_typed(const fx_tile *piece, largest_block *block, const int type) {
    real numbers[LANES];
    for (int i = 0; i < LANES; i++) numbers[i] = (real)i;
    vec steps = v_load(numbers);
    if (piece->classes > FX_NUMBERED_CLASSES) {
        for (ptrdiff_t anchor = 0; anchor < piece->anchors; anchor++)
            long_row_find_largest(piece, anchor, block, steps, type);
        return;
    }
    for (ptrdiff_t start = 0; start < piece->anchors; start += LANES) {
        lane_range group = group_of(0, (int)piece->anchors, (int)start);
        group_find_largest(piece, &group, block, start, steps, type);
    }
}
FX_CALLED void rows_find_largest(const fx_tile *piece, largest_block *block) {
    FX_WITH_TYPE(piece->logit_type, rows_find_largest_typed, piece, block);
}

FX_INLINE void log_softmax_step(const class_row *row, ptrdiff_t k, int count, real *results,
                                ptrdiff_t ahead, vec maximum, vec loss, const int type) {
    vec gap = v_sub(row_logits(row, k, count, 0, type), maximum);
    prefetch_line(results + k + ahead);
    row_store(results + k, count, v_sub(gap, loss));
}
FX_INLINE void log_softmax_rows_typed(const fx_tile *tile, ptrdiff_t first, int count,
                                      const largest_block *block, const int type) {
    ptrdiff_t ahead = FX_ROW_BLOCK * tile->results.anchor_stride;
    for (int i = 0; i < count; i++) {
        class_row row = class_row_of(tile, first + i, type, FX_OWN_TYPE);
        row.ahead = 0;
        real *results = row_of(&tile->results, first + i);
        vec maximum = v_set(block->maxima[i]), loss = v_set(block->losses[i]);
        FX_FOR_ROW(&row, type, tile->classes, log_softmax_step, results, ahead, maximum, loss,
                   type);
    }
}
FX_CALLED void log_softmax_rows_of_largest(const fx_tile *tile, ptrdiff_t first, int count,
                                           const largest_block *block) {
    FX_WITH_TYPE(tile->logit_type, log_softmax_rows_typed, tile, first, count, block);
    for (int start = 0; start < count; start += LANES) {
        largest_group group = largest_group_of(block, first, count, start);
        repair_infinite(tile, &group.anchors, group.maximum, log_softmax_exact_scores);
    }
}

static void row_losses_of_largest(const fx_tile *piece, const largest_block *largest) {
    softmax_block block;
    block.knows_maxima = 1;
    for (int i = 0; i < FX_ROW_BLOCK; i++)
        block.maxima[i] = i < piece->anchors ? largest->maxima[i] : 0;
    softmax_rows_block(piece, 0, (int)piece->anchors, &block, FX_SOFTMAX_CROSS_ENTROPY);
}

FX_INLINE void row_scores_by_largest(const fx_tile *tile, finish_largest finish) {
    ptrdiff_t step = tile->logits.anchor_stride * size_of_type(tile->logit_type);
    scores_by_largest(tile, FX_ROW_BLOCK, FX_ROW_BLOCK * step, rows_find_largest,
                      row_losses_of_largest, finish);
}
static void log_softmax_rows(const fx_tile *tile) {
    row_scores_by_largest(tile, log_softmax_rows_of_largest);
}
static void logsumexp_rows(const fx_tile *tile) {
    row_scores_by_largest(tile, logsumexp_of_largest);
}
