#include "isa.h"
#if FX_HAS_NEON
#define FX_ISA_NEON
#define FX_DOUBLE 1
#define FX_TABLE fx_kernels_neon_double
#include "table.h"
#endif
