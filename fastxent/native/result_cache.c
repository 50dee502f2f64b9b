#define _GNU_SOURCE /* madvise */
#include "result_cache.h"

#if defined(_WIN32)
int fx_set_result_cache(size_t limit) { return limit ? -1 : 0; }
void fx_clear_result_cache(void) {}
size_t fx_held_by_result_cache(void) { return 0; }
void *fx_take_result(size_t bytes, size_t *size) {
    (void)bytes, (void)size;
    return NULL;
}
void fx_give_result(void *data, size_t size) { (void)data, (void)size; }
#else
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* Two results alternate in a loop that rebinds one name; a loss and its gradient need four. */
#define MOST_BLOCKS 4
/* The size of a huge page: smaller steps leave small pages at both ends of a block. */
#define STEP ((size_t)2 << 20)
/* A block that has not been used for so long is given back at the next opportunity. */
#define MOST_SECONDS 10

typedef struct {
    char *data;
    size_t size;
    time_t since;
} idle_block;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static size_t limit = 0, held = 0;
static idle_block blocks[MOST_BLOCKS]; /* the one that was used last is the last one */
static int count = 0;

static time_t now(void) {
    struct timespec time;
    return clock_gettime(CLOCK_MONOTONIC, &time) ? 0 : time.tv_sec;
}

/* These are called with the mutex held. */
static idle_block remove_block(int i) {
    idle_block removed = blocks[i];
    memmove(blocks + i, blocks + i + 1, (size_t)(--count - i) * sizeof *blocks);
    held -= removed.size;
    return removed;
}
static void drop_oldest(void) {
    idle_block oldest = remove_block(0);
    munmap(oldest.data, oldest.size);
}
static void drop_old(void) {
    while (count && now() - blocks[0].since > MOST_SECONDS) drop_oldest();
}
static void drop_all(void) {
    while (count) drop_oldest();
}

static void *map_aligned(size_t size) {
    char *data =
        mmap(NULL, size + STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return NULL;
    size_t before = (STEP - (uintptr_t)data % STEP) % STEP;
    if (before) munmap(data, before);
    munmap(data + before + size, STEP - before);
#ifdef MADV_HUGEPAGE
    madvise(data + before, size, MADV_HUGEPAGE); /* it may fail, and then they are small ones */
#endif
    return data + before;
}

/* A child that writes to an inherited block would copy it, and so would its parent. */
static void before_fork(void) {
    pthread_mutex_lock(&mutex);
    drop_all();
}
static void after_fork(void) { pthread_mutex_unlock(&mutex); }
static int fork_error = 0;
static void protect_forks(void) {
    fork_error = pthread_atfork(before_fork, after_fork, after_fork);
}

size_t fx_held_by_result_cache(void) {
    pthread_mutex_lock(&mutex);
    drop_old();
    size_t result = held;
    pthread_mutex_unlock(&mutex);
    return result;
}

int fx_set_result_cache(size_t new_limit) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (new_limit) pthread_once(&once, protect_forks);
    if (new_limit && fork_error) return -1;
    pthread_mutex_lock(&mutex);
    limit = new_limit;
    while (held > limit) drop_oldest();
    pthread_mutex_unlock(&mutex);
    return 0;
}

void fx_clear_result_cache(void) {
    pthread_mutex_lock(&mutex);
    drop_all();
    pthread_mutex_unlock(&mutex);
}

void *fx_take_result(size_t bytes, size_t *size) {
    if (bytes > SIZE_MAX - 2 * STEP) return NULL;
    size_t needed = (bytes + STEP - 1) / STEP * STEP;
    int best = -1;
    idle_block block = {NULL, needed, 0};
    pthread_mutex_lock(&mutex);
    drop_old();
    size_t most = limit;
    /* The smallest that is not much too large; of equal ones the warmest. */
    for (int i = 0; i < count; i++)
        if (blocks[i].size >= needed && blocks[i].size <= needed + needed / 4 &&
            (best < 0 || blocks[i].size <= blocks[best].size))
            best = i;
    if (best >= 0) block = remove_block(best);
    pthread_mutex_unlock(&mutex);
    if (!block.data && needed <= most) {
        block.data = map_aligned(needed);
        if (!block.data) {
            fx_clear_result_cache();
            block.data = map_aligned(needed);
        }
    }
    *size = block.size;
    return block.data;
}

void fx_give_result(void *data, size_t size) {
    pthread_mutex_lock(&mutex);
    drop_old();
    int is_kept = size <= limit;
    while (is_kept && (count == MOST_BLOCKS || held + size > limit)) drop_oldest();
    if (is_kept) {
#ifdef MADV_FREE
        madvise(data, size, MADV_FREE);
#endif
        blocks[count++] = (idle_block){data, size, now()};
        held += size;
    }
    pthread_mutex_unlock(&mutex);
    if (!is_kept) munmap(data, size);
}
#endif
