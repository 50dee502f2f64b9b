#define FX_DOUBLE 0
#define FX_TABLE fx_kernels_baseline_float
#include "table.h"
