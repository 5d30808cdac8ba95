/* The one who asks; the idea is in stuck.h. */
#include "engine/stuck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/stuck_internal.h"

/* ---- what has moved ---- */

c4_edge *c4_operation_waits_on(const c4_operation *op)
{
    if (op->state == OPERATION_VOTING || (op->state == OPERATION_RUNNING && op->lanes_left))
        return op->blocked;
    return op->state == OPERATION_FLUSHING && op->pending ? op->pending->owner : NULL;
}

/* Changes with every step that the op gets further. */
static uint64_t steps_of(const c4_operation *op)
{
    uint64_t steps = (uint64_t)op->state << 56;
    if (op->state == OPERATION_VOTING)
        return steps + op->voted + op->votes_heard;
    for (uint32_t i = 0; op->state == OPERATION_RUNNING && i < op->schedule->nlanes; i++)
        steps += op->lanes[i].completed + op->lanes[i].entered + op->lanes[i].computed;
    for (const c4_xfer *x = op->pending; x; x = x->owner_next)
        steps++;
    return steps;
}

static void note_moves(c4_engine *engine, uint64_t now)
{
    for (c4_operation *op = engine->first; op; op = op->next) {
        uint64_t steps = steps_of(op);
        if (op->still_ns && steps == op->steps_seen)
            continue;
        op->steps_seen = steps;
        op->still_ns = now;
    }
}

static bool is_stuck(const c4_operation *op, uint64_t now)
{
    return op->still_ns && now - op->still_ns >= C4_STUCK_NS && c4_operation_waits_on(op);
}

static uint32_t send_stuck_ms(const c4_engine *engine)
{
    return engine->spec.send_stuck_ms > 0 ? (uint32_t)engine->spec.send_stuck_ms : C4_SEND_STUCK_MS;
}

/* The rank at the other end; of several readers one after the other. */
static int peer_of(const c4_edge *edge, unsigned turn)
{
    return edge->writer ? edge->readers[turn % (unsigned)edge->nreaders] : edge->writer_rank;
}

/* ---- what others may know ---- */

static void show(c4_engine *engine, const c4_operation *waited, uint64_t now)
{
    c4_stuck *s = engine->stuck;
    const c4_operation *op = waited && is_stuck(waited, now) ? waited : NULL;
    for (const c4_operation *one = engine->first; one && !op; one = one->next)
        if (is_stuck(one, now))
            op = one;
    const c4_edge *edge = op ? c4_operation_waits_on(op) : NULL;
    pthread_mutex_lock(&s->lock);
    s->shown = op != NULL;
    if (op)
        s->self = (c4_shown){.call = c4_card_make(&op->call, op->sequence),
                             .waits_for = peer_of(edge, s->turn),
                             .blocked = op == waited,
                             .receives = !edge->writer,
                             .sure = edge->windows,
                             .since_ns = op->still_ns};
    pthread_mutex_unlock(&s->lock);
}

void c4_stuck_leave_wait(c4_engine *engine)
{
    c4_stuck *s = engine->stuck;
    if (!s->shown) /* written by this thread alone */
        return;
    pthread_mutex_lock(&s->lock);
    s->shown = false;
    pthread_mutex_unlock(&s->lock);
}

/* ---- asking ---- */

bool c4_stuck_ask(c4_engine *engine, int member, int owner, const c4_call_card *call)
{
    c4_stuck *s = engine->stuck;
    unsigned char card[C4_CALL_CARD_BYTES];
    c4_call_question question = {.owner = owner, .call = *call};
    c4_call_question_pack(&question, card);
    s->asked = member;
    s->owner = owner;
    s->about = *call;
    s->asked_ns = c4_now_ns();
    pthread_mutex_lock(&s->lock);
    s->token++;
    atomic_store(&s->heard, false);
    pthread_mutex_unlock(&s->lock);
    s->waiting = engine->spec.ask(engine->spec.ask_context, member, s->token, card) == C4_OK;
    return s->waiting;
}

void c4_engine_hear(c4_engine *engine, int member, uint64_t token, c4_control_answer answer,
                    const unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    c4_stuck *s = engine->stuck;
    c4_call_answer told = {0};
    bool card = answer == C4_ANSWER_SAME || answer == C4_ANSWER_DIFFERENT || answer == C4_ANSWER_NOT_YET;
    if (answer == C4_ANSWER_LEFT)
        c4_engine_peer_left(engine, member);
    if (card && (c4_call_answer_unpack(reply, &told) < 0 ||
                 (told.has_call && !c4_card_valid(&told.call, engine->spec.nranks)) ||
                 (told.waits && (!c4_card_valid(&told.stuck, engine->spec.nranks) || told.waits_for < 0 ||
                                 told.waits_for >= engine->spec.nranks))))
        answer = C4_ANSWER_UNKNOWN;
    pthread_mutex_lock(&s->lock);
    bool wanted = token == s->token && !s->heard;
    if (wanted) {
        s->answer = answer;
        s->told = told;
        atomic_store(&s->heard, true);
    }
    pthread_mutex_unlock(&s->lock);
    if (wanted)
        c4_engine_ring(engine);
}

bool c4_stuck_take_answer(c4_stuck *s, c4_control_answer *answer, c4_call_answer *told)
{
    pthread_mutex_lock(&s->lock);
    bool heard = s->heard && s->waiting;
    *answer = s->answer;
    *told = s->told;
    atomic_store(&s->heard, false);
    pthread_mutex_unlock(&s->lock);
    if (heard)
        s->waiting = false;
    return heard;
}

/* ---- what follows ---- */

static void fail_different(c4_engine *engine, c4_operation *op, const c4_call_answer *told)
{
    c4_call_card own = c4_card_make(&op->call, op->sequence);
    c4_operation_fail(engine, op, c4_stuck_fail_different(engine, &own, engine->stuck->asked, &told->call));
}

static void name_late(const c4_engine *engine, c4_operation *op, const c4_call_answer *told, uint64_t now)
{
    char who[C4_ENGINE_WHO_BYTES], call[C4_CARD_TEXT_BYTES],
        last[C4_CARD_TEXT_BYTES + 64] = "it has called nothing yet";
    uint64_t late_ms = engine->spec.late_ms > 0 ? (uint64_t)engine->spec.late_ms : C4_LATE_MS;
    uint64_t still_ms = (now - op->still_ns) / 1000000u;
    if (op->late_named || still_ms < late_ms)
        return;
    op->late_named = true;
    c4_call_card own = c4_card_make(&op->call, op->sequence);
    c4_engine_describe(engine, engine->stuck->asked, who);
    c4_card_text(&own, call);
    if (told->has_call) {
        char name[C4_CARD_TEXT_BYTES];
        c4_card_text(&told->call, name);
        snprintf(last, sizeof last, "its last call was %s, %s %.1f s ago", name,
                 told->ended ? "which finished" : "not finished, begun", told->age_ms / 1e3);
    }
    c4_log(C4_LOG_WARN, "%s has not entered %s on communicator \"%s\", where rank %d waits for it since %.1f s; %s",
           who, call, engine->spec.name ? engine->spec.name : "", engine->spec.rank, (double)still_ms / 1e3, last);
}

/* The links from `first` on: each waits for the next, the last one for the first. */
static void fail_circle(c4_engine *engine, c4_operation *op, unsigned first)
{
    const c4_stuck *s = engine->stuck;
    char text[C4_ERROR_TEXT_BYTES];
    size_t at = 0;
    for (unsigned i = first; i < s->nchain; i++) {
        char who[C4_ENGINE_WHO_BYTES], call[C4_CARD_TEXT_BYTES];
        const c4_chain_link *link = &s->chain[i];
        c4_engine_describe(engine, link->rank, who);
        s->nchain - first <= 2 ? c4_card_text(&link->call, call) : c4_card_short_text(&link->call, call);
        int next = s->chain[i + 1 < s->nchain ? i + 1 : first].rank;
        int used = snprintf(text + at, sizeof text - at, "%s%s called %s and waits there for rank %d",
                            i > first ? ", " : "", who, call, next);
        at = at + (size_t)used < sizeof text ? at + (size_t)used : sizeof text - 1;
    }
    c4_status status = c4_fail(C4_ERR_MISMATCH, "deadlock on communicator \"%s\": %s",
                               engine->spec.name ? engine->spec.name : "", text);
    c4_operation_fail(engine, op, status);
}

static bool in_chain(const c4_stuck *s, int rank)
{
    for (unsigned i = 0; i < s->nchain; i++)
        if (s->chain[i].rank == rank)
            return true;
    return false;
}

/* The last link is in a collective that one before it was asked about and had not called. Its index, or 0: there is none. */
static unsigned circle_start(const c4_stuck *s)
{
    const c4_chain_link *last = &s->chain[s->nchain - 1];
    for (unsigned i = 1; i + 1 < s->nchain && !c4_card_is_p2p(&last->call); i++) {
        const c4_call_card *asked = &s->chain[i - 1].call;
        if (!c4_card_is_p2p(asked) && asked->sequence == last->call.sequence &&
            c4_card_needs(&last->call, last->rank, s->chain[i].rank))
            return i;
    }
    return 0;
}

/* The rank asked has not called its part of `about`, which s->owner is in. Goes on with what that rank is in. */
static void follow_blocked(c4_engine *engine, c4_operation *op, const c4_operation *waited, const c4_call_answer *told)
{
    c4_stuck *s = engine->stuck;
    int next = told->waits_for;
    bool holds = told->receives || told->sure || told->stuck_ms >= send_stuck_ms(engine) ||
                 c4_card_needs(&told->stuck, s->asked, next);
    if (!told->waits || !told->blocked || !holds || !s->holds || s->nchain == C4_CHAIN_LIMIT || in_chain(s, s->asked))
        return;
    s->chain[s->nchain++] = (c4_chain_link){s->asked, told->stuck};
    unsigned start = circle_start(s);
    if (start)
        fail_circle(engine, op, start);
    else if (next == engine->spec.rank && op == waited && !c4_engine_called(engine, s->asked, &told->stuck))
        fail_circle(engine, op, 0);
    else if (!in_chain(s, next)) /* else a circle without this rank: those in it will find it */
        c4_stuck_ask(engine, next, s->asked, &told->stuck);
}

/* The rank asked is in `about` too and waits there for another, whom the owner of `about` needs as well. One such step is
 * enough to find most early; whoever waits for the missing rank itself finds the rest, and questions stay few. */
static void follow_same(c4_engine *engine, c4_operation *op, const c4_operation *waited, const c4_call_answer *told)
{
    c4_stuck *s = engine->stuck;
    int next = told->waits_for;
    bool there = told->waits && told->stuck.kind == s->about.kind && told->stuck.sequence == s->about.sequence;
    if (!there || c4_card_is_p2p(&s->about) || next == s->owner || !c4_card_needs(&s->about, s->owner, next) ||
        ++s->hops > C4_HOPS_LIMIT)
        return;
    s->holds = true;
    if (next != engine->spec.rank)
        c4_stuck_ask(engine, next, s->owner, &s->about);
    else if (s->nchain > 1 && op == waited && !c4_engine_called(engine, s->owner, &s->about))
        fail_circle(engine, op, 0);
}

/* The operation that the inquiry began with, if it is still where it was. */
static c4_operation *inquiry_operation(const c4_engine *engine)
{
    const c4_stuck *s = engine->stuck;
    for (c4_operation *op = engine->first; op; op = op->next)
        if (op == s->op && op->sequence == s->op_sequence && op->still_ns == s->op_still_ns)
            return op;
    return NULL;
}

static void go_on(c4_engine *engine, const c4_operation *waited, uint64_t now, c4_control_answer answer,
                  const c4_call_answer *told)
{
    c4_stuck *s = engine->stuck;
    c4_operation *op = inquiry_operation(engine);
    bool own = s->owner == engine->spec.rank;
    if (!op)
        return;
    if (answer == C4_ANSWER_DIFFERENT && own && told->has_call) {
        fail_different(engine, op, told);
    } else if (answer == C4_ANSWER_SAME) {
        follow_same(engine, op, waited, told);
    } else if (answer == C4_ANSWER_NOT_YET) {
        if (own)
            name_late(engine, op, told, now);
        follow_blocked(engine, op, waited, told);
    }
}

/* One operation after the other. */
static void begin(c4_engine *engine, uint64_t now)
{
    c4_stuck *s = engine->stuck;
    unsigned count = 0, index = 0;
    for (const c4_operation *op = engine->first; op; op = op->next)
        count += is_stuck(op, now);
    if (count == 0)
        return;
    s->begun_ns = now;
    s->turn++;
    for (c4_operation *op = engine->first; op; op = op->next) {
        if (!is_stuck(op, now) || index++ != s->turn % count)
            continue;
        const c4_edge *edge = c4_operation_waits_on(op);
        int self = engine->spec.rank, peer = peer_of(edge, s->turn / count);
        c4_call_card call = c4_card_make(&op->call, op->sequence);
        s->op = op;
        s->op_sequence = op->sequence;
        s->op_still_ns = op->still_ns;
        s->chain[0] = (c4_chain_link){self, call};
        s->nchain = 1;
        s->hops = 0;
        s->holds = !edge->writer || edge->windows || c4_card_needs(&call, self, peer) ||
                   now - op->still_ns >= send_stuck_ms(engine) * 1000000ull;
        if (peer != self)
            c4_stuck_ask(engine, peer, self, &call);
        return;
    }
}

static bool shares_edge(const c4_operation *a, const c4_operation *b)
{
    for (uint32_t i = 0; i < a->program->nedges; i++)
        for (uint32_t j = 0; j < b->program->nedges; j++)
            if (a->program->edges[i] == b->program->edges[j])
                return true;
    return false;
}

/* What must end before the thread goes on: the op that it waits for, or the first one that this is queued behind. */
static const c4_operation *needed_first(const c4_engine *engine, const c4_operation *waited)
{
    if (!waited || waited->state != OPERATION_QUEUED)
        return waited;
    for (const c4_operation *op = engine->first; op && op != waited; op = op->next)
        if (op->state != OPERATION_QUEUED && shares_edge(op, waited))
            return op;
    return waited;
}

bool c4_stuck_due(const c4_engine *engine)
{
    return c4_tsc() - engine->looked_ticks >= engine->look_ticks ||
           atomic_load_explicit(&engine->stuck->heard, memory_order_relaxed);
}

void c4_stuck_look(c4_engine *engine, const c4_operation *in_wait)
{
    c4_stuck *s = engine->stuck;
    uint64_t now = c4_now_ns();
    c4_control_answer answer;
    c4_call_answer told;
    const c4_operation *waited = needed_first(engine, in_wait);
    engine->looked_ticks = c4_tsc();
    note_moves(engine, now);
    show(engine, waited, now);
    if (c4_stuck_take_answer(s, &answer, &told))
        go_on(engine, waited, now, answer, &told);
    else if (engine->spec.ask && now - s->begun_ns >= C4_STUCK_NS && (!s->waiting || now - s->asked_ns >= C4_ANSWER_NS))
        begin(engine, now);
}

/* ---- life ---- */

c4_stuck *c4_stuck_create(void)
{
    c4_stuck *s = calloc(1, sizeof *s);
    if (s)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void c4_stuck_destroy(c4_stuck *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}
