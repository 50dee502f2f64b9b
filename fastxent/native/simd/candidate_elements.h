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

/* Vectors that are compared before a branch; and those whose lanes fill a word of bits. */
#define FX_WORD (64 / LANES)
#if defined(FX_ISA_AVX512)
#define FX_GROUP 8
#else
#define FX_GROUP FX_WORD
#endif
/* Words that are made, without a branch, before any is looked at. */
#define FX_CHUNK_WORDS 32

/* What did not lie below the one cut of a run, in the order of the run. */
#define FX_MOST_FRESH 512
typedef struct {
    real logits[FX_MOST_FRESH + FX_CHUNK_WORDS * 64 + LANES];
    int32_t numbers[FX_MOST_FRESH + FX_CHUNK_WORDS * 64 + LANES]; /* in the run */
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

/* Which of 64 elements do not lie below the cut. */
FX_INLINE uint64_t kept_bits(const vec *group, vec cut) {
    uint64_t below = 0;
    for (int v = 0; v < FX_WORD; v++)
        below |= (uint64_t)(v_mask_bits(v_less(group[v], cut)) & FX_ALL_LANES) << v * LANES;
    return ~below;
}
FX_INLINE void keep_bits(fresh_lanes *fresh, const real *x, ptrdiff_t first, uint64_t bits) {
    ptrdiff_t count = fresh->count;
    for (; bits; bits &= bits - 1) {
        ptrdiff_t i = first + first_bit_of_64(bits);
        fresh->logits[count] = x[i];
        fresh->numbers[count++] = (int32_t)i;
    }
    fresh->count = count;
}

/* Few of which are kept: a group of vectors, and a branch. */
FX_INLINE ptrdiff_t visit_group(fresh_lanes *fresh, const real *x, ptrdiff_t i, vec cut) {
    vec group[FX_GROUP];
    for (int v = 0; v < FX_GROUP; v++) group[v] = v_load(x + i + v * LANES);
    mask below = v_less(group[0], cut), others = v_less(group[1], cut);
    for (int v = 2; v < FX_GROUP; v += 2) {
        below = v_also_less(below, group[v], cut);
        others = v_also_less(others, group[v + 1], cut);
    }
    if (!v_mask_all(v_both(below, others)))
        for (int v = 0; v < FX_GROUP; v += FX_WORD)
            keep_bits(fresh, x, i + v * LANES, kept_bits(group + v, cut));
    return i + FX_GROUP * LANES;
}

/* How many elements lie above the edges of a threshold; one edge, or two that differ. */
typedef struct {
    vec low, high;
    lane_counts above_low, above_high;
} edge_counts;

/* Where elements are counted, words cost little more, and branches that go either way are saved. */
FX_INLINE ptrdiff_t count_chunk(fresh_lanes *fresh, const real *x, ptrdiff_t i, ptrdiff_t stop,
                                vec cut, edge_counts *counts, const int has_two) {
    uint64_t words[FX_CHUNK_WORDS + 1];
    ptrdiff_t places[FX_CHUNK_WORDS + 1];
    edge_counts now = *counts;
    int word_count = 0;
    if (stop - i > FX_CHUNK_WORDS * 64) stop = i + FX_CHUNK_WORDS * 64;
    for (; i + 64 <= stop; i += 64) {
        vec group[FX_WORD];
        for (int v = 0; v < FX_WORD; v++) {
            group[v] = v_load(x + i + v * LANES);
            now.above_low = counts_add(now.above_low, v_less(now.low, group[v]));
            if (has_two) now.above_high = counts_add(now.above_high, v_less(now.high, group[v]));
        }
        words[word_count] = kept_bits(group, cut);
        places[word_count] = i;
        word_count += words[word_count] != 0;
    }
    *counts = now;
    for (int w = 0; w < word_count; w++) keep_bits(fresh, x, places[w], words[w]);
    return i;
}

/* How a run counts what passes the threshold: what it visits; once the cut has risen, all that lies
 * above the edge, or, where there are two, what lies above both and the scores between. */
enum { FX_BY_VISIT, FX_BY_EDGE, FX_BY_EDGES };

/* Whole groups of vectors with one cut, until that rises or the run ends: how many elements. */
FX_INLINE ptrdiff_t scan_groups(fx_selector *s, const real *x, ptrdiff_t count,
                                const lane_places *places, const int counting) {
    const ptrdiff_t label = places->varies ? 0 : places->label, rises = s->rises;
    const int has_two = counting == FX_BY_EDGES;
    vec cut = v_set(((const real *)s->cuts)[label]);
    edge_counts counts = {v_set(((const real *)s->counted_lows)[label]),
                          v_set(((const real *)s->counted_highs)[label]), no_counts(), no_counts()};
    fresh_lanes *fresh = (fresh_lanes *)s->scratch;
    ptrdiff_t i = 0;
    fresh->count = 0;
    while (i + FX_GROUP * LANES <= count && s->rises == rises) {
        i = counting == FX_BY_VISIT ? visit_group(fresh, x, i, cut)
                                    : count_chunk(fresh, x, i, count, cut, &counts, has_two);
        if (fresh->count >= FX_MOST_FRESH) take_fresh(s, fresh, places, counting != FX_BY_VISIT);
    }
    take_fresh(s, fresh, places, counting != FX_BY_VISIT);
    if (counting == FX_BY_VISIT) return i;
    ptrdiff_t found = counts_total(counts.above_low);
    if (has_two && found != counts_total(counts.above_high)) {
        found = 0;
        for (ptrdiff_t j = 0; j < i; j += LANES)
            found += count_lanes(s, v_load(x + j), counts.low, counts.high, FX_ALL_LANES, places);
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
        real low = ((const real *)s->counted_lows)[label];
        ptrdiff_t step;
        if (call->takes_all || !(low < INFINITY))
            step = scan_groups(s, x + i, count - i, &places, FX_BY_VISIT);
        else if (low == ((const real *)s->counted_highs)[label])
            step = scan_groups(s, x + i, count - i, &places, FX_BY_EDGE);
        else
            step = scan_groups(s, x + i, count - i, &places, FX_BY_EDGES);
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
