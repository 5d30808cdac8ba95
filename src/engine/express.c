/* The express lane: a blocking call whose program is short and moves through windows, while nothing else is under way.
 *
 * The general way prepares an operation, queues it, lets lanes take turns and recycles it: some 500 instructions, half
 * of an 8-byte call's time. Here each program keeps one operation for ever, and its steps with all that does not change
 * between calls looked up (*moves*): channel, addresses within the buffers, frame but for the sequence number. They run in one
 * fixed order, each lane as far as its gates allow before the next: what can be sent without waiting goes first, so that the
 * frames of two ranks cross instead of taking turns (16 KiB in frames of 2 KiB: 1.3 us against 3.1). A wait polls the one frame it
 * waits for; when that takes longer than the spinning phase allows, or fails, the operation joins the list as if it had been
 * there from the start. Schedule, frames and record are the same. Nothing is counted on the edges' tickets: nobody else uses
 * them meanwhile.
 *
 * The record of the call is begun once everything that can be sent without waiting has been: then it costs no time, for the
 * peers' frames are still on their way. */
#include "engine/express.h"

#include <stdlib.h>
#include <string.h>

#include "base/likely.h"
#include "schedule/kinds.h"

#define FAULT_POLLS 64u         /* polls between looks at the fault */
#define STEPS_LIMIT 64u         /* in all iterations */
#define SENT_LIMIT  (64u << 10) /* bytes: more would push one another out of the cache */

enum { MOVE_PUT, MOVE_SEND, MOVE_RECV, MOVE_REDUCE, MOVE_COPY, MOVE_STEP };

/* A frame as it is written and compared: by words. */
typedef union frame_words {
    c4_frame frame;
    uint64_t words[4];
} frame_words;

_Static_assert(sizeof(c4_frame) == 32 && offsetof(c4_frame, sequence) == 8 && offsetof(c4_frame, signature) == 12 &&
                   offsetof(c4_frame, bytes) == 20,
               "sequence and signature are the halves of word 1, the length is the high half of word 2");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "low halves come first");

typedef struct c4_move {
    uint8_t kind;
    uint8_t from, to; /* c4_buffer_id */
    uint32_t bytes;
    uint32_t elements;
    uint32_t lane, completed; /* steps of its lane before this one */
    const c4_step *step;
    uint64_t offset; /* of the iteration */
    uint64_t from_offset, to_offset;
    const c4_transport_ops *ops;
    c4_channel *channel;
    c4_edge *edge;
    frame_words frame; /* sequence and signature 0: they are the operation's */
} c4_move;

struct c4_express {
    c4_operation *op;    /* NULL until the first call */
    c4_edge *numbered;   /* point to point: calls are numbered per channel */
    uint32_t first_wait; /* index of the first move that is not a send */
    uint32_t nmoves;
    c4_move moves[];
};

/* ---- create ---- */

/* Steps over all lanes and iterations; more than STEPS_LIMIT count as one more than that. */
static uint32_t count_steps(const c4_schedule *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->nloops && n <= STEPS_LIMIT; i++)
        n += (uint64_t)s->loops[i].nsteps * s->loops[i].iterations;
    return n > STEPS_LIMIT ? STEPS_LIMIT + 1 : (uint32_t)n;
}

static bool qualifies(const c4_engine *engine, const c4_call *call, const c4_program *program)
{
    return !engine->has_posted_rails && !c4_kind_is_v(call->kind) && !call->premul && !program->fallback &&
           !program->posted && program->bounce_bytes == 0 && program->schedule->nlanes > 0 &&
           count_steps(program->schedule) <= STEPS_LIMIT;
}

static bool is_local(const c4_term *term)
{
    return term->kind == C4_TERM_LOCAL;
}

static void move_from(c4_move *m, const c4_term *term)
{
    m->from = term->buffer;
    m->from_offset = term->offset + m->offset;
}

static void move_to(c4_move *m, const c4_term *term)
{
    m->to = term->buffer;
    m->to_offset = term->offset + m->offset;
}

static void move_edge(const c4_engine *engine, const c4_program *program, c4_move *m, const c4_term *term)
{
    m->edge = program->edges[term->index];
    m->ops = m->edge->ops;
    m->channel = m->edge->channel;
    m->frame.frame = (c4_frame){.comm = engine->spec.comm_id,
                                .epoch = engine->spec.epoch,
                                .lane = (uint16_t)m->lane,
                                .step = (uint16_t)(m->step - program->schedule->steps),
                                .bytes = m->bytes,
                                .offset = m->offset};
}

static void move_send(const c4_engine *engine, const c4_program *program, c4_move *m, const c4_term *channel,
                      const c4_term *from)
{
    move_edge(engine, program, m, channel);
    m->kind = m->bytes <= m->edge->put_bytes ? MOVE_PUT : MOVE_SEND;
    if (from)
        move_from(m, from);
}

/* The moves of one step, at most two: data that goes to a peer and to a local place is sent first. */
static unsigned moves_of(const c4_engine *engine, const c4_call *call, const c4_program *program, c4_move *m)
{
    const c4_step *step = m->step;
    const c4_term *src = &program->schedule->terms[step->first_term], *dst = src + step->nsources;
    unsigned ns = step->nsources, nd = step->ndestinations;
    bool special = (step->flags & C4_STEP_STREAM) || ((step->flags & C4_STEP_FINAL) && call->op == C4_AVG);
    m->kind = MOVE_STEP;
    if (special)
        return 1;
    if (ns <= 1 && nd == 1 && dst->kind == C4_TERM_CHANNEL && (ns == 0 || is_local(src))) {
        move_send(engine, program, m, dst, ns ? src : NULL);
    } else if (ns == 1 && nd == 2 && is_local(src) && is_local(&dst[0]) && dst[1].kind == C4_TERM_CHANNEL) {
        m[1] = m[0];
        move_send(engine, program, m, &dst[1], src);
        m[1].kind = MOVE_COPY;
        move_from(&m[1], src);
        move_to(&m[1], &dst[0]);
        return 2;
    } else if (ns == 1 && nd == 1 && is_local(src) && is_local(dst)) {
        m->kind = MOVE_COPY;
        move_from(m, src);
        move_to(m, dst);
    } else if (ns == 1 && nd <= 1 && src->kind == C4_TERM_CHANNEL && (nd == 0 || is_local(dst))) {
        m->kind = MOVE_RECV;
        move_edge(engine, program, m, src);
        if (nd)
            move_to(m, dst);
    } else if (ns == 2 && nd == 1 && is_local(dst) && is_local(&src[0]) != is_local(&src[1]) &&
               (src[0].kind == C4_TERM_CHANNEL || src[1].kind == C4_TERM_CHANNEL)) {
        m->kind = MOVE_REDUCE;
        move_edge(engine, program, m, is_local(&src[0]) ? &src[1] : &src[0]);
        move_from(m, is_local(&src[0]) ? &src[0] : &src[1]);
        move_to(m, dst);
    }
    return 1;
}

/* Where a lane stands while the order is made. */
typedef struct cursor {
    uint32_t loop, iteration, step, completed;
} cursor;

typedef struct ordering {
    const c4_engine *engine;
    const c4_call *call;
    const c4_program *program;
    c4_express *express;
    cursor *lanes;
    size_t element_bytes;
    uint64_t sent_bytes;
} ordering;

/* The loop that lane `lane` is in; NULL at its end. */
static const c4_loop *cursor_loop(const ordering *o, uint32_t lane)
{
    const c4_schedule *s = o->program->schedule;
    cursor *at = &o->lanes[lane];
    for (; at->loop < s->lanes[lane].nloops; at->loop++) {
        const c4_loop *loop = &s->loops[s->lanes[lane].first_loop + at->loop];
        if (loop->nsteps && at->iteration < loop->iterations)
            return loop;
        at->iteration = 0;
    }
    return NULL;
}

static bool cursor_open(const ordering *o, uint32_t lane)
{
    const c4_loop *loop = cursor_loop(o, lane);
    if (!loop)
        return false;
    const cursor *at = &o->lanes[lane];
    const c4_step *step = &o->program->schedule->steps[loop->first_step + at->step];
    uint64_t need = c4_step_gate(step, at->iteration), offset, bytes;
    return need == 0 || !c4_step_range(step, at->iteration, &offset, &bytes) ||
           o->lanes[step->gate_lane].completed >= need;
}

static void cursor_take(ordering *o, uint32_t lane)
{
    c4_express *x = o->express;
    const c4_loop *loop = cursor_loop(o, lane);
    cursor *at = &o->lanes[lane];
    c4_move *m = &x->moves[x->nmoves];
    uint64_t bytes;
    *m = (c4_move){
        .lane = lane, .completed = at->completed, .step = &o->program->schedule->steps[loop->first_step + at->step]};
    if (c4_step_range(m->step, at->iteration, &m->offset, &bytes)) {
        m->bytes = (uint32_t)bytes;
        m->elements = (uint32_t)(bytes / o->element_bytes);
        x->nmoves += moves_of(o->engine, o->call, o->program, m);
        o->sent_bytes += m->kind == MOVE_PUT || m->kind == MOVE_SEND ? bytes : 0;
    }
    at->completed++;
    if (++at->step == loop->nsteps) {
        at->step = 0;
        at->iteration++;
    }
}

/* The lowest open lane, step by step. false: gates that wait for one another, which no valid schedule has. */
static bool order_moves(ordering *o)
{
    uint32_t nlanes = o->program->schedule->nlanes, lane = 0, left;
    do {
        left = 0;
        for (lane = 0; lane < nlanes && !cursor_open(o, lane); lane++)
            left += cursor_loop(o, lane) != NULL;
        if (lane < nlanes)
            cursor_take(o, lane);
    } while (lane < nlanes);
    return left == 0;
}

c4_status c4_express_create(c4_engine *engine, const c4_call *call, const c4_program *program, c4_express **express)
{
    *express = NULL;
    if (!qualifies(engine, call, program))
        return C4_OK;
    const c4_schedule *s = program->schedule;
    c4_express *x = calloc(1, sizeof *x + (2 * (size_t)count_steps(s) + 1) * sizeof x->moves[0]);
    cursor *lanes = calloc(s->nlanes, sizeof *lanes);
    if (!x || !lanes) {
        free(x);
        free(lanes);
        return c4_fail(C4_ERR_MEMORY, "program of %u steps", s->nsteps);
    }
    ordering o = {engine, call, program, x, lanes, c4_numeric_dtype_bytes(call->dtype), 0};
    bool ordered = order_moves(&o);
    free(lanes);
    if (!ordered || o.sent_bytes > SENT_LIMIT) {
        free(x);
        return C4_OK;
    }
    while (x->first_wait < x->nmoves && x->moves[x->first_wait].kind <= MOVE_SEND)
        x->first_wait++;
    if ((call->kind == C4_KIND_SEND || call->kind == C4_KIND_RECV) && program->nedges)
        x->numbered = program->edges[0];
    *express = x;
    return C4_OK;
}

void c4_express_destroy(c4_express *express)
{
    if (express)
        c4_operation_free(express->op);
    free(express);
}

/* ---- run ---- */

static inline char *from_pointer(const c4_operation *op, const c4_move *m)
{
    return op->buffers[m->from] + m->from_offset;
}

static inline char *to_pointer(const c4_operation *op, const c4_move *m)
{
    return op->buffers[m->to] + m->to_offset;
}

static inline frame_words frame_of(const c4_operation *op, const c4_move *m)
{
    frame_words f;
    f.words[0] = m->frame.words[0];
    f.words[1] = op->stamp;
    f.words[2] = m->frame.words[2];
    f.words[3] = m->frame.words[3];
    return f;
}

static inline void count(const c4_move *m)
{
    m->edge->bytes += m->bytes;
    m->edge->messages++;
}

static inline c4_status move_put(const c4_operation *op, const c4_move *m)
{
    frame_words f = frame_of(op, m);
    c4_status status = m->ops->put(m->channel, &f.frame, m->bytes ? from_pointer(op, m) : NULL);
    if (likely(status == C4_OK))
        count(m);
    return status;
}

static c4_status move_window(const c4_operation *op, const c4_move *m)
{
    frame_words f = frame_of(op, m);
    c4_window window;
    c4_status status = m->ops->reserve(m->channel, m->bytes, &window);
    if (status != C4_OK)
        return status;
    c4_copy(window.pointer, from_pointer(op, m), m->bytes, window.stream ? C4_NUMERIC_STREAM : 0);
    m->ops->commit(m->channel, &f.frame);
    count(m);
    return C4_OK;
}

/* The frame at the head; C4_IN_PROGRESS after the spinning phase. */
static inline c4_status await(c4_engine *engine, c4_operation *op, const c4_move *m, c4_window *window)
{
    c4_status status = m->ops->peek(m->channel, window);
    if (status != C4_IN_PROGRESS)
        return status;
    c4_lane_state *lane = &op->lanes[m->lane];
    op->blocked = m->edge;
    for (unsigned polls = 1; polls < engine->spec.wait.spin_polls; polls++) {
        c4_trace_blocked(op, lane);
        status = m->ops->peek(m->channel, window);
        if (status != C4_IN_PROGRESS) {
            c4_trace_unblocked(op, lane);
            return status;
        }
        if (polls % FAULT_POLLS == 0 && atomic_load_explicit(&engine->fault, memory_order_relaxed))
            break;
    }
    return C4_IN_PROGRESS;
}

/* Sequence, signature, bytes and offset. Another frame is left where it is: the general way finds it again and says what is
 * wrong. */
static inline bool is_expected(const c4_operation *op, const c4_move *m, const c4_window *window)
{
    frame_words f = frame_of(op, m), got;
    memcpy(&got, &window->frame, sizeof got);
    uint64_t differs = (f.words[1] ^ got.words[1]) | (f.words[2] ^ got.words[2]) >> 32 | (f.words[3] ^ got.words[3]);
    return likely(differs == 0);
}

static c4_status move_receive(c4_engine *engine, c4_operation *op, const c4_move *m)
{
    c4_window window;
    c4_status status = await(engine, op, m, &window);
    if (status != C4_OK)
        return status;
    if (unlikely(!is_expected(op, m, &window)))
        return C4_IN_PROGRESS;
    if (m->kind == MOVE_REDUCE && m->bytes)
        op->reducer->reduce2(to_pointer(op, m), from_pointer(op, m), window.pointer, m->elements, 0);
    else if (m->bytes)
        c4_copy(to_pointer(op, m), window.pointer, m->bytes, 0);
    m->ops->consume(m->channel);
    count(m);
    return C4_OK;
}

static c4_status move_step(c4_engine *engine, c4_operation *op, const c4_move *m)
{
    return c4_step_run(engine, op, m->lane, m->step, m->offset, m->bytes);
}

static inline c4_status move_run(c4_engine *engine, c4_operation *op, const c4_move *m)
{
    switch (m->kind) {
    case MOVE_PUT:
        return move_put(op, m);
    case MOVE_SEND:
        return move_window(op, m);
    case MOVE_RECV:
    case MOVE_REDUCE:
        return move_receive(engine, op, m);
    case MOVE_COPY:
        if (m->bytes)
            c4_copy(to_pointer(op, m), from_pointer(op, m), m->bytes, 0);
        return C4_OK;
    default:
        return move_step(engine, op, m);
    }
}

/* Again, for as long as spinning is allowed: a send without credit, or a step with several sources. */
static __attribute__((noinline)) c4_status move_again(c4_engine *engine, c4_operation *op, const c4_move *m)
{
    c4_status status = C4_IN_PROGRESS;
    if (m->kind == MOVE_RECV || m->kind == MOVE_REDUCE)
        return status; /* it has waited already */
    if (m->edge)
        op->blocked = m->edge;
    for (unsigned polls = 1; status == C4_IN_PROGRESS && polls < engine->spec.wait.spin_polls; polls++) {
        c4_trace_blocked(op, &op->lanes[m->lane]);
        if (atomic_load_explicit(&engine->fault, memory_order_relaxed))
            return C4_IN_PROGRESS;
        status = move_run(engine, op, m);
    }
    if (status == C4_OK)
        c4_trace_unblocked(op, &op->lanes[m->lane]);
    return status;
}

/* Lane `lane` has completed so many steps. */
static void lane_place(const c4_schedule *s, c4_lane_state *lane, uint32_t index, uint32_t completed)
{
    lane->completed = completed;
    lane->loop = 0;
    for (; lane->loop < s->lanes[index].nloops; lane->loop++) {
        const c4_loop *loop = &s->loops[s->lanes[index].first_loop + lane->loop];
        uint32_t steps = loop->nsteps * loop->iterations;
        if (completed < steps) {
            lane->iteration = completed / loop->nsteps;
            lane->step = completed % loop->nsteps;
            return;
        }
        completed -= steps;
    }
}

/* The operation goes on as an ordinary one, from move `at`. What moves do not show, steps without bytes, may be done again. */
static __attribute__((noinline)) c4_status hand_over(c4_engine *engine, c4_program *program, uint32_t at,
                                                     c4_status status)
{
    c4_express *x = program->express;
    const c4_schedule *s = program->schedule;
    c4_operation *op = x->op;
    x->op = NULL;
    program->running++;
    for (uint32_t i = 0; i < program->nedges; i++)
        c4_edge_ticket_taken(program->edges[i]);
    for (uint32_t lane = 0; lane < s->nlanes; lane++) {
        uint32_t completed = 0;
        for (uint32_t i = 0; i < at; i++)
            if (x->moves[i].lane == lane)
                completed = x->moves[i].completed + 1;
        lane_place(s, &op->lanes[lane], lane, completed);
    }
    if (x->moves[at].edge)
        op->blocked = x->moves[at].edge;
    op->lanes_left = s->nlanes;
    op->status = C4_IN_PROGRESS;
    c4_operation_resume(engine, op);
    if (status < 0)
        c4_operation_fail(engine, op, status);
    c4_engine_wait(engine, op);
    return c4_engine_finish(engine, op);
}

static c4_status express_run(c4_engine *engine, c4_program *program, const void *send, void *recv)
{
    c4_express *x = program->express;
    c4_operation *op = x->op;
    op->call.send = op->buffers[C4_BUFFER_SEND] = (char *)send;
    op->call.recv = op->buffers[C4_BUFFER_RECV] = recv;
    if (x->numbered)
        op->stamp = (uint64_t)program->signature << 32 | x->numbered->next_ticket;
    else
        op->stamp = (uint64_t)c4_history_next(engine, program->signature) << 32 | c4_sequence_next(engine);
    bool traced = false;
    for (uint32_t i = 0; i < x->nmoves; i++) {
        const c4_move *m = &x->moves[i];
        if (i == x->first_wait) {
            c4_trace_begin(engine, op);
            traced = true;
        }
        c4_status status = move_run(engine, op, m);
        if (likely(status == C4_OK))
            continue;
        if (!traced)
            c4_trace_begin(engine, op);
        traced = true;
        if (status == C4_IN_PROGRESS)
            status = move_again(engine, op, m);
        if (status != C4_OK)
            return hand_over(engine, program, i, status);
    }
    if (unlikely(!traced))
        c4_trace_begin(engine, op);
    if (x->numbered) {
        c4_edge_ticket_taken(x->numbered);
        x->numbered->served++;
    }
    op->status = C4_OK;
    if (op->record)
        c4_trace_end(engine, op);
    return C4_OK;
}

static __attribute__((noinline)) c4_status express_prepare(c4_engine *engine, const c4_call *call, c4_program *program)
{
    c4_operation *op;
    C4_TRY(c4_operation_create(engine, call, program, &op));
    memset(op->lanes, 0, program->schedule->nlanes * sizeof *op->lanes);
    op->state = OPERATION_RUNNING;
    op->blocked = NULL;
    program->express->op = op;
    return C4_OK;
}

/* During the vote's back-off the fallback is called directly. Only while nothing else is under way: then all earlier votes
 * of this shape have been counted, here as on every other rank. */
static inline c4_program *express_fallback(const c4_engine *engine, c4_program *program)
{
    if (engine->first || !program->vote || program->vote->skip == 0)
        return program;
    program->vote->skip--;
    program->running--;
    program->fallback->running++;
    return program->fallback;
}

bool c4_engine_repeat(c4_engine *engine, const void *send, void *recv, c4_status *status)
{
    c4_program *program = engine->repeat;
    if (!program || !program->express->op || engine->first ||
        atomic_load_explicit(&engine->fault, memory_order_acquire))
        return false;
    *status = express_run(engine, program, send, recv);
    return true;
}

c4_status c4_engine_call(c4_engine *engine, const c4_call *call)
{
    c4_program *program;
    c4_operation *op;
    c4_status fault = atomic_load_explicit(&engine->fault, memory_order_acquire);
    engine->repeat = NULL;
    if (unlikely(fault != 0))
        return fault;
    C4_TRY(c4_program_get(engine, call, &program));
    bool may_vote = program->fallback != NULL;
    if (may_vote)
        program = express_fallback(engine, program);
    if (program->express && !engine->first) {
        if (!program->express->op)
            C4_TRY(express_prepare(engine, call, program));
        program->running--;
        engine->repeat = may_vote ? NULL : program;
        return express_run(engine, program, call->send, call->recv);
    }
    C4_TRY(c4_operation_create(engine, call, program, &op));
    c4_engine_start(engine, op);
    if (!c4_operation_done(op))
        c4_engine_wait(engine, op);
    return c4_engine_finish(engine, op);
}
