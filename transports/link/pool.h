/* Memory for frames in flight: blocks of a few sizes, the most recently freed first (it is in the cache).
 * One thread. */
#ifndef C4_TRANSPORTS_LINK_POOL_H
#define C4_TRANSPORTS_LINK_POOL_H

#include <stddef.h>

#define C4_TLINK_POOL_CLASSES 3

typedef struct c4_tlink_pool {
    struct c4_tlink_block *free[C4_TLINK_POOL_CLASSES];
    unsigned nfree[C4_TLINK_POOL_CLASSES];
} c4_tlink_pool;

/* 64-byte aligned block of at least `bytes`; NULL without memory. Blocks above the largest class come from malloc. */
void *c4_tlink_pool_get(c4_tlink_pool *pool, size_t bytes);
void c4_tlink_pool_put(c4_tlink_pool *pool, void *block);
void c4_tlink_pool_fini(c4_tlink_pool *pool);

#endif
