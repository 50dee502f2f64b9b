/* Which instruction sets this compiler can build, and how a file asks for one.
 *
 * No compiler flag does it: a region of the file is compiled for the instruction set, after the
 * system headers, so that no shared inline function of theirs can carry AVX into the baseline.
 */
#ifndef FX_ISA_H
#define FX_ISA_H

#if (defined(__x86_64__) || defined(__amd64__)) && (defined(__GNUC__) || defined(__clang__))
#define FX_HAS_X86_TARGETS 1
#include <immintrin.h>
#else
#define FX_HAS_X86_TARGETS 0
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

#endif
