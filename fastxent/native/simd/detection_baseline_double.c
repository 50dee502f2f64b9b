#define FX_DOUBLE 1
#define FX_TABLE fx_detection_baseline_double
#include "detection_table.h"
