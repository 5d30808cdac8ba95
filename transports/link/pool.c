#include "transports/link/pool.h"

#include <stdlib.h>

#define UNPOOLED C4_TLINK_POOL_CLASSES

/* Sits in the line before the block. */
struct c4_tlink_block {
    struct c4_tlink_block *next;
    unsigned class;
    _Alignas(64) unsigned char data[];
};

/* Room for: a header and a small message; 4 KiB and its bookkeeping; 64 KiB and its bookkeeping. */
static const size_t class_bytes[C4_TLINK_POOL_CLASSES] = {448, 4096 + 256, 65536 + 256};
/* More free blocks than this go back to the system. */
static const unsigned class_keep[C4_TLINK_POOL_CLASSES] = {4096, 512, 32};

static struct c4_tlink_block *block_of(void *data)
{
    return (struct c4_tlink_block *)((char *)data - offsetof(struct c4_tlink_block, data));
}

void *c4_tlink_pool_get(c4_tlink_pool *pool, size_t bytes)
{
    unsigned class = 0;
    while (class < C4_TLINK_POOL_CLASSES && bytes > class_bytes[class])
        class ++;
    if (class < C4_TLINK_POOL_CLASSES && pool->free[class] != NULL) {
        struct c4_tlink_block *block = pool->free[class];
        pool->free[class] = block->next;
        pool->nfree[class]--;
        return block->data;
    }
    size_t capacity = class < C4_TLINK_POOL_CLASSES ? class_bytes[class] : bytes;
    struct c4_tlink_block *block = aligned_alloc(64, (sizeof *block + capacity + 63) & ~(size_t)63);
    if (block == NULL)
        return NULL;
    block->class = class;
    return block->data;
}

void c4_tlink_pool_put(c4_tlink_pool *pool, void *data)
{
    struct c4_tlink_block *block = block_of(data);
    unsigned class = block->class;
    if (class == UNPOOLED || pool->nfree[class] >= class_keep[class]) {
        free(block);
        return;
    }
    block->next = pool->free[class];
    pool->free[class] = block;
    pool->nfree[class]++;
}

void c4_tlink_pool_fini(c4_tlink_pool *pool)
{
    for (unsigned class = 0; class < C4_TLINK_POOL_CLASSES; class ++)
        while (pool->free[class] != NULL) {
            struct c4_tlink_block *next = pool->free[class]->next;
            free(pool->free[class]);
            pool->free[class] = next;
        }
}
