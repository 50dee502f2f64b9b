#include "fork.h"

#include "teams.h"

#ifdef _OPENMP
#include <omp.h>
#else
#define omp_get_max_threads() 1
#endif

#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>

#ifdef KMP_VERSION_MAJOR /* of LLVM's omp.h */
static int is_forked = 0;
static void give_up_threads(void) {}
static void begin_child(void) { is_forked = 1; }
#else
#define is_forked 0
static void give_up_threads(void) {
    /* Inside a parallel region the pause is not allowed, nor needed: the child has no team. */
    if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_hard);
}
static void begin_child(void) { omp_set_num_threads(1); }
#endif

static void before_fork(void) {
    give_up_threads();
    fx_take_turn();
}

static void in_child(void) {
    fx_hand_turn_on();
    fx_forget_teams();
    begin_child();
}

int fx_protect_forks(void) { return pthread_atfork(before_fork, fx_hand_turn_on, in_child); }
#else
#define is_forked 0
int fx_protect_forks(void) { return 0; }
#endif

int fx_max_threads(void) { return is_forked ? 1 : omp_get_max_threads(); }
int fx_usable_threads(int requested) { return is_forked ? 1 : requested; }
