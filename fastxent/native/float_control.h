/* The floating-point control of a thread while kernels run.
 *
 * A process may flush subnormal numbers to zero (torch.set_flush_denormal), round otherwise than to
 * nearest, or trap. It may do so on one thread and not on those of OpenMP, or the other way round.
 * So every thread computes with the defaults and gets back what it had, exceptions that it had
 * raised included: for the caller it is as though nothing had been computed.
 */
#ifndef FX_FLOAT_CONTROL_H
#define FX_FLOAT_CONTROL_H

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>

typedef unsigned int fx_float_control;

enum { FX_DEFAULT_FLOATS = 0x1F80 }; /* no exception traps, none is raised, nothing is flushed */

#define FX_GET_FLOATS(control) ((control) = _mm_getcsr())
#define FX_SET_DEFAULT_FLOATS() _mm_setcsr(FX_DEFAULT_FLOATS)
#define FX_SET_FLOATS(control) _mm_setcsr(control)
/* Exceptions that have been raised, the low bits, change no result. */
#define FX_ARE_DEFAULT(control) (((control) & ~_MM_EXCEPT_MASK) == FX_DEFAULT_FLOATS)
#else
#include <fenv.h>

typedef fenv_t fx_float_control;

#define FX_GET_FLOATS(control) fegetenv(&(control))
#define FX_SET_DEFAULT_FLOATS() fesetenv(FE_DFL_ENV)
#define FX_SET_FLOATS(control) fesetenv(&(control))
#define FX_ARE_DEFAULT(control) 0
#endif

/* GCC and Clang do not know that arithmetic depends on the control. But it needs operands: no load
 * moves to before the control is set, and no store to after it is given back. */
#ifdef __GNUC__
#define FX_FLOAT_FENCE() __asm__ volatile("" ::: "memory")
#else
#define FX_FLOAT_FENCE() ((void)0)
#endif

static inline fx_float_control fx_get_floats(void) {
    fx_float_control control;
    FX_GET_FLOATS(control);
    return control;
}

/* Take the defaults; returns what the thread had. */
static inline fx_float_control fx_begin_floats(void) {
    fx_float_control callers = fx_get_floats();
    if (!FX_ARE_DEFAULT(callers)) FX_SET_DEFAULT_FLOATS();
    FX_FLOAT_FENCE();
    return callers;
}

/* Give back what the thread had. */
static inline void fx_end_floats(fx_float_control callers) {
    FX_FLOAT_FENCE();
    FX_SET_FLOATS(callers);
}

#endif
