/* Which instruction sets this compiler can build, and how a file asks for one.
 *
 * No compiler flag does it: a region of the file is compiled for the instruction set, after the
 * system headers, so that no shared inline function of theirs can carry AVX into the baseline. NEON
 * needs no region, for every AArch64 has it.
 */
#ifndef FX_ISA_H
#define FX_ISA_H

#if (defined(__x86_64__) || defined(__amd64__)) && (defined(__GNUC__) || defined(__clang__))
#define FX_HAS_X86_TARGETS 1
#include <immintrin.h>
#else
#define FX_HAS_X86_TARGETS 0
#endif

#if defined(__AARCH64EL__) && defined(__GNUC__)
#define FX_HAS_NEON 1
#include <arm_neon.h>
#else
#define FX_HAS_NEON 0
#endif

#define FX_AVX2_FEATURES "avx2,fma,f16c"
#define FX_AVX512_FEATURES "avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl"

#define FX_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define FX_TARGET_BEGIN(features)                                                                  \
    FX_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FX_TARGET_END FX_PRAGMA(clang attribute pop)
#else
#define FX_TARGET_BEGIN(features) FX_PRAGMA(GCC push_options) FX_PRAGMA(GCC target(features))
#define FX_TARGET_END FX_PRAGMA(GCC pop_options)
#endif

/* Kernels come in tables, one for each instruction set and precision: `name`_avx2_float and so on.
 * FX_DECLARE_TABLES(type, name) declares them, FX_TABLES(name) is an array of all. */
#define FX_DECLARE_PAIR(type, name) extern const type name##_float, name##_double
#define FX_PAIR(name) {&name##_float, &name##_double}
#if FX_HAS_X86_TARGETS
#define FX_DECLARE_TABLES(type, name)                                                              \
    FX_DECLARE_PAIR(type, name##_baseline);                                                        \
    FX_DECLARE_PAIR(type, name##_avx2);                                                            \
    FX_DECLARE_PAIR(type, name##_avx512)
#define FX_TABLES(name)                                                                            \
    {                                                                                              \
        [FX_BASELINE] = FX_PAIR(name##_baseline),                                                  \
        [FX_AVX2] = FX_PAIR(name##_avx2),                                                          \
        [FX_AVX512] = FX_PAIR(name##_avx512),                                                      \
    }
#elif FX_HAS_NEON
#define FX_DECLARE_TABLES(type, name)                                                              \
    FX_DECLARE_PAIR(type, name##_baseline);                                                        \
    FX_DECLARE_PAIR(type, name##_neon)
#define FX_TABLES(name) {[FX_BASELINE] = FX_PAIR(name##_baseline), [FX_NEON] = FX_PAIR(name##_neon)}
#else
#define FX_DECLARE_TABLES(type, name) FX_DECLARE_PAIR(type, name##_baseline)
#define FX_TABLES(name) {[FX_BASELINE] = FX_PAIR(name##_baseline)}
#endif

#endif
