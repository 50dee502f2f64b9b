#include "fork.h"

#if defined(_OPENMP) && !defined(_WIN32)
#include <omp.h>
#include <pthread.h>

/* LLVM's OpenMP, which says so in its omp.h, starts anew in a child by itself; and it would shut
 * down under the parallel regions of other threads if it was paused. */
#ifdef KMP_VERSION_MAJOR
#define before_fork NULL
#else
static void before_fork(void) {
    /* Inside a parallel region the pause is not allowed, nor needed: the child has no team. */
    if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
}
#endif

static void in_child(void) { omp_set_num_threads(1); }

int fx_protect_forks(void) {
    /* Handlers run in children in the order of registration. LLVM's must come first, for until then
     * its locks are held: any question makes it register its own. */
    (void)omp_get_max_threads();
    return pthread_atfork(before_fork, NULL, in_child);
}
#else
int fx_protect_forks(void) { return 0; }
#endif
