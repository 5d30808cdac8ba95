/* Near or far: whether two ranks' cores share a cache, which decides how payload is best stored into a ring.
 *
 * Plain stores into a deep ring are twice as fast as streaming stores when the cores share the last-level cache and up
 * to five times slower when they do not; and virtual machines move their cores. The signal is the flag latency itself:
 * the writer puts its cycle counter into some headers, and a reader that was already polling for that frame knows how
 * long the line took. Samples of readers that came late mean nothing and are not taken. The minimum of a few samples is
 * a vote, from either side of the pair (the distance is the same for both); the state changes when votes agree, since
 * now and then even the minimum is late. */
#ifndef C4_TRANSPORTS_SHM_DISTANCE_H
#define C4_TRANSPORTS_SHM_DISTANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Every frame at first, then one in 8: reading the counter costs 10 ns on each side. */
#define C4_SHM_PROBE_FIRST 16u
#define C4_SHM_PROBE_EVERY 8u
#define C4_SHM_WINDOW 4u
#define C4_SHM_VOTES 3

typedef struct c4_shm_distance {
    uint32_t near_ticks, far_ticks; /* thresholds; between them the state stays */
    uint32_t late_ticks;            /* a poll older than this was not waiting */
    uint32_t lowest, samples;       /* of the current window */
    uint32_t measured;              /* last full window, for the other side: ticks, and a number that changes */
    int votes; /* for far when above 0, for near below; the state follows at +-C4_SHM_VOTES */
    bool far, known;
} c4_shm_distance;

static inline bool c4_shm_probe(uint64_t index)
{
    return index % C4_SHM_PROBE_EVERY == 0 || index < C4_SHM_PROBE_FIRST;
}

void c4_shm_distance_init(c4_shm_distance *distance);
/* One-way time of one frame, in ticks. */
void c4_shm_distance_sample(c4_shm_distance *distance, uint64_t ticks);
/* A window as the other side measured it; the caller passes each one once, so that a stale one is not news. */
void c4_shm_distance_report(c4_shm_distance *distance, uint32_t measured);
static inline uint32_t c4_shm_distance_ticks(uint32_t measured)
{
    return measured & 0xfffffu;
}

#endif
