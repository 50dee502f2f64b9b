/* The best class of anchors that are lanes: first the maximum over the classes, a few of them at a
 * time, with the number of the few that have it; then, only where that passes, the class. */
#define FX_BEST_GROUP 8

/* Some classes of a matrix with contiguous anchors. Fewer than there is room for are repeated. */
typedef struct {
    const real *rows[FX_BEST_GROUP];
    ptrdiff_t first; /* of the classes */
} class_group;

/* What all values of a run have in common. */
typedef struct {
    mask ordered[2]; /* neither of two is NaN */
    vec least;       /* but for some where others are NaN */
} lanes_seen;

FX_INLINE vec first_lanes(const real *values, int width) {
    return width == LANES ? v_load(values) : v_load_first(values, width, v_zero());
}

FX_INLINE void improve_best(anchor_work *work, const class_group *group, ptrdiff_t i, int width,
                            lanes_seen *seen, const int are_scores) {
    vec before = v_load(work->best + i), best = before,
        least = first_lanes(group->rows[0] + i, width);
    for (int row = 0; row < FX_BEST_GROUP; row += 2) {
        vec a = first_lanes(group->rows[row] + i, width);
        vec b = first_lanes(group->rows[row + 1] + i, width);
        mask *ordered = &seen->ordered[row / 2 % 2];
        *ordered = v_also_ordered(*ordered, a, b);
        best = v_max(b, v_max(a, best)); /* what is NaN leaves the others */
        if (are_scores) least = v_min(v_min(a, b), least);
    }
    if (are_scores) seen->least = v_min(least, seen->least);
    vec first = v_set((real)group->first);
    v_store(work->groups + i, v_select(v_less(before, best), first, v_load(work->groups + i)));
    v_store(work->best + i, best);
}

FX_INLINE void improve_all_best(anchor_work *work, const class_group *group, ptrdiff_t count,
                                lanes_seen *seen, const int are_scores) {
    lanes_seen now = *seen;
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) improve_best(work, group, i, LANES, &now, are_scores);
    if (count < LANES)
        improve_best(work, group, 0, (int)count, &now, are_scores);
    else if (i < count) /* some once more, which changes nothing */
        improve_best(work, group, count - LANES, LANES, &now, are_scores);
    *seen = now;
}

static void find_best(const fx_selection *call, const anchor_lanes *lanes, ptrdiff_t count,
                      anchor_work *work, lanes_seen *seen) {
    vec none = v_set((real)-INFINITY);
    class_group group;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        v_store(work->best + i, none);
        v_store(work->groups + i, v_zero());
    }
    for (ptrdiff_t k = 0; k < call->classes;) {
        int rows = 0;
        for (group.first = k; k < call->classes && rows < FX_BEST_GROUP; k++)
            if (k != call->background) group.rows[rows++] = lanes->data + k * lanes->class_stride;
        if (rows == 0) break;
        for (int row = rows; row < FX_BEST_GROUP; row++) group.rows[row] = group.rows[0];
        if (call->activation == FX_AS_SCORES)
            improve_all_best(work, &group, count, seen, 1);
        else
            improve_all_best(work, &group, count, seen, 0);
    }
}

static int best_are_outside(const fx_selection *call, const anchor_work *work, ptrdiff_t count,
                            const lanes_seen *seen) {
    vec lowest = v_set((real)-call->margin), highest = v_set((real)(1 + call->margin));
    if (v_mask_any(v_less(seen->least, lowest))) return 1;
    for (ptrdiff_t i = 0; i < count; i += LANES)
        if (v_mask_any(v_less(highest, v_load(work->best + i)))) return 1;
    return 0;
}

/* One anchor, of whose best class the score passes the smallest threshold. */
static void take_best_of_lane(fx_selector *s, const anchor_lanes *lanes, const anchor_run *run,
                              const anchor_work *work, ptrdiff_t i, real score) {
    const fx_selection *call = s->call;
    const real *logits = lanes->data + i;
    for (ptrdiff_t k = (ptrdiff_t)work->groups[i]; k < call->classes; k++)
        if (logits[k * lanes->class_stride] == work->best[i] && k != call->background) {
            take_pair(s, k, work->best[i], score, run->order + (uint64_t)(i * call->classes + k));
            return;
        }
}

static void take_best_lanes(fx_selector *s, const anchor_lanes *lanes, const anchor_run *run,
                            anchor_work *work) {
    const fx_selection *call = s->call;
    const mask all = v_equal(v_zero(), v_zero());
    lanes_seen seen = {{all, all}, v_zero()};
    find_best(call, lanes, run->count, work, &seen);
    int has_nan = !v_mask_all(v_both(seen.ordered[0], seen.ordered[1]));
    if (has_nan) count_nan_of_lanes(s, lanes, run->count, work);
    if (call->activation == FX_AS_SCORES &&
        (has_nan || best_are_outside(call, work, run->count, &seen)) &&
        lanes_have_outside(call, lanes, run->count, work))
        s->has_outside = 1;
    for (ptrdiff_t first = 0; first < run->count; first += LANES) {
        uint32_t valid;
        vec best = lanes_vector(work->best, first, run->count, &valid);
        uint32_t bits = ~v_mask_bits(v_less(best, v_load(work->cuts + first))) & valid;
        if (!bits) continue;
        vec scores = combined_lanes(call, score_lanes(call, best), v_load(work->objects + first));
        bits &= v_mask_bits(v_less(v_set((real)call->least), scores));
        if (!bits) continue;
        real values[LANES];
        v_store(values, scores);
        for (; bits; bits &= bits - 1) {
            int lane = first_bit(bits);
            take_best_of_lane(s, lanes, run, work, first + lane, values[lane]);
        }
    }
}
