#include "fork.h"

#if defined(_OPENMP) && !defined(_WIN32)
#include <omp.h>
#include <pthread.h>

static void before_fork(void) {
    /* Inside a parallel region the pause is not allowed, nor needed: the child has no team. */
    if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
}

static void in_child(void) { omp_set_num_threads(1); }

int fx_protect_forks(void) { return pthread_atfork(before_fork, NULL, in_child); }
#else
int fx_protect_forks(void) { return 0; }
#endif
