#define _GNU_SOURCE /* syscall */
#include "teams.h"

#include "fork.h"

#include <stddef.h>

#if defined(_OPENMP) && !defined(_WIN32)
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { MOST_THREADS = 1024, MOST_TRIES = 10000 };

struct fx_team {
    int pool;
    int size;       /* of the last region */
    int has_turn;   /* until the first thread of the region is there */
    int workers;    /* that have joined and have not ended; these two change atomically */
    int references; /* of the thread whose team it is, and of the workers */
};

static pthread_key_t own_teams[FX_POOLS];   /* of a thread that starts regions */
static pthread_key_t memberships[FX_POOLS]; /* of a worker */
static pthread_attr_t attributes;           /* of threads as OpenMP makes them */
static int turn = 0;

/* ------------------------------------------------------------------ whose turn it is */

void fx_take_turn(void) {
    while (__atomic_exchange_n(&turn, 1, __ATOMIC_ACQUIRE)) sched_yield();
}

void fx_hand_turn_on(void) { __atomic_store_n(&turn, 0, __ATOMIC_RELEASE); }

/* ------------------------------------------------------------------ threads on trial */

typedef struct {
    pthread_t thread;
    long id;
} trial;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_gate(void *argument) {
    trial *self = argument;
#ifdef __linux__
    self->id = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return self;
}

/* A thread can be joined a moment before it is off the kernel's count. */
static void wait_for_end(const trial *ended) {
#ifdef __linux__
    int tries;
    for (tries = 0; tries < MOST_TRIES && !syscall(SYS_tgkill, getpid(), ended->id, 0); ++tries)
        sched_yield();
#endif
}

/* To be called in one's turn. */
static int create_and_end(int wanted) {
    static trial trials[MOST_THREADS];
    int created = 0, i;
    pthread_mutex_lock(&gate);
    while (created < wanted && created < MOST_THREADS &&
           !pthread_create(&trials[created].thread, &attributes, wait_at_gate, &trials[created]))
        ++created;
    pthread_mutex_unlock(&gate);
    for (i = 0; i < created; ++i) pthread_join(trials[i].thread, NULL);
    for (i = 0; i < created; ++i) wait_for_end(&trials[i]);
    return created;
}

int fx_count_creatable(int wanted) {
    int created;
    fx_take_turn();
    created = create_and_end(wanted);
    fx_hand_turn_on();
    return created;
}

/* ------------------------------------------------------------------ teams and their members */

static void release(fx_team *team) {
    if (__atomic_sub_fetch(&team->references, 1, __ATOMIC_ACQ_REL) == 0) free(team);
}

static void end_ownership(void *team) { release(team); }

static void end_membership(void *argument) {
    fx_team *team = argument;
    __atomic_sub_fetch(&team->workers, 1, __ATOMIC_RELAXED);
    release(team);
}

fx_team *fx_own_team(int pool) {
    fx_team *team = pthread_getspecific(own_teams[pool]);
    if (team != NULL) return team;
    team = calloc(1, sizeof(fx_team));
    if (team == NULL) return NULL;
    team->pool = pool;
    team->size = team->references = 1;
    if (pthread_setspecific(own_teams[pool], team) != 0) {
        free(team);
        return NULL;
    }
    return team;
}

void fx_forget_teams(void) {
    int pool;
    for (pool = 0; pool < FX_POOLS; ++pool) {
        fx_team *team = pthread_getspecific(own_teams[pool]);
        if (team != NULL) {
            team->workers = 0;
            team->size = 1;
        }
    }
}

int fx_gather_team(fx_team *team, int wanted) {
    int workers;
    wanted = fx_usable_threads(wanted);
    if (wanted <= 1 || team == NULL) return 1;
    /* OpenMP gives a region no more threads than these limits say, and so none may be missed. */
    if (omp_get_active_level() >= omp_get_max_active_levels()) return 1;
    if (wanted > omp_get_thread_limit()) wanted = omp_get_thread_limit();
    if (wanted > MOST_THREADS) wanted = MOST_THREADS;
    /* Of a larger pool libgomp keeps no more than a region needs. */
    workers = __atomic_load_n(&team->workers, __ATOMIC_RELAXED);
    if (workers > team->size - 1) workers = team->size - 1;
    team->size = wanted;
    if (wanted - 1 <= workers) return wanted;
    fx_take_turn();
    team->size = 1 + workers + create_and_end(wanted - 1 - workers);
    team->has_turn = team->pool == FX_NATIVE_POOL && team->size > 1;
    if (!team->has_turn) fx_hand_turn_on();
    return team->size;
}

void fx_join_team(fx_team *team, int number) {
    fx_team *joined;
    if (number == 0) {
        if (team->has_turn) {
            team->has_turn = 0;
            fx_hand_turn_on();
        }
        return;
    }
    joined = pthread_getspecific(memberships[team->pool]);
    if (joined == team || pthread_setspecific(memberships[team->pool], team) != 0) return;
    __atomic_add_fetch(&team->references, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&team->workers, 1, __ATOMIC_RELAXED);
    if (joined != NULL) end_membership(joined);
}

/* ------------------------------------------------------------------ OpenMP's stacks */

#ifdef KMP_VERSION_MAJOR /* of LLVM's omp.h */
/* And a little, for it shifts the stacks of threads by some cache lines each. A stack that has been
 * tried is used again where it is no smaller than what is asked for. */
static size_t stack_size(void) { return kmp_get_stacksize_s() + (128 << 10); }
#else
/* What libgomp reads from a variable: a number of KiB, or of what its last letter says. */
static size_t stack_size_of(const char *variable) {
    static const char units[] = "bkmg";
    const char *text = getenv(variable), *unit;
    char *end;
    unsigned long long number;
    if (text == NULL) return 0;
    number = strtoull(text, &end, 10);
    end += strspn(end, " \t\n");
    if (*end == '\0') return number << 10;
    unit = strchr(units, *end | 0x20);
    return unit != NULL ? number << 10 * (unit - units) : 0;
}

static size_t stack_size(void) {
    size_t size = stack_size_of("OMP_STACKSIZE");
    return size != 0 ? size : stack_size_of("GOMP_STACKSIZE");
}
#endif

int fx_prepare_teams(void) {
    int error = pthread_attr_init(&attributes), pool;
    size_t size = stack_size();
    /* A size that is not allowed is not used by OpenMP, either. */
    if (error == 0 && size != 0) (void)pthread_attr_setstacksize(&attributes, size);
    for (pool = 0; error == 0 && pool < FX_POOLS; ++pool) {
        error = pthread_key_create(&own_teams[pool], end_ownership);
        if (error == 0) error = pthread_key_create(&memberships[pool], end_membership);
    }
    return error;
}
#else
/* Nothing is tried where there is no OpenMP, or no POSIX threads. */
int fx_prepare_teams(void) { return 0; }
fx_team *fx_own_team(int pool) { return (void)pool, NULL; }
int fx_count_creatable(int wanted) { return wanted; }
int fx_gather_team(fx_team *team, int wanted) { return (void)team, wanted; }
void fx_join_team(fx_team *team, int number) { (void)team, (void)number; }
void fx_take_turn(void) {}
void fx_hand_turn_on(void) {}
void fx_forget_teams(void) {}
#endif
