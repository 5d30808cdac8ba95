/* The channels of an arena: how a reader finds a ring that its writer made. Open hashing in shared memory; tables are
 * added when one is crowded and never move. */
#ifndef C4_TRANSPORTS_SHM_DIRECTORY_H
#define C4_TRANSPORTS_SHM_DIRECTORY_H

#include "transports/shm/ring.h"

typedef struct c4_shm_entry {
    uint64_t key; /* 0: free; stored last */
    c4_shm_shape shape;
    uint32_t unused[6];
} c4_shm_entry;

_Static_assert(sizeof(c4_shm_entry) == C4_SHM_LINE, "an entry is one cache line");

/* Never 0. */
uint64_t c4_shm_key(const c4_channel_spec *spec);
/* Owner only. C4_ERR_SHM when no table can be added. */
c4_status c4_shm_directory_insert(c4_shm_arena *arena, uint64_t key, const c4_shm_shape *shape, c4_shm_entry **entry);
void c4_shm_directory_remove(c4_shm_arena *arena, c4_shm_entry *entry);
/* Any process, on any mapping; NULL when there is none. The entry may change or go while it is read. */
const c4_shm_entry *c4_shm_directory_find(const unsigned char *base, size_t bytes, uint64_t key);

#endif
