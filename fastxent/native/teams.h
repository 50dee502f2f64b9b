/* The threads of a parallel region, made in such a way that no process ends for want of one.
 *
 * An OpenMP runtime that cannot create a thread ends the process ("libgomp: Thread creation
 * failed"), be it for a limit on memory, on threads, or on the processes of a container. So before
 * a region needs more threads than its caller's pool has, as many are created, and ended again, and
 * the region gets those that there could be. One thread of a process at a time does so and creates
 * them; another process, or another library, may still take the last one in between.
 *
 * libgomp has a pool for each thread that starts regions, with the threads of its last region.
 */
#ifndef FX_TEAMS_H
#define FX_TEAMS_H

/* Numba may have an OpenMP of its own, or another kind of threads. */
enum { FX_NATIVE_POOL, FX_NUMBA_POOL, FX_POOLS };

typedef struct fx_team fx_team;

int fx_prepare_teams(void);         /* 0, or the number of an error */
int fx_count_creatable(int wanted); /* how many threads there could be besides those there are */
fx_team *fx_own_team(int pool);     /* the calling thread's; NULL: there is no memory for it */

/* How many of the wanted threads a region can have. A native region has to follow at once: with
 * more than one thread it takes a turn, which the region's first thread hands on. */
int fx_gather_team(fx_team *team, int wanted);
void fx_join_team(fx_team *team, int number); /* what each thread of the region does first */

/* Around a fork: no other thread is in its turn, and the child has no other threads. */
void fx_take_turn(void);
void fx_hand_turn_on(void);
void fx_forget_teams(void);

#endif
