#include "isa.h"
#if FX_HAS_X86_TARGETS
#define FX_ISA_AVX512
#define FX_DOUBLE 1
#define FX_TABLE fx_candidates_avx512_double
#include "candidate_table.h"
#endif
