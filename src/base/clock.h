/* Time. c4_tsc is for the recorder and hot paths (about 10 ns); c4_now_ns for everything else (about 30 ns). */
#ifndef C4_BASE_CLOCK_H
#define C4_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Monotonic nanoseconds. */
static inline uint64_t c4_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Invariant cycle counter where the machine has one, else nanoseconds. */
static inline uint64_t c4_tsc(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return c4_now_ns();
#endif
}

/* Where measuring the rate of c4_tsc may start; idempotent. */
void c4_tsc_begin(void);
/* Ticks of c4_tsc per second; measured once per process, over what has passed since c4_tsc_begin, 2 ms at least. */
uint64_t c4_tsc_hz(void);
uint64_t c4_tsc_to_ns(uint64_t ticks);

static inline void c4_cpu_pause(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
