#include "base/clock.h"

#include <pthread.h>

static uint64_t tsc_hz;
static pthread_once_t tsc_once = PTHREAD_ONCE_INIT;

/* CPUID leaf 15H is absent on many virtual machines, so measure: 2 ms give an error below 0.1 %. */
static void tsc_measure(void)
{
    uint64_t ns0 = c4_now_ns(), t0 = c4_tsc(), ns1;
    do {
        ns1 = c4_now_ns();
    } while (ns1 - ns0 < 2000000);
    uint64_t t1 = c4_tsc();
    tsc_hz = (uint64_t)((double)(t1 - t0) * 1e9 / (double)(ns1 - ns0));
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
