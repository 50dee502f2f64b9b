/* The vector type, chosen for one instruction set and one precision.
 *
 * Each kernels_*.c defines FX_ISA_* and FX_DOUBLE and includes this header, then the kernels, which
 * see only the names below:
 *
 *   real, vec, mask       a float or double; LANES of them; one truth value a lane
 *   LANES                 16 floats or 8 doubles on every instruction set: AVX2 holds a vec in two
 *                         registers and NEON in four, so that sums have the same order and the same
 *                         bits as AVX-512
 *   v_fma(a, b, c)        a * b + c; one rounding, but two in the portable build
 *   v_fnma(a, b, c)       c - a * b, likewise
 *   v_max(a, b)           b where either is NaN, as x86 does: put the value to propagate second
 *   v_reduce_*(vec[])     LANES vectors to one: lane i is the reduction over the lanes of vector i,
 *                         folded in halves (lane j with lane j + LANES/2, then / 4, ...)
 */
#ifndef FX_VECTOR_H
#define FX_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define FX_INLINE static __forceinline
#else
#define FX_INLINE static inline __attribute__((always_inline, unused))
#endif

#if FX_DOUBLE
typedef double real;
typedef int64_t real_bits;
typedef uint64_t real_unsigned;
#define LANES 8
#define FX_ROUND_MAGIC 0x1.8p52 /* adding it rounds to an integer, in the low bits */
#define FX_SMALLEST 0x1p-1022   /* normal number; dividing by less is slow */
#else
typedef float real;
typedef int32_t real_bits;
typedef uint32_t real_unsigned;
#define LANES 16
#define FX_ROUND_MAGIC 0x1.8p23f
#define FX_SMALLEST 0x1p-126f
#endif

/* A chunk is 16 bytes of a row: the part of a register that unpacking deinterleaves. */
#define FX_CHUNK (16 / (int)sizeof(real))

/* Functions that are worth a call: FX_CALLED everywhere, FX_MATH where a vec is many narrow
 * registers. */
#if defined(__GNUC__)
#define FX_CALLED static __attribute__((noinline, unused))
#else
#define FX_CALLED static
#endif
#if defined(FX_ISA_AVX512) || defined(FX_ISA_AVX2) || defined(FX_ISA_NEON)
#define FX_HAS_FMA 1
#else
#define FX_HAS_FMA 0
#endif
#if FX_HAS_FMA
#define FX_MATH FX_INLINE
#else
#define FX_MATH FX_CALLED
#endif

#if defined(__clang__)
#define FX_NO_UNROLL _Pragma("nounroll")
#elif defined(__GNUC__)
#define FX_NO_UNROLL _Pragma("GCC unroll 1")
#else
#define FX_NO_UNROLL
#endif

#include "half.h"

#if defined(FX_ISA_AVX512)
#include "vector_avx512.h"
#elif defined(FX_ISA_AVX2)
#include "vector_avx2.h"
#elif defined(FX_ISA_NEON)
#include "vector_neon.h"
#else
#include "vector_portable.h"
#endif

#if !defined(FX_ISA_AVX512) && !defined(FX_ISA_AVX2)
FX_INLINE vec v_once(vec x) { return x; }
#endif

/* Prefetch memory that is read soon. Reaching past an array is harmless. */
FX_INLINE void v_prefetch(const void *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    (void)p;
#endif
}

/* One line of memory that is read after some other work, into the second-level cache. */
#define FX_LINE 64
FX_INLINE void prefetch_line(const void *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
#else
    (void)p;
#endif
}

/* The same on every instruction set. */

FX_INLINE vec v_zero(void) { return v_set((real)0); }
FX_INLINE vec v_one(void) { return v_set((real)1); }
#if !defined(FX_ISA_AVX2) /* whose v_select compares the mask once more */
FX_INLINE vec v_unless(mask m, vec x) { return v_select(m, v_zero(), x); }
#endif
FX_INLINE vec v_relu(vec x) { return v_max(v_zero(), x); }
FX_INLINE vec v_negate(vec x) { return v_xor(x, v_set((real)-0.0)); }
FX_INLINE vec v_negative_abs(vec x) { return v_or(x, v_set((real)-0.0)); }
FX_INLINE int v_all_finite(vec x) {
    vec difference = v_sub(x, x); /* 0, or NaN for an infinity or NaN */
    return v_mask_all(v_equal(difference, v_zero()));
}

#endif
