/* The part of the selection that no instruction set has a share in: the cut, the best, the result.
 */
#include "candidates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"

FX_DECLARE_TABLES(fx_candidate_kernels, fx_candidates);

const fx_candidate_kernels *fx_candidate_kernels_of(int isa, int is_double) {
    static const fx_candidate_kernels *const tables[FX_ISAS][2] = FX_TABLES(fx_candidates);
    return tables[isa][is_double];
}

/* Write it for a class wherever that is repeated. */
static void write_class(const fx_selection *call, int lanes, void *values, ptrdiff_t label,
                        double value) {
    for (ptrdiff_t i = label; i < call->classes + lanes; i += call->classes)
        fx_write_real(call, values, i, value);
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

/* Whether k is the limit of parts of an image, so that their candidates have to be sorted together.
 * Those of a whole image are sorted by the threads that found them. */
static int has_groups(const fx_selection *call) { return call->per_level || call->per_class; }

static void keep(fx_selector *s, ptrdiff_t group, fx_best *best) {
    const fx_selection *call = s->call;
    if (call->top_k >= 0 && best->count > call->top_k) {
        fx_bring_best_forward(best->items, best->count, call->top_k);
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
    if (best->count > 0) {
        fx_candidate *kept = s->kept + s->kept_count;
        if (!has_groups(call)) fx_sort_candidates(call, best->items, best->count, kept);
        memcpy(kept, best->items, (size_t)best->count * sizeof *kept);
    }
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
        if (!(fx_read_real(call, call->thresholds, c) < INFINITY)) continue;
        if (!(cut > fx_read_real(call, call->highs, c)) || !(cut > fx_read_real(call, s->cuts, c)))
            continue;
        write_class(call, lanes, s->cuts, c, cut);
        write_class(call, lanes, s->counted_lows, c, fx_read_real(call, call->lows, c));
        write_class(call, lanes, s->counted_highs, c, fx_read_real(call, call->highs, c));
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
    memcpy(s->cuts, call->lows, fx_edge_bytes(call, lanes) / 3);
    for (ptrdiff_t i = 0; i < call->classes + lanes; i++) {
        fx_write_real(call, s->counted_lows, i, INFINITY);
        fx_write_real(call, s->counted_highs, i, INFINITY);
    }
    if (call->top_k != 0) return;
    for (ptrdiff_t g = 0; g < (call->per_class ? call->classes : 1); g++) raise_cut(s, g, INFINITY);
}

/* Leave the k best; the cut rises to where a logit would have to lie to be one of them. */
static void settle(fx_selector *s, ptrdiff_t group, fx_best *best) {
    const fx_selection *call = s->call;
    ptrdiff_t k = call->top_k;
    fx_bring_best_forward(best->items, best->count, k);
    best->count = k;
    best->is_full = 1;
    best->worst = best->items[0];
    for (ptrdiff_t i = 1; i < k; i++)
        if (fx_comes_before(&best->worst, &best->items[i])) best->worst = best->items[i];
    double score = fx_score_of(call, &best->worst), logit = fx_logit_of(call, &best->worst);
    best->worst_score = score;
    best->worst_logit = logit;
    if (call->by_anchors) return;
    double cut = call->activation == FX_AS_SCORES ? score : fx_low_edge(call, score);
    if (call->activation == FX_AS_SIGMOIDS && score == 1 && logit > cut) cut = logit;
    raise_cut(s, group, cut);
}

/* Candidates of which a thread makes room for at first, and beyond k at least. */
#define FX_FIRST_ROOM 1024
#define FX_FIRST_ROOM_OF_CLASS 256
#define FX_LEAST_SURPLUS 1024
#define FX_LEAST_SURPLUS_OF_CLASS 128

int fx_make_room(fx_selector *s, ptrdiff_t group, const fx_candidate *c) {
    const fx_selection *call = s->call;
    const ptrdiff_t k = call->top_k;
    ptrdiff_t surplus = call->per_class ? FX_LEAST_SURPLUS_OF_CLASS : FX_LEAST_SURPLUS;
    if (k > surplus) surplus = k;
    ptrdiff_t most = k < 0 ? PTRDIFF_MAX : k + surplus;
    fx_best *best = &s->best[group];
    if (k == 0) return 0;
    if (best->count >= most) {
        settle(s, group, best);
        return fx_comes_before(c, &best->worst);
    }
    ptrdiff_t least = call->per_class ? FX_FIRST_ROOM_OF_CLASS : FX_FIRST_ROOM;
    ptrdiff_t room = best->room < least ? least : 2 * best->room;
    if (room > most) room = most;
    void *moved = realloc(best->items, (size_t)room * sizeof *c);
    if (!moved) {
        s->has_failed = 1;
        return 0;
    }
    best->items = (fx_candidate *)moved;
    best->room = room;
    return 1;
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

/* The segments of all selectors, those of an image and of a group of it together; their counts. */
static void order_places(const fx_selector *selectors, int count, fx_place *places,
                         ptrdiff_t *found, ptrdiff_t *nan) {
    ptrdiff_t number = 0;
    for (int i = 0; i < count; i++)
        for (ptrdiff_t j = 0; j < selectors[i].segment_count; j++) {
            const fx_segment *segment = &selectors[i].segments[j];
            fx_place place = {segment, selectors[i].kept + segment->start};
            places[number++] = place;
            found[segment->image] += segment->found;
            nan[segment->image] += segment->nan;
        }
    qsort(places, (size_t)number, sizeof *places, compare_places);
}

/* Of no candidates the place may be NULL, which memcpy does not allow. */
static void copy_candidates(fx_candidate *items, const fx_candidate *source, ptrdiff_t count) {
    if (count > 0) memcpy(items, source, (size_t)count * sizeof *items);
}

/* Put the segments of an image together, in order, with as much memory once more; how many. */
static ptrdiff_t join_groups(const fx_selection *call, const fx_place *places, ptrdiff_t count,
                             fx_candidate *items, fx_candidate *memory) {
    ptrdiff_t stop = 0;
    for (ptrdiff_t i = 0; i < count;) {
        const ptrdiff_t first = stop, group = places[i].segment->group;
        for (; i < count && places[i].segment->group == group; i++) {
            copy_candidates(items + stop, places[i].items, places[i].segment->count);
            stop += places[i].segment->count;
        }
        if (call->top_k >= 0 && stop - first > call->top_k) {
            fx_bring_best_forward(items + first, stop - first, call->top_k);
            stop = first + call->top_k;
        }
    }
    fx_sort_candidates(call, items, stop, memory);
    return stop;
}
static ptrdiff_t join_sorted(const fx_selection *call, const fx_place *places, ptrdiff_t count,
                             fx_candidate *items, fx_candidate *memory, ptrdiff_t *lengths) {
    ptrdiff_t stop = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        lengths[i] = places[i].segment->count;
        copy_candidates(items + stop, places[i].items, lengths[i]);
        stop += lengths[i];
    }
    return fx_merge_runs(items, lengths, count, call->top_k < 0 ? stop : call->top_k, memory);
}

int fx_join(const fx_selection *call, const fx_selector *selectors, int count, fx_union *all,
            ptrdiff_t *found, ptrdiff_t *nan) {
    ptrdiff_t segments = 0, total = 0, longest = 0, stop = 0, next = 0;
    for (int i = 0; i < count; i++) {
        segments += selectors[i].segment_count;
        total += selectors[i].kept_count;
    }
    fx_place *places = (fx_place *)malloc((size_t)(segments + 1) * sizeof *places);
    ptrdiff_t *lengths = (ptrdiff_t *)malloc((size_t)(segments + 1) * sizeof *lengths);
    fx_candidate *memory = NULL;
    all->items = (fx_candidate *)malloc((size_t)(total + 1) * sizeof *all->items);
    all->images = (ptrdiff_t *)malloc((size_t)(call->images + 1) * sizeof *all->images);
    if (places && lengths && all->items && all->images) {
        order_places(selectors, count, places, found, nan);
        for (ptrdiff_t i = 0, length = 0; i < segments; i++) {
            if (i > 0 && places[i].segment->image != places[i - 1].segment->image) length = 0;
            length += places[i].segment->count;
            if (length > longest) longest = length;
        }
        memory = (fx_candidate *)malloc((size_t)(longest + 1) * sizeof *memory);
    }
    for (ptrdiff_t image = 0; memory && image < call->images; image++) {
        const ptrdiff_t first = next;
        all->images[image] = stop;
        while (next < segments && places[next].segment->image == image) next++;
        if (has_groups(call))
            stop += join_groups(call, places + first, next - first, all->items + stop, memory);
        else
            stop +=
                join_sorted(call, places + first, next - first, all->items + stop, memory, lengths);
    }
    if (memory) all->images[call->images] = all->count = stop;
    const int status = memory ? 0 : -1;
    free(places);
    free(lengths);
    free(memory);
    return status;
}

void fx_write_candidates(const fx_selection *call, const fx_union *all, ptrdiff_t *images,
                         ptrdiff_t *anchors, ptrdiff_t *labels, void *scores) {
    for (ptrdiff_t image = 0; image < call->images; image++)
        for (ptrdiff_t i = all->images[image]; i < all->images[image + 1]; i++) {
            const fx_candidate *c = &all->items[i];
            images[i] = image;
            anchors[i] = (ptrdiff_t)(c->order / (uint64_t)call->classes);
            labels[i] = (ptrdiff_t)c->order - anchors[i] * call->classes;
            fx_write_real(call, scores, i, fx_score_of(call, c));
        }
}
