/* Near or far: whether two ranks' cores share a cache, which decides how payload is best stored into a ring.
 *
 * Plain stores into a deep ring are twice as fast as streaming stores when the cores share the last-level cache and up
 * to five times slower when they do not; and virtual machines move their cores. The signal is the time that one line
 * takes: a writer changes its ring's probe line and marks the frame it commits next; whoever sees that frame times one
 * load of the line, which lies changed in the writer's cache, whatever the frame's size and stores and whether the
 * reader waited for it or came late. The minimum of a few samples is a vote, from either side of the pair (the distance
 * is the same for both); the state changes when votes agree.
 *
 * While large frames pass, the probe line may have left the writer's cores' own caches and then takes a time between the two. So
 * large frames that were stored plainly are timed as well: they take three times as long to read when far. */
#ifndef C4_TRANSPORTS_SHM_DISTANCE_H
#define C4_TRANSPORTS_SHM_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define C4_SHM_PROBE_FIRST 4  /* the first frames of a ring, for a first vote */
#define C4_SHM_PROBE_EVERY 64 /* then one in so many: it costs the reader a line's latency */
#define C4_SHM_PROBE_LARGE 8  /* as many as that counts one frame from C4_SHM_PROBE_BYTES up */
#define C4_SHM_PROBE_BYTES 4096u
#define C4_SHM_RATE_BYTES  (32u << 10) /* frames from here up are timed */
#define C4_SHM_WINDOW      4u
#define C4_SHM_VOTES       3

typedef struct c4_shm_distance {
    uint32_t near_ticks, far_ticks; /* thresholds; between them the state stays */
    uint32_t slow_ticks;            /* for 64 KiB */
    uint32_t lowest, samples;       /* of the current window */
    uint64_t least_rate;            /* of large frames: ticks for 64 KiB, the least of the current window */
    uint32_t rates;                 /* in that window */
    uint32_t measured;              /* last full window, for the other side: ticks, and a number that changes */
    int votes;                      /* for far when above 0, for near below; the state follows at +-C4_SHM_VOTES */
    bool far, known;
} c4_shm_distance;

void c4_shm_distance_init(c4_shm_distance *distance);
/* Time of one line, in ticks. */
void c4_shm_distance_sample(c4_shm_distance *distance, uint64_t ticks);
/* Time that this rank took to read a large frame, stored plainly. */
void c4_shm_distance_rate(c4_shm_distance *distance, size_t bytes, uint64_t ticks);
/* A window as the other side measured it; the caller passes each one once, so that a stale one is not news. */
void c4_shm_distance_report(c4_shm_distance *distance, uint32_t measured);
static inline uint32_t c4_shm_distance_ticks(uint32_t measured)
{
    return measured & 0xfffffu;
}

#endif
