/* What a process holds, to be compared with what it holds later. */
#ifndef C4_TESTS_CHAOS_USAGE_H
#define C4_TESTS_CHAOS_USAGE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct chaos_usage {
    int files, threads, maps;
    long private_kib;  /* resident. Not the pages of files, which the kernel takes and gives as it likes */
    long shared_kib;   /* resident shared memory: the rings of open channels, which go with their communicator */
    size_t heap_bytes; /* in use */
} chaos_usage;

/* Of this process; what malloc keeps for later is given back first. */
chaos_usage chaos_usage_measure(void);

/* Does it hold more now than `first` and what it `may` grow by? Then `text` tells all. */
bool chaos_usage_has_grown(const chaos_usage *first, const chaos_usage *now, const chaos_usage *may, char *text,
                           size_t bytes);

#endif
