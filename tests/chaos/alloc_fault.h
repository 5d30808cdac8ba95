/* The allocator of this program, which can be told to fail once: malloc, calloc, realloc, aligned allocation and mmap, by
 * whomever they are called (libraries opened at run time too). Any thread. */
#ifndef C4_TESTS_CHAOS_ALLOC_FAULT_H
#define C4_TESTS_CHAOS_ALLOC_FAULT_H

#include <stdbool.h>

/* Counts from 1 from now on and fails number `number`; 0: none. */
void alloc_fault_arm(long number);
/* How many allocations there have been since. */
long alloc_fault_disarm(void);
/* Has allocation `number` of the last count come by a way (a chain of callers) that an earlier one did not? */
bool alloc_fault_is_new(long number);
/* Allocations that have not been freed. */
long alloc_fault_live(void);
/* Was the one that failed last made for code of the library whose path contains `name`? */
bool alloc_fault_was_for(const char *name);
/* The stack of the one that failed last, to stderr. */
void alloc_fault_show(void);

#endif
