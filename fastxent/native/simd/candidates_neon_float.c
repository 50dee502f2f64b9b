#include "isa.h"
#if FX_HAS_NEON
#define FX_ISA_NEON
#define FX_DOUBLE 0
#define FX_TABLE fx_candidates_neon_float
#include "candidate_table.h"
#endif
