/* The largest losses of an image, of those that are eligible.
 *
 * There is no sort. One pass over the losses keeps what is above a cut, and raises the cut to the
 * k-th largest so far when its memory is full. A sample guesses the first cut; if that was too
 * high, there is a second pass without one. Only the labels of what passes the cut are read.
 *
 * What is kept orders as its losses do and, where those are equal, by its place, so that no two are
 * equal: ties are settled, and a million equal losses are no special case. NaN passes no cut.
 */

/* --- how many positives --------------------------------------------------------------------------
 */

/* Unsigned labels of 64 bits that are no int64 are positives like the largest one. */
FX_INLINE int64_t label_at(const char *p, const int type) {
    int64_t label = integer_at(p, type);
    return is_wrapped(label, type) ? INT64_MAX : label;
}

typedef struct {
    int64_t equal, negative;
} label_counts;

/* How many labels equal a value, and how many are negative. */
FX_INLINE void count_labels_of_type(const char *source, ptrdiff_t stride, ptrdiff_t count,
                                    int64_t value, label_counts *counts, const int type) {
    int64_t equal = 0, negative = 0;
    for (ptrdiff_t i = 0; i < count; i++) {
        int64_t label = label_at(source + i * stride, type);
        equal += label == value;
        negative += label < 0;
    }
    counts->equal = equal;
    counts->negative = negative;
}
FX_INLINE void count_labels_by_stride(const char *source, ptrdiff_t stride, ptrdiff_t count,
                                      int64_t value, label_counts *counts, const int type) {
    if (stride == integer_size(type)) /* a constant, with which compilers vectorize */
        count_labels_of_type(source, integer_size(type), count, value, counts, type);
    else
        count_labels_of_type(source, stride, count, value, counts, type);
}

static label_counts count_labels(const char *source, ptrdiff_t stride, int type, ptrdiff_t count,
                                 int64_t value) {
    label_counts counts = {0, 0};
    if (type == FX_BOOL) type = FX_UINT8;
    FX_WITH_INTEGER_TYPE(type, count_labels_by_stride, source, stride, count, value, &counts);
    return counts;
}

/* Labels that are counted at a time: they stay in the first-level cache for the next value. */
#define FX_LABEL_BLOCK 1024

static void count_positives(const void *call, ptrdiff_t image, char *memory) {
    const fx_mining *mining = (const fx_mining *)call;
    const fx_images *labels = &mining->labels;
    const char *row = labels->data + image * labels->image_stride;
    int64_t positives = mining->anchors, unknown = 0;
    (void)memory;
    for (ptrdiff_t start = 0; start < mining->anchors; start += FX_LABEL_BLOCK) {
        ptrdiff_t left = mining->anchors - start;
        ptrdiff_t count = left < FX_LABEL_BLOCK ? left : FX_LABEL_BLOCK;
        const char *source = row + start * labels->anchor_stride;
        for (int j = -1; j < mining->ignored_count; j++) {
            int64_t value = j < 0 ? mining->background : mining->ignored[j];
            label_counts found =
                count_labels(source, labels->anchor_stride, labels->type, count, value);
            positives -= found.equal;
            if (j < 0) unknown += found.negative;
            if (value < 0) unknown -= found.equal;
        }
    }
    mining->counts[image] = unknown ? -1 : positives;
}

/* --- what is kept --------------------------------------------------------------------------------
 */

#if FX_DOUBLE
typedef uint64_t loss_order;
typedef struct {
    loss_order order;
    uint64_t place; /* its complement */
} candidate;
#else
typedef uint32_t loss_order;
typedef uint64_t candidate; /* the order above the complement of the place */
#endif
#define FX_SIGN ((loss_order)1 << (8 * sizeof(loss_order) - 1))

/* A number that orders as the loss does; adding 0 makes 0 of -0. */
FX_INLINE candidate candidate_of(real loss, ptrdiff_t place) {
    real sum = loss + (real)0;
    loss_order bits;
    memcpy(&bits, &sum, sizeof bits);
    bits = bits & FX_SIGN ? ~bits : bits | FX_SIGN;
#if FX_DOUBLE
    candidate result = {bits, ~(uint64_t)place};
    return result;
#else
    return (candidate)bits << 32 | (uint32_t)~(uint32_t)place;
#endif
}
FX_INLINE int is_larger(candidate a, candidate b) {
#if FX_DOUBLE
    return a.order > b.order || (a.order == b.order && a.place > b.place);
#else
    return a > b;
#endif
}
FX_INLINE real loss_of(candidate x) {
#if FX_DOUBLE
    loss_order bits = x.order;
#else
    loss_order bits = (loss_order)(x >> 32);
#endif
    real loss;
    bits = bits & FX_SIGN ? bits ^ FX_SIGN : ~bits;
    memcpy(&loss, &bits, sizeof loss);
    return loss;
}
FX_INLINE ptrdiff_t place_of(candidate x) {
#if FX_DOUBLE
    return (ptrdiff_t)~x.place;
#else
    return (ptrdiff_t)(uint32_t)~(uint32_t)x;
#endif
}

FX_INLINE candidate middle_of(candidate a, candidate b, candidate c) {
    if (is_larger(b, a)) {
        candidate swapped = a;
        a = b, b = swapped;
    }
    if (!is_larger(c, b)) return b;
    return is_larger(c, a) ? a : c;
}

/* Bring the k largest to the front, and the least of these to its end (Hoare's quickselect). Pivots
 * are taken from anywhere, so that no order of the losses is a bad one. */
static void select_largest(candidate *all, ptrdiff_t count, ptrdiff_t k) {
    ptrdiff_t low = 0, high = count - 1, wanted = k - 1;
    uint32_t seed = 1;
    while (low < high) {
        uint64_t length = (uint64_t)(high - low + 1);
        candidate picked[3];
        for (int i = 0; i < 3; i++) {
            seed = seed * 1664525u + 1013904223u;
            picked[i] = all[low + (ptrdiff_t)(((uint64_t)(seed >> 8) * length) >> 24) % length];
        }
        candidate pivot = middle_of(picked[0], picked[1], picked[2]);
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (is_larger(all[i], pivot)) i++;
            while (is_larger(pivot, all[j])) j--;
            if (i > j) break;
            candidate swapped = all[i];
            all[i++] = all[j];
            all[j--] = swapped;
        }
        if (wanted <= j)
            high = j;
        else if (wanted >= i)
            low = i;
        else
            return;
    }
}

/* --- the search ----------------------------------------------------------------------------------
 */

/* Losses that are packed at a time, where they do not lie as vectors are loaded. */
#define FX_LOSS_CHUNK 1024
/* Losses that the first cut is guessed from. */
#define FX_SAMPLE 256
/* What is kept beyond k, in multiples of it, before the cut is raised; and the least of it. */
#define FX_KEPT 4
#define FX_KEPT_LEAST 256

typedef struct {
    candidate *kept;
    ptrdiff_t count, room, wanted;
    real cut;
    int takes_equal; /* of losses equal to the cut, those seen first are kept */
    const char *labels;
    ptrdiff_t label_stride;
    int label_type;
    int64_t eligible;
} search;

static ptrdiff_t kept_room(ptrdiff_t anchors, int64_t wanted) {
    int64_t room = wanted < anchors / FX_KEPT ? FX_KEPT * wanted : anchors;
    return (ptrdiff_t)(room < FX_KEPT_LEAST ? FX_KEPT_LEAST : room);
}
static ptrdiff_t mining_bytes(ptrdiff_t anchors, int64_t wanted) {
    return (kept_room(anchors, wanted) + LANES) * (ptrdiff_t)sizeof(candidate);
}

FX_INLINE void has_label(const char *place, int64_t label, int *found, const int type) {
    *found = label_at(place, type) == label;
}
FX_INLINE int is_eligible(const search *s, ptrdiff_t anchor) {
    const char *place = s->labels + anchor * s->label_stride;
    int type = s->label_type == FX_BOOL ? FX_UINT8 : s->label_type, found = 0;
    if (!s->labels) return 1;
    FX_WITH_INTEGER_TYPE(type, has_label, place, s->eligible, &found);
    return found;
}

FX_INLINE int lowest_bit(uint32_t bits) {
#if defined(__GNUC__)
    return __builtin_ctz(bits);
#else
    int place = 0;
    while (!(bits >> place & 1)) place++;
    return place;
#endif
}

static void raise_cut(search *s) {
    select_largest(s->kept, s->count, s->wanted);
    s->count = s->wanted;
    s->cut = loss_of(s->kept[s->wanted - 1]);
    s->takes_equal = 0;
}

/* Keep what passes of losses that are contiguous, the first of them at this place. */
static void scan_losses(search *s, const real *losses, ptrdiff_t first, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        int width = count - i < LANES ? (int)(count - i) : LANES;
        vec x =
            width == LANES ? v_load(losses + i) : v_load_first(losses + i, width, v_set((real)NAN));
        vec cut = v_set(s->cut);
        mask passes = v_less(cut, x);
        uint32_t bits = v_mask_bits(passes);
        if (s->takes_equal) bits |= v_mask_bits(v_equal(cut, x));
        for (; bits; bits &= bits - 1) {
            ptrdiff_t place = i + lowest_bit(bits);
            s->kept[s->count] = candidate_of(losses[place], first + place);
            s->count += is_eligible(s, first + place);
        }
        if (s->count > s->room) raise_cut(s);
    }
}

static void scan_image(search *s, const fx_mining *mining, const char *losses) {
    const ptrdiff_t stride = mining->losses.anchor_stride;
    if (mining->losses.type == FX_OWN_TYPE && stride == (ptrdiff_t)sizeof(real)) {
        scan_losses(s, (const real *)losses, 0, mining->anchors);
        return;
    }
    real chunk[FX_LOSS_CHUNK + LANES];
    for (ptrdiff_t first = 0; first < mining->anchors; first += FX_LOSS_CHUNK) {
        ptrdiff_t left = mining->anchors - first;
        ptrdiff_t count = left < FX_LOSS_CHUNK ? left : FX_LOSS_CHUNK;
        const fx_strided source = {
            (char *)losses + first * stride, stride, 0, mining->losses.type, count, 1};
        mining->kernels->pack(&source, chunk, FX_LOSS_CHUNK);
        scan_losses(s, chunk, first, count);
    }
}

/* A loss that probably not many more than k are above, and hardly ever fewer. */
static real guess_cut(search *s, const fx_mining *mining, const char *losses) {
    const ptrdiff_t step = mining->anchors / FX_SAMPLE, stride = mining->losses.anchor_stride;
    real sample[FX_SAMPLE + LANES];
    candidate eligible[FX_SAMPLE];
    ptrdiff_t count = 0;
    double expected = (double)s->wanted / (double)step;
    ptrdiff_t rank = (ptrdiff_t)(expected + 3 * sqrt(expected) + 2);
    const fx_strided source = {(char *)losses, step * stride, 0, mining->losses.type, FX_SAMPLE, 1};
    mining->kernels->pack(&source, sample, FX_SAMPLE);
    for (ptrdiff_t i = 0; i < FX_SAMPLE; i++) {
        eligible[count] = candidate_of(sample[i], i);
        count += (sample[i] == sample[i]) & is_eligible(s, i * step);
    }
    if (count <= rank) return (real)-INFINITY;
    select_largest(eligible, count, rank);
    return loss_of(eligible[rank - 1]);
}

static void mark_largest(const void *call, ptrdiff_t image, char *memory) {
    const fx_mining *mining = (const fx_mining *)call;
    const char *losses = mining->losses.data + image * mining->losses.image_stride;
    const char *labels = mining->labels.data;
    uint8_t *marks = mining->marks + image * mining->anchors;
    search s = {
        .kept = (candidate *)memory,
        .wanted = (ptrdiff_t)mining->counts[image],
        .cut = (real)-INFINITY,
        .takes_equal = 1,
        .labels = labels ? labels + image * mining->labels.image_stride : NULL,
        .label_stride = mining->labels.anchor_stride,
        .label_type = mining->labels.type,
        .eligible = mining->background,
    };
    s.room = kept_room(mining->anchors, s.wanted);
    memset(marks, 0, (size_t)mining->anchors);
    if (s.wanted == 0) return;
    if (s.room < mining->anchors && mining->anchors >= 4 * FX_SAMPLE)
        s.cut = guess_cut(&s, mining, losses);
    scan_image(&s, mining, losses);
    if (s.count < s.wanted && s.cut > (real)-INFINITY) { /* the guess was too high */
        s.cut = (real)-INFINITY, s.count = 0;
        scan_image(&s, mining, losses);
    }
    if (s.count > s.wanted) raise_cut(&s);
    for (ptrdiff_t i = 0; i < s.count; i++) marks[place_of(s.kept[i])] = 1;
}
