/* Anchor by anchor: where an objectness, the best class or a softmax belongs to an anchor as a
 * whole. Blocks have up to FX_MOST_ANCHORS of them; classes are the lanes where they lie side by
 * side, and anchors otherwise. */
#define FX_MOST_ANCHORS 1024

enum { FX_OPEN, FX_CLOSED, FX_HAS_NAN };

/* A thread's memory for a block of anchors. */
typedef struct {
    real cuts[FX_MOST_ANCHORS + LANES];      /* what a logit must reach */
    real objects[FX_MOST_ANCHORS + LANES];   /* objectness scores, or 1 */
    real best[FX_MOST_ANCHORS + LANES];      /* the largest logits, */
    real groups[FX_MOST_ANCHORS + LANES];    /* and the first of the classes that they are among */
    double numbers[FX_MOST_ANCHORS + LANES]; /* of either precision */
    /* Closed anchors have no candidate, and their NaN do not count; those of objectness are counted
     * already. */
    char states[FX_MOST_ANCHORS + LANES];
} anchor_work;

/* Some anchors that lie evenly: what is called logits, and the first in the order of candidates. */
typedef struct {
    const char *logits;
    ptrdiff_t stride, class_stride; /* in bytes */
    ptrdiff_t count;
    uint64_t order;
} anchor_run;

FX_INLINE vec combined_lanes(const fx_selection *call, vec scores, vec objects) {
    if (call->combine == FX_NO_OBJECTS) return scores;
    vec product = v_mul(scores, objects);
    return call->combine == FX_ROOTS ? v_sqrt(v_max(v_zero(), product)) : product;
}

#include "candidate_objects.h"

FX_INLINE uint32_t lanes_in_state(const anchor_work *work, ptrdiff_t first, int state) {
    uint32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (uint32_t)(work->states[first + i] == state) << i;
    return bits;
}

/* The class of the largest logit, the background and NaN left out, or -1; `stride` in reals. */
static ptrdiff_t best_class(const fx_selection *call, const real *logits, ptrdiff_t stride) {
    ptrdiff_t best = -1;
    for (ptrdiff_t k = 0; k < call->classes; k++) {
        real z = logits[k * stride];
        if (k == call->background || z != z) continue;
        if (best < 0 || z > logits[best * stride]) best = k;
    }
    return best;
}

FX_INLINE vec lanes_vector(const real *values, ptrdiff_t first, ptrdiff_t count, uint32_t *valid) {
    ptrdiff_t left = count - first;
    *valid = left < LANES ? (1u << left) - 1 : FX_ALL_LANES;
    return left < LANES ? v_load_first(values + first, (int)left, v_zero())
                        : v_load(values + first);
}

FX_INLINE vec row_vector(const real *row, ptrdiff_t k, ptrdiff_t classes, uint32_t *valid) {
    ptrdiff_t left = classes - k;
    *valid = left < LANES ? (1u << left) - 1 : FX_ALL_LANES;
    return left < LANES ? v_load_first(row + k, (int)left, v_zero()) : v_load(row + k);
}

/* The same of a row: first the maximum, then where it is. */
FX_CALLED ptrdiff_t best_class_of_row(const fx_selection *call, const real *row) {
    vec largest = v_set((real)-INFINITY);
    real lanes[LANES], most = (real)-INFINITY;
    for (ptrdiff_t k = 0; k < call->classes; k += LANES) {
        ptrdiff_t left = call->classes - k;
        vec x = left < LANES ? v_load_first(row + k, (int)left, v_set((real)-INFINITY))
                             : v_load(row + k);
        if (call->background >= k && call->background < k + LANES) {
            v_store(lanes, x);
            lanes[call->background - k] = (real)-INFINITY;
            x = v_load(lanes);
        }
        largest = v_max(x, largest);
    }
    v_store(lanes, largest);
    for (int i = 0; i < LANES; i++) most = lanes[i] > most ? lanes[i] : most;
    for (ptrdiff_t k = 0; k < call->classes; k += LANES) {
        uint32_t valid;
        vec x = row_vector(row, k, call->classes, &valid);
        uint32_t bits = v_mask_bits(v_equal(x, v_set(most))) & valid;
        if (call->background >= k && call->background < k + LANES)
            bits &= ~(1u << (call->background - k));
        if (bits) return k + first_bit(bits);
    }
    return -1;
}

/* One pair, of which the score is known. */
FX_INLINE void take_pair(fx_selector *s, ptrdiff_t label, real logit, real score, uint64_t order) {
    if (!(score > ((const real *)s->call->thresholds)[label])) return;
    s->found++;
    offer(s, label, score, logit, order);
}

/* The best class of a row whose logits are scored one by one. */
static void take_best_of_row(fx_selector *s, const real *row, real object, uint64_t order) {
    const fx_selection *call = s->call;
    ptrdiff_t label = best_class_of_row(call, row);
    if (label < 0) return;
    real scores[LANES];
    v_store(scores, combined_lanes(call, score_lanes(call, v_set(row[label])), v_set(object)));
    take_pair(s, label, row[label], scores[0], order + (uint64_t)label);
}

/* --- classes as lanes ------------------------------------------------------------------------- */

FX_CALLED void visit_row(fx_selector *s, vec x, uint32_t bits, real object, int counts_nan,
                         const lane_places *places) {
    const fx_selection *call = s->call;
    uint32_t nan = bits & ~v_mask_bits(v_equal(x, x));
    if (nan && counts_nan) count_nan(s, nan, places);
    if (call->best_only) return;
    vec scores = combined_lanes(call, score_lanes(call, x), v_set(object));
    bits &= v_mask_bits(v_less(per_lane(call->thresholds, places), scores));
    s->found += count_bits(bits);
    if (bits) offer_lanes(s, x, scores, bits, places);
}

/* One anchor that its objectness leaves open, or of whose scores some may be none. */
FX_INLINE void take_row(fx_selector *s, const anchor_run *run, const anchor_work *work,
                        ptrdiff_t i) {
    const fx_selection *call = s->call;
    const real *row = (const real *)(run->logits + i * run->stride);
    uint64_t order = run->order + (uint64_t)(i * call->classes);
    lane_places places = {order, 1, 0, 1};
    const int state = work->states[i];
    int has_any = 0;
    if (call->activation == FX_AS_SCORES && state != FX_CLOSED &&
        has_outside(call, row, call->classes, &places))
        s->has_outside = 1;
    vec cut = v_set(work->cuts[i]);
    for (ptrdiff_t k = 0; k < call->classes; k += LANES) {
        uint32_t valid;
        vec x = row_vector(row, k, call->classes, &valid);
        mask below = v_less(x, cut);
        if (v_mask_all(below)) continue;
        uint32_t bits = ~v_mask_bits(below) & valid;
        if (!bits) continue;
        has_any = 1;
        places.order = order + (uint64_t)k;
        places.label = k;
        visit_row(s, x, bits, work->objects[i], state == FX_OPEN, &places);
    }
    if (has_any && call->best_only) take_best_of_row(s, row, work->objects[i], order);
}

static void take_rows(fx_selector *s, const anchor_run *run, const anchor_work *work) {
    const vec never = v_set((real)INFINITY);
    for (ptrdiff_t first = 0; first < run->count; first += LANES) {
        uint32_t valid;
        vec cuts = lanes_vector(work->cuts, first, run->count, &valid);
        uint32_t bits = v_mask_bits(v_less(cuts, never)) & valid;
        for (; bits; bits &= bits - 1) take_row(s, run, work, first + first_bit(bits));
    }
}

/* --- anchors as lanes ------------------------------------------------------------------------- */

/* A matrix with contiguous anchors. */
typedef struct {
    const real *data;
    ptrdiff_t class_stride;
} anchor_lanes;

static void count_nan_of_lanes(fx_selector *s, const anchor_lanes *lanes, ptrdiff_t count,
                               const anchor_work *work) {
    for (ptrdiff_t k = 0; k < s->call->classes; k++) {
        const real *values = lanes->data + k * lanes->class_stride;
        if (k == s->call->background) continue;
        for (ptrdiff_t i = 0; i < count; i++)
            s->nan += values[i] != values[i] && work->states[i] == FX_OPEN;
    }
}

/* Whether any score of anchors that are not closed is none. */
static int lanes_have_outside(const fx_selection *call, const anchor_lanes *lanes, ptrdiff_t count,
                              const anchor_work *work) {
    for (ptrdiff_t k = 0; k < call->classes; k++) {
        const real *values = lanes->data + k * lanes->class_stride;
        lane_places places = {0, 0, k, 0};
        if (k == call->background || !has_outside(call, values, count, &places)) continue;
        for (ptrdiff_t i = 0; i < count; i++) {
            lane_places one = {0, 0, k, 0};
            if (work->states[i] != FX_CLOSED && has_outside(call, values + i, 1, &one)) return 1;
        }
    }
    return 0;
}

FX_CALLED void visit_class(fx_selector *s, vec x, uint32_t bits, ptrdiff_t first,
                           const anchor_work *work, const lane_places *places) {
    const fx_selection *call = s->call;
    uint32_t nan = bits & ~v_mask_bits(v_equal(x, x));
    if (nan) s->nan += count_bits(nan & lanes_in_state(work, first, FX_OPEN));
    vec scores = combined_lanes(call, score_lanes(call, x), v_load(work->objects + first));
    bits &= v_mask_bits(v_less(per_lane(call->thresholds, places), scores));
    s->found += count_bits(bits);
    if (bits) offer_lanes(s, x, scores, bits, places);
}

static void take_lanes(fx_selector *s, const anchor_lanes *lanes, const anchor_run *run,
                       const anchor_work *work) {
    const fx_selection *call = s->call;
    for (ptrdiff_t k = 0; k < call->classes; k++) {
        const real *values = lanes->data + k * lanes->class_stride;
        if (k == call->background) continue;
        for (ptrdiff_t first = 0; first < run->count; first += LANES) {
            uint32_t valid;
            vec x = lanes_vector(values, first, run->count, &valid);
            mask below = v_less(x, v_load(work->cuts + first));
            if (v_mask_all(below)) continue;
            uint32_t bits = ~v_mask_bits(below) & valid;
            lane_places places = {run->order + (uint64_t)(first * call->classes + k),
                                  (uint64_t)call->classes, k, 0};
            if (bits) visit_class(s, x, bits, first, work, &places);
        }
    }
}

#include "candidate_best.h"

/* Contiguous anchors: where they are, or copied. */
static anchor_lanes lanes_of(const fx_selection *call, const fx_level *level, const anchor_run *run,
                             real *tile) {
    anchor_lanes lanes = {(const real *)run->logits, run->class_stride / (ptrdiff_t)sizeof(real)};
    if (level->type == FX_OWN_TYPE && run->stride == sizeof(real)) return lanes;
    ptrdiff_t padded = (run->count + LANES - 1) / LANES * LANES;
    fx_strided logits = {(char *)run->logits, run->stride, run->class_stride,
                         level->type,         run->count,  call->classes};
    call->kernels->pack(&logits, tile, padded);
    lanes.data = tile;
    lanes.class_stride = padded;
    return lanes;
}

#include "candidate_softmax.h"

/* Whether classes are contiguous, and are enough to fill half a vector. */
static int lies_in_rows(const fx_selection *call, const fx_level *level) {
    return level->type == FX_OWN_TYPE && level->class_stride == sizeof(real) &&
           call->classes >= LANES / 2;
}

/* The thread's memory beyond: a tile of anchors, their scores, and a row. */
static ptrdiff_t scratch_bytes(const fx_selection *call) {
    if (!call->by_anchors) return (ptrdiff_t)sizeof(fresh_lanes);
    ptrdiff_t anchors = 0;
    for (int i = 0; i < call->level_count; i++)
        if (call->levels[i].block_size > anchors && !lies_in_rows(call, &call->levels[i]))
            anchors = call->levels[i].block_size;
    if (call->activation == FX_AS_SOFTMAXES) anchors = 3 * LANES;
    return (ptrdiff_t)sizeof(anchor_work) + 128 +
           ((anchors + LANES) * call->classes + 4 * LANES) * (ptrdiff_t)sizeof(real);
}

static void select_anchors(fx_selector *s, const fx_level *level, const char *data,
                           const char *objects, ptrdiff_t block) {
    const fx_selection *call = s->call;
    const int last = level->dimensions - 1;
    anchor_work *work = (anchor_work *)(s->scratch + (64 - (uintptr_t)s->scratch % 64));
    real *tile = (real *)(work + 1);
    ptrdiff_t position = block * level->block_size, stop = position + level->block_size;
    ptrdiff_t index[FX_MOST_DIMENSIONS], rest = position;
    if (stop > level->anchors) stop = level->anchors;
    for (int d = last; d >= 0; d--) {
        index[d] = rest % level->shape[d];
        rest /= level->shape[d];
    }
    while (position < stop) {
        anchor_run run = {data, level->strides[last], level->class_stride,
                          level->shape[last] - index[last],
                          (uint64_t)(level->first_anchor + position) * (uint64_t)call->classes};
        const char *object = objects;
        if (run.count > stop - position) run.count = stop - position;
        for (int d = 0; d <= last; d++) {
            run.logits += index[d] * level->strides[d];
            object += index[d] * level->object_strides[d];
        }
        read_objects(s, level, object, level->object_strides[last], run.count, work);
        if (call->activation == FX_AS_SOFTMAXES) {
            take_softmax(s, level, &run, work, tile);
        } else if (lies_in_rows(call, level)) {
            take_rows(s, &run, work);
        } else {
            anchor_lanes lanes = lanes_of(call, level, &run, tile);
            if (call->best_only) {
                take_best_lanes(s, &lanes, &run, work);
            } else {
                if (call->activation == FX_AS_SCORES &&
                    lanes_have_outside(call, &lanes, run.count, work))
                    s->has_outside = 1;
                take_lanes(s, &lanes, &run, work);
            }
        }
        position += run.count;
        index[last] += run.count;
        for (int d = last; d > 0 && index[d] == level->shape[d]; d--) {
            index[d] = 0;
            index[d - 1]++;
        }
    }
}
