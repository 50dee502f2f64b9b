/* What it costs to match some queries of an image with its ground truths.
 *
 * The kinds "focal" and "sigmoid" need the logits of the classes that occur among the ground truths
 * and no others. They are gathered query by query, so that vectors are full however few there are;
 * then each cost is copied to the ground truths of its class. The other kinds need all classes:
 * their tiles have queries as lanes.
 */

/* --- "focal" and "sigmoid" -----------------------------------------------------------------------
 */

/* Copies one by one take a tenth to a third longer where such a short loop lies badly in the cache
 * of instructions; not so four of them in a row. */
#if defined(__clang__)
#define FX_UNROLL _Pragma("unroll 4")
#elif defined(__GNUC__)
#define FX_UNROLL _Pragma("GCC unroll 4")
#else
#define FX_UNROLL
#endif

#define FX_GATHER(type, value, class_stride)                                                       \
    for (ptrdiff_t q = 0; q < count; q++, source += query_stride) {                                \
        FX_UNROLL                                                                                  \
        for (ptrdiff_t j = 0; j < distinct_count; j++) {                                           \
            type element;                                                                          \
            memcpy(&element, source + (ptrdiff_t)distinct[j] * (class_stride), sizeof element);    \
            *gathered++ = (real)(value);                                                           \
        }                                                                                          \
    }
#define FX_GATHER_CASE(code, type, value)                                                          \
    case code:                                                                                     \
        if (class_stride == (ptrdiff_t)sizeof(type)) {                                             \
            FX_GATHER(type, value, (ptrdiff_t)sizeof(type))                                        \
        } else {                                                                                   \
            FX_GATHER(type, value, class_stride)                                                   \
        }                                                                                          \
        break

/* The logits of the distinct classes, query by query; up to a whole vector of them. */
static void gather_logits(const fx_costs *costs, ptrdiff_t first, ptrdiff_t count, real *gathered) {
    const ptrdiff_t query_stride = costs->query_stride, class_stride = costs->class_stride;
    const ptrdiff_t distinct_count = costs->distinct_count;
    const int32_t *distinct = costs->distinct;
    const char *source = costs->logits + first * query_stride;
    switch (costs->type) {
        FX_GATHER_CASE(FX_FLOAT16, uint16_t, float16_value(element));
        FX_GATHER_CASE(FX_BFLOAT16, uint16_t, bfloat16_value(element));
        FX_GATHER_CASE(FX_FLOAT32, float, element);
        FX_GATHER_CASE(FX_FLOAT64, double, element);
    }
    for (ptrdiff_t i = count * distinct_count; i % LANES; i++) *gathered++ = 0;
}

/* Copy the costs of distinct classes to the ground truths. */
FX_INLINE void spread_costs(const fx_costs *costs, ptrdiff_t first, ptrdiff_t count,
                            const real *gathered, const int is_negated) {
    real *out = (real *)costs->out + first * costs->truths;
    const ptrdiff_t truths = costs->truths, distinct_count = costs->distinct_count;
    const int32_t *columns = costs->columns;
    for (ptrdiff_t q = 0; q < count; q++, gathered += distinct_count) {
        FX_UNROLL
        for (ptrdiff_t t = 0; t < truths; t++) {
            real cost = gathered[columns[t]];
            *out++ = is_negated ? -cost : cost;
        }
    }
}

/* The parameters of "focal"; a factor of 0 removes even an infinite term. */
typedef struct {
    power gamma;
    vec positive, negative;
    int has_positive, has_negative;
} focal_options;

/* The positive cost less the negative one. */
FX_INLINE vec focal_cost(vec z, const focal_options *options, const exp_constants *constants) {
    sigmoid_parts parts = sigmoid_parts_of(z, constants);
    vec of_positive = v_add(v_relu(v_negate(z)), parts.tail);
    vec of_negative = v_add(v_relu(z), parts.tail);
    of_positive = v_mul(options->positive, v_mul(v_power(parts.q, options->gamma), of_positive));
    of_negative = v_mul(options->negative, v_mul(v_power(parts.p, options->gamma), of_negative));
    if (!options->has_positive) return v_negate(of_negative);
    return options->has_negative ? v_sub(of_positive, of_negative) : of_positive;
}
FX_INLINE void map_focal(real *gathered, ptrdiff_t count, const focal_options options) {
    const exp_constants constants = make_exp_constants();
    for (ptrdiff_t i = 0; i < count; i += LANES)
        v_store(gathered + i, focal_cost(v_load(gathered + i), &options, &constants));
}
FX_CALLED void map_common_focal(real *gathered, ptrdiff_t count, double positive, double negative) {
    const focal_options options = {
        {POWER_2, 2, 0}, v_set((real)positive), v_set((real)negative), 1, 1};
    map_focal(gathered, count, options);
}
FX_CALLED void map_any_focal(real *gathered, ptrdiff_t count, const fx_costs *costs) {
    const focal_options options = {power_of(costs->gamma), v_set((real)costs->positive),
                                   v_set((real)costs->negative), costs->positive > 0,
                                   costs->negative > 0};
    map_focal(gathered, count, options);
}

static void focal_costs(const fx_costs *costs) {
    real *gathered = (real *)costs->tile;
    const int is_common = costs->gamma == 2 && costs->positive > 0 && costs->negative > 0;
    for (ptrdiff_t first = 0; first < costs->queries; first += costs->tile_queries) {
        ptrdiff_t left = costs->queries - first;
        ptrdiff_t count = left < costs->tile_queries ? left : costs->tile_queries;
        gather_logits(costs, first, count, gathered);
        if (is_common)
            map_common_focal(gathered, count * costs->distinct_count, costs->positive,
                             costs->negative);
        else
            map_any_focal(gathered, count * costs->distinct_count, costs);
        spread_costs(costs, first, count, gathered, 0);
    }
}

static void sigmoid_costs(const fx_costs *costs) {
    real *gathered = (real *)costs->tile;
    for (ptrdiff_t first = 0; first < costs->queries; first += costs->tile_queries) {
        ptrdiff_t left = costs->queries - first;
        ptrdiff_t count = left < costs->tile_queries ? left : costs->tile_queries;
        gather_logits(costs, first, count, gathered);
        costs->kernels->sigmoid(gathered, gathered, count * costs->distinct_count, 0);
        spread_costs(costs, first, count, gathered, 1);
    }
}

/* --- "softmax" and "simota" ----------------------------------------------------------------------
 */

/* All logits of some queries, which become lanes. */
static fx_tile pack_queries(const fx_costs *costs, ptrdiff_t first, ptrdiff_t count) {
    fx_tile tile = {.anchors = count, .classes = costs->classes};
    tile.logits = (fx_matrix){costs->tile, 1, costs->tile_queries};
    tile.results = (fx_matrix){costs->results, 1, costs->tile_queries};
    tile.logit_type = FX_OWN_TYPE;
    const fx_strided logits = {.data = (char *)costs->logits + first * costs->query_stride,
                               .anchor_stride = costs->query_stride,
                               .class_stride = costs->class_stride,
                               .type = costs->type,
                               .anchors = count,
                               .classes = costs->classes};
    costs->kernels->pack(&logits, costs->tile, costs->tile_queries);
    return tile;
}

/* Copy the results of classes to the ground truths. */
FX_INLINE void spread_lanes(const fx_costs *costs, ptrdiff_t first, ptrdiff_t count,
                            const int is_negated) {
    const real *results = (const real *)costs->results;
    for (ptrdiff_t t = 0; t < costs->truths; t++) {
        const real *of_class = results + costs->distinct[costs->columns[t]] * costs->tile_queries;
        real *out = (real *)costs->out + first * costs->truths + t;
        for (ptrdiff_t q = 0; q < count; q++)
            out[q * costs->truths] = is_negated ? -of_class[q] : of_class[q];
    }
}

static void softmax_costs(const fx_costs *costs) {
    for (ptrdiff_t first = 0; first < costs->queries; first += costs->tile_queries) {
        ptrdiff_t left = costs->queries - first;
        ptrdiff_t count = left < costs->tile_queries ? left : costs->tile_queries;
        fx_tile tile = pack_queries(costs, first, count);
        costs->kernels->softmax(&tile);
        spread_lanes(costs, first, count, 1);
    }
}

/* The square root of sigmoid(x), and -log(sigmoid(x)): of exp(-|x| / 2), which is a number for
 * twice as many x as exp(-|x|) is. */
typedef struct {
    vec root, nll;
} half_score;

FX_MATH half_score half_score_of(vec x, const exp_constants *constants) {
    vec h = v_exp_nonpositive(v_mul(v_negative_abs(x), v_set((real)0.5)), constants);
    vec e = v_mul(h, h);
    vec numerator = v_select(v_less(x, v_zero()), h, v_one());
    half_score score = {v_div(numerator, v_sqrt(v_add(v_one(), e))),
                        v_add(v_relu(v_negate(x)), v_log1p_unit(e, constants))};
    return score;
}

/* -log(1 - q) for q = sqrt(sigmoid(z) sigmoid(o)).
 *
 * Where q is large, 1 - q = (1 - q^2) / (1 + q), and with a = exp(-z) and b = exp(-o)
 * 1 - q^2 = (a + b + a b) sigmoid(z) sigmoid(o). All of it is taken from logarithms, for 1 - q may
 * be less than any number. Both z and o are above -1.1 there, and the larger one above 0. */
FX_CALLED vec nll_of_large(vec z, vec objectness, vec q, vec both) {
    exp_constants constants = make_exp_constants();
    vec least = v_min(z, objectness), most = v_max(z, objectness);
    vec distance = v_select(v_equal(least, most), v_zero(), v_sub(least, most));
    vec sum = v_add(v_exp_nonpositive(v_negative_abs(distance), &constants),
                    v_exp_nonpositive(v_negative_abs(most), &constants));
    return v_add(v_add(least, both), v_sub(v_log1p(q), v_log1p(sum)));
}
FX_INLINE vec nll_of_rest(vec z, vec objectness, const half_score *own,
                          const half_score *of_objectness) {
    const vec half = v_set((real)0.5);
    vec q = v_mul(own->root, of_objectness->root);
    vec nll = v_negate(v_log1p(v_negate(v_min(q, half))));
    mask is_small = v_less(q, half); /* and NaN is not */
    if (!v_mask_all(is_small)) {
        vec both = v_add(own->nll, of_objectness->nll);
        nll = v_select(is_small, nll, nll_of_large(z, objectness, q, both));
    }
    return nll;
}

/* Of a class t: -log(q_t), and the sum of -log(1 - q_c) over the others, where the term of t is not
 * taken from a sum that it dominates. */
static void simota_lanes(const fx_costs *costs, const fx_tile *tile, const real *objectness,
                         const lane_range *range) {
    const exp_constants constants = make_exp_constants();
    const vec o = v_load(objectness + range->first);
    const half_score of_objectness = half_score_of(o, &constants);
    compensated total = compensated_zero();
    vec largest = v_zero(), overflow = v_zero();
    for (ptrdiff_t k = 0; k < tile->classes; k++) {
        vec z = lanes_load(&tile->logits, range, k);
        half_score own = half_score_of(z, &constants);
        vec nll = nll_of_rest(z, o, &own, &of_objectness);
        lanes_store(&tile->results, range, k, nll);
        vec smaller = v_min(largest, nll);
        largest = v_max(largest, nll);
        compensated_add(&total, smaller);
        overflow = v_add(overflow, smaller);
    }
    /* What an infinite sum lost is NaN. */
    vec others = compensated_value(total);
    others = v_select(v_equal(overflow, v_set((real)INFINITY)), overflow, others);
    for (ptrdiff_t j = 0; j < costs->distinct_count; j++) {
        ptrdiff_t k = (ptrdiff_t)costs->distinct[j];
        vec nll = lanes_load(&tile->results, range, k);
        half_score own = half_score_of(lanes_load(&tile->logits, range, k), &constants);
        vec rest = v_add(v_sub(others, nll), largest);
        rest = v_select(v_equal(nll, largest), others, rest);
        vec of_class = v_mul(v_set((real)0.5), v_add(own.nll, of_objectness.nll));
        lanes_store(&tile->results, range, k, v_add(of_class, rest));
    }
}

static void simota_costs(const fx_costs *costs) {
    real *objectness = (real *)costs->results + costs->classes * costs->tile_queries;
    for (ptrdiff_t first = 0; first < costs->queries; first += costs->tile_queries) {
        ptrdiff_t left = costs->queries - first;
        ptrdiff_t count = left < costs->tile_queries ? left : costs->tile_queries;
        fx_tile tile = pack_queries(costs, first, count);
        const ptrdiff_t stride = costs->objectness_stride;
        const fx_strided objects = {(char *)costs->objectness + first * stride,
                                    stride,
                                    0,
                                    costs->objectness_type,
                                    count,
                                    1};
        costs->kernels->pack(&objects, objectness, costs->tile_queries);
        for (ptrdiff_t start = 0; start < count; start += LANES) {
            ptrdiff_t rest = count - start;
            lane_range range = {start, rest < LANES ? (int)rest : LANES};
            simota_lanes(costs, &tile, objectness, &range);
        }
        spread_lanes(costs, first, count, 0);
    }
}
