#define FX_DOUBLE 1
#define FX_TABLE fx_candidates_baseline_double
#include "candidate_table.h"
