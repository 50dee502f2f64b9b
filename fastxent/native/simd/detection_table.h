/* The body of every detection_*.c: one instruction set, one precision at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"

#if defined(FX_ISA_AVX512)
FX_TARGET_BEGIN(FX_AVX512_FEATURES)
#elif defined(FX_ISA_AVX2)
FX_TARGET_BEGIN(FX_AVX2_FEATURES)
#endif

#include "detection.h"
#include "tile.h"

#include "dispatch_constants.h"
#include "sigmoid_terms.h"
#include "user_elements.h"

#include "matching.h"
#include "mining.h"

const fx_detection FX_TABLE = {
    .count_positives = count_positives,
    .mark_largest = mark_largest,
    .mining_bytes = mining_bytes,
    .costs =
        {
            [FX_COST_FOCAL] = focal_costs,
            [FX_COST_SOFTMAX] = softmax_costs,
            [FX_COST_SIGMOID] = sigmoid_costs,
            [FX_COST_SIMOTA] = simota_costs,
        },
};

#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
FX_TARGET_END
#endif
