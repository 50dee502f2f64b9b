/* The order of candidates: as unsigned numbers, the best k of many, and sorted. */
#include <string.h>

#include "candidates.h"

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

double fx_score_of(const fx_selection *call, const fx_candidate *c) {
    return call->is_double ? double_of_key(c->high) : float_of_key((uint32_t)(c->high >> 32));
}
double fx_logit_of(const fx_selection *call, const fx_candidate *c) {
    return call->is_double ? double_of_key(c->low) : float_of_key((uint32_t)c->high);
}

/* The same without a branch that would be mispredicted half of the time. */
static inline ptrdiff_t is_before(const fx_candidate *a, const fx_candidate *b) {
    if (a->high == b->high) return fx_comes_before(a, b);
    return a->high > b->high;
}

static inline void swap(fx_candidate *a, fx_candidate *b) {
    fx_candidate other = *a;
    *a = *b;
    *b = other;
}

/* Bring the first k of them to the front: quickselect with the median of three, and partitions
 * without branches. */
void fx_bring_best_forward(fx_candidate *items, ptrdiff_t count, ptrdiff_t k) {
    ptrdiff_t low = 0, high = count - 1;
    while (low < high) {
        fx_candidate *a = &items[low], *b = &items[low + (high - low) / 2], *c = &items[high];
        if (fx_comes_before(b, a)) swap(a, b);
        if (fx_comes_before(c, b)) swap(b, c);
        if (fx_comes_before(b, a)) swap(a, b);
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
        for (; j > 0 && fx_comes_before(&item, &items[j - 1]); j--) items[j] = items[j - 1];
        items[j] = item;
    }
}
/* The first `limit` at most of two sorted runs, in order: how many. */
static ptrdiff_t merge_pair(const fx_candidate *a, ptrdiff_t a_count, const fx_candidate *b,
                            ptrdiff_t b_count, ptrdiff_t limit, fx_candidate *to) {
    ptrdiff_t i = 0, j = 0, place = 0;
    if (a_count + b_count < limit) limit = a_count + b_count;
    while (i < a_count && j < b_count && place < limit) {
        int second = fx_comes_before(&b[j], &a[i]);
        to[place++] = second ? b[j] : a[i];
        i += !second;
        j += second;
    }
    while (i < a_count && place < limit) to[place++] = a[i++];
    while (j < b_count && place < limit) to[place++] = b[j++];
    return place;
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
            merge_pair(from + start, middle - start, from + middle, stop - middle, count,
                       to + start);
        }
        fx_candidate *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
}

ptrdiff_t fx_merge_runs(fx_candidate *items, ptrdiff_t *lengths, ptrdiff_t runs, ptrdiff_t limit,
                        fx_candidate *memory) {
    fx_candidate *from = items, *to = memory;
    if (runs == 0) return 0;
    for (; runs > 1; runs = (runs + 1) / 2) {
        ptrdiff_t read = 0, written = 0;
        for (ptrdiff_t run = 0; run < runs; run += 2) {
            ptrdiff_t first = lengths[run], second = run + 1 < runs ? lengths[run + 1] : 0;
            lengths[run / 2] =
                merge_pair(from + read, first, from + read + first, second, limit, to + written);
            read += first + second;
            written += lengths[run / 2];
        }
        fx_candidate *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, (size_t)lengths[0] * sizeof *items);
    return lengths[0];
}

/* Below so many, merging is faster. */
#define FX_RADIX_COUNT 64

/* What tells the scores of these candidates apart, in 16 bits: the same for some that are close. */
typedef struct {
    uint64_t least;
    int lowest, shift;
} score_digits;

static score_digits digits_of(const fx_selection *call, const fx_candidate *items,
                              ptrdiff_t count) {
    score_digits d = {UINT64_MAX, call->is_double ? 0 : 32, 0};
    uint64_t largest = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        uint64_t score = items[i].high >> d.lowest;
        if (score < d.least) d.least = score;
        if (score > largest) largest = score;
    }
    while ((largest - d.least) >> d.shift > 0xFFFF) d.shift++;
    return d;
}
static inline unsigned digits(const score_digits *d, const fx_candidate *c) {
    return (unsigned)(((c->high >> d->lowest) - d->least) >> d->shift);
}

/* Sort by the leading bits of the scores, in two passes; then those that have them in common. */
void fx_sort_candidates(const fx_selection *call, fx_candidate *items, ptrdiff_t count,
                        fx_candidate *memory) {
    if (count < FX_RADIX_COUNT) {
        merge_into_order(items, count, memory);
        return;
    }
    const score_digits d = digits_of(call, items, count);
    ptrdiff_t places[2][256] = {{0}}, start[2] = {0};
    for (ptrdiff_t i = 0; i < count; i++) {
        unsigned of_item = digits(&d, &items[i]);
        places[0][of_item & 255]++;
        places[1][of_item >> 8]++;
    }
    for (int digit = 255; digit >= 0; digit--)
        for (int pass = 0; pass < 2; pass++) {
            ptrdiff_t length = places[pass][digit];
            places[pass][digit] = start[pass];
            start[pass] += length;
        }
    for (ptrdiff_t i = 0; i < count; i++)
        memory[places[0][digits(&d, &items[i]) & 255]++] = items[i];
    for (ptrdiff_t i = 0; i < count; i++)
        items[places[1][digits(&d, &memory[i]) >> 8]++] = memory[i];
    for (ptrdiff_t i = 0; i < count;) {
        ptrdiff_t first = i++;
        unsigned of_first = digits(&d, &items[first]);
        while (i < count && digits(&d, &items[i]) == of_first) i++;
        if (i - first > 1) merge_into_order(items + first, i - first, memory);
    }
}
