#include "isa.h"
#if FX_HAS_X86_TARGETS
#define FX_ISA_AVX2
#define FX_DOUBLE 0
#define FX_TABLE fx_candidates_avx2_float
#include "candidate_table.h"
#endif
