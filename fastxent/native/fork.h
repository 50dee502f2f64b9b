/* OpenMP and fork. */
#ifndef FX_FORK_H
#define FX_FORK_H

/* libgomp keeps its idle threads for the next parallel region; in a forked child they do not exist,
 * and the region would wait for them for ever. So the parent gives them up before a fork, and the
 * child works on one thread until told otherwise. */
int fx_protect_forks(void); /* 0, or the error number of pthread_atfork */

#endif
