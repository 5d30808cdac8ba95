/* Start line for the measured ranks: a barrier in shared memory that belongs to none of the libraries, and one clock.
 *
 * Where every rank has a core of its own, the ranks leave the barrier at one agreed reading of the clock, so that no
 * rank's time contains another rank's late start. Where ranks share cores that is impossible (only one of them runs),
 * and each rank's time starts when it is first scheduled after the last arrival. */
#ifndef C4_TESTS_BENCH_SYNC_H
#define C4_TESTS_BENCH_SYNC_H

#include <stdint.h>

struct bench_sync_page;

struct bench_sync {
    struct bench_sync_page *page;
    uint32_t nranks;
    int shares_cores;
    double ns_per_tick;
};

/* Number of cores in BENCH_CORES ("0,1", from the driver), which the launchers' own bindings do not change. */
int bench_cores(void);
/* Binds the calling thread to core number `index` of that list, modulo its length. 0, or -1 with errno. */
int bench_pin(int index);

/* Raw clock: the invariant TSC on x86, CLOCK_MONOTONIC in ns elsewhere. */
uint64_t bench_ticks(void);
double bench_ns_per_tick(void);

/* Maps the page at `path` (made and zeroed by the driver). 0, or -1 with errno. */
int bench_sync_open(struct bench_sync *sync, const char *path, int nranks);

/* Waits for all ranks, returns the tick at which this rank's measured time begins. */
uint64_t bench_sync_start(struct bench_sync *sync);

/* Rank 0 sets, before it enters bench_sync_start, what all ranks read after it. */
void bench_sync_set_stop(struct bench_sync *sync, int stop);
int bench_sync_stop(const struct bench_sync *sync);

#endif
