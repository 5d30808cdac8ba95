/* Allocation failure on purpose (the program is linked with -Wl,--wrap=malloc and friends). */
#ifndef C4_TESTS_SIM_MEMORY_H
#define C4_TESTS_SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* The `nth` allocation from now on fails, once; 0: none does. */
void sim_memory_fail(unsigned nth);
/* True when it has come to that since the last sim_memory_fail. */
bool sim_memory_failed(void);

/* For the simulation itself: these never fail. */
void *sim_memory_get(void *old, size_t bytes);

#endif
