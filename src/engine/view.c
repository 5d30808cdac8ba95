#include "engine/view.h"

#include <string.h>

#include "base/clock.h"
#include "engine/stuck_internal.h"

static uint32_t milliseconds(uint64_t ns)
{
    return ns / 1000000u < UINT32_MAX ? (uint32_t)(ns / 1000000u) : UINT32_MAX;
}

static c4_view_operation operation_of(const c4_record_operation *r)
{
    uint64_t end = __atomic_load_n(&r->end_ticks, __ATOMIC_RELAXED), since = end ? end : r->call_ticks, now = c4_tsc();
    return (c4_view_operation){.call = c4_card_of_record(r),
                               .ended = end != 0,
                               .age_ms = now > since ? milliseconds(c4_tsc_to_ns(now - since)) : 0};
}

typedef struct collector {
    c4_engine_view *view;
} collector;

/* Takes what the view wants to know, and says "this one" when nothing more can be of interest. */
static bool collect(const c4_record_operation *r, const void *context)
{
    c4_engine_view *view = ((const collector *)context)->view;
    c4_view_operation operation = operation_of(r);
    if (!c4_card_valid(&operation.call, INT32_MAX))
        return false;
    if (!view->has_last)
        view->last = operation;
    view->has_last = true;
    if (!operation.ended && view->nrunning < C4_VIEW_OPERATIONS)
        view->running[view->nrunning++] = operation;
    bool collective = !c4_card_is_p2p(&operation.call);
    if (collective && (int32_t)(operation.call.sequence - view->called) > 0) /* called since that was read */
        view->called = operation.call.sequence;
    bool complete = collective && operation.ended && r->status == C4_OK;
    if (complete && !view->has_complete) {
        view->complete = operation;
        view->has_complete = true;
    }
    return false; /* an old one may still be under way */
}

void c4_engine_view_take(c4_engine *engine, c4_engine_view *view)
{
    c4_stuck *s = engine->stuck;
    c4_record_operation none;
    memset(view, 0, sizeof *view);
    collector all = {view};
    view->called = __atomic_load_n(&engine->sequence, __ATOMIC_RELAXED);
    c4_record_operation_find(engine->spec.writer, collect, &all, &none);
    pthread_mutex_lock(&s->lock);
    bool shown = s->shown;
    c4_shown self = s->self;
    pthread_mutex_unlock(&s->lock);
    view->status = c4_engine_status(engine, NULL);
    view->waits = shown;
    if (!shown)
        return;
    view->receives = self.receives;
    view->waits_for = self.waits_for;
    view->stuck_ms = milliseconds(c4_now_ns() - self.since_ns);
    view->stuck = self.call;
}

void c4_engine_testify(c4_engine *engine, unsigned char card[C4_CONTROL_CARD_BYTES])
{
    c4_engine_view view;
    c4_engine_view_take(engine, &view);
    /* What is under way says more than what was called last. */
    const c4_view_operation *last = view.nrunning ? &view.running[view.nrunning - 1] : &view.last;
    c4_call_answer answer = {.has_call = view.has_last,
                             .ended = last->ended,
                             .age_ms = last->age_ms,
                             .call = last->call,
                             .waits = view.waits,
                             .receives = view.receives,
                             .waits_for = view.waits_for,
                             .stuck_ms = view.stuck_ms,
                             .stuck = view.stuck,
                             .called = view.called,
                             .status = view.status};
    c4_call_answer_pack(&answer, card);
}

bool c4_engine_read_testimony(const c4_engine *engine, const unsigned char card[C4_CONTROL_CARD_BYTES],
                              c4_call_answer *told)
{
    int nranks = engine->spec.nranks;
    return c4_call_answer_unpack(card, told) == C4_OK && (!told->has_call || c4_card_valid(&told->call, nranks)) &&
           (!told->waits || (c4_card_valid(&told->stuck, nranks) && told->waits_for >= 0 && told->waits_for < nranks));
}

const c4_engine_spec *c4_engine_spec_of(const c4_engine *engine)
{
    return &engine->spec;
}

const char *c4_engine_transport_to(const c4_engine *engine, int peer)
{
    return peer == engine->spec.rank ? "" : engine->rails[engine->rail_of[peer]].ops->name;
}

const char *c4_engine_transport_name(const c4_engine *engine, unsigned rail)
{
    return rail < (unsigned)engine->spec.nrails ? engine->rails[rail].ops->name : "";
}
