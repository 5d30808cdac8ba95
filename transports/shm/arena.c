#include "transports/shm/arena.h"

#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"

/* Takes a plot and makes it this rank's. */
static c4_status settle(c4_shm_arena *arena)
{
    c4_shm_segment *segment = &arena->segment;
    if (c4_shm_segment_claim(segment, &arena->plot) < 0)
        return c4_fail(C4_ERR_SHM, "shm: all %u places in this host's memory are taken", segment->nplots);
    size_t at = c4_shm_segment_plot_at(segment, arena->plot);
    int error = c4_shm_file_allocate(segment->fd, at, C4_SHM_PAGE);
    if (error && arena->address.backend == C4_SHM_BACKEND_FILE)
        return c4_shm_no_room(error, C4_SHM_PAGE, 0);
    if (error)
        return c4_fail_errno(
            C4_ERR_SHM, error,
            "shm: allocating shared memory: it is full: raise the container's memory limit or --shm-size, "
            "or lower C4_SHM_BUDGET_BYTES");
    arena->base = segment->base + at;
    arena->bytes = segment->plot_bytes;
    arena->top = C4_SHM_PAGE;
    c4_shm_head *head = c4_shm_arena_head(arena);
    head->bytes = arena->bytes;
    memcpy(head->nonce, arena->address.nonce, sizeof head->nonce);
    head->expedited = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
    __atomic_store_n(&head->magic, C4_SHM_MAGIC, __ATOMIC_RELEASE);
    c4_shm_segment_publish(segment, arena->plot, arena->address.nonce);
    return C4_OK;
}

c4_status c4_shm_arena_init(c4_shm_arena *arena, int backend, uint32_t nplots, size_t bytes, int rank)
{
    memset(arena, 0, sizeof *arena);
    arena->segment.fd = -1;
    c4_shm_address *address = &arena->address;
    c4_status status;
    C4_TRY_GOTO(c4_shm_address_init(address, backend, rank), fail);
    C4_TRY_GOTO(c4_shm_segment_create(&arena->segment, (int)address->backend, nplots, bytes, address->nonce), fail);
    address->fd = arena->segment.fd;
    address->bytes = arena->segment.bytes;
    memcpy(address->name, arena->segment.name, sizeof address->name);
    C4_TRY_GOTO(settle(arena), fail);
    return C4_OK;

fail:
    c4_shm_arena_fini(arena);
    return status;
}

c4_status c4_shm_arena_move(c4_shm_arena *arena, const c4_shm_address *address, char *reason, size_t reason_bytes)
{
    c4_shm_arena there = {.address = arena->address};
    C4_TRY(c4_shm_segment_open(&there.segment, address, reason, reason_bytes));
    c4_status status = settle(&there);
    if (status < 0) {
        snprintf(reason, reason_bytes, "%s", c4_fail_text());
        c4_shm_segment_close(&there.segment);
        return status;
    }
    c4_shm_arena_fini(arena);
    *arena = there;
    return C4_OK;
}

c4_status c4_shm_arena_expand(c4_shm_arena *arena)
{
    C4_TRY(c4_shm_segment_expand(&arena->segment));
    arena->base = arena->segment.base + c4_shm_segment_plot_at(&arena->segment, arena->plot);
    return C4_OK;
}

void c4_shm_arena_fini(c4_shm_arena *arena)
{
    c4_shm_segment_close(&arena->segment);
    free(arena->spans);
    memset(arena, 0, sizeof *arena);
    arena->segment.fd = -1;
}

c4_shm_head *c4_shm_arena_of(const c4_shm_arena *arena, const uint64_t nonce[2])
{
    c4_shm_head *head = (c4_shm_head *)(void *)c4_shm_segment_find(&arena->segment, nonce);
    bool right = head && head->magic == C4_SHM_MAGIC && head->bytes == arena->bytes &&
                 memcmp(head->nonce, nonce, sizeof head->nonce) == 0;
    return right ? head : NULL;
}

/* In the file, where the plot is one of many. */
static int allocate(const c4_shm_arena *arena, size_t offset, size_t bytes)
{
    return c4_shm_file_allocate(arena->segment.fd, c4_shm_segment_plot_at(&arena->segment, arena->plot) + offset,
                                bytes);
}

c4_status c4_shm_arena_reserve(c4_shm_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes)
        bytes = arena->bytes;
    int error = allocate(arena, 0, bytes);
    return error ? c4_shm_no_room(error, bytes, (arena->segment.plots_at + bytes) * arena->segment.nplots) : C4_OK;
}

static void span_remove(c4_shm_arena *arena, int index)
{
    arena->nspans--;
    memmove(&arena->spans[index], &arena->spans[index + 1], (size_t)(arena->nspans - index) * sizeof *arena->spans);
}

c4_status c4_shm_arena_alloc(c4_shm_arena *arena, size_t bytes, size_t *offset)
{
    bytes = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    for (int i = 0; i < arena->nspans; i++) {
        c4_shm_span *span = &arena->spans[i];
        if (span->bytes < bytes)
            continue;
        *offset = span->offset;
        span->offset += bytes;
        span->bytes -= bytes;
        if (span->bytes == 0)
            span_remove(arena, i);
        return C4_OK;
    }
    if (bytes > arena->bytes - arena->top || allocate(arena, arena->top, bytes) != 0)
        return C4_ERR_SHM;
    *offset = arena->top;
    arena->top += bytes;
    return C4_OK;
}

void c4_shm_arena_free(c4_shm_arena *arena, size_t offset, size_t bytes)
{
    bytes = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    int at = 0;
    while (at < arena->nspans && arena->spans[at].offset < offset)
        at++;
    if (at > 0 && arena->spans[at - 1].offset + arena->spans[at - 1].bytes == offset) {
        arena->spans[at - 1].bytes += bytes;
        if (at < arena->nspans && arena->spans[at].offset == offset + bytes) {
            arena->spans[at - 1].bytes += arena->spans[at].bytes;
            span_remove(arena, at);
        }
        return;
    }
    if (at < arena->nspans && arena->spans[at].offset == offset + bytes) {
        arena->spans[at].offset = offset;
        arena->spans[at].bytes += bytes;
        return;
    }
    if (arena->nspans == arena->spans_capacity) {
        int capacity = arena->spans_capacity ? 2 * arena->spans_capacity : 16;
        c4_shm_span *spans = realloc(arena->spans, (size_t)capacity * sizeof *spans);
        if (!spans)
            return; /* the range stays unused until the arena goes */
        arena->spans = spans;
        arena->spans_capacity = capacity;
    }
    memmove(&arena->spans[at + 1], &arena->spans[at], (size_t)(arena->nspans - at) * sizeof *arena->spans);
    arena->spans[at] = (c4_shm_span){offset, bytes};
    arena->nspans++;
}
