/* Where the scores of logits pass a threshold. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "candidates.h"

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

/* Repeat what there is of the classes. */
static void repeat_classes(const fx_selection *call, int lanes, char *values) {
    size_t size = call->is_double ? 8 : 4, length = (size_t)call->classes * size;
    for (size_t i = length; i < length + (size_t)lanes * size; i += size)
        memcpy(values + i, values + i - length, size);
}

/* Of so many numbers between two edges, the scores say exactly where these are; near a threshold of
 * 0.5, thousands of millions lie between them. */
#define FX_MOST_BETWEEN 512
/* Thresholds of a call for which that is worth while. */
#define FX_MOST_NARROWED 4

/* The bits of a number but for its sign, in whose order are numbers of one sign; and the reverse.
 */
static int64_t size_bits(const fx_selection *call, double x) {
    const float narrow = (float)fabs(x);
    const double wide = fabs(x);
    int32_t bits;
    int64_t wide_bits;
    memcpy(&bits, &narrow, sizeof bits);
    memcpy(&wide_bits, &wide, sizeof wide_bits);
    return call->is_double ? wide_bits : bits;
}
static double of_size_bits(const fx_selection *call, int64_t wide_bits, double sign) {
    const int32_t bits = (int32_t)wide_bits;
    float narrow;
    double wide;
    memcpy(&narrow, &bits, sizeof narrow);
    memcpy(&wide, &wide_bits, sizeof wide);
    return copysign(call->is_double ? wide : narrow, sign);
}

/* Move the edges of a threshold to where its scores are. */
static void narrow_edges(const fx_selection *call, double threshold, double *low, double *high) {
    double logits[FX_MOST_BETWEEN], scores[FX_MOST_BETWEEN]; /* of either precision */
    if (call->activation == FX_AS_SCORES) {
        *low = *high = threshold;
        return;
    }
    if (!(*low * *high > 0) || !(fabs(*low) < INFINITY) || !(fabs(*high) < INFINITY)) return;
    int64_t start = size_bits(call, *low), stop = size_bits(call, *high);
    const int step = start < stop ? 1 : -1;
    const int64_t count = (stop - start) * step + 1;
    if (count < 1 || count > FX_MOST_BETWEEN) return;
    for (ptrdiff_t i = 0; i < count; i++)
        fx_write_real(call, logits, i, of_size_bits(call, start + step * i, *low));
    call->kernels->sigmoid(logits, scores, count, 0);
    ptrdiff_t passing = 0, failing = count - 1; /* the first and the last that do */
    while (passing < count && !(fx_read_real(call, scores, passing) > threshold)) passing++;
    while (failing >= 0 && fx_read_real(call, scores, failing) > threshold) failing--;
    if (passing == 0 || passing == count) return; /* the edges are further apart */
    *low = fx_read_real(call, logits, passing - 1);
    *high = fx_read_real(call, logits, failing);
}

size_t fx_edge_bytes(const fx_selection *call, int lanes) {
    return 3 * (size_t)(call->classes + lanes) * (call->is_double ? 8 : 4);
}

void fx_write_edges(fx_selection *call, int lanes, const void *thresholds, const char *returned,
                    void *memory) {
    size_t size = fx_edge_bytes(call, lanes) / 3;
    char *values = (char *)memory, *lows = values + size, *highs = lows + size;
    double previous = NAN, low = 0, high = 0;
    int narrowed = 0;
    call->thresholds = values;
    call->lows = lows;
    call->highs = highs;
    call->takes_all = !thresholds;
    call->least = thresholds ? INFINITY : -INFINITY;
    for (ptrdiff_t c = 0; c < call->classes; c++) {
        double threshold = thresholds ? fx_read_real(call, thresholds, c) : -INFINITY;
        if (!returned[c]) threshold = INFINITY;
        if (threshold != previous) {
            low = fx_low_edge(call, threshold);
            high = fx_high_edge(call, threshold);
            if (threshold >= (call->activation == FX_AS_SCORES ? INFINITY : 1))
                low = INFINITY;
            else if (!call->by_anchors && thresholds && narrowed++ < FX_MOST_NARROWED)
                narrow_edges(call, threshold, &low, &high);
            if (threshold < call->least) call->least = threshold;
            previous = threshold;
        }
        fx_write_real(call, values, c, threshold);
        fx_write_real(call, lows, c, low);
        fx_write_real(call, highs, c, high);
    }
    repeat_classes(call, lanes, values);
    repeat_classes(call, lanes, lows);
    repeat_classes(call, lanes, highs);
}
