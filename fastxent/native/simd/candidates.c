/* The part of the selection that no instruction set has a share in: order, the best k, the cut. */
#include "candidates.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"

extern const fx_candidate_kernels fx_candidates_baseline_float, fx_candidates_baseline_double;
#if FX_HAS_X86_TARGETS
extern const fx_candidate_kernels fx_candidates_avx2_float, fx_candidates_avx2_double;
extern const fx_candidate_kernels fx_candidates_avx512_float, fx_candidates_avx512_double;
#endif

const fx_candidate_kernels *fx_candidate_kernels_of(int isa, int is_double) {
#if FX_HAS_X86_TARGETS
    if (isa == FX_AVX512)
        return is_double ? &fx_candidates_avx512_double : &fx_candidates_avx512_float;
    if (isa == FX_AVX2) return is_double ? &fx_candidates_avx2_double : &fx_candidates_avx2_float;
#endif
    (void)isa;
    return is_double ? &fx_candidates_baseline_double : &fx_candidates_baseline_float;
}

/* --- order ------------------------------------------------------------------------------------ */

/* Unsigned numbers in the order of floats; -0 is 0. */
static uint32_t float_key(float x) {
    uint32_t bits;
    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
static uint64_t double_key(double x) {
    uint64_t bits;
    x += 0.0;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}
static float float_of_key(uint32_t key) {
    uint32_t bits = key >> 31 ? key & 0x7FFFFFFFu : ~key;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static double double_of_key(uint64_t key) {
    uint64_t bits = key >> 63 ? key & ~((uint64_t)1 << 63) : ~key;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static fx_candidate candidate_of(const fx_selection *call, double score, double logit,
                                 uint64_t order) {
    fx_candidate c = {0, 0, order};
    if (call->is_double) {
        c.high = double_key(score);
        c.low = double_key(logit);
    } else {
        c.high = (uint64_t)float_key((float)score) << 32 | float_key((float)logit);
    }
    return c;
}
static double score_of(const fx_selection *call, const fx_candidate *c) {
    return call->is_double ? double_of_key(c->high) : float_of_key((uint32_t)(c->high >> 32));
}
static double logit_of(const fx_selection *call, const fx_candidate *c) {
    return call->is_double ? double_of_key(c->low) : float_of_key((uint32_t)c->high);
}

static inline int comes_before(const fx_candidate *a, const fx_candidate *b) {
    if (a->high != b->high) return a->high > b->high;
    if (a->low != b->low) return a->low > b->low;
    return a->order < b->order;
}
/* The same without a branch that would be mispredicted half of the time. */
static inline ptrdiff_t is_before(const fx_candidate *a, const fx_candidate *b) {
    if (a->high == b->high) return comes_before(a, b);
    return a->high > b->high;
}

static inline void swap(fx_candidate *a, fx_candidate *b) {
    fx_candidate other = *a;
    *a = *b;
    *b = other;
}

/* Bring the first k of them to the front: quickselect with the median of three, and partitions
 * without branches. */
static void bring_best_forward(fx_candidate *items, ptrdiff_t count, ptrdiff_t k) {
    ptrdiff_t low = 0, high = count - 1;
    while (low < high) {
        fx_candidate *a = &items[low], *b = &items[low + (high - low) / 2], *c = &items[high];
        if (comes_before(b, a)) swap(a, b);
        if (comes_before(c, b)) swap(b, c);
        if (comes_before(b, a)) swap(a, b);
        swap(b, c); /* the pivot waits at the end */
        fx_candidate pivot = *c;
        ptrdiff_t place = low;
        for (ptrdiff_t i = low; i < high; i++) {
            fx_candidate item = items[i];
            items[i] = items[place];
            items[place] = item;
            place += is_before(&item, &pivot);
        }
        swap(&items[place], c);
        if (k <= place)
            high = place - 1;
        else if (k > place + 1)
            low = place + 1;
        else
            return;
    }
}

#define FX_SHORT_RUN 12
static void insert_into_order(fx_candidate *items, ptrdiff_t count) {
    for (ptrdiff_t i = 1; i < count; i++) {
        fx_candidate item = items[i];
        ptrdiff_t j = i;
        for (; j > 0 && comes_before(&item, &items[j - 1]); j--) items[j] = items[j - 1];
        items[j] = item;
    }
}
/* Merge sort with as much memory once more. */
static void merge_into_order(fx_candidate *items, ptrdiff_t count, fx_candidate *memory) {
    for (ptrdiff_t start = 0; start < count; start += FX_SHORT_RUN)
        insert_into_order(items + start,
                          count - start < FX_SHORT_RUN ? count - start : FX_SHORT_RUN);
    fx_candidate *from = items, *to = memory;
    for (ptrdiff_t run = FX_SHORT_RUN; run < count; run *= 2) {
        for (ptrdiff_t start = 0; start < count; start += 2 * run) {
            ptrdiff_t middle = start + run < count ? start + run : count;
            ptrdiff_t stop = middle + run < count ? middle + run : count;
            ptrdiff_t i = start, j = middle, place = start;
            while (i < middle && j < stop) {
                int second = comes_before(&from[j], &from[i]);
                to[place++] = second ? from[j] : from[i];
                i += !second;
                j += second;
            }
            memcpy(to + place, from + i, (middle - i) * sizeof *to);
            memcpy(to + place + middle - i, from + j, (stop - j) * sizeof *to);
        }
        fx_candidate *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
}

/* Below so many, merging is faster. */
#define FX_RADIX_COUNT 128

/* Sort by the bytes of the scores, then the ties by all else. */
static void sort_candidates(const fx_selection *call, fx_candidate *items, ptrdiff_t count,
                            fx_candidate *memory) {
    if (count < FX_RADIX_COUNT) {
        merge_into_order(items, count, memory);
        return;
    }
    const int lowest = call->is_double ? 0 : 32;
    fx_candidate *from = items, *to = memory;
    for (int shift = lowest; shift < 64; shift += 8) {
        ptrdiff_t starts[256] = {0}, start = 0;
        for (ptrdiff_t i = 0; i < count; i++) starts[from[i].high >> shift & 255]++;
        if (starts[from[0].high >> shift & 255] == count) continue;
        for (int digit = 255; digit >= 0; digit--) {
            ptrdiff_t length = starts[digit];
            starts[digit] = start;
            start += length;
        }
        for (ptrdiff_t i = 0; i < count; i++) to[starts[from[i].high >> shift & 255]++] = from[i];
        fx_candidate *other = from;
        from = to;
        to = other;
    }
    if (from != items) memcpy(items, from, (size_t)count * sizeof *items);
    for (ptrdiff_t i = 0; i < count;) {
        ptrdiff_t first = i++;
        while (i < count && items[i].high >> lowest == items[first].high >> lowest) i++;
        if (i - first > 1) merge_into_order(items + first, i - first, memory);
    }
}

/* --- edges ------------------------------------------------------------------------------------ */

/* Units in the last place that a sigmoid, a product and a quotient may be off together. */
#define FX_EDGE_ULP 16

double fx_low_edge(const fx_selection *call, double score) {
    double ulp = call->is_double ? DBL_EPSILON : FLT_EPSILON;
    double tiny = call->is_double ? 0x1p-1070 : 0x1p-145;
    double p = score - FX_EDGE_ULP * ulp * score - tiny;
    if (!(p > 0)) return -INFINITY;
    if (call->activation == FX_AS_SCORES) return p;
    if (score > 1) return INFINITY;
    double z = log(p) - log1p(-p);
    return z - FX_EDGE_ULP * ulp * (fabs(z) + 1);
}
double fx_high_edge(const fx_selection *call, double score) {
    double ulp = call->is_double ? DBL_EPSILON : FLT_EPSILON;
    double tiny = call->is_double ? 0x1p-1070 : 0x1p-145;
    if (score < 0) return -INFINITY;
    double p = score + FX_EDGE_ULP * ulp * score + tiny;
    if (call->activation == FX_AS_SCORES) return p;
    if (!(p < 1)) return INFINITY;
    double z = log(p) - log1p(-p);
    return z + FX_EDGE_ULP * ulp * (fabs(z) + 1);
}

static double read_real(const fx_selection *call, const void *values, ptrdiff_t i) {
    return call->is_double ? ((const double *)values)[i] : ((const float *)values)[i];
}
static void write_real(const fx_selection *call, void *values, ptrdiff_t i, double value) {
    if (call->is_double)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}
/* Write it for a class wherever that is repeated. */
static void write_class(const fx_selection *call, int lanes, void *values, ptrdiff_t label,
                        double value) {
    for (ptrdiff_t i = label; i < call->classes + lanes; i += call->classes)
        write_real(call, values, i, value);
}

void fx_write_edges(const fx_selection *call, int lanes, void *lows, void *highs) {
    double threshold = NAN, low = 0, high = 0;
    for (ptrdiff_t c = 0; c < call->classes; c++) {
        double next = read_real(call, call->thresholds, c);
        if (next != threshold) {
            threshold = next;
            low = fx_low_edge(call, threshold);
            high = fx_high_edge(call, threshold);
            if (threshold >= 1 && call->activation != FX_AS_SCORES) low = INFINITY;
        }
        write_class(call, lanes, lows, c, low);
        write_class(call, lanes, highs, c, high);
    }
}

/* --- one thread's candidates ------------------------------------------------------------------ */

int fx_start_selector(fx_selector *s, const fx_selection *call,
                      const fx_candidate_kernels *kernels) {
    ptrdiff_t size = (call->classes + kernels->lanes) * (call->is_double ? 8 : 4);
    ptrdiff_t groups = call->per_class ? call->classes : 1;
    memset(s, 0, sizeof *s);
    s->call = call;
    s->image = -1;
    s->best = (fx_best *)calloc((size_t)groups, sizeof *s->best);
    s->cuts = malloc((size_t)size);
    s->counted_lows = malloc((size_t)size);
    s->counted_highs = malloc((size_t)size);
    s->scratch = (char *)malloc((size_t)kernels->scratch_bytes(call));
    return s->best && s->cuts && s->counted_lows && s->counted_highs && s->scratch ? 0 : -1;
}

void fx_free_selector(fx_selector *s) {
    ptrdiff_t groups = s->call->per_class ? s->call->classes : 1;
    for (ptrdiff_t g = 0; s->best && g < groups; g++) free(s->best[g].items);
    free(s->best);
    free(s->cuts);
    free(s->counted_lows);
    free(s->counted_highs);
    free(s->scratch);
    free(s->segments);
    free(s->kept);
}

/* Make room for more items. */
static int reserve(void **items, ptrdiff_t *room, ptrdiff_t wanted, size_t size) {
    if (wanted <= *room) return 0;
    ptrdiff_t more = *room + *room / 2 > wanted ? *room + *room / 2 : wanted;
    void *moved = realloc(*items, (size_t)more * size);
    if (!moved) return -1;
    *items = moved;
    *room = more;
    return 0;
}

static void keep(fx_selector *s, ptrdiff_t group, fx_best *best) {
    const fx_selection *call = s->call;
    if (call->top_k >= 0 && best->count > call->top_k) {
        bring_best_forward(best->items, best->count, call->top_k);
        best->count = call->top_k;
    }
    if (reserve((void **)&s->segments, &s->segment_room, s->segment_count + 1,
                sizeof *s->segments) ||
        reserve((void **)&s->kept, &s->kept_room, s->kept_count + best->count, sizeof *s->kept)) {
        s->has_failed = 1;
        return;
    }
    fx_segment segment = {s->image, group, s->kept_count, best->count, s->found, s->nan};
    s->segments[s->segment_count++] = segment;
    if (best->count > 0)
        memcpy(s->kept + s->kept_count, best->items, (size_t)best->count * sizeof *best->items);
    s->kept_count += best->count;
    s->found = s->nan = best->count = 0;
    best->is_full = 0;
}

void fx_leave(fx_selector *s) {
    const fx_selection *call = s->call;
    if (s->image < 0) return;
    ptrdiff_t groups = call->per_class ? call->classes : 1;
    for (ptrdiff_t g = 0; g < groups; g++)
        if (g == 0 || s->best[g].count > 0) keep(s, call->per_level ? s->level : g, &s->best[g]);
    s->image = -1;
}

static void raise_cut(fx_selector *s, ptrdiff_t group, double cut) {
    const fx_selection *call = s->call;
    int lanes = fx_candidate_kernels_of(FX_BASELINE, call->is_double)->lanes;
    ptrdiff_t first = call->per_class ? group : 0,
              last = call->per_class ? group + 1 : call->classes;
    /* Classes of one threshold have one cut. */
    for (ptrdiff_t c = first; c < last; c++) {
        if (!(read_real(call, call->thresholds, c) < INFINITY)) continue;
        if (!(cut > read_real(call, call->highs, c)) || !(cut > read_real(call, s->cuts, c)))
            continue;
        write_class(call, lanes, s->cuts, c, cut);
        write_class(call, lanes, s->counted_lows, c, read_real(call, call->lows, c));
        write_class(call, lanes, s->counted_highs, c, read_real(call, call->highs, c));
        s->rises++;
    }
}

void fx_enter(fx_selector *s, ptrdiff_t image, int level, int lanes) {
    const fx_selection *call = s->call;
    if (s->image == image && (s->level == level || !call->per_level)) {
        s->level = level;
        return;
    }
    fx_leave(s);
    s->image = image;
    s->level = level;
    memcpy(s->cuts, call->lows, (size_t)(call->classes + lanes) * (call->is_double ? 8 : 4));
    for (ptrdiff_t c = 0; c < call->classes; c++) {
        write_class(call, lanes, s->counted_lows, c, INFINITY);
        write_class(call, lanes, s->counted_highs, c, INFINITY);
    }
    if (call->top_k != 0) return;
    for (ptrdiff_t g = 0; g < (call->per_class ? call->classes : 1); g++) raise_cut(s, g, INFINITY);
}

/* Leave the k best; the cut rises to where a logit would have to lie to be one of them. */
static void settle(fx_selector *s, ptrdiff_t group, fx_best *best) {
    const fx_selection *call = s->call;
    ptrdiff_t k = call->top_k;
    bring_best_forward(best->items, best->count, k);
    best->count = k;
    best->is_full = 1;
    best->worst = best->items[0];
    for (ptrdiff_t i = 1; i < k; i++)
        if (comes_before(&best->worst, &best->items[i])) best->worst = best->items[i];
    double score = score_of(call, &best->worst), logit = logit_of(call, &best->worst);
    best->worst_score = score;
    best->worst_logit = logit;
    if (call->by_anchors) return;
    double cut = call->activation == FX_AS_SCORES ? score : fx_low_edge(call, score);
    if (call->activation == FX_AS_SIGMOIDS && score == 1 && logit > cut) cut = logit;
    raise_cut(s, group, cut);
}

/* Candidates of which a thread makes room for at first, and beyond k at least. */
#define FX_FIRST_ROOM 256
#define FX_LEAST_SURPLUS 1024

void fx_offer(fx_selector *s, ptrdiff_t label, double score, double logit, uint64_t order) {
    const fx_selection *call = s->call;
    ptrdiff_t group = call->per_class ? label : 0, k = call->top_k;
    fx_best *best = &s->best[group];
    if (k == 0) return;
    fx_candidate c = candidate_of(call, score, logit, order);
    if (best->is_full && !comes_before(&c, &best->worst)) return;
    if (best->count == best->room) {
        ptrdiff_t most = k < 0 ? PTRDIFF_MAX : k + (k > FX_LEAST_SURPLUS ? k : FX_LEAST_SURPLUS);
        if (best->count >= most) {
            settle(s, group, best);
            if (!comes_before(&c, &best->worst)) return;
        } else {
            ptrdiff_t room = best->room < FX_FIRST_ROOM ? FX_FIRST_ROOM : 2 * best->room;
            void *moved = realloc(best->items, (size_t)(room < most ? room : most) * sizeof c);
            if (!moved) {
                s->has_failed = 1;
                return;
            }
            best->items = (fx_candidate *)moved;
            best->room = room < most ? room : most;
        }
    }
    best->items[best->count++] = c;
}

/* --- the result ------------------------------------------------------------------------------- */

typedef struct {
    const fx_segment *segment;
    const fx_candidate *items;
} fx_place;

static int compare_places(const void *a, const void *b) {
    const fx_segment *x = ((const fx_place *)a)->segment, *y = ((const fx_place *)b)->segment;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    return (x->group > y->group) - (x->group < y->group);
}

int fx_join(const fx_selection *call, const fx_selector *selectors, int count, fx_union *all,
            ptrdiff_t *found, ptrdiff_t *nan) {
    ptrdiff_t places = 0, total = 0, longest = 0, stop = 0;
    for (int i = 0; i < count; i++) {
        places += selectors[i].segment_count;
        total += selectors[i].kept_count;
    }
    fx_place *order = (fx_place *)malloc((size_t)(places + 1) * sizeof *order);
    all->items = (fx_candidate *)malloc((size_t)(total + 1) * sizeof *all->items);
    all->images = (ptrdiff_t *)malloc((size_t)(call->images + 1) * sizeof *all->images);
    if (!order || !all->items || !all->images) {
        free(order);
        return -1;
    }
    places = 0;
    for (int i = 0; i < count; i++)
        for (ptrdiff_t j = 0; j < selectors[i].segment_count; j++) {
            const fx_segment *segment = &selectors[i].segments[j];
            fx_place place = {segment, selectors[i].kept + segment->start};
            order[places++] = place;
            found[segment->image] += segment->found;
            nan[segment->image] += segment->nan;
        }
    qsort(order, (size_t)places, sizeof *order, compare_places);
    ptrdiff_t place = 0;
    for (ptrdiff_t image = 0; image < call->images; image++) {
        all->images[image] = stop;
        while (place < places && order[place].segment->image == image) {
            ptrdiff_t first = stop, group = order[place].segment->group;
            for (; place < places && order[place].segment->image == image &&
                   order[place].segment->group == group;
                 place++) {
                memcpy(all->items + stop, order[place].items,
                       (size_t)order[place].segment->count * sizeof *all->items);
                stop += order[place].segment->count;
            }
            if (call->top_k >= 0 && stop - first > call->top_k) {
                bring_best_forward(all->items + first, stop - first, call->top_k);
                stop = first + call->top_k;
            }
        }
        if (stop - all->images[image] > longest) longest = stop - all->images[image];
    }
    all->images[call->images] = all->count = stop;
    free(order);
    fx_candidate *memory = (fx_candidate *)malloc((size_t)(longest + 1) * sizeof *memory);
    if (!memory) return -1;
    for (ptrdiff_t image = 0; image < call->images; image++)
        sort_candidates(call, all->items + all->images[image],
                        all->images[image + 1] - all->images[image], memory);
    free(memory);
    return 0;
}

void fx_write_candidates(const fx_selection *call, const fx_union *all, ptrdiff_t *images,
                         ptrdiff_t *anchors, ptrdiff_t *labels, void *scores) {
    for (ptrdiff_t image = 0; image < call->images; image++)
        for (ptrdiff_t i = all->images[image]; i < all->images[image + 1]; i++) {
            const fx_candidate *c = &all->items[i];
            images[i] = image;
            anchors[i] = (ptrdiff_t)(c->order / (uint64_t)call->classes);
            labels[i] = (ptrdiff_t)(c->order % (uint64_t)call->classes);
            write_real(call, scores, i, score_of(call, c));
        }
}
