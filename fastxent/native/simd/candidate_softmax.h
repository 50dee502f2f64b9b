/* Softmax scores. The denominator holds the background and the class itself, so that
 *
 *     softmax(z)[c] <= sigmoid(z[c] - z[background]),
 *
 * and an anchor has no candidate unless some z[c] reaches z[background] + the logit of the
 * threshold: one comparison, no exponential. Scores of the others are those of the score's own
 * kernels, bit for bit: there no anchor depends on those that it is computed with. */

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

/* Rows that wait for their scores: a kernel computes LANES of them at a time. */
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

/* Up to LANES rows of the kernels' own type: where they are, or widened. */
static const real *own_rows(const fx_selection *call, const fx_level *level, const char *first,
                            ptrdiff_t stride, int count, real *tile, ptrdiff_t *step) {
    *step = stride / (ptrdiff_t)sizeof(real);
    if (level->type == FX_OWN_TYPE) return (const real *)first;
    *step = call->classes;
    for (int j = 0; j < count; j++)
        call->kernels->widen(first + j * stride, level->type, call->classes,
                             tile + j * call->classes);
    return tile;
}

/* Classes as lanes. */
static void take_softmax_rows(fx_selector *s, const fx_level *level, const anchor_run *run,
                              const anchor_work *work, real *tile, real *scores) {
    const fx_selection *call = s->call;
    const ptrdiff_t classes = call->classes;
    waiting_rows waiting = {{0}, 0, scores + LANES * classes + LANES, scores};
    for (ptrdiff_t start = 0; start < run->count; start += LANES) {
        int count = run->count - start < LANES ? (int)(run->count - start) : LANES;
        ptrdiff_t step;
        const real *rows = own_rows(call, level, run->logits + start * run->stride, run->stride,
                                    count, tile, &step);
        uint32_t wanted = 0;
        for (int j = 0; j < count; j++)
            wanted |= (uint32_t)(work->states[start + j] == FX_OPEN &&
                                 row_may_pass(call, rows + j * step, work->cuts[start + j]))
                      << j;
        /* A copy takes about a sixth of the time of a row's scores. */
        const int in_place = 6 * count_bits(wanted) >= 5 * LANES;
        if (in_place) score_rows(call, rows, step, count, scores);
        for (; wanted; wanted &= wanted - 1) {
            ptrdiff_t j = first_bit(wanted), anchor = start + j;
            if (in_place) {
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
static void take_softmax_lanes(fx_selector *s, const fx_level *level, const anchor_run *run,
                               const anchor_work *work, real *tile, real *scores) {
    const fx_selection *call = s->call;
    fx_tile job;
    memset(&job, 0, sizeof job);
    job.classes = call->classes;
    job.logit_type = FX_OWN_TYPE;
    job.logits.anchor_stride = job.results.anchor_stride = 1;
    job.results.class_stride = LANES;
    job.results.data = scores;
    for (ptrdiff_t start = 0; start < run->count; start += LANES) {
        anchor_run group = *run;
        group.logits += start * run->stride;
        if (group.count > start + LANES) group.count = start + LANES;
        group.count -= start;
        anchor_lanes lanes = lanes_of(call, level, &group, tile);
        real cuts[LANES];
        uint32_t open = 0, wanted;
        for (int j = 0; j < LANES; j++) {
            cuts[j] = j < group.count ? work->cuts[start + j] : (real)INFINITY;
            open |= (uint32_t)(j < group.count && work->states[start + j] == FX_OPEN) << j;
        }
        wanted = open ? lanes_may_pass(call, &lanes, group.count, cuts) & open : 0;
        if (!wanted) continue;
        job.logits.data = (void *)lanes.data;
        job.logits.class_stride = lanes.class_stride;
        job.anchors = group.count;
        call->kernels->softmax(&job);
        for (; wanted; wanted &= wanted - 1) {
            ptrdiff_t j = first_bit(wanted), anchor = start + j;
            take_scored(s, lanes.data + j, scores + j, lanes.class_stride, LANES,
                        work->objects[anchor], run->order + (uint64_t)(anchor * call->classes));
        }
    }
}

static void take_softmax(fx_selector *s, const fx_level *level, const anchor_run *run,
                         const anchor_work *work, real *tile) {
    real *scores = tile + LANES * s->call->classes + LANES;
    if (level->softmax_rows)
        take_softmax_rows(s, level, run, work, tile, scores);
    else
        take_softmax_lanes(s, level, run, work, tile, scores);
}
