/* The body of every kernels_*.c: one instruction set, one precision at a time. */
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(FX_ISA_AVX512)
FX_TARGET_BEGIN(FX_AVX512_FEATURES)
#elif defined(FX_ISA_AVX2)
FX_TARGET_BEGIN(FX_AVX2_FEATURES)
#endif

#include "tile.h"

#include "dispatch_constants.h"

#include "sigmoid_exact.h"
#include "sigmoid_terms.h"

#include "rows.h"

#include "sigmoid.h"
#include "sigmoid_lanes.h"

#include "row_runs.h"

#include "sigmoid_rows.h"

#include "softmax_exact.h"

#include "softmax.h"
#include "softmax_options.h"
#include "softmax_rows.h"

#include "clipping.h"
#include "probabilities.h"
#include "probability_rows.h"

#include "scores.h"

#include "score_rows.h"

#include "log_scores.h"

#include "constants.h"
#include "primitives.h"

#include "user_elements.h"

#include "invalid.h"
#include "labels.h"
#include "missing.h"
#include "pack.h"

const fx_kernels FX_TABLE = {
    .loss_lanes =
        {
#define FX_LOSS(code, name, lanes, ...) [FX_##code] = lanes,
#include "losses.def"
        },
    .loss_rows =
        {
#define FX_LOSS(code, name, lanes, rows, ...) [FX_##code] = rows,
#include "losses.def"
        },
    .softmax = softmax,
    .log_softmax = log_softmax,
    .logsumexp = logsumexp,
    .softmax_score_rows = softmax_score_rows,
    .log_softmax_rows = log_softmax_rows,
    .logsumexp_rows = logsumexp_rows,
    .sigmoid_exact = sigmoid_exact_anchor,
    .softmax_exact = softmax_exact_anchor,
    .exact_value = put_exact_value,
    .exact_softmax = softmax_exact_scores,
    .exact_log_softmax = log_softmax_exact_scores,
    .exact_logsumexp = logsumexp_exact,
    .sigmoid = sigmoid_map,
    .log_sigmoid = log_sigmoid_map,
    .softplus = softplus_map,
    .logit = logit_map,
    .odds = odds_map,
    .pack = pack,
    .unpack = unpack,
    .widen = widen,
    .narrow = narrow,
    .label_columns = label_columns,
    .clear_ignored = clear_ignored,
    .clear_ignored_grads = clear_ignored_grads,
    .fill_missing = fill_missing,
    .clear_missing = clear_missing,
    .count_columns = count_columns,
    .sum_losses = sum_losses,
    .count_positive = count_positive,
    .first_invalid_label = first_invalid_label,
    .first_invalid_target = first_invalid_target,
    .read = read_values,
    .primitives =
        {
#define FX_PRIMITIVE(name, ...) name##_primitive,
#include "primitives.def"
        },
    .constants = constant_table,
};

#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
FX_TARGET_END
#endif
