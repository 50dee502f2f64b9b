/* The body of every candidates_*.c: one instruction set, one precision at a time. */
#include <math.h>
#include <string.h>

#include "isa.h"

#if defined(FX_ISA_AVX512)
FX_TARGET_BEGIN(FX_AVX512_FEATURES)
#elif defined(FX_ISA_AVX2)
FX_TARGET_BEGIN(FX_AVX2_FEATURES)
#endif

#include "candidates.h"
#include "vector.h"
#include "vector_math.h"

#include "sigmoid_score.h"

#if FX_DOUBLE
#define FX_OWN_TYPE FX_FLOAT64
#else
#define FX_OWN_TYPE FX_FLOAT32
#endif

#include "candidate_lanes.h"

#include "candidate_elements.h"

#include "candidate_anchors.h"

static void select_block(fx_selector *s, ptrdiff_t image, int number, ptrdiff_t block) {
    const fx_selection *call = s->call;
    const fx_level *level = &call->levels[number];
    const char *data = level->data, *objects = level->objects;
    ptrdiff_t rest = image;
    fx_enter(s, image, number, LANES);
    for (int d = call->image_dimensions - 1; d >= 0; d--) {
        data += rest % call->image_shape[d] * level->image_strides[d];
        objects += rest % call->image_shape[d] * level->object_image_strides[d];
        rest /= call->image_shape[d];
    }
    if (call->by_anchors)
        select_anchors(s, level, data, objects, block);
    else
        select_elements(s, level, data, block);
}

const fx_candidate_kernels FX_TABLE = {
    .lanes = LANES, .scratch_bytes = scratch_bytes, .select = select_block};

#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2)
FX_TARGET_END
#endif
