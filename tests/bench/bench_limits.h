/* Parts of bench-limits. All times in ns, medians; 0 or -1. */
#ifndef C4_TESTS_BENCH_LIMITS_H
#define C4_TESTS_BENCH_LIMITS_H

#include <stddef.h>

/* Sorts `values`. */
double limits_median(double *values, size_t count);

/* Each of two cores reads `bytes` and writes `bytes`: max of the two, per repetition. */
int limits_stream(size_t bytes, double ns_per_tick, double *nontemporal_ns, double *plain_ns);

/* `bytes` through loopback TCP, one way or both ways at once; the best of 1, 2 and 4 connections. */
int limits_tcp(size_t bytes, int both_ways, double ns_per_tick, double *time_ns);

#endif
