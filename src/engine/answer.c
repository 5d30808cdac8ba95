/* The one who is asked: on the control thread, while the engine's thread may be anywhere. */
#include "base/clock.h"
#include "engine/stuck_internal.h"

bool c4_engine_called(const c4_engine *engine, int owner, const c4_call_card *call)
{
    if (!c4_card_is_p2p(call))
        return (int32_t)(__atomic_load_n(&engine->sequence, __ATOMIC_RELAXED) - call->sequence) >= 0;
    _Atomic(c4_edge *) *edges = atomic_load(&engine->p2p);
    const c4_edge *edge = edges ? atomic_load(&edges[2 * owner + (call->kind == C4_KIND_RECV)]) : NULL;
    return edge && (int32_t)(__atomic_load_n(&edge->next_ticket, __ATOMIC_RELAXED) - call->sequence) > 0;
}

typedef struct wanted {
    int owner;
    const c4_call_card *call;
} wanted;

/* Is it this rank's part of the call? */
static bool is_part(const c4_call_card *own, const wanted *w)
{
    if (own->sequence != w->call->sequence)
        return false;
    if (!c4_card_is_p2p(w->call))
        return !c4_card_is_p2p(own);
    return own->root == w->owner && c4_card_is_p2p(own) && own->kind != w->call->kind;
}

static bool accept_part(const c4_record_operation *r, const void *context)
{
    c4_call_card own = c4_card_of_record(r);
    return is_part(&own, context);
}

static bool accept_any(const c4_record_operation *r, const void *context)
{
    (void)r, (void)context;
    return true;
}

static uint32_t milliseconds(uint64_t ns)
{
    return ns / 1000000u < UINT32_MAX ? (uint32_t)(ns / 1000000u) : UINT32_MAX;
}

static void fill_call(c4_call_answer *answer, const c4_record_operation *r)
{
    uint64_t end = __atomic_load_n(&r->end_ticks, __ATOMIC_RELAXED), since = end ? end : r->call_ticks, now = c4_tsc();
    answer->has_call = true;
    answer->ended = end != 0;
    answer->age_ms = now > since ? milliseconds(c4_tsc_to_ns(now - since)) : 0;
    answer->call = c4_card_of_record(r);
}

static c4_control_answer answer_call(const c4_engine *engine, const c4_shown *shown, const c4_call_question *question,
                                     bool called, c4_call_answer *answer)
{
    c4_record_operation record;
    wanted w = {question->owner, &question->call};
    if (!called) {
        if (c4_record_operation_find(engine->spec.writer, accept_any, NULL, &record))
            fill_call(answer, &record);
        return C4_ANSWER_NOT_YET;
    }
    if (shown && is_part(&shown->call, &w)) {
        answer->has_call = true;
        answer->call = shown->call;
    } else if (c4_record_operation_find(engine->spec.writer, accept_part, &w, &record)) {
        fill_call(answer, &record);
    } else {
        return C4_ANSWER_UNKNOWN;
    }
    return c4_card_match(&question->call, question->owner, &answer->call, engine->spec.rank) ? C4_ANSWER_SAME
                                                                                             : C4_ANSWER_DIFFERENT;
}

c4_control_answer c4_engine_answer(c4_engine *engine, const unsigned char card[C4_CONTROL_CARD_BYTES],
                                   unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    c4_stuck *s = engine->stuck;
    c4_call_question question;
    c4_call_answer answer = {0};
    int nranks = engine->spec.nranks, self = engine->spec.rank;
    if (c4_call_question_unpack(card, &question) < 0 || !c4_card_valid(&question.call, nranks) || question.owner < 0 ||
        question.owner >= nranks || question.owner == self ||
        (c4_card_is_p2p(&question.call) && question.call.root != self))
        return C4_ANSWER_UNKNOWN;
    /* Both at once: while it is shown as blocked the thread calls nothing, so what it had not called then it has not now. */
    pthread_mutex_lock(&s->lock);
    bool is_shown = s->shown;
    c4_shown shown = s->self;
    bool called = c4_engine_called(engine, question.owner, &question.call);
    pthread_mutex_unlock(&s->lock);
    if (is_shown) {
        answer.waits = true;
        answer.blocked = shown.blocked;
        answer.receives = shown.receives;
        answer.sure = shown.sure;
        answer.waits_for = shown.waits_for;
        answer.stuck_ms = milliseconds(c4_now_ns() - shown.since_ns);
        answer.stuck = shown.call;
    }
    c4_control_answer result = answer_call(engine, is_shown ? &shown : NULL, &question, called, &answer);
    c4_call_answer_pack(&answer, reply);
    return result;
}
