#include "base/clock.h"

#include <pthread.h>

typedef struct instant {
    uint64_t ns, ticks;
} instant;

static instant first;
static uint64_t tsc_hz;
static pthread_once_t first_once = PTHREAD_ONCE_INIT;
static pthread_once_t tsc_once = PTHREAD_ONCE_INIT;

static void take_first(void)
{
    first = (instant){c4_now_ns(), c4_tsc()};
}

void c4_tsc_begin(void)
{
    pthread_once(&first_once, take_first);
}

/* CPUID leaf 15H is absent on many virtual machines, so measure: 2 ms give an error below 0.1 %. Spun away only by those
 * who come sooner than that after c4_tsc_begin: 512 ranks on two cores would wait half a second for one another. */
static void tsc_measure(void)
{
    instant last;
    c4_tsc_begin();
    do {
        last = (instant){c4_now_ns(), c4_tsc()};
    } while (last.ns - first.ns < 2000000);
    tsc_hz = (uint64_t)((double)(last.ticks - first.ticks) * 1e9 / (double)(last.ns - first.ns));
}

uint64_t c4_tsc_hz(void)
{
    pthread_once(&tsc_once, tsc_measure);
    return tsc_hz;
}

uint64_t c4_tsc_to_ns(uint64_t ticks)
{
    return (uint64_t)((double)ticks * 1e9 / (double)c4_tsc_hz());
}
