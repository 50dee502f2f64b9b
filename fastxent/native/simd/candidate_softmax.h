/* Softmax scores. The denominator holds the background and the class itself, so that
 *
 *     softmax(z)[c] <= sigmoid(z[c] - z[background]),
 *
 * and an anchor has no candidate unless some z[c] reaches z[background] + the logit of the
 * threshold: one comparison, no exponential. Scores of the others are those of the score's own
 * kernels, bit for bit: these compute LANES anchors at a time, and where one of them has logits far
 * apart, all of them another way. So an anchor is computed alone only where none of its group is of
 * that kind. */
#define FX_PLAIN_LOGIT ((real)32) /* of such logits, differences never leave the kernels' range */

/* Where some anchors of an image are: the first, and that within its innermost dimension. */
typedef struct {
    const fx_level *level;
    const char *data; /* of the image */
    ptrdiff_t image, position, inner;
} softmax_place;

/* A group of lanes, relative to the run of anchors. */
typedef struct {
    ptrdiff_t first, count;
} lane_group;

/* The group that an anchor of the run is computed in: `softmax_anchors` at a time, in blocks that
 * ignore where images end; of joined rows the groups do, too. */
static lane_group group_around(const softmax_place *place, ptrdiff_t anchor) {
    const fx_level *level = place->level;
    ptrdiff_t before = place->image * level->anchors, at = place->position + anchor;
    ptrdiff_t start = before, stop = before + level->anchors, total = level->joined_anchors;
    if (total > 0) {
        start = 0;
        stop = total;
    } else if (level->dimensions > 1) {
        start = before + place->position - place->inner;
        stop = start + level->shape[level->dimensions - 1];
    }
    at += before;
    ptrdiff_t block = at / level->softmax_anchors * level->softmax_anchors;
    if (block > start) start = block;
    if (block + level->softmax_anchors < stop) stop = block + level->softmax_anchors;
    start += (at - start) / LANES * LANES;
    lane_group group = {start - before - place->position,
                        stop - start < LANES ? stop - start : LANES};
    return group;
}

/* Whether a row may have a candidate, or a NaN. */
FX_INLINE int row_may_pass(const fx_selection *call, const real *row, real cut) {
    if (call->background < 0) return 1;
    real background = row[call->background];
    double slack = (FX_DOUBLE ? 1e-14 : 1e-6) * (fabs((double)background) + fabs((double)cut));
    vec limit = v_set((real)((double)background + (double)cut - slack));
    if (!(cut > (real)-INFINITY) || !(background < (real)INFINITY)) return 1;
    mask below = v_equal(limit, limit);
    uint32_t others = 0;
    for (ptrdiff_t k = 0; k < call->classes; k += LANES) {
        uint32_t valid = FX_ALL_LANES;
        int has_background = call->background >= k && call->background < k + LANES;
        if (!has_background && k + LANES <= call->classes) {
            below = v_also_less(below, v_load(row + k), limit);
            continue;
        }
        vec x = row_vector(row, k, call->classes, &valid);
        uint32_t bits = ~v_mask_bits(v_less(x, limit)) & valid;
        if (has_background && background == background) bits &= ~(1u << (call->background - k));
        others |= bits;
    }
    return others != 0 || !v_mask_all(below);
}

FX_INLINE int row_is_plain(const real *row, ptrdiff_t classes) {
    vec limit = v_set(FX_PLAIN_LOGIT);
    mask is_plain = v_equal(limit, limit);
    ptrdiff_t k = 0;
    for (; k + LANES <= classes; k += LANES)
        is_plain = v_also_less(is_plain, v_negate(v_negative_abs(v_load(row + k))), limit);
    if (k < classes) {
        vec rest = v_load_first(row + k, (int)(classes - k), v_zero());
        is_plain = v_also_less(is_plain, v_negate(v_negative_abs(rest)), limit);
    }
    return v_mask_all(is_plain);
}

/* Offer what passes of one anchor; strides in reals. */
static void take_scored(fx_selector *s, const real *logits, const real *scores, ptrdiff_t stride,
                        ptrdiff_t score_stride, real object, uint64_t order) {
    const fx_selection *call = s->call;
    const real *thresholds = (const real *)call->thresholds;
    ptrdiff_t best = -1;
    if (call->best_only)
        best = stride == 1 ? best_class_of_row(call, logits) : best_class(call, logits, stride);
    vec objects = v_set(object);
    for (ptrdiff_t k = 0; k < call->classes; k += LANES) {
        uint32_t valid;
        vec p;
        if (score_stride == 1) {
            p = row_vector(scores, k, call->classes, &valid);
        } else {
            real gathered[LANES];
            ptrdiff_t left = call->classes - k < LANES ? call->classes - k : LANES;
            for (ptrdiff_t i = 0; i < left; i++) gathered[i] = scores[(k + i) * score_stride];
            p = v_load_first(gathered, (int)left, v_zero());
            valid = left < LANES ? (1u << left) - 1 : FX_ALL_LANES;
        }
        p = combined_lanes(call, p, objects);
        lane_places places = {order + (uint64_t)k, 1, k, 1};
        uint32_t nan = valid & ~v_mask_bits(v_equal(p, p));
        if (nan) count_nan(s, nan, &places);
        uint32_t bits = valid & v_mask_bits(v_less(v_load(thresholds + k), p));
        if (call->best_only) bits &= best >= k && best < k + LANES ? 1u << (best - k) : 0;
        s->found += count_bits(bits);
        if (!bits) continue;
        real values[LANES];
        v_store(values, p);
        for (; bits; bits &= bits - 1) {
            ptrdiff_t i = first_bit(bits);
            offer(s, k + i, values[i], logits[(k + i) * stride], order + (uint64_t)(k + i));
        }
    }
}

/* The logits of a group as rows of the kernels' own type: where they are, or copied. */
static const real *group_rows(const fx_selection *call, const softmax_place *place,
                              const anchor_run *run, lane_group group, real *tile,
                              ptrdiff_t *step) {
    const char *first = run->logits + group.first * run->stride;
    *step = run->stride / (ptrdiff_t)sizeof(real);
    if (place->level->type == FX_OWN_TYPE) return (const real *)first;
    for (ptrdiff_t j = 0; j < group.count; j++)
        call->kernels->widen(first + j * run->stride, place->level->type, call->classes,
                             tile + j * call->classes);
    *step = call->classes;
    return tile;
}

static void score_rows(const fx_selection *call, const real *rows, ptrdiff_t step, ptrdiff_t count,
                       real *scores) {
    fx_tile tile;
    memset(&tile, 0, sizeof tile);
    tile.anchors = count;
    tile.classes = call->classes;
    tile.logit_type = FX_OWN_TYPE;
    tile.logits.data = (void *)rows;
    tile.logits.anchor_stride = step;
    tile.logits.class_stride = 1;
    tile.results.data = scores;
    tile.results.anchor_stride = call->classes;
    tile.results.class_stride = 1;
    call->kernels->softmax_score_rows(&tile);
}

/* Rows of plain groups that wait for their scores: a kernel computes LANES of them at a time. */
typedef struct {
    ptrdiff_t anchors[LANES];
    int count;
    real *logits, *scores;
} waiting_rows;

static void take_waiting(fx_selector *s, const anchor_run *run, const anchor_work *work,
                         waiting_rows *waiting) {
    const ptrdiff_t classes = s->call->classes;
    if (waiting->count == 0) return;
    score_rows(s->call, waiting->logits, classes, waiting->count, waiting->scores);
    for (int j = 0; j < waiting->count; j++) {
        ptrdiff_t anchor = waiting->anchors[j];
        take_scored(s, waiting->logits + j * classes, waiting->scores + j * classes, 1, 1,
                    work->objects[anchor], run->order + (uint64_t)(anchor * classes));
    }
    waiting->count = 0;
}

/* Classes as lanes. */
static void take_softmax_rows(fx_selector *s, const softmax_place *place, const anchor_run *run,
                              const anchor_work *work, real *tile, real *scores) {
    const fx_selection *call = s->call;
    const ptrdiff_t classes = call->classes;
    waiting_rows waiting = {{0}, 0, scores + LANES * classes + LANES, scores};
    for (ptrdiff_t i = 0; i < run->count;) {
        lane_group group = group_around(place, i);
        ptrdiff_t stop = group.first + group.count, step;
        if (stop > run->count) stop = run->count;
        const real *rows = group_rows(call, place, run, group, tile, &step);
        uint32_t wanted = 0;
        for (; i < stop; i++)
            if (work->states[i] == FX_OPEN &&
                row_may_pass(call, rows + (i - group.first) * step, work->cuts[i]))
                wanted |= 1u << (i - group.first);
        if (!wanted) continue;
        int is_plain = 1;
        for (ptrdiff_t j = 0; j < group.count && is_plain; j++)
            is_plain = row_is_plain(rows + j * step, classes);
        if (!is_plain) {
            take_waiting(s, run, work, &waiting);
            score_rows(call, rows, step, group.count, scores);
        }
        for (; wanted; wanted &= wanted - 1) {
            ptrdiff_t j = first_bit(wanted), anchor = group.first + j;
            if (!is_plain) {
                take_scored(s, rows + j * step, scores + j * classes, 1, 1, work->objects[anchor],
                            run->order + (uint64_t)(anchor * classes));
                continue;
            }
            memcpy(waiting.logits + waiting.count * classes, rows + j * step,
                   (size_t)classes * sizeof(real));
            waiting.anchors[waiting.count++] = anchor;
            if (waiting.count == LANES) take_waiting(s, run, work, &waiting);
        }
    }
    take_waiting(s, run, work, &waiting);
}

/* The lanes that may have a candidate, or a NaN. */
static uint32_t lanes_may_pass(const fx_selection *call, const anchor_lanes *lanes, ptrdiff_t count,
                               const real *cuts) {
    uint32_t valid, wanted = 0;
    lanes_vector(lanes->data, 0, count, &valid);
    if (call->background < 0) return valid;
    vec background =
        lanes_vector(lanes->data + call->background * lanes->class_stride, 0, count, &valid);
    vec cut = v_load(cuts), size = v_add(v_negative_abs(background), v_negative_abs(cut));
    vec limit = v_fma(size, v_set((real)(FX_DOUBLE ? 1e-14 : 1e-6)), v_add(background, cut));
    /* What is infinite or NaN. */
    wanted = ~v_mask_bits(v_less(v_set((real)-INFINITY), size));
    for (ptrdiff_t k = 0; k < call->classes; k++) {
        if (k == call->background) continue;
        vec x = lanes_vector(lanes->data + k * lanes->class_stride, 0, count, &valid);
        wanted |= ~v_mask_bits(v_less(x, limit));
    }
    return wanted & valid;
}

/* Anchors as lanes. */
static void take_softmax_lanes(fx_selector *s, const softmax_place *place, const anchor_run *run,
                               const anchor_work *work, real *tile, real *scores) {
    const fx_selection *call = s->call;
    fx_tile job;
    memset(&job, 0, sizeof job);
    job.classes = call->classes;
    job.logit_type = FX_OWN_TYPE;
    job.logits.anchor_stride = job.results.anchor_stride = 1;
    job.results.class_stride = LANES;
    job.results.data = scores;
    for (ptrdiff_t i = 0; i < run->count;) {
        lane_group group = group_around(place, i);
        anchor_run of_group = *run;
        of_group.logits += group.first * run->stride;
        of_group.count = group.count;
        anchor_lanes lanes = lanes_of(call, place->level, &of_group, tile);
        real cuts[LANES];
        uint32_t open = 0, wanted;
        for (int j = 0; j < LANES; j++) cuts[j] = (real)INFINITY;
        for (; i < run->count && i < group.first + group.count; i++) {
            ptrdiff_t j = i - group.first;
            cuts[j] = work->cuts[i];
            open |= (uint32_t)(work->states[i] == FX_OPEN) << j;
        }
        wanted = open ? lanes_may_pass(call, &lanes, group.count, cuts) & open : 0;
        if (!wanted) continue;
        job.logits.data = (void *)lanes.data;
        job.logits.class_stride = lanes.class_stride;
        job.anchors = group.count;
        call->kernels->softmax(&job);
        for (; wanted; wanted &= wanted - 1) {
            ptrdiff_t j = first_bit(wanted), anchor = group.first + j;
            take_scored(s, lanes.data + j, scores + j, lanes.class_stride, LANES,
                        work->objects[anchor], run->order + (uint64_t)(anchor * call->classes));
        }
    }
}

static void take_softmax(fx_selector *s, const softmax_place *place, const anchor_run *run,
                         const anchor_work *work, real *tile) {
    const fx_level *level = place->level;
    real *scores = tile + LANES * s->call->classes + LANES;
    anchor_run rows = *run;
    if (level->joined_anchors > 0) /* an image may have one anchor, without a stride */
        rows.stride = s->call->classes * (level->type == FX_OWN_TYPE ? (ptrdiff_t)sizeof(real) : 2);
    if (level->softmax_rows)
        take_softmax_rows(s, place, &rows, work, tile, scores);
    else
        take_softmax_lanes(s, place, &rows, work, tile, scores);
}
