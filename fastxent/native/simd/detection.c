/* The tables of mining and matching of all instruction sets. */
#include "detection.h"
#include "isa.h"

extern const fx_detection fx_detection_baseline_float, fx_detection_baseline_double;
#if FX_HAS_X86_TARGETS
extern const fx_detection fx_detection_avx2_float, fx_detection_avx2_double;
extern const fx_detection fx_detection_avx512_float, fx_detection_avx512_double;
#endif

const fx_detection *fx_detection_of(int isa, int is_double) {
#if FX_HAS_X86_TARGETS
    if (isa == FX_AVX512)
        return is_double ? &fx_detection_avx512_double : &fx_detection_avx512_float;
    if (isa == FX_AVX2) return is_double ? &fx_detection_avx2_double : &fx_detection_avx2_float;
#endif
    (void)isa;
    return is_double ? &fx_detection_baseline_double : &fx_detection_baseline_float;
}
