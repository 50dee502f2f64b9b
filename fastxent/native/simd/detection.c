/* The tables of mining and matching of all instruction sets. */
#include "detection.h"
#include "isa.h"

FX_DECLARE_TABLES(fx_detection, fx_detection);

const fx_detection *fx_detection_of(int isa, int is_double) {
    static const fx_detection *const tables[FX_ISAS][2] = FX_TABLES(fx_detection);
    return tables[isa][is_double];
}
