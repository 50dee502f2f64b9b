/* What the objectness of anchors leaves to compute. A product with it cannot exceed it, so that
 * most anchors end here, after one comparison; the others have a cut of their own. */
/* Logits that reach the smallest threshold, given these objectness scores; some ULP are left, for
 * the product decides. */
FX_CALLED vec cuts_for(const fx_selection *call, vec objects) {
    if (!(call->least > -INFINITY)) return v_set((real)-INFINITY);
    vec least = v_set((real)call->least);
    vec quotient = v_div(least, objects);
    if (call->combine == FX_ROOTS) quotient = v_mul(quotient, least);
    quotient = v_min(v_set((real)(1 - 0x1p-20)), quotient);
    /* So small, or of a negative one. */
    mask is_tiny = v_less(quotient, v_set((real)1e-30));
    quotient = v_select(is_tiny, v_set((real)0.5), quotient);
    vec cut = v_mul(quotient, v_set((real)(1 - 1e-5)));
    if (call->activation != FX_AS_SCORES) {
        vec logit = v_log(v_div(quotient, v_sub(v_one(), quotient)));
        cut = v_sub(v_fma(v_negative_abs(logit), v_set((real)1e-5), logit), v_set((real)1e-4));
    }
    return v_select(is_tiny, v_set((real)-INFINITY), cut);
}

/* What an objectness alone says of its anchor; whether it leaves something to compute. */
static int has_open_object(fx_selector *s, anchor_work *work, ptrdiff_t i, real o) {
    const fx_selection *call = s->call;
    real most = o, least = (real)call->least;
    if (call->combine == FX_ROOTS) most = (real)sqrt(o > 0 ? o : 0);
    work->objects[i] = o;
    if (o != o) {
        work->states[i] = FX_HAS_NAN;
        s->nan += call->classes - (call->background >= 0);
        return 0;
    }
    work->states[i] = most <= least ? FX_CLOSED : FX_OPEN;
    if (work->states[i] == FX_OPEN) return 1;
    /* Scores may be a little above 1. */
    return call->activation == FX_AS_SCORES &&
           (o < 0 || most * (real)(1 + 2 * call->margin) > least);
}

/* Of an anchor without candidates: no number reaches it, but for one where values of which none
 * counts are looked at nevertheless, since they may be no scores. */
static real closed_cut(const fx_selection *call, int state) {
    const int is_read = call->activation == FX_AS_SCORES && state == FX_HAS_NAN;
    return is_read ? (real)1e30 : (real)INFINITY;
}

/* Objectness scores of some lanes from `first` on. */
static void set_objects(fx_selector *s, anchor_work *work, ptrdiff_t first, int count,
                        vec objects) {
    int is_open[LANES], has_any = 0;
    real values[LANES];
    v_store(values, objects);
    for (int i = 0; i < count; i++) {
        is_open[i] = has_open_object(s, work, first + i, values[i]);
        has_any |= is_open[i];
    }
    v_store(work->cuts + first, has_any ? cuts_for(s->call, objects) : v_set((real)INFINITY));
    for (int i = 0; i < count; i++)
        if (!is_open[i]) work->cuts[first + i] = closed_cut(s->call, work->states[first + i]);
}

/* Lanes that are closed for sure, which most are: those below a limit, and for scores not negative.
 */
FX_INLINE int all_are_closed(const fx_selection *call, vec values, vec limit) {
    mask below = v_less(values, limit);
    if (call->activation == FX_AS_SCORES)
        below = v_both(below, v_less(v_set((real)-FX_SMALLEST), values));
    return v_mask_all(below);
}
static real closing_limit(const fx_selection *call) {
    double least = call->combine == FX_ROOTS ? call->least * call->least : call->least;
    if (!(call->least > 0 && call->least < INFINITY)) return (real)-INFINITY;
    if (call->activation == FX_AS_SCORES) return (real)(least * (1 - 8 * call->margin));
    return (real)fx_low_edge(call, least);
}

/* Of the kernels' precision: a comparison for LANES of them, and scores where that leaves any. */
static void read_own_objects(fx_selector *s, anchor_work *work, ptrdiff_t count) {
    const fx_selection *call = s->call;
    const real *numbers = (const real *)work->numbers;
    exp_constants constants = make_exp_constants();
    vec limit = v_set(closing_limit(call));
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        ptrdiff_t left = count - first;
        vec values = v_load(numbers + first);
        if (left >= LANES && all_are_closed(call, values, limit)) {
            memset(work->states + first, FX_CLOSED, LANES);
            v_store(work->cuts + first, v_set((real)INFINITY));
            continue;
        }
        vec objects = call->activation == FX_AS_SCORES ? values : v_sigmoid(values, &constants);
        set_objects(s, work, first, left < LANES ? (int)left : LANES, objects);
    }
}

static void read_other_objects(fx_selector *s, const fx_level *level, anchor_work *work,
                               ptrdiff_t count) {
    const fx_selection *call = s->call;
    const int is_double = level->object_type == FX_FLOAT64;
    if (call->activation != FX_AS_SCORES)
        call->object_kernels->sigmoid(work->numbers, work->numbers, count, 0);
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        real objects[LANES] = {0};
        int length = count - first < LANES ? (int)(count - first) : LANES;
        for (int i = 0; i < length; i++)
            objects[i] = (real)(is_double ? work->numbers[first + i]
                                          : ((const float *)work->numbers)[first + i]);
        set_objects(s, work, first, length, v_load(objects));
    }
}

static void read_objects(fx_selector *s, const fx_level *level, const char *source,
                         ptrdiff_t stride, ptrdiff_t count, anchor_work *work) {
    const fx_selection *call = s->call;
    if (call->combine == FX_NO_OBJECTS) {
        real cut = (real)fx_low_edge(call, call->least);
        for (ptrdiff_t i = 0; i < count; i++) {
            work->cuts[i] = cut;
            work->objects[i] = 1;
            work->states[i] = FX_OPEN;
        }
        return;
    }
    const int is_double = level->object_type == FX_FLOAT64;
    ptrdiff_t padded = (count + 15) / 16 * 16;
    const fx_strided objects = {(char *)source, stride, 0, level->object_type, count, 1};
    call->object_kernels->pack(&objects, work->numbers, padded);
    for (ptrdiff_t i = 0; call->activation == FX_AS_SCORES && i < count; i++) {
        double o = is_double ? work->numbers[i] : ((const float *)work->numbers)[i];
        s->has_outside |= (o < -call->object_margin) | (o > 1 + call->object_margin);
    }
    if (is_double == FX_DOUBLE)
        read_own_objects(s, work, count);
    else
        read_other_objects(s, level, work, count);
}
