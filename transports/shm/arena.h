/* A rank's own shared memory: its plot of the host's segment, and what of it is handed out. */
#ifndef C4_TRANSPORTS_SHM_ARENA_H
#define C4_TRANSPORTS_SHM_ARENA_H

#include "transports/shm/segment.h"

#define C4_SHM_TABLES 10

/* The first page of an arena. Written by its owner, except `asleep` and `doorbell`, which peers change to wake it. */
typedef struct c4_shm_head {
    uint64_t magic;
    uint64_t nonce[2];
    uint64_t bytes;
    uint32_t expedited; /* owner is registered for, and sleeps behind, global expedited membarriers */

    uint32_t doorbell __attribute__((aligned(C4_SHM_LINE))); /* futex */
    uint32_t asleep;

    uint32_t directory_version __attribute__((aligned(C4_SHM_LINE))); /* changes with every entry */
    uint32_t ntables;
    uint64_t table_offset[C4_SHM_TABLES];
} c4_shm_head;

typedef struct c4_shm_span {
    size_t offset, bytes;
} c4_shm_span;

typedef struct c4_shm_arena {
    c4_shm_segment segment;
    uint32_t plot;
    unsigned char *base; /* of the plot */
    size_t bytes;
    size_t top;         /* ranges beyond have never been handed out */
    c4_shm_span *spans; /* free ranges below top, ascending, coalesced */
    int nspans, spans_capacity;
    c4_shm_address address;
} c4_shm_arena;

static inline c4_shm_head *c4_shm_arena_head(const c4_shm_arena *arena)
{
    return (c4_shm_head *)arena->base;
}

/* Makes a segment of `nplots` plots of `bytes` each and takes the first. C4_ERR_SHM with a text that names the mend. */
c4_status c4_shm_arena_init(c4_shm_arena *arena, int backend, uint32_t nplots, size_t bytes, int rank);
/* Moves, still empty, into the segment that `address` names. C4_ERR_UNREACHABLE or C4_ERR_SHM (no room there), with a
 * reason: it stays where it was. */
c4_status c4_shm_arena_move(c4_shm_arena *arena, const c4_shm_address *address, char *reason, size_t reason_bytes);
/* Maps all of the segment, before anything points into it. Nothing to do after a move. C4_ERR_SHM with a text that names the
 * mend. */
c4_status c4_shm_arena_expand(c4_shm_arena *arena);
void c4_shm_arena_fini(c4_shm_arena *arena);
/* Allocates the first `bytes`, as far as the arena goes, now and not when they are handed out. Of named files only.
 * c4_shm_no_room. */
c4_status c4_shm_arena_reserve(c4_shm_arena *arena, size_t bytes);
/* Hands out zeroed or formerly used, allocated, page-aligned memory. C4_ERR_SHM when the budget or the system's memory
 * is used up: silent, the caller may try less and reports. */
c4_status c4_shm_arena_alloc(c4_shm_arena *arena, size_t bytes, size_t *offset);
void c4_shm_arena_free(c4_shm_arena *arena, size_t offset, size_t bytes);
/* The arena of the rank with that nonce, in the same segment and as large; NULL: it has not moved in. */
c4_shm_head *c4_shm_arena_of(const c4_shm_arena *arena, const uint64_t nonce[2]);

#endif
