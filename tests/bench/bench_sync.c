#include "tests/bench/bench_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Farther away than the slowest flag (250 ns) with room for the second line. */
#define START_MARGIN_NS    1500.0
#define POLLS_BEFORE_YIELD 100

struct bench_sync_page {
    _Alignas(128) _Atomic uint32_t arrived;
    _Alignas(128) _Atomic uint32_t generation;
    _Atomic uint64_t start_ticks;
    _Alignas(128) _Atomic int stop;
};

#define CORES_MAX 256

static int cores_read(int *cores)
{
    const char *text = getenv("BENCH_CORES");
    int ncores = 0;
    while (text != NULL && *text != '\0' && ncores < CORES_MAX) {
        char *end = NULL;
        cores[ncores++] = (int)strtol(text, &end, 10);
        if (end == text) {
            return 0;
        }
        text = *end == ',' ? end + 1 : end;
    }
    return ncores;
}

int bench_cores(void)
{
    int cores[CORES_MAX];
    return cores_read(cores);
}

int bench_pin(int index)
{
    int cores[CORES_MAX];
    int ncores = cores_read(cores);
    cpu_set_t one;
    if (ncores == 0) {
        errno = EINVAL;
        return -1;
    }
    CPU_ZERO(&one);
    CPU_SET(cores[index % ncores], &one);
    return sched_setaffinity(0, sizeof one, &one);
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return monotonic_ns();
#endif
}

double bench_ns_per_tick(void)
{
#if defined(__x86_64__)
    const uint64_t window_ns = 20 * 1000 * 1000;
    uint64_t begin_ns = monotonic_ns();
    uint64_t begin = bench_ticks();
    uint64_t now_ns;
    do {
        now_ns = monotonic_ns();
    } while (now_ns - begin_ns < window_ns);
    return (double)(now_ns - begin_ns) / (double)(bench_ticks() - begin);
#else
    return 1.0;
#endif
}

int bench_sync_open(struct bench_sync *sync, const char *path, int nranks)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    void *map = mmap(NULL, sizeof *sync->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return -1;
    }
    sync->page = map;
    sync->nranks = (uint32_t)nranks;
    sync->shares_cores = nranks > bench_cores();
    sync->ns_per_tick = bench_ns_per_tick();
    return 0;
}

static void wait_for_generation(const struct bench_sync *sync, uint32_t generation)
{
    unsigned polls = 0;
    while (atomic_load_explicit(&sync->page->generation, memory_order_acquire) == generation) {
        if (sync->shares_cores && ++polls > POLLS_BEFORE_YIELD) {
            sched_yield();
        }
    }
}

uint64_t bench_sync_start(struct bench_sync *sync)
{
    struct bench_sync_page *page = sync->page;
    uint32_t generation = atomic_load_explicit(&page->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&page->arrived, 1, memory_order_acq_rel) + 1 == sync->nranks) {
        uint64_t margin = (uint64_t)(START_MARGIN_NS / sync->ns_per_tick);
        atomic_store_explicit(&page->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&page->start_ticks, bench_ticks() + margin, memory_order_relaxed);
        atomic_store_explicit(&page->generation, generation + 1, memory_order_release);
    } else {
        wait_for_generation(sync, generation);
    }
    if (sync->shares_cores) {
        return bench_ticks();
    }
    uint64_t start = atomic_load_explicit(&page->start_ticks, memory_order_relaxed);
    while (bench_ticks() < start) {
    }
    return start;
}

void bench_sync_set_stop(struct bench_sync *sync, int stop)
{
    atomic_store_explicit(&sync->page->stop, stop, memory_order_relaxed);
}

int bench_sync_stop(const struct bench_sync *sync)
{
    return atomic_load_explicit(&sync->page->stop, memory_order_relaxed);
}
