/* The express lane: a blocking call whose program is one short lane over windows, while nothing else is under way.
 *
 * The general way prepares an operation, queues it, lets lanes take turns and recycles it: some 500 instructions, half
 * of an 8-byte call's time. Here the operation that ran the same program last is used again with other pointers, its steps
 * run one after the other, and a wait polls the one frame it waits for. When that takes longer than the spinning phase
 * allows, or fails, the operation joins the list as if it had been there from the start. Schedule, steps, frames, tickets
 * and record are the same. */
#include "engine/internal.h"

#define PEEK_POLLS 64u

bool c4_program_is_express(const c4_program *program)
{
    const c4_schedule *s = program->schedule;
    return s->nlanes == 1 && s->lanes[0].nloops == 1 && s->loops[0].iterations == 1 && !program->fallback &&
           !program->posted && program->bounce_bytes == 0;
}

static inline bool edges_idle(const c4_program *program)
{
    for (uint32_t i = 0; i < program->nedges; i++)
        if (program->edges[i]->next_ticket != program->edges[i]->served)
            return false;
    return true;
}

static inline void edges_hold(const c4_program *program)
{
    for (uint32_t i = 0; i < program->nedges; i++)
        program->edges[i]->next_ticket++;
}

static inline void edges_release(const c4_program *program)
{
    for (uint32_t i = 0; i < program->nedges; i++)
        program->edges[i]->served++;
}

/* The operation that may be used again, or NULL. */
static inline c4_operation *express_claim(c4_engine *engine, const c4_program *program, const c4_call *call)
{
    c4_operation *op = engine->idle;
    if (!program->express || engine->first || engine->has_posted_rails || call->premul || !op ||
        op->fitted != program->serial || op->call.op != call->op || op->call.premul || !edges_idle(program))
        return NULL;
    engine->idle = op->next;
    return op;
}

static inline void express_begin(c4_engine *engine, c4_operation *op, c4_program *program, const c4_call *call)
{
    bool p2p = call->kind == C4_KIND_SEND || call->kind == C4_KIND_RECV;
    op->program = program;
    op->call.send = call->send;
    op->call.recv = call->recv;
    op->call.send_bytes = call->send_bytes;
    op->call.recv_bytes = call->recv_bytes;
    op->buffers[C4_BUFFER_SEND] = (char *)call->send;
    op->buffers[C4_BUFFER_RECV] = call->recv;
    op->sequence = p2p && program->nedges ? program->edges[0]->next_ticket : p2p ? 0 : ++engine->sequence;
    edges_hold(program);
    c4_trace_begin(engine, op);
}

/* One step, waiting for at most the spinning phase. */
static c4_status express_step(c4_engine *engine, c4_operation *op, const c4_step *step)
{
    uint64_t offset, bytes;
    if (!c4_step_range(step, 0, &offset, &bytes))
        return C4_OK;
    c4_status status = c4_step_run(engine, op, 0, step, offset, bytes);
    for (unsigned polls = 0; status == C4_IN_PROGRESS && polls < engine->spec.wait.spin_polls; polls += PEEK_POLLS) {
        c4_edge *edge = op->blocked;
        c4_window window;
        for (unsigned i = 0; !edge->writer && i < PEEK_POLLS; i++)
            if (edge->ops->peek(edge->channel, &window) != C4_IN_PROGRESS)
                break;
        if (atomic_load_explicit(&engine->fault, memory_order_relaxed))
            return C4_IN_PROGRESS; /* the general way tells */
        status = c4_step_run(engine, op, 0, step, offset, bytes);
    }
    return status;
}

/* The operation goes on as an ordinary one, at step `at`. */
static c4_status express_hand_over(c4_engine *engine, c4_operation *op, uint32_t at, c4_status status)
{
    op->lanes[0] = (c4_lane_state){.step = at, .completed = at};
    op->lanes_left = 1;
    op->status = C4_IN_PROGRESS;
    op->start_ns = 0;
    c4_operation_resume(engine, op);
    if (status < 0)
        c4_operation_fail(engine, op, status);
    c4_engine_wait(engine, op);
    return c4_engine_finish(engine, op);
}

static c4_status express_run(c4_engine *engine, c4_operation *op)
{
    c4_program *program = op->program;
    const c4_schedule *s = program->schedule;
    const c4_step *steps = &s->steps[s->loops[0].first_step];
    for (uint32_t i = 0; i < s->loops[0].nsteps; i++) {
        c4_status status = express_step(engine, op, &steps[i]);
        if (__builtin_expect(status != C4_OK, 0))
            return express_hand_over(engine, op, i, status);
    }
    edges_release(program);
    op->status = C4_OK;
    if (op->record)
        c4_trace_end(engine, op);
    return c4_engine_finish(engine, op);
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

c4_status c4_engine_call(c4_engine *engine, const c4_call *call)
{
    c4_program *program;
    c4_operation *op;
    c4_status fault = atomic_load_explicit(&engine->fault, memory_order_acquire);
    if (__builtin_expect(fault != 0, 0))
        return fault;
    C4_TRY(c4_program_get(engine, call, &program));
    if (program->fallback)
        program = express_fallback(engine, program);
    op = express_claim(engine, program, call);
    if (op) {
        express_begin(engine, op, program, call);
        return express_run(engine, op);
    }
    C4_TRY(c4_operation_create(engine, call, program, &op));
    c4_engine_start(engine, op);
    if (!c4_operation_done(op))
        c4_engine_wait(engine, op);
    return c4_engine_finish(engine, op);
}
