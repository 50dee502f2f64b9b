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

#include "sigmoid.h"
#include "softmax.h"

#include "probabilities.h"
#include "scores.h"

#include "labels.h"
#include "pack.h"

const fx_kernels FX_TABLE = {
    .sigmoid_cross_entropy = sigmoid_cross_entropy,
    .softmax_cross_entropy = softmax_cross_entropy,
    .binary_cross_entropy = binary_cross_entropy,
    .categorical_cross_entropy = categorical_cross_entropy,
    .sigmoid_cross_entropy_rows = sigmoid_cross_entropy_rows,
    .softmax_cross_entropy_rows = softmax_cross_entropy_rows,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .logsumexp = logsumexp,
    .sigmoid = sigmoid_map,
    .log_sigmoid = log_sigmoid_map,
    .softplus = softplus_map,
    .logit = logit_map,
    .odds = odds_map,
    .pack = pack,
    .unpack = unpack,
    .label_columns = label_columns,
    .first_invalid_label = first_invalid_label,
    .first_invalid_target = first_invalid_target,
    .read = read_values,
};

#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
FX_TARGET_END
#endif
