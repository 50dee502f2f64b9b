/* The order of candidates: as unsigned numbers, the best k of many, and sorted. */
#include <string.h>

#include "candidates.h"

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

fx_candidate fx_make_candidate(const fx_selection *call, double score, double logit,
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
                int second = fx_comes_before(&from[j], &from[i]);
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
void fx_sort_candidates(const fx_selection *call, fx_candidate *items, ptrdiff_t count,
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
