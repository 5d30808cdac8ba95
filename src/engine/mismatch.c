/* Texts of operations that fail, and the frame that does not belong: what the writer called is asked for. */
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/stuck_internal.h"

#define BACK_LIMIT 32u /* calls before this one that are compared */

void c4_engine_ring(const c4_engine *engine)
{
    if (!engine->spec.doorbell)
        return;
    __atomic_add_fetch(engine->spec.doorbell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, engine->spec.doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void c4_engine_describe(const c4_engine *engine, int rank, char text[C4_ENGINE_WHO_BYTES])
{
    if (engine->spec.describe)
        engine->spec.describe(engine->spec.ask_context, rank, text);
    else
        snprintf(text, C4_ENGINE_WHO_BYTES, "rank %d", rank);
}

c4_status c4_stuck_fail_different(const c4_engine *engine, const c4_call_card *own, int peer, const c4_call_card *other)
{
    char here[C4_ENGINE_WHO_BYTES], there[C4_ENGINE_WHO_BYTES], mine[C4_CARD_TEXT_BYTES], theirs[C4_CARD_TEXT_BYTES];
    c4_engine_describe(engine, engine->spec.rank, here);
    c4_engine_describe(engine, peer, there);
    c4_card_text(own, mine);
    c4_card_text(other, theirs);
    return c4_fail(C4_ERR_MISMATCH, "%s called %s, %s called %s on communicator \"%s\"", there, theirs, here, mine,
                   engine->spec.name ? engine->spec.name : "");
}

/* ---- the frame that does not belong ---- */

static bool accept_own(const c4_record_operation *r, const void *context)
{
    const uint32_t *sequence = context;
    c4_call_card card = c4_card_of_record(r);
    return r->sequence == *sequence && !c4_card_is_p2p(&card);
}

/* This rank's collective of that number. */
static bool own_card(const c4_engine *engine, const c4_operation *op, uint32_t sequence, c4_call_card *card)
{
    c4_record_operation record;
    *card = c4_card_make(&op->call, op->sequence);
    if (sequence == op->sequence)
        return true;
    if (!c4_record_operation_find(engine->spec.writer, accept_own, &sequence, &record))
        return false;
    *card = c4_card_of_record(&record);
    return true;
}

/* Blocks until the answer, the time or a fault. A call is counted and recorded a little later than its first frames are sent:
 * what is not known, or not called, will be in a moment. */
static c4_control_answer ask_and_wait(c4_engine *engine, int member, const c4_call_card *card, uint64_t by_ns,
                                      c4_call_answer *told)
{
    c4_control_answer answer = C4_ANSWER_UNKNOWN;
    while ((answer == C4_ANSWER_UNKNOWN || answer == C4_ANSWER_NOT_YET) &&
           c4_stuck_ask(engine, member, engine->spec.rank, card)) {
        while (!c4_stuck_take_answer(engine->stuck, &answer, told)) {
            if (atomic_load(&engine->fault) || c4_now_ns() > by_ns)
                return C4_ANSWER_UNKNOWN;
            nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        }
        if (answer == C4_ANSWER_UNKNOWN || answer == C4_ANSWER_NOT_YET)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (c4_now_ns() > by_ns)
            break;
    }
    return answer;
}

/* The writer's call with the number of the first of the two that the frame and the op belong to, and those before: the
 * signatures of frames tell of all of them. */
static bool explain(c4_engine *engine, const c4_operation *op, int peer, uint32_t first)
{
    uint64_t by_ns = c4_now_ns() + C4_EXPLAIN_NS;
    bool p2p = op->call.kind == C4_KIND_SEND || op->call.kind == C4_KIND_RECV;
    c4_call_card own;
    for (uint32_t back = 0; back < BACK_LIMIT && (p2p || first > 0); back++, first--) {
        c4_call_answer told;
        if (!own_card(engine, op, p2p ? op->sequence : first, &own))
            return false;
        c4_control_answer answer = ask_and_wait(engine, peer, &own, by_ns, &told);
        if (answer == C4_ANSWER_DIFFERENT && told.has_call) {
            c4_stuck_fail_different(engine, &own, peer, &told.call);
            return true;
        }
        if (p2p || answer != C4_ANSWER_SAME)
            return false;
    }
    return false;
}

c4_status c4_stuck_mismatch(c4_engine *engine, const c4_operation *op, const c4_edge *edge, const c4_frame *frame)
{
    uint32_t first = (int32_t)(frame->sequence - op->sequence) < 0 ? frame->sequence : op->sequence;
    if (engine->spec.ask && explain(engine, op, edge->peer, first))
        return C4_ERR_MISMATCH;
    c4_status fault = atomic_load(&engine->fault);
    if (fault) { /* somebody else has found it meanwhile */
        c4_fail_keep(engine->fault_text);
        return fault;
    }
    char who[C4_ENGINE_WHO_BYTES], call[C4_CARD_TEXT_BYTES];
    c4_call_card own = c4_card_make(&op->call, op->sequence);
    c4_engine_describe(engine, edge->peer, who);
    c4_card_text(&own, call);
    return c4_fail(C4_ERR_MISMATCH,
                   "%s called something else than rank %d's %s on communicator \"%s\", or did so before", who,
                   engine->spec.rank, call, engine->spec.name ? engine->spec.name : "");
}

/* ---- context ---- */

/* Seconds since the call; < 0: not known. */
static double since_call(const c4_operation *op)
{
    const c4_record_operation *r = op->record;
    if (!r || r->generation != op->record_generation)
        return -1;
    return (double)c4_tsc_to_ns(c4_tsc() - r->call_ticks) / 1e9;
}

void c4_operation_context(const c4_engine *engine, const c4_operation *op, char *text, size_t bytes)
{
    char call[C4_CARD_TEXT_BYTES], who[C4_ENGINE_WHO_BYTES], when[48] = "", wait[C4_ENGINE_WHO_BYTES + 48] = "";
    c4_call_card own = c4_card_make(&op->call, op->sequence);
    const c4_edge *edge = c4_operation_waits_on(op);
    double seconds = since_call(op);
    c4_card_text(&own, call);
    if (seconds >= 0)
        snprintf(when, sizeof when, ", %.1f s after the call", seconds);
    if (edge) {
        c4_engine_describe(engine, edge->peer, who);
        snprintf(wait, sizeof wait, ", waiting to %s %s", edge->writer ? "send to" : "receive from", who);
    }
    snprintf(text, bytes, "%s on communicator \"%s\"%s%s", call, engine->spec.name ? engine->spec.name : "", when,
             wait);
}
