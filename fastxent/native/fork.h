/* OpenMP and fork.
 *
 * libgomp keeps its idle threads for the next parallel region; in a forked child they do not exist,
 * and the region would wait for them for ever. So the parent gives them up before a fork, and the
 * child works on one thread until told otherwise.
 *
 * LLVM's OpenMP must not be given up under the parallel regions of other threads, and what it does
 * about forks by itself leaves children that hang now and then. There a child does not use it at
 * all: it computes on one thread, whatever it is told. Results do not depend on it.
 */
#ifndef FX_FORK_H
#define FX_FORK_H

int fx_protect_forks(void);           /* 0, or the error number of pthread_atfork */
int fx_max_threads(void);             /* what OpenMP would use now */
int fx_usable_threads(int requested); /* how many of them a parallel region can have here */

#endif
