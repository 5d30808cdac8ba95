/* The life of an operation: prepared (program and memory), queued behind earlier users of its channels, voting,
 * running, flushing, done; then recycled. In the steady state nothing is allocated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/stuck.h"

static c4_status grow(void *array, uint32_t *capacity, size_t needed, size_t element)
{
    void **memory = array;
    if (needed <= *capacity)
        return C4_OK;
    void *bigger = realloc(*memory, needed * element);
    if (!bigger)
        return c4_fail(C4_ERR_MEMORY, "operation of %zu parts", needed);
    *memory = bigger;
    *capacity = (uint32_t)needed;
    return C4_OK;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Bytes of scratch and bounce that `program` needs, without its fallback. */
static size_t program_scratch(const c4_program *program)
{
    size_t bounce = (program->bounce_bytes + 63) / 64 * 64;
    return (program->schedule->scratch_bytes + 63) / 64 * 64 + bounce * program->schedule->nlanes;
}

static c4_status reserve_scratch(c4_operation *op, size_t bytes)
{
    if (bytes <= op->scratch_capacity)
        return C4_OK;
    free(op->scratch);
    op->scratch_capacity = 0;
    op->scratch = aligned_alloc(64, (bytes + 4095) / 4096 * 4096);
    if (!op->scratch)
        return c4_fail(C4_ERR_MEMORY, "%zu bytes of scratch", bytes);
    op->scratch_capacity = (bytes + 4095) / 4096 * 4096;
    return C4_OK;
}

static c4_status reserve_parts(c4_operation *op)
{
    const c4_program *p = op->program, *f = p->fallback ? p->fallback : p;
    uint32_t nlanes = max_u32(p->schedule->nlanes, f->schedule->nlanes);
    size_t nslots = (size_t)nlanes * max_u32(p->max_terms, f->max_terms);
    uint32_t before = op->slots_capacity;
    C4_TRY(grow(&op->lanes, &op->lanes_capacity, nlanes, sizeof *op->lanes));
    C4_TRY(grow(&op->tickets, &op->tickets_capacity, p->nedges, sizeof *op->tickets));
    C4_TRY(grow(&op->slots, &op->slots_capacity, nslots, sizeof *op->slots));
    if (op->slots_capacity > before)
        memset(op->slots + before, 0, (op->slots_capacity - before) * sizeof *op->slots);
    if (p->fallback && !op->remote) {
        op->remote = calloc(2 * (size_t)p->schedule->nranks, sizeof *op->remote);
        if (!op->remote)
            return c4_fail(C4_ERR_MEMORY, "operation");
    }
    return C4_OK;
}

/* premul-sum: the input is multiplied once, into scratch, and the sum reads it there. */
static c4_status premultiply(c4_operation *op, size_t offset)
{
    c4_call *call = &op->call;
    char *copy = op->scratch + offset;
    op->reducer->premul(copy, call->send, call->premul, call->send_bytes / op->reducer->element_bytes);
    op->buffers[C4_BUFFER_SEND] = copy;
    return C4_OK;
}

/* Grows the op's arrays and scratch to what its program needs. *scratch: where the premultiplied input goes. */
static c4_status operation_fit(c4_operation *op, size_t *scratch)
{
    C4_TRY(reserve_parts(op));
    *scratch = program_scratch(op->program);
    if (op->program->fallback && program_scratch(op->program->fallback) > *scratch)
        *scratch = program_scratch(op->program->fallback);
    size_t premul = op->call.premul ? op->call.send_bytes : 0;
    if (*scratch + premul)
        C4_TRY(reserve_scratch(op, *scratch + premul));
    op->fitted = op->program->serial;
    return C4_OK;
}

static c4_status operation_init(c4_engine *engine, c4_operation *op, const c4_call *call)
{
    op->call = *call;
    c4_trace_prepare(op);
    op->active = op->program;
    op->schedule = op->program->schedule;
    size_t scratch = 0;
    if (__builtin_expect(op->fitted != op->program->serial || call->premul, 0))
        C4_TRY(operation_fit(op, &scratch));
    op->reducer = c4_reducer_get(call->dtype, call->op, engine->spec.cpu_level);
    op->reduction = (c4_reduction){op->reducer->reduce2, op->reducer->element_bytes};
    op->buffers[C4_BUFFER_SEND] = (char *)call->send;
    op->buffers[C4_BUFFER_RECV] = call->recv;
    op->buffers[C4_BUFFER_SCRATCH] = op->scratch;
    if (call->premul)
        C4_TRY(premultiply(op, scratch));
    op->status = C4_IN_PROGRESS;
    op->state = OPERATION_PREPARED;
    op->start_ns = 0;
    op->stuck_ns = 0;
    op->still_ns = 0;
    op->late_named = false;
    return C4_OK;
}

void c4_operation_free(c4_operation *op)
{
    if (!op)
        return;
    free(op->lanes);
    free(op->slots);
    free(op->tickets);
    free(op->remote);
    free(op->scratch);
    free(op);
}

static void operation_recycle(c4_engine *engine, c4_operation *op)
{
    if (op->program)
        c4_program_release(engine, op->program);
    op->program = NULL;
    op->next = engine->idle;
    engine->idle = op;
}

c4_status c4_operation_create(c4_engine *engine, const c4_call *call, c4_program *program, c4_operation **out)
{
    c4_operation *op = engine->idle;
    if (op)
        engine->idle = op->next;
    else
        op = calloc(1, sizeof *op);
    if (!op) {
        c4_program_release(engine, program);
        return c4_fail(C4_ERR_MEMORY, "operation");
    }
    op->program = program;
    c4_status status = operation_init(engine, op, call);
    if (status < 0) {
        operation_recycle(engine, op);
        return status;
    }
    *out = op;
    return C4_OK;
}

void c4_engine_drop(c4_engine *engine, c4_operation *op)
{
    op->next = atomic_load(&engine->dropped);
    while (!atomic_compare_exchange_weak(&engine->dropped, &op->next, op))
        ;
}

void c4_operations_reclaim(c4_engine *engine)
{
    c4_operation *next;
    for (c4_operation *op = atomic_exchange(&engine->dropped, NULL); op; op = next) {
        next = op->next;
        operation_recycle(engine, op);
    }
}

c4_status c4_engine_prepare(c4_engine *engine, const c4_call *call, c4_operation **op)
{
    c4_program *program;
    c4_status fault = atomic_load_explicit(&engine->fault, memory_order_acquire);
    if (fault)
        return fault;
    if (atomic_load_explicit(&engine->dropped, memory_order_relaxed))
        c4_operations_reclaim(engine);
    engine->repeat = NULL;
    C4_TRY(c4_program_get(engine, call, &program));
    return c4_operation_create(engine, call, program, op);
}

/* ---- start ---- */

static void list_append(c4_engine *engine, c4_operation *op)
{
    op->next = NULL;
    op->previous = engine->last;
    *(engine->last ? &engine->last->next : &engine->first) = op;
    engine->last = op;
}

static void list_remove(c4_engine *engine, c4_operation *op)
{
    *(op->previous ? &op->previous->next : &engine->first) = op->next;
    *(op->next ? &op->next->previous : &engine->last) = op->previous;
}

static void edges_release(c4_operation *op)
{
    for (uint32_t i = 0; i < op->program->nedges; i++)
        op->program->edges[i]->served++;
}

static void note_failed(c4_engine *engine, const c4_operation *op)
{
    bool p2p = op->call.kind == C4_KIND_SEND || op->call.kind == C4_KIND_RECV;
    if (!p2p && (!engine->first_failed || (int32_t)(op->sequence - engine->first_failed) < 0))
        engine->first_failed = op->sequence;
}

static void operation_end(c4_engine *engine, c4_operation *op, c4_status status)
{
    op->status = status;
    if (status < 0)
        note_failed(engine, op);
    if (op->record)
        c4_trace_end(engine, op);
    op->state = OPERATION_DONE;
    list_remove(engine, op);
}

static void lanes_begin(c4_operation *op)
{
    if (op->schedule->nlanes) /* a barrier of one has none, and no memory for them */
        memset(op->lanes, 0, op->schedule->nlanes * sizeof *op->lanes);
    op->lanes_left = op->schedule->nlanes;
    op->state = OPERATION_RUNNING;
}

static void pending_reap(c4_engine *engine, c4_operation *op)
{
    c4_xfer **link = &op->pending;
    while (*link) {
        c4_xfer *xfer = *link;
        if (xfer->state < 0) {
            c4_operation_fail(engine, op, xfer->state);
            return;
        }
        if (xfer->state == C4_OK) {
            *link = xfer->owner_next;
            c4_xfer_put(engine, xfer);
        } else {
            link = &xfer->owner_next;
        }
    }
    if (!op->pending && op->state == OPERATION_FLUSHING)
        operation_end(engine, op, C4_OK);
}

static bool queue_leave(c4_engine *engine, c4_operation *op)
{
    for (uint32_t i = 0; i < op->program->nedges; i++)
        if (op->program->edges[i]->served != op->tickets[i])
            return false;
    if (!op->program->fallback) {
        lanes_begin(op);
        return true;
    }
    if (!c4_vote_wanted(op->program)) {
        op->active = op->program->fallback;
        op->schedule = op->active->schedule;
        lanes_begin(op);
        return true;
    }
    c4_status status = c4_vote_start(engine, op);
    op->state = OPERATION_VOTING;
    if (status < 0)
        c4_operation_fail(engine, op, status);
    else if (status == C4_OK)
        lanes_begin(op);
    return true;
}

bool c4_operation_progress(c4_engine *engine, c4_operation *op)
{
    bool moved = false;
    if (op->state == OPERATION_QUEUED)
        moved = queue_leave(engine, op);
    else if (op->state == OPERATION_VOTING) {
        c4_status status = c4_vote_progress(engine, op);
        moved = status != C4_IN_PROGRESS;
        if (status < 0)
            c4_operation_fail(engine, op, status);
        else if (status == C4_OK)
            lanes_begin(op);
    }
    if (op->state == OPERATION_RUNNING) {
        moved |= op->lanes_left && c4_lanes_run(engine, op);
        if (op->state == OPERATION_RUNNING && op->lanes_left == 0) {
            edges_release(op);
            op->state = OPERATION_FLUSHING;
            moved = true;
        }
    }
    if (op->state == OPERATION_FLUSHING) {
        if (op->pending)
            pending_reap(engine, op);
        else
            operation_end(engine, op, C4_OK);
    }
    return moved;
}

void c4_operation_resume(c4_engine *engine, c4_operation *op)
{
    op->state = OPERATION_RUNNING;
    list_append(engine, op);
}

void c4_engine_start(c4_engine *engine, c4_operation *op)
{
    bool p2p = op->call.kind == C4_KIND_SEND || op->call.kind == C4_KIND_RECV;
    for (uint32_t i = 0; i < op->program->nedges; i++) {
        c4_edge *edge = op->program->edges[i];
        op->tickets[i] = edge->next_ticket;
        c4_edge_ticket_taken(edge);
    }
    /* Point-to-point calls are numbered per channel: other ranks do not see them. */
    op->sequence = p2p && op->program->nedges ? op->tickets[0] : p2p ? 0 : c4_sequence_next(engine);
    op->signature = p2p ? op->program->signature : c4_history_next(engine, op->program->signature);
    op->state = OPERATION_QUEUED;
    op->blocked = NULL;
    c4_trace_begin(engine, op);
    list_append(engine, op);
    c4_operation_progress(engine, op);
}

/* ---- end ---- */

bool c4_operation_started(const c4_operation *op)
{
    return op->state != OPERATION_PREPARED;
}

bool c4_engine_busy(const c4_engine *engine)
{
    return engine->first != NULL;
}

bool c4_operation_done(const c4_operation *op)
{
    return op->state == OPERATION_DONE;
}

c4_status c4_operation_status(const c4_operation *op)
{
    return op->status;
}

static void xfer_drop(c4_engine *engine, c4_xfer *xfer)
{
    const c4_edge *edge = xfer->owner;
    if (xfer->state == C4_IN_PROGRESS)
        edge->ops->cancel(edge->channel, xfer);
    c4_xfer_put(engine, xfer);
}

/* Takes everything posted back from the transports: after an error the caller may free its buffers. */
static void xfers_cancel(c4_engine *engine, c4_operation *op)
{
    for (uint32_t i = 0; i < op->slots_capacity; i++) {
        if (op->slots[i])
            xfer_drop(engine, op->slots[i]);
        op->slots[i] = NULL;
    }
    while (op->pending) {
        c4_xfer *xfer = op->pending;
        op->pending = xfer->owner_next;
        xfer_drop(engine, xfer);
    }
}

/* Found by the control plane or between two operations, and told without one. */
static bool lacks_operation(c4_status fault)
{
    return fault == C4_ERR_PEER_DEAD || fault == C4_ERR_PEER_SILENT || fault == C4_ERR_PEER_ERROR ||
           fault == C4_ERR_LINK || fault == C4_ERR_PROTOCOL || fault == C4_ERR_EXCLUDED;
}

/* "broadcast #1" is not in "broadcast #12". */
static bool names_call(const char *text, const char *name)
{
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name))
        if (at[strlen(name)] < '0' || at[strlen(name)] > '9')
            return true;
    return false;
}

/* What this thread's last error says, and which operation met it. Some errors have been told without: this is the place that
 * adds it, for the first operation that ends of it. */
static void fail_text(c4_engine *engine, const c4_operation *op, c4_status status, char text[C4_ERROR_TEXT_BYTES])
{
    char name[C4_CARD_TEXT_BYTES], context[C4_ERROR_TEXT_BYTES / 2];
    c4_call_card card = c4_card_make(&op->call, op->sequence);
    c4_status fault = atomic_load(&engine->fault);
    const char *cause = fault ? engine->fault_text : c4_fail_text();
    snprintf(text, C4_ERROR_TEXT_BYTES, "%s", cause);
    c4_card_short_text(&card, name);
    if (status == C4_ERR_DESTROYED || (fault && atomic_load(&engine->has_call_text)))
        return;
    bool add = (!fault || lacks_operation(fault)) && !names_call(cause, name);
    if (!add && !c4_engine_fault_is_known(engine)) /* said where it was found, on this rank */
        return;
    if (add) {
        c4_operation_context(engine, op, context, sizeof context);
        snprintf(text, C4_ERROR_TEXT_BYTES, "%s: %.*s", context, C4_ERROR_TEXT_BYTES - 3 - (int)strlen(context), cause);
        c4_fail_advise(fault ? fault : status, text, C4_ERROR_TEXT_BYTES);
    }
    c4_log(C4_LOG_ERROR, "%s", text);
    if (!fault)
        return;
    memcpy(engine->call_text, text, sizeof engine->call_text);
    atomic_store(&engine->has_call_text, true);
}

/* A channel that lost a frame cannot serve later calls: the communicator ends with its first failed operation. */
void c4_operation_fail(c4_engine *engine, c4_operation *op, c4_status status)
{
    const c4_edge *edge = op->blocked;
    if (op->state == OPERATION_FLUSHING && op->pending)
        edge = op->pending->owner;
    else if (!edge && op->program->nedges == 1) /* failed before it could wait */
        edge = op->program->edges[0];
    char text[C4_ERROR_TEXT_BYTES];
    fail_text(engine, op, status, text);
    xfers_cancel(engine, op);
    c4_engine_fault_found(engine, status, edge ? edge->peer : -1, text);
    operation_end(engine, op, c4_engine_status(engine, NULL));
}

c4_status c4_engine_finish(c4_engine *engine, c4_operation *op)
{
    c4_status status = op->status;
    operation_recycle(engine, op);
    return status;
}
