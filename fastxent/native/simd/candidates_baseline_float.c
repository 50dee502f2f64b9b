#define FX_DOUBLE 0
#define FX_TABLE fx_candidates_baseline_float
#include "candidate_table.h"
