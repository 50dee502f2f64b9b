#define FX_DOUBLE 1
#define FX_TABLE fx_kernels_baseline_double
#include "table.h"
