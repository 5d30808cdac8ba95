/* What the machine itself can do, measured between two threads on the cores the ranks use. Started once by the
 * driver, asleep in read() between commands:
 *   flag            ns, one way, of a cache line handed back and forth
 *   stream BYTES    ns with nontemporal and with plain stores: the traffic of a 2-rank all_reduce of BYTES on private
 *                   memory (two inputs read once, two results written once: 4 * BYTES) without synchronisation
 *   tcp2 BYTES      ns for BYTES each way at once over loopback; tcp1 BYTES: one way
 * As in the bench, inputs are written and results read by their own thread before each repetition. */
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_sync.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_BATCHES 15
#define FLAG_ROUNDS  60

struct flag_pair {
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
};

static int double_compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

double limits_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, double_compare);
    return values[count / 2];
}

static void *flag_answer(void *argument)
{
    struct flag_pair *pair = argument;
    bench_pin(1);
    for (uint32_t i = 1; i <= FLAG_BATCHES * FLAG_ROUNDS; i++) {
        while (atomic_load_explicit(&pair->ping, memory_order_acquire) != i) {
        }
        atomic_store_explicit(&pair->pong, i, memory_order_release);
    }
    return NULL;
}

static double flag_measure(double ns_per_tick)
{
    static struct flag_pair pair;
    double batches[FLAG_BATCHES];
    pthread_t thread;
    uint32_t round = 0;
    atomic_store(&pair.ping, 0);
    atomic_store(&pair.pong, 0);
    if (pthread_create(&thread, NULL, flag_answer, &pair) != 0) {
        return -1.0;
    }
    for (int batch = 0; batch < FLAG_BATCHES; batch++) {
        uint64_t begin = bench_ticks();
        for (int i = 0; i < FLAG_ROUNDS; i++) {
            atomic_store_explicit(&pair.ping, ++round, memory_order_release);
            while (atomic_load_explicit(&pair.pong, memory_order_acquire) != round) {
            }
        }
        batches[batch] = (double)(bench_ticks() - begin) * ns_per_tick / (2.0 * FLAG_ROUNDS);
    }
    pthread_join(thread, NULL);
    return limits_median(batches, FLAG_BATCHES);
}

int main(void)
{
    char line[128];
    size_t bytes;
    double first;
    double second;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (bench_cores() < 2 || bench_pin(0) != 0) {
        fprintf(stderr, "bench-limits: needs BENCH_CORES with two cores (started by tests/bench/bench.py)\n");
        return 2;
    }
    double ns_per_tick = bench_ns_per_tick();
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "flag", 4) == 0) {
            printf("%.1f\n", flag_measure(ns_per_tick));
        } else if (sscanf(line, "stream %zu", &bytes) == 1 && limits_stream(bytes, ns_per_tick, &first, &second) == 0) {
            printf("%.0f %.0f\n", first, second);
        } else if (sscanf(line, "tcp2 %zu", &bytes) == 1 && limits_tcp(bytes, 1, ns_per_tick, &first) == 0) {
            printf("%.0f\n", first);
        } else if (sscanf(line, "tcp1 %zu", &bytes) == 1 && limits_tcp(bytes, 0, ns_per_tick, &first) == 0) {
            printf("%.0f\n", first);
        } else {
            printf("error\n");
        }
    }
    return 0;
}
