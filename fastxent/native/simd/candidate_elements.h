/* Logits one after the other as they lie in memory, of which each is scored alone: candidates with
 * several labels of an anchor, and without objectness.
 *
 * A group of vectors is compared with a cut. What does not lie below it, NaN included, is scored;
 * the others are only counted, once the cut has risen above the threshold. */
#define FX_ELEMENT_CHUNK 1024 /* converted or gathered at a time */

/* Lanes that do not lie below the cut. `counted` are those that were counted already. */
FX_CALLED void visit_lanes(fx_selector *s, vec x, uint32_t bits, uint32_t counted,
                           const lane_places *places) {
    const fx_selection *call = s->call;
    uint32_t nan = bits & ~v_mask_bits(v_equal(x, x));
    vec scores = score_lanes(call, x), thresholds = per_lane(call->thresholds, places);
    uint32_t passing = bits & v_mask_bits(v_less(thresholds, scores));
    if (nan) count_nan(s, nan, places);
    if (call->takes_all)
        s->found -= count_bits(nan & v_mask_bits(v_less(thresholds, v_set((real)INFINITY))));
    else
        s->found += count_bits(passing & ~counted);
    if (passing) offer_lanes(s, x, scores, passing, places);
}

/* Count the lanes whose scores pass; between the edges their scores decide. */
FX_INLINE uint32_t count_lanes(fx_selector *s, vec x, vec lows, vec highs, uint32_t valid,
                               const lane_places *places) {
    uint32_t above = v_mask_bits(v_less(lows, x)) & valid;
    uint32_t unsure = above & ~v_mask_bits(v_less(highs, x));
    if (unsure) {
        vec thresholds = per_lane(s->call->thresholds, places);
        above &= ~unsure | v_mask_bits(v_less(thresholds, score_lanes(s->call, x)));
    }
    return (uint32_t)count_bits(above);
}

/* One vector, of which the `valid` lanes are there. */
FX_CALLED void scan_vector(fx_selector *s, vec x, uint32_t valid, const lane_places *places) {
    vec lows = per_lane(s->counted_lows, places), highs = per_lane(s->counted_highs, places);
    uint32_t counted = v_mask_bits(v_less(lows, v_set((real)INFINITY)));
    uint32_t bits = ~v_mask_bits(v_less(x, per_lane(s->cuts, places))) & valid;
    if (counted && !s->call->takes_all) s->found += count_lanes(s, x, lows, highs, valid, places);
    if (bits) visit_lanes(s, x, bits, counted, places);
}

FX_INLINE void advance(const fx_selection *call, lane_places *places, int lanes) {
    places->order += (uint64_t)lanes * places->step;
    if (!places->varies) return;
    places->label += lanes;
    if (places->label >= call->classes) places->label %= call->classes;
}

/* Vectors that are compared before a branch. */
#if defined(FX_ISA_AVX512)
#define FX_GROUP 8
#else
#define FX_GROUP 4
#endif

/* What did not lie below the one cut of a run, in the order of the run. */
#define FX_MOST_FRESH 1024
typedef struct {
    real logits[FX_MOST_FRESH + (FX_GROUP + 1) * LANES];
    int32_t numbers[FX_MOST_FRESH + (FX_GROUP + 1) * LANES]; /* in the run */
    ptrdiff_t count;
} fresh_lanes;

FX_INLINE uint64_t order_of(const lane_places *places, int32_t number) {
    return places->order + (uint64_t)number * places->step;
}

FX_CALLED void take_fresh(fx_selector *s, fresh_lanes *fresh, const lane_places *places,
                          int is_counted) {
    const fx_selection *call = s->call;
    const ptrdiff_t label = places->varies ? 0 : places->label;
    vec threshold = v_set(((const real *)call->thresholds)[label]);
    const fx_best *best = &s->best[call->per_class ? label : 0];
    const int may_return = ((const real *)call->thresholds)[label] < INFINITY;
    for (ptrdiff_t i = 0; i < fresh->count; i += LANES) {
        ptrdiff_t left = fresh->count - i;
        uint32_t valid = left < LANES ? (1u << left) - 1 : FX_ALL_LANES;
        vec x = v_load(fresh->logits + i), scores = score_lanes(call, x);
        uint32_t nan = valid & ~v_mask_bits(v_equal(x, x));
        uint32_t bits = valid & v_mask_bits(v_less(threshold, scores));
        if (label != call->background) s->nan += count_bits(nan);
        if (call->takes_all)
            s->found -= may_return ? count_bits(nan) : 0;
        else if (!is_counted)
            s->found += count_bits(bits);
        bits &= lanes_to_offer(best, x, scores, order_of(places, fresh->numbers[i]));
        if (!bits) continue;
        real values[LANES];
        v_store(values, scores);
        for (; bits; bits &= bits - 1) {
            int j = first_bit(bits);
            offer(s, label, values[j], fresh->logits[i + j],
                  order_of(places, fresh->numbers[i + j]));
        }
    }
    fresh->count = 0;
}

/* Whole groups of vectors with one cut, until that rises or the run ends: how many elements. */
FX_INLINE ptrdiff_t scan_groups(fx_selector *s, const real *x, ptrdiff_t count,
                                const lane_places *places, const int counts) {
    const ptrdiff_t label = places->varies ? 0 : places->label, rises = s->rises;
    vec cut = v_set(((const real *)s->cuts)[label]);
    vec low = v_set(((const real *)s->counted_lows)[label]);
    vec high = v_set(((const real *)s->counted_highs)[label]);
    lane_counts above_low = no_counts(), above_high = no_counts();
    fresh_lanes *fresh = (fresh_lanes *)s->scratch;
    ptrdiff_t i = 0;
    fresh->count = 0;
    for (; i + FX_GROUP * LANES <= count && s->rises == rises; i += FX_GROUP * LANES) {
        vec group[FX_GROUP];
        for (int v = 0; v < FX_GROUP; v++) group[v] = v_load(x + i + v * LANES);
        for (int v = 0; counts && v < FX_GROUP; v++) {
            above_low = counts_add(above_low, v_less(low, group[v]));
            above_high = counts_add(above_high, v_less(high, group[v]));
        }
        mask below = v_less(group[0], cut), others = v_less(group[1], cut);
        for (int v = 2; v < FX_GROUP; v += 2) {
            below = v_also_less(below, group[v], cut);
            others = v_also_less(others, group[v + 1], cut);
        }
        if (v_mask_all(v_both(below, others))) continue;
        for (int v = 0; v < FX_GROUP; v++) {
            uint32_t bits = ~v_mask_bits(v_less(group[v], cut)) & FX_ALL_LANES;
            if (!bits) continue;
            append_lanes(fresh->logits + fresh->count, fresh->numbers + fresh->count, group[v],
                         bits, (int32_t)(i + v * LANES));
            fresh->count += count_bits(bits);
        }
        if (fresh->count >= FX_MOST_FRESH) take_fresh(s, fresh, places, counts);
    }
    take_fresh(s, fresh, places, counts);
    if (!counts) return i;
    ptrdiff_t found = counts_total(above_low);
    if (found != counts_total(above_high)) {
        found = 0;
        for (ptrdiff_t j = 0; j < i; j += LANES)
            found += count_lanes(s, v_load(x + j), low, high, FX_ALL_LANES, places);
    }
    s->found += found;
    return i;
}

/* Whether one cut is all there is to know of a run. */
FX_INLINE int has_one_cut(const fx_selection *call, const lane_places *places) {
    return !places->varies || (call->is_even && !call->per_class);
}

static void scan_run(fx_selector *s, const real *x, ptrdiff_t count, lane_places places) {
    const fx_selection *call = s->call;
    ptrdiff_t i = 0;
    while (has_one_cut(call, &places) && i + FX_GROUP * LANES <= count) {
        ptrdiff_t label = places.varies ? 0 : places.label;
        int counts = !call->takes_all && ((const real *)s->counted_lows)[label] < INFINITY;
        ptrdiff_t step = counts ? scan_groups(s, x + i, count - i, &places, 1)
                                : scan_groups(s, x + i, count - i, &places, 0);
        i += step;
        places.order += (uint64_t)step * places.step;
        if (places.varies) places.label = (places.label + step) % call->classes;
    }
    for (; i + LANES <= count; i += LANES) {
        scan_vector(s, v_load(x + i), FX_ALL_LANES, &places);
        advance(call, &places, LANES);
    }
    if (i < count) {
        int left = (int)(count - i);
        scan_vector(s, v_load_first(x + i, left, v_zero()), (1u << left) - 1, &places);
    }
}

/* Of values that are scores already, whether any lies outside [0, 1]. */
FX_CALLED int has_outside(const fx_selection *call, const real *x, ptrdiff_t count,
                          const lane_places *places) {
    vec least = v_zero(), largest = v_zero();
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        vec values = v_load(x + i); /* what is NaN leaves the others */
        least = v_min(values, least);
        largest = v_max(values, largest);
    }
    if (i < count) {
        vec values = v_load_first(x + i, (int)(count - i), v_zero());
        least = v_min(values, least);
        largest = v_max(values, largest);
    }
    vec lowest = v_set((real)-call->margin), highest = v_set((real)(1 + call->margin));
    uint32_t outside = v_mask_bits(v_less(least, lowest)) | v_mask_bits(v_less(highest, largest));
    if (!outside || call->background < 0) return outside != 0;
    for (i = 0; i < count; i++) {
        ptrdiff_t label = places->label + (places->varies ? i : 0);
        if (label % call->classes == call->background) continue;
        if (x[i] < (real)-call->margin || x[i] > (real)(1 + call->margin)) return 1;
    }
    return 0;
}

/* How many of these elements may be returned. */
static ptrdiff_t count_returned(const fx_selection *call, ptrdiff_t count,
                                const lane_places *places) {
    const real *thresholds = (const real *)call->thresholds;
    if (!places->varies) return thresholds[places->label] < INFINITY ? count : 0;
    if (call->is_even) return count;
    ptrdiff_t returned = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        returned += thresholds[(places->label + i) % call->classes] < INFINITY;
    return returned;
}

static void take_run(fx_selector *s, const real *x, ptrdiff_t count, const lane_places *places) {
    const fx_selection *call = s->call;
    if (call->activation == FX_AS_SCORES && has_outside(call, x, count, places)) s->has_outside = 1;
    if (call->takes_all) s->found += count_returned(call, count, places);
    scan_run(s, x, count, *places);
}

/* A run of elements that have to be converted or gathered first. */
static void take_converted_run(fx_selector *s, const fx_level *level, const char *source,
                               ptrdiff_t stride, ptrdiff_t count, lane_places places) {
    const fx_selection *call = s->call;
    real chunk[FX_ELEMENT_CHUNK];
    for (ptrdiff_t i = 0; i < count; i += FX_ELEMENT_CHUNK) {
        ptrdiff_t length = count - i < FX_ELEMENT_CHUNK ? count - i : FX_ELEMENT_CHUNK;
        fx_strided scattered = {(char *)source + i * stride, stride, 0, level->type, length, 1};
        if (stride == 2)
            call->kernels->widen(source + i * stride, level->type, length, chunk);
        else
            call->kernels->pack(&scattered, chunk, length);
        take_run(s, chunk, length, &places);
        places.order += (uint64_t)length * places.step;
        if (places.varies) places.label = (places.label + length) % call->classes;
    }
}

static void select_elements(fx_selector *s, const fx_level *level, const char *data,
                            ptrdiff_t block) {
    const fx_selection *call = s->call;
    const int last = level->element_dimensions - 1;
    ptrdiff_t position = block * level->block_size, index[FX_MOST_DIMENSIONS];
    ptrdiff_t stop = level->anchors * call->classes;
    if (position + level->block_size < stop) stop = position + level->block_size;
    ptrdiff_t rest = position;
    for (int d = last; d >= 0; d--) {
        index[d] = rest % level->element_shape[d];
        rest /= level->element_shape[d];
    }
    while (position < stop) {
        ptrdiff_t run = level->element_shape[last] - index[last];
        if (run > stop - position) run = stop - position;
        const char *source = data;
        lane_places places = {(uint64_t)level->first_anchor * (uint64_t)call->classes,
                              (uint64_t)level->orders[last], 0, 0};
        for (int d = 0; d <= last; d++) {
            source += index[d] * level->element_strides[d];
            places.order += (uint64_t)(index[d] * level->orders[d]);
        }
        places.label = (ptrdiff_t)(places.order % (uint64_t)call->classes);
        places.varies = places.step % (uint64_t)call->classes != 0;
        if (level->type == FX_OWN_TYPE && level->element_strides[last] == sizeof(real))
            take_run(s, (const real *)source, run, &places);
        else
            take_converted_run(s, level, source, level->element_strides[last], run, places);
        position += run;
        index[last] += run;
        for (int d = last; d > 0 && index[d] == level->element_shape[d]; d--) {
            index[d] = 0;
            index[d - 1]++;
        }
    }
}
