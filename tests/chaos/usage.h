/* What a process holds, to be compared with what it holds later. */
#ifndef C4_TESTS_CHAOS_USAGE_H
#define C4_TESTS_CHAOS_USAGE_H

#include <stddef.h>

typedef struct chaos_usage {
    int files, threads, maps;
    long resident_kib;
    size_t heap_bytes;
} chaos_usage;

/* Of this process; what malloc keeps for later is given back first. */
chaos_usage chaos_usage_measure(void);

#endif
