/* Memory that peers can map: what its owner and its users share. */
#ifndef C4_TRANSPORTS_SHM_REGION_H
#define C4_TRANSPORTS_SHM_REGION_H

#include <c4/transport.h>
#include <stdbool.h>

/* Content of a c4_memory_handle. The owner's process is known from its address. */
typedef struct c4_shm_region_handle {
    uint64_t nonce; /* names the region; never used twice */
    uint64_t offset, bytes;
    uint64_t region_bytes;
    int32_t fd;
    uint32_t unused[3];
} c4_shm_region_handle;

_Static_assert(sizeof(c4_shm_region_handle) == sizeof(c4_memory_handle), "the handle is exactly filled");

/* The nonce, in a page of its own behind the user's memory; 0 once the region has been freed. */
static inline uint64_t *c4_shm_region_trailer(void *base, size_t bytes)
{
    return (uint64_t *)(void *)((char *)base + bytes);
}

/* A region of this process. */
bool c4_shm_region_own(uint64_t nonce, size_t bytes, void **base);

#endif
