/* The mapping vote: may this operation use the peers' buffers directly?
 *
 * Only each rank knows whether its own buffers can be mapped, so all say so before the lanes start: a rank that can
 * sends handles of both buffers, one that cannot sends an empty frame. All yes: the schedule with remote steps runs.
 * Any no: everybody runs the fallback. A rank that votes no knows the outcome and starts at once; so ordinary
 * buffers pay one header line per peer, and after a no the next calls of the same shape skip the vote (1, 2, 4 ..
 * 256 of them: the count is the same on all ranks because it depends on nothing that only one rank knows). */
#include "engine/stuck.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define VOTE_MEMORY        64
#define VOTE_BACKOFF_LIMIT 256

typedef struct vote_ballot {
    c4_memory_handle send, recv;
    uint8_t has_send, has_recv;
    uint8_t reserved[6];
} vote_ballot;

struct c4_vote_memory {
    c4_vote_entry entries[VOTE_MEMORY];
};

/* The entry of a call's shape, which leaves out what differs between ranks (in place). */
c4_vote_entry *c4_vote_entry_of(c4_engine *engine, const c4_program *program)
{
    if (!engine->votes)
        engine->votes = calloc(1, sizeof *engine->votes);
    if (!engine->votes)
        return NULL;
    uint64_t shape[3] = {program->key.count, program->key.what & 0xffff, (uint32_t)program->key.root};
    return &engine->votes->entries[c4_hash_bytes(C4_HASH_INIT, shape, sizeof shape) % VOTE_MEMORY];
}

bool c4_vote_wanted(const c4_program *program)
{
    c4_vote_entry *entry = program->vote;
    if (!entry || entry->skip == 0)
        return true;
    entry->skip--;
    return false;
}

static void vote_learn(const c4_program *program, bool yes)
{
    c4_vote_entry *entry = program->vote;
    if (!entry)
        return;
    if (yes)
        entry->penalty = 0;
    else if (entry->penalty < VOTE_BACKOFF_LIMIT)
        entry->penalty = entry->penalty ? (uint16_t)(entry->penalty * 2) : 1;
    entry->skip = entry->penalty;
}

static c4_edge *vote_edge(const c4_operation *op, uint32_t peer_index, bool writer)
{
    return op->program->edges[op->program->first_vote_edge + 2 * peer_index + (writer ? 0 : 1)];
}

static bool vote_fill(c4_engine *engine, c4_operation *op, vote_ballot *ballot)
{
    const c4_transport_ops *ops = engine->rails[engine->rail_of[op->schedule->rank == 0 ? 1 : 0]].ops;
    const c4_call *call = &op->call;
    memset(ballot, 0, sizeof *ballot);
    if (op->buffers[C4_BUFFER_SEND] != call->send)
        return false; /* premultiplied into private scratch */
    if (call->send_bytes && ops->mem_export(call->send, call->send_bytes, &ballot->send) != C4_OK)
        return false;
    if (call->recv_bytes && ops->mem_export(call->recv, call->recv_bytes, &ballot->recv) != C4_OK)
        return false;
    ballot->has_send = call->send_bytes != 0;
    ballot->has_recv = call->recv_bytes != 0;
    return true;
}

/* Frames of earlier votes that nobody waited for. */
static c4_status vote_peek(const c4_operation *op, c4_edge *edge, c4_window *window)
{
    for (;;) {
        c4_status status = edge->ops->peek(edge->channel, window);
        if (status != C4_OK || (int32_t)(window->frame.sequence - op->sequence) >= 0)
            return status;
        edge->ops->consume(edge->channel);
    }
}

static c4_status vote_drain(const c4_operation *op)
{
    c4_window window;
    for (uint32_t i = 0; i + 1 < (uint32_t)op->schedule->nranks; i++) {
        c4_status status = vote_peek(op, vote_edge(op, i, false), &window);
        if (status < 0)
            return status;
    }
    return C4_OK;
}

/* op->voted counts ballots sent during the start; a channel without room is tried again by progress. */
static c4_status vote_send(c4_engine *engine, c4_operation *op)
{
    vote_ballot ballot;
    if (op->voted == 0)
        op->vote_yes = vote_fill(engine, op, &ballot);
    else if (op->vote_yes)
        vote_fill(engine, op, &ballot);
    size_t bytes = op->vote_yes ? sizeof ballot : 0;
    for (; op->voted + 1 < (uint32_t)op->schedule->nranks; op->voted++) {
        c4_edge *edge = vote_edge(op, op->voted, true);
        c4_window window;
        c4_status status = edge->ops->reserve(edge->channel, bytes, &window);
        if (status != C4_OK) {
            op->blocked = edge;
            return status;
        }
        if (bytes)
            memcpy(window.pointer, &ballot, bytes);
        c4_frame frame = {.comm = engine->spec.comm_id,
                          .epoch = engine->spec.epoch,
                          .flags = C4_FRAME_VOTE,
                          .sequence = op->sequence,
                          .signature = op->signature,
                          .bytes = (uint32_t)bytes};
        edge->ops->commit(edge->channel, &frame);
    }
    return C4_OK;
}

static void vote_decide(c4_operation *op, bool yes)
{
    vote_learn(op->program, yes);
    if (yes)
        return;
    op->active = op->program->fallback;
    op->schedule = op->active->schedule;
}

static c4_status map_one(c4_engine *engine, c4_operation *op, int peer, c4_buffer_id buffer,
                         const c4_memory_handle *handle)
{
    const c4_rail *rail = &engine->rails[engine->rail_of[peer]];
    void *pointer;
    if (rail->ops->mem_map(rail->module, peer, handle, &pointer) < 0)
        return C4_ERR_SHM;
    op->remote[2 * peer + buffer] = pointer;
    return C4_OK;
}

/* All have said yes. Only what the schedule reaches for is mapped: those peers cannot finish before this rank has done so,
 * while others may have returned and freed their buffers by now. For the same reason nothing is mapped before the last
 * ballot has been seen. */
static c4_status vote_map(c4_engine *engine, c4_operation *op)
{
    const uint8_t *reached = op->program->reached;
    for (uint32_t i = 0; i + 1 < (uint32_t)op->schedule->nranks; i++) {
        c4_edge *edge = vote_edge(op, i, false);
        c4_window window;
        vote_ballot ballot;
        c4_status status = vote_peek(op, edge, &window);
        if (status != C4_OK)
            return status < 0 ? status : C4_ERR_INTERNAL; /* it was there */
        memcpy(&ballot, window.pointer, sizeof ballot);
        edge->ops->consume(edge->channel);
        if (ballot.has_send && reached[edge->peer] & 1 << C4_BUFFER_SEND)
            C4_TRY(map_one(engine, op, edge->peer, C4_BUFFER_SEND, &ballot.send));
        if (ballot.has_recv && reached[edge->peer] & 1 << C4_BUFFER_RECV)
            C4_TRY(map_one(engine, op, edge->peer, C4_BUFFER_RECV, &ballot.recv));
    }
    return C4_OK;
}

c4_status c4_vote_start(c4_engine *engine, c4_operation *op)
{
    C4_TRY(vote_drain(op));
    op->voted = 0;
    op->votes_heard = 0;
    return c4_vote_progress(engine, op);
}

c4_status c4_vote_progress(c4_engine *engine, c4_operation *op)
{
    uint32_t npeers = (uint32_t)op->schedule->nranks - 1;
    c4_status status = vote_send(engine, op);
    if (status != C4_OK)
        return status;
    if (!op->vote_yes) {
        vote_decide(op, false);
        return C4_OK;
    }
    for (; op->votes_heard < npeers; op->votes_heard++) {
        c4_edge *edge = vote_edge(op, op->votes_heard, false);
        c4_window window;
        status = vote_peek(op, edge, &window);
        if (status != C4_OK) {
            op->blocked = edge;
            return status;
        }
        if (window.frame.sequence != op->sequence || window.frame.signature != op->signature)
            return c4_stuck_mismatch(engine, op, edge, &window.frame);
        if (window.frame.bytes != sizeof(vote_ballot)) {
            for (uint32_t i = 0; i <= op->votes_heard; i++)
                vote_edge(op, i, false)->ops->consume(vote_edge(op, i, false)->channel);
            vote_decide(op, false);
            return C4_OK;
        }
    }
    C4_TRY(vote_map(engine, op));
    op->remote[2 * op->schedule->rank + C4_BUFFER_SEND] = op->buffers[C4_BUFFER_SEND];
    op->remote[2 * op->schedule->rank + C4_BUFFER_RECV] = op->buffers[C4_BUFFER_RECV];
    vote_decide(op, true);
    return C4_OK;
}
