/* Whether a long call should end early: for Ctrl-C, or another signal whose handler raises.
 *
 * Python runs such handlers on its main thread, when that holds the lock. So a call of the main
 * thread takes it every now and then, between blocks. Short calls never look at the clock.
 */
#ifndef FX_INTERRUPTS_H
#define FX_INTERRUPTS_H

#include <stdint.h>
#include <time.h>

/* Milliseconds between two looks: taking the lock may have to wait for another thread's 5. */
enum { FX_LOOK_EVERY = 100 };

typedef struct {
    int64_t next_look; /* 0: the first block has not ended; the calling thread's alone */
    int is_over;       /* changes atomically: a handler has raised an exception */
} fx_watch;

static inline int64_t fx_milliseconds(void) {
#ifdef _WIN32
    return (int64_t)clock() * 1000 / CLOCKS_PER_SEC; /* since the start of the process */
#else
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
#endif
}

/* Whether it is time for another look. */
static inline int fx_looks_now(fx_watch *watch) {
    int64_t now = fx_milliseconds();
    int is_due = watch->next_look != 0 && now >= watch->next_look;
    if (is_due || watch->next_look == 0) watch->next_look = now + FX_LOOK_EVERY;
    return is_due;
}

#endif
