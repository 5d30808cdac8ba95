/* What the engine tells the flight recorder.
 *
 * Every operation has a record with its call and end. Waits are timed only when they last: a lane takes its first time
 * stamp after `stamp_polls` failed polls, so an 8-byte operation costs two reads of the cycle counter and no more. Channel
 * ends are written for operations of 4 KiB or more and for those that waited long; the counters of the others are
 * kept in the edge and flushed with the next, or every 256th operation. */
#include <string.h>

#include "engine/internal.h"

#define BIG_BYTES         4096u
#define BIG_STAMP_POLLS   1u
#define SMALL_STAMP_POLLS 256u /* some 2 us */
#define FLUSH_EVERY       256u

static size_t call_bytes(const c4_call *call)
{
    return call->send_bytes > call->recv_bytes ? call->send_bytes : call->recv_bytes;
}

void c4_trace_program(c4_engine *engine, const c4_call *call, c4_program *program)
{
    const c4_schedule *s = program->schedule;
    c4_record_program record = {.algorithm = s->algorithm,
                                .kind = (uint8_t)call->kind,
                                .dtype = (uint8_t)call->dtype,
                                .in_place = call->in_place,
                                .root = call->root,
                                .count = call->count,
                                .chunk_bytes = s->nsteps ? s->steps[0].chunk : 0,
                                .lanes = s->nlanes,
                                .channels = s->nchannels};
    strncpy(record.algorithm_name, c4_algorithms[s->algorithm].name, sizeof record.algorithm_name - 1);
    program->record = c4_record_program_add(engine->spec.writer, &record);
    program->template = (c4_record_operation){.count = call->count,
                                              .comm = engine->spec.writer->comm_index,
                                              .program = program->record,
                                              .kind = (uint8_t)call->kind,
                                              .dtype = (uint8_t)call->dtype,
                                              .state = C4_RECORD_RUNNING,
                                              .root = call->root};
}

void c4_trace_prepare(c4_operation *op)
{
    op->stamp_polls = call_bytes(&op->call) >= BIG_BYTES ? BIG_STAMP_POLLS : SMALL_STAMP_POLLS;
}

void c4_trace_begin(c4_engine *engine, c4_operation *op)
{
    uint32_t generation;
    c4_record_operation *r = c4_record_operation_begin(engine->spec.writer, &generation);
    op->record = r;
    op->waited_ticks = 0;
    op->first_ticks = 0;
    if (!r)
        return;
    op->record_generation = generation;
    /* All but the generation, which stays odd, and the sequence. */
    enum { REST = offsetof(c4_record_operation, call_ticks) };
    memcpy((char *)r + REST, (const char *)&op->program->template + REST, sizeof *r - REST);
    r->sequence = op->sequence;
    r->op = op->call.op < C4_NOPS ? (uint8_t)op->call.op : C4_NOPS;
    r->call_ticks = c4_tsc();
    c4_record_publish(&r->generation, generation);
}

void c4_trace_unblocked(c4_operation *op, c4_lane_state *lane)
{
    lane->blocked_polls = 0;
    if (!lane->blocked_since)
        return;
    uint64_t now = c4_tsc(), waited = now - lane->blocked_since;
    lane->blocked_since = 0;
    op->waited_ticks += waited;
    if (op->first_ticks == 0)
        op->first_ticks = now;
    if (op->blocked)
        op->blocked->waited_ticks += waited;
}

/* Frames that were sent again since this was last asked, because a connection or a rail was lost under them. They may be of an
 * operation before: a frame is kept until it is acknowledged. */
static uint64_t new_resends(c4_edge *edge)
{
    c4_edge_counters counters = {0};
    if (!edge->writer || edge->windows || edge->ops->counters(edge->channel, &counters) != C4_OK)
        return 0;
    uint64_t more = counters.resends - edge->resends;
    edge->resends = counters.resends;
    return more;
}

static void edge_record(c4_engine *engine, const c4_operation *op, const c4_record_operation *r, c4_edge *edge,
                        uint64_t now)
{
    c4_record_writer *writer = engine->spec.writer;
    uint64_t resends = new_resends(edge);
    c4_record_move move = {.sequence = op->sequence,
                           .edge = edge->record,
                           .direction = edge->writer ? C4_RECORD_SENDS : C4_RECORD_RECEIVES,
                           .bytes = edge->bytes,
                           .messages = (uint32_t)edge->messages,
                           .resends = (uint32_t)resends,
                           .waited_ticks = edge->waited_ticks,
                           .moved_ticks = now - r->call_ticks - edge->waited_ticks,
                           .end_ticks = now};
    c4_record_move_add(writer, &move);
    c4_record_edge_count(writer, edge->record, edge->bytes, edge->messages, resends, edge->waited_ticks, now);
    edge->bytes = edge->messages = edge->waited_ticks = 0;
}

static inline void record_end(const c4_operation *op, c4_record_operation *r, uint64_t now)
{
    r->status = op->status;
    __atomic_store_n(&r->end_ticks, now, __ATOMIC_RELAXED);
    __atomic_store_n(&r->state, op->status < 0 ? C4_RECORD_FAILED : C4_RECORD_DONE, __ATOMIC_RELEASE);
}

/* Apart: the short way through c4_trace_end needs no registers saved. */
static __attribute__((noinline)) void edges_record(c4_engine *engine, const c4_operation *op, c4_record_operation *r,
                                                   uint64_t now)
{
    for (uint32_t i = 0; i < op->active->schedule->nchannels; i++)
        if (op->active->edges[i]->messages)
            edge_record(engine, op, r, op->active->edges[i], now);
    if (op->waited_ticks) {
        __atomic_store_n(&r->first_ticks, op->first_ticks, __ATOMIC_RELAXED);
        __atomic_store_n(&r->waited_ticks, op->waited_ticks, __ATOMIC_RELAXED);
    }
    record_end(op, r, now);
}

void c4_trace_end(c4_engine *engine, c4_operation *op)
{
    c4_record_operation *r = op->record;
    uint64_t now = c4_tsc();
    op->record = NULL;
    if (r->generation != op->record_generation)
        return; /* the ring has gone round */
    if (op->stamp_polls == BIG_STAMP_POLLS || op->waited_ticks || op->sequence % FLUSH_EVERY == 0)
        edges_record(engine, op, r, now);
    else
        record_end(op, r, now);
}
