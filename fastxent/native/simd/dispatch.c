/* The tables of all instruction sets, and the question which of them this machine runs. */
#include <math.h>

#include "isa.h"
#include "kernels.h"
#if FX_HAS_X86_TARGETS
#include <cpuid.h>
#endif

#define FX_SET_8 -1, -1, -1, -1, -1, -1, -1, -1
#define FX_SET_64 FX_SET_8, FX_SET_8, FX_SET_8, FX_SET_8, FX_SET_8, FX_SET_8, FX_SET_8, FX_SET_8
#define FX_SET_512                                                                                 \
    FX_SET_64, FX_SET_64, FX_SET_64, FX_SET_64, FX_SET_64, FX_SET_64, FX_SET_64, FX_SET_64
/* 16 + 1024 times all bits, then none, then 15 + 1024 - 8 + 8 times: FX_MASK_LENGTH in all. */
#define FX_OTHERS                                                                                  \
    {FX_SET_8, FX_SET_8, FX_SET_512, FX_SET_512, 0,        -1,         -1,        -1,              \
     -1,       -1,       -1,         -1,         FX_SET_8, FX_SET_512, FX_SET_512}
#if FX_ROW_CHUNK != 1024
#error "FX_OTHERS is written for rows of 1024 classes"
#endif
const uint32_t fx_others_float[FX_MASK_LENGTH] = FX_OTHERS;
const uint64_t fx_others_double[FX_MASK_LENGTH] = FX_OTHERS;

#define FX_FACTS(family, code, name, lanes, rows, targets, factors, lane_bytes, with_options)      \
    {#name, family, FX_ROWS_OF_##targets, FX_FACTORS_##factors, lane_bytes, with_options},
const fx_loss_facts fx_losses[FX_LOSSES] = {
#define FX_SIGMOID_LOSS(...) FX_FACTS(FX_SIGMOID_FAMILY, __VA_ARGS__)
#define FX_BINARY_LOSS(...) FX_FACTS(FX_BINARY_FAMILY, __VA_ARGS__)
#define FX_SOFTMAX_LOSS(...) FX_FACTS(FX_SOFTMAX_FAMILY, __VA_ARGS__)
#define FX_CATEGORICAL_LOSS(...) FX_FACTS(FX_CATEGORICAL_FAMILY, __VA_ARGS__)
#include "losses.def"
};
const fx_loss_facts fx_custom_facts = {
    "custom", FX_SIGMOID_FAMILY, FX_ROWS_OF_DENSE, FX_FACTORS_NONE, 0, 0};

const fx_primitive_facts fx_primitives[FX_PRIMITIVES] = {
#define FX_PRIMITIVE(name, expression, lowest, highest, ulps, worst, ...)                          \
    {#name, {{lowest, highest, ulps, worst}, {__VA_ARGS__}}},
#include "primitives.def"
};

const char *fx_isa_name(int isa) {
    static const char *const names[FX_ISAS] = {"baseline", "avx2", "avx512", "neon"};
    return names[isa];
}

#if FX_HAS_X86_TARGETS
/* Not among the features that __builtin_cpu_supports of GCC 10 knows. */
static int has_f16c(void) {
    unsigned int eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
#endif

int fx_isa_supported(int isa) {
    if (isa == FX_BASELINE) return 1;
#if FX_HAS_X86_TARGETS
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (isa == FX_AVX2) return avx2;
    return isa == FX_AVX512 && avx2 && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
#else
    return FX_HAS_NEON && isa == FX_NEON;
#endif
}

FX_DECLARE_TABLES(fx_kernels, fx_kernels);

const fx_kernels *fx_kernels_of(int isa, int is_double) {
    static const fx_kernels *const tables[FX_ISAS][2] = FX_TABLES(fx_kernels);
    return tables[isa][is_double];
}
