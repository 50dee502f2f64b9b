/* An allocator of which a call fails that comes from the extension: preloaded by
 * tests/backends/test_allocation_failures.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum { MOST = 4096 };

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *live[MOST];   /* what the extension has and has not freed */
static long countdown = 0; /* the number of the allocation that fails; 0: none */
static long outstanding = 0;
static int is_watching = 0;

void watch_allocations(long failing) {
    pthread_mutex_lock(&mutex);
    memset(live, 0, sizeof live);
    outstanding = 0;
    countdown = failing;
    is_watching = 1;
    pthread_mutex_unlock(&mutex);
}

/* Returns what has not been freed; negative where no allocation has failed. */
long end_watch(void) {
    long result = countdown > 0 ? -1 - outstanding : outstanding;
    is_watching = 0;
    return result;
}

static int is_from_extension(void *caller) {
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "/_native.");
}

static int fails_now(void) {
    int fails;
    pthread_mutex_lock(&mutex);
    fails = countdown > 0 && --countdown == 0;
    pthread_mutex_unlock(&mutex);
    return fails;
}

static void *note(void *memory) {
    int i;
    pthread_mutex_lock(&mutex);
    for (i = 0; memory && i < MOST; i++)
        if (live[i] == NULL) {
            live[i] = memory;
            outstanding++;
            break;
        }
    pthread_mutex_unlock(&mutex);
    return memory;
}

void *malloc(size_t size) {
    if (!is_watching || !is_from_extension(__builtin_return_address(0))) return __libc_malloc(size);
    return fails_now() ? NULL : note(__libc_malloc(size));
}

void *calloc(size_t count, size_t size) {
    if (!is_watching || !is_from_extension(__builtin_return_address(0)))
        return __libc_calloc(count, size);
    return fails_now() ? NULL : note(__libc_calloc(count, size));
}

static void forget(void *memory) {
    int i;
    if (!is_watching || !memory || outstanding == 0) return;
    pthread_mutex_lock(&mutex);
    for (i = 0; i < MOST; i++)
        if (live[i] == memory) {
            live[i] = NULL;
            outstanding--;
            break;
        }
    pthread_mutex_unlock(&mutex);
}

void *realloc(void *memory, size_t size) {
    void *moved;
    if (!is_watching || !is_from_extension(__builtin_return_address(0)))
        return __libc_realloc(memory, size);
    if (fails_now()) return NULL;
    moved = __libc_realloc(memory, size);
    if (moved) {
        forget(memory);
        note(moved);
    }
    return moved;
}

void free(void *memory) {
    forget(memory);
    __libc_free(memory);
}
