/* Both ends of shm rings in one process, in a module each, so that every interleaving is the test's own. */
#ifndef C4_TESTS_TRANSPORTS_SHM_RINGS_H
#define C4_TESTS_TRANSPORTS_SHM_RINGS_H

#include "tests/c4test.h"
#include "tests/transports/shm/rig.h"
#include "transports/shm/module.h"

#define SMALL_RING 16384u

typedef struct world {
    rig_rank ranks[RIG_MAX_RANKS];
    int nranks;
} world;

/* ring_bytes 0: the default. */
world world_open(int nranks, size_t ring_bytes);
/* The world must not move after this: modules hold pointers to its hosts. */
void world_connect(world *w);
void world_close(world *w);

/* Writes frame number `frame` with that number's pattern; C4_IN_PROGRESS: no credit. */
c4_status frame_put(c4_channel *channel, uint64_t frame, size_t bytes);
/* Checks the frame at the head to be that one, and consumes it; C4_IN_PROGRESS: none is there. */
c4_status frame_get(c4_channel *channel, uint64_t frame, size_t bytes);
unsigned char frame_pattern(uint64_t frame, size_t at);

#endif
