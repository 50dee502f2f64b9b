#include "fork.h"

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_max_threads() 1
#endif

#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>

#ifdef KMP_VERSION_MAJOR /* of LLVM's omp.h */
static int is_forked = 0;
static void in_child(void) { is_forked = 1; }
#define before_fork NULL
#else
#define is_forked 0
static void in_child(void) { omp_set_num_threads(1); }
static void before_fork(void) {
    /* Inside a parallel region the pause is not allowed, nor needed: the child has no team. */
    if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
}
#endif

int fx_protect_forks(void) { return pthread_atfork(before_fork, NULL, in_child); }
#else
#define is_forked 0
int fx_protect_forks(void) { return 0; }
#endif

int fx_max_threads(void) { return is_forked ? 1 : omp_get_max_threads(); }
int fx_usable_threads(int requested) { return is_forked ? 1 : requested; }
