/* Steps of a call on XLA's own threads.
 *
 * XLA computes on a pool as large as the machine, and calls from any of its threads. An OpenMP team
 * for each of them would be threads squared. So the calling thread asks the pool for help and
 * begins on its own; whichever thread is free takes the next step. It waits for steps that have
 * been begun alone, never for help that has not come: a pool that is busy, or has one thread, can
 * hang nothing. Help that comes late finds the call closed, and the memory of the step is not
 * touched.
 */
#include "xla_call.h"

#if defined(__GNUC__) && !defined(_WIN32)
#include <sched.h>
#include <stdlib.h>

enum { CLOSED = 1 << 30 };

typedef struct {
    fx_xla_step step;
    void *data;
    ptrdiff_t next, steps; /* the first step that no thread has taken */
    int state;             /* the helpers at work, and CLOSED */
    int threads;           /* that have taken part so far */
    int references;
} shared_steps;

static void take_steps(shared_steps *shared, int thread) {
    ptrdiff_t step;
    while ((step = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED)) < shared->steps)
        shared->step(shared->data, step, thread);
}

static void leave(shared_steps *shared) {
    if (__atomic_sub_fetch(&shared->references, 1, __ATOMIC_ACQ_REL) == 0) free(shared);
}

static void help(void *data) {
    shared_steps *shared = data;
    int state = __atomic_load_n(&shared->state, __ATOMIC_RELAXED);
    while (!(state & CLOSED)) {
        if (!__atomic_compare_exchange_n(&shared->state, &state, state + 1, 1, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED))
            continue;
        take_steps(shared, __atomic_fetch_add(&shared->threads, 1, __ATOMIC_RELAXED));
        __atomic_sub_fetch(&shared->state, 1, __ATOMIC_RELEASE);
        break;
    }
    leave(shared);
}

static int is_refused(const fx_xla_api *api, fx_xla_error *error) {
    fx_xla_destroy_arguments arguments = {FX_XLA_SIZE(fx_xla_destroy_arguments, error), NULL,
                                          error};
    if (error == NULL) return 0;
    api->destroy_error(&arguments);
    return 1;
}

int fx_xla_threads(const fx_xla_call *call, int64_t wanted, ptrdiff_t steps) {
    const fx_xla_api *api = call->frame->api;
    int64_t threads = 1;
    fx_xla_threads_arguments arguments = {FX_XLA_SIZE(fx_xla_threads_arguments, threads), NULL,
                                          call->frame->context, &threads};
    if (steps <= 1 || wanted == 1 || api->struct_size < FX_XLA_SIZE(fx_xla_api, count_threads) ||
        is_refused(api, api->count_threads(&arguments)) || threads < 1)
        return 1;
    if (wanted > 0 && wanted < threads) threads = wanted;
    return (int)(threads < steps ? threads : steps);
}

void fx_xla_share(const fx_xla_call *call, int threads, ptrdiff_t steps, fx_xla_step step,
                  void *data) {
    shared_steps *shared = threads > 1 ? malloc(sizeof *shared) : NULL;
    fx_xla_schedule_arguments arguments = {FX_XLA_SIZE(fx_xla_schedule_arguments, data), NULL,
                                           call->frame->context, help, shared};
    if (shared == NULL) {
        for (ptrdiff_t i = 0; i < steps; i++) step(data, i, 0);
        return;
    }
    *shared = (shared_steps){step, data, 0, steps, 0, 1, threads};
    for (int i = 1; i < threads; i++)
        if (is_refused(call->frame->api, call->frame->api->schedule(&arguments))) leave(shared);
    take_steps(shared, 0);
    __atomic_or_fetch(&shared->state, CLOSED, __ATOMIC_RELAXED);
    while (__atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) != CLOSED) sched_yield();
    leave(shared);
}

void fx_xla_note_first(ptrdiff_t *first, ptrdiff_t found) {
    ptrdiff_t known = __atomic_load_n(first, __ATOMIC_RELAXED);
    while (
        (known < 0 || found < known) &&
        !__atomic_compare_exchange_n(first, &known, found, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

#else
void fx_xla_note_first(ptrdiff_t *first, ptrdiff_t found) {
    if (*first < 0 || found < *first) *first = found;
}

int fx_xla_threads(const fx_xla_call *call, int64_t wanted, ptrdiff_t steps) {
    (void)call, (void)wanted, (void)steps;
    return 1;
}

void fx_xla_share(const fx_xla_call *call, int threads, ptrdiff_t steps, fx_xla_step step,
                  void *data) {
    (void)call, (void)threads;
    for (ptrdiff_t i = 0; i < steps; i++) step(data, i, 0);
}
#endif
