/* Peers that have left in good order. What they sent before is received as ever; but an operation that gets no further
 * for a second because a step waits for such a peer will never end, and says so. A second, because frames and credits
 * may still be on their way over a network that loses some, and it costs only those that would otherwise wait for ever. */
#include <stdlib.h>

#include "base/clock.h"
#include "engine/internal.h"

#define LEFT_GRACE_NS 1000000000u

/* One caller at a time: the control plane holds its lock. */
void c4_engine_peer_left(c4_engine *engine, int peer)
{
    _Atomic unsigned char *left = atomic_load(&engine->left);
    if (!left) {
        left = calloc((size_t)engine->spec.nranks, sizeof *left);
        if (!left)
            return; /* then nobody is told */
        atomic_store(&engine->left, left);
    }
    if (peer >= 0 && peer < engine->spec.nranks)
        atomic_store(&left[peer], 1);
}

int c4_engine_leaver(const c4_engine *engine, int peer)
{
    const _Atomic unsigned char *left = atomic_load(&engine->left);
    for (int i = 0; left && i < engine->spec.nranks; i++)
        if (atomic_load(&left[i]) && (peer < 0 || peer == i))
            return i;
    return -1;
}

/* The peer that has left and that this end of the channel depends on; -1: none. */
static int edge_leaver(const c4_engine *engine, const c4_edge *edge)
{
    const _Atomic unsigned char *left = atomic_load(&engine->left);
    if (!edge->writer)
        return atomic_load(&left[edge->writer_rank]) ? edge->writer_rank : -1;
    for (int i = 0; i < edge->nreaders; i++)
        if (atomic_load(&left[edge->readers[i]]))
            return edge->readers[i];
    return -1;
}

static int operation_leaver(const c4_engine *engine, const c4_operation *op)
{
    if (op->state == OPERATION_VOTING || op->state == OPERATION_RUNNING)
        return op->blocked ? edge_leaver(engine, op->blocked) : -1;
    for (const c4_xfer *xfer = op->state == OPERATION_FLUSHING ? op->pending : NULL; xfer; xfer = xfer->owner_next) {
        int leaver = edge_leaver(engine, xfer->owner);
        if (leaver >= 0)
            return leaver;
    }
    return -1; /* queued behind others, which are looked at themselves */
}

void c4_operation_check_left(c4_engine *engine, c4_operation *op, bool moved)
{
    int leaver = moved ? -1 : operation_leaver(engine, op);
    uint64_t now = leaver >= 0 ? c4_now_ns() : 0;
    if (leaver < 0 || op->stuck_ns == 0) {
        op->stuck_ns = now;
        return;
    }
    if (now - op->stuck_ns < LEFT_GRACE_NS)
        return;
    c4_status status = c4_fail(C4_ERR_MISMATCH,
                               "rank %d left the communicator (c4_comm_destroy) while rank %d waits for "
                               "it in %s #%u",
                               leaver, engine->spec.rank, c4_kind_name(op->call.kind), op->sequence);
    c4_operation_fail(engine, op, status);
}
