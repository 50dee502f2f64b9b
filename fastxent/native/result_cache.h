/* Memory of large results that is kept for later ones; off until it is given a limit.
 *
 * The kernel clears memory that a process gets from it, which takes as long as many kernels of
 * ours. Blocks that are given back are kept, as far as the limit allows, and lent again. The kernel
 * may take their pages meanwhile (MADV_FREE). Blocks are given back to it when they have not been
 * used for a while, before forks, and when asked.
 */
#ifndef FX_RESULT_CACHE_H
#define FX_RESULT_CACHE_H

#include <stddef.h>

/* Keep at most so many bytes; 0: none. Returns 0, or -1 where this platform has no cache. */
int fx_set_result_cache(size_t limit);
void fx_clear_result_cache(void);
size_t fx_held_by_result_cache(void);

/* Memory of at least so many bytes, whose size is put into `size`; NULL where there is none, or
 * where so much would not be kept. */
void *fx_take_result(size_t bytes, size_t *size);
void fx_give_result(void *data, size_t size);

#endif
