/* The process's list of memory that its user has declared: c4_mem_alloc until c4_mem_free, c4_mem_register until
 * c4_mem_deregister. Transports look their large frames up in it and prepare what they find (register it with a NIC) once;
 * malloc is never hooked. Declarations may overlap. All calls from any thread. */
#ifndef C4_COMM_DECLARED_H
#define C4_COMM_DECLARED_H

#include <c4/transport.h>
#include <stdbool.h>

/* `id` is never 0 and never used again. C4_ERR_MEMORY. */
c4_status c4_declared_add(const void *base, size_t bytes, uint64_t *id);
/* False: there is no such declaration. */
bool c4_declared_remove(uint64_t id);
/* The memory at `base` is freed: removes what begins there. */
void c4_declared_forget(const void *base);
/* One that all of [pointer, +bytes) lies in: the one that begins last, of several of the same base the oldest. So it is itself
 * that is found for all of one that was found before, until it is removed, whatever is added meanwhile. */
bool c4_declared_find(const void *pointer, size_t bytes, c4_transport_memory *found);
/* How many have been removed so far. */
uint64_t c4_declared_removals(void);

#endif
