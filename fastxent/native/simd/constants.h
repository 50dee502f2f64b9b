/* The table of constants.def for one precision. */
#define FX_CONSTANT(name, number) static const real name##_constant[] = {(real)(number)};
#include "constants.def"

static const fx_constant constant_table[] = {
#define FX_CONSTANT(name, ...) {#name, 0, name##_constant},
#define FX_COEFFICIENTS(table) {#table, FX_COUNT(table), table},
#include "constants.def"
    {NULL, 0, NULL}};
