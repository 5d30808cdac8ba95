/* Memory that the NICs know: slots for small messages, units for large ones, and what the user has declared.
 *
 * Slots and units are this module's own, registered once at all rails, so that what waits to be acknowledged can be sent
 * again through another one. They come in chunks that are kept until the module closes.
 *
 * What the user declares (c4_mem_alloc, c4_mem_register) is registered when it is first used and until it is taken back; the
 * library tells by a number that never comes again which declaration a pointer belongs to. Nothing else is ever registered:
 * memory that is freed behind our back would stay so under its old address. malloc is not hooked; such buffers go through
 * units. */
#ifndef C4_TRANSPORTS_VERBS_MEMORY_H
#define C4_TRANSPORTS_VERBS_MEMORY_H

#include <c4/transport.h>

#include "transports/verbs/wire.h"

typedef struct c4_verbs_rail c4_verbs_rail;

/* Registered at every rail that is not gone: keys by rail index. */
typedef struct c4_verbs_region {
    struct c4_verbs_region *next;
    unsigned char *base;
    size_t bytes;
    uint64_t id;  /* of the user's declaration; 0: our own */
    bool refused; /* it cannot be registered */
    struct ibv_mr *mrs[C4_VERBS_MAX_RAILS];
} c4_verbs_region;

typedef struct c4_verbs_memory {
    c4_verbs_rail *rails;
    unsigned nrails;
    c4_verbs_region *own, *declared;
} c4_verbs_memory;

/* Zeroed pages, registered; not inherited by children of fork. C4_ERR_MEMORY, or C4_ERR_SYSTEM with what `ulimit -l` has to
 * do with it (logged). */
c4_status c4_verbs_memory_make(c4_verbs_memory *memory, size_t bytes, c4_verbs_region **region);

/* The declared region that [pointer, +bytes) lies in, registered now if it is not yet; NULL: not declared, or it could not be
 * registered (logged once). */
const c4_verbs_region *c4_verbs_memory_declared(c4_verbs_memory *memory, const c4_transport_host *host,
                                                const void *pointer, size_t bytes);
/* Drops what has been taken back since. */
void c4_verbs_memory_sweep(c4_verbs_memory *memory, const c4_transport_host *host);

void c4_verbs_memory_fini(c4_verbs_memory *memory);

/* What keeps memory from being registered, for a message: "the limit on locked memory is 64 KiB (ulimit -l): ...". */
const char *c4_verbs_memory_advice(int error, char *text, size_t bytes);

#endif
