#define FX_DOUBLE 0
#define FX_TABLE fx_detection_baseline_float
#include "detection_table.h"
