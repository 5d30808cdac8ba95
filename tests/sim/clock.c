#include "tests/sim/clock.h"

#include <time.h>

uint64_t sim_clock_ns;

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    if (sim_clock_ns == 0 || id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, t);
    t->tv_sec = (time_t)(sim_clock_ns / 1000000000u);
    t->tv_nsec = (long)(sim_clock_ns % 1000000000u);
    return 0;
}
