/* An engine: its rails, its active operations, its end. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/stuck_internal.h"

#define CAUSE_LIMIT_MS 300 /* deaths are known within 200 ms on an idle host */

c4_xfer *c4_xfer_get(c4_engine *engine)
{
    c4_xfer *xfer = engine->idle_xfers;
    if (!xfer)
        return malloc(sizeof *xfer);
    engine->idle_xfers = xfer->owner_next;
    return xfer;
}

void c4_xfer_put(c4_engine *engine, c4_xfer *xfer)
{
    xfer->owner_next = engine->idle_xfers;
    engine->idle_xfers = xfer;
}

c4_status c4_engine_create(const c4_engine_spec *spec, c4_engine **out)
{
    c4_engine *engine = calloc(1, sizeof *engine);
    uint8_t *rail_of = calloc((size_t)spec->nranks, 1);
    c4_stuck *stuck = c4_stuck_create();
    if (!engine || !rail_of || !stuck || spec->nrails > C4_ENGINE_MAX_RAILS) {
        free(engine);
        free(rail_of);
        c4_stuck_destroy(stuck);
        return c4_fail(C4_ERR_MEMORY, "engine for %d ranks", spec->nranks);
    }
    engine->spec = *spec;
    engine->rail_of = rail_of;
    engine->stuck = stuck;
    engine->look_ticks = c4_tsc_hz() / C4_LOOKS_PER_S;
    engine->looked_ticks = c4_tsc();
    engine->fault_peer = -1;
    memcpy(rail_of, spec->rail_of, (size_t)spec->nranks);
    for (int i = 0; i < spec->nrails; i++) {
        engine->rails[i] = spec->rails[i];
        engine->watched[i] = -1;
        engine->has_posted_rails |= !(spec->rails[i].caps.flags & C4_CAP_WINDOWS);
    }
    pthread_mutex_init(&engine->fault_lock, NULL);
    *out = engine;
    return C4_OK;
}

/* A rail's error names a peer: every operation of the communicator ends with it. */
static bool rails_progress(c4_engine *engine)
{
    bool moved = false;
    for (int i = 0; i < engine->spec.nrails; i++) {
        const c4_rail *rail = &engine->rails[i];
        if (rail->caps.flags & C4_CAP_WINDOWS)
            continue;
        int peer = -1;
        c4_status status = rail->ops->progress(rail->module, &peer);
        moved |= status == C4_OK;
        if (status < 0)
            c4_engine_fault_found(engine, status, peer, c4_fail_text());
    }
    return moved;
}

static void fail_all(c4_engine *engine, c4_status status)
{
    while (engine->first)
        c4_operation_fail(engine, engine->first, status);
}

bool c4_engine_move(c4_engine *engine)
{
    c4_status fault = atomic_load_explicit(&engine->fault, memory_order_acquire);
    if (__builtin_expect(fault != 0, 0)) {
        fail_all(engine, fault);
        return true;
    }
    bool moved = engine->has_posted_rails && rails_progress(engine);
    c4_operation *next;
    for (c4_operation *op = engine->first; op; op = next) {
        next = op->next;
        bool op_moved = c4_operation_progress(engine, op);
        moved |= op_moved;
        if (__builtin_expect(atomic_load_explicit(&engine->left, memory_order_relaxed) != NULL, 0) &&
            !c4_operation_done(op))
            c4_operation_check_left(engine, op, op_moved);
        /* Not in the wait: operations that are only tested, or moved by the progress thread, have deadlines too. */
        if (__builtin_expect(engine->spec.timeout_ms > 0, 0) && !c4_operation_done(op))
            c4_operation_check_deadline(engine, op);
    }
    return moved;
}

bool c4_engine_progress(c4_engine *engine)
{
    bool moved = c4_engine_move(engine);
    if (!moved && engine->first && c4_stuck_due(engine))
        c4_stuck_look(engine, NULL);
    return moved;
}

uint32_t c4_engine_last_complete(const c4_engine *engine)
{
    uint32_t open = engine->first_failed ? engine->first_failed : engine->sequence + 1;
    for (const c4_operation *op = engine->first; op; op = op->next)
        if (op->call.kind != C4_KIND_SEND && op->call.kind != C4_KIND_RECV && (int32_t)(op->sequence - open) < 0)
            open = op->sequence;
    return open - 1;
}

static void set_fault(c4_engine *engine, c4_status status, int peer, const char *text, bool known)
{
    pthread_mutex_lock(&engine->fault_lock);
    if (atomic_load(&engine->fault) == 0) {
        strncpy(engine->fault_text, text, sizeof engine->fault_text - 1);
        c4_fail_advise(status, engine->fault_text, sizeof engine->fault_text);
        engine->fault_peer = peer;
        engine->fault_known = known;
        atomic_store_explicit(&engine->fault, status, memory_order_release);
    }
    pthread_mutex_unlock(&engine->fault_lock);
    c4_engine_ring(engine);
}

void c4_engine_fault(c4_engine *engine, c4_status status, int peer, const char *text)
{
    set_fault(engine, status, peer, text, false);
}

void c4_engine_fault_told(c4_engine *engine, c4_status status, int peer, const char *text)
{
    set_fault(engine, status, peer, text, true);
}

bool c4_engine_fault_is_known(c4_engine *engine)
{
    pthread_mutex_lock(&engine->fault_lock);
    bool known = engine->fault_known;
    pthread_mutex_unlock(&engine->fault_lock);
    return known;
}

/* When a rank dies, its neighbours leave, and a connection that ends is often the first that this rank hears of it: what
 * the control thread is about to say names the cause. */
void c4_engine_fault_found(c4_engine *engine, c4_status status, int peer, const char *text)
{
    char kept[C4_ERROR_TEXT_BYTES];
    int leaver = -1;
    snprintf(kept, sizeof kept, "%s", text);
    if (status == C4_ERR_LINK)
        for (int i = 0; i < CAUSE_LIMIT_MS && atomic_load(&engine->fault) == 0 && leaver < 0; i++) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            leaver = c4_engine_leaver(engine, peer);
        }
    if (leaver >= 0 && atomic_load(&engine->fault) == 0) {
        status = c4_fail(C4_ERR_MISMATCH, "rank %d left the communicator (c4_comm_destroy) while rank %d waits for it",
                         leaver, engine->spec.rank);
        snprintf(kept, sizeof kept, "%s", c4_fail_text());
    }
    c4_engine_fault(engine, status, peer, kept);
}

c4_status c4_engine_status(const c4_engine *engine, const char **text)
{
    c4_status fault = atomic_load_explicit(&engine->fault, memory_order_acquire);
    if (text)
        *text = !fault ? "" : atomic_load(&engine->has_call_text) ? engine->call_text : engine->fault_text;
    return fault;
}

c4_status c4_engine_algorithm(c4_engine *engine, const c4_call *call, const char **name)
{
    c4_query query;
    const char *reason;
    C4_TRY(c4_program_query(engine, call, &query, &reason));
    *name = c4_algorithms[query.algorithm].name;
    return C4_OK;
}

static void operations_free(c4_engine *engine)
{
    c4_operation *next;
    for (c4_operation *op = engine->idle; op; op = next) {
        next = op->next;
        c4_operation_free(op);
    }
}

void c4_engine_destroy(c4_engine *engine)
{
    if (!engine)
        return;
    fail_all(engine, C4_ERR_DESTROYED);
    c4_operations_reclaim(engine);
    /* No descriptor of one transport may ring the doorbell any more when another, which lends it, is closed. */
    for (int i = 0; i < engine->spec.nrails; i++)
        if (engine->watched[i] >= 0)
            engine->spec.unwatch_fd(engine->spec.watch_context, engine->watched[i]);
    for (int i = 0; i < engine->spec.nrails; i++)
        engine->rails[i].ops->close(engine->rails[i].module);
    c4_edge_free_all(engine);
    c4_program_cache_fini(engine);
    operations_free(engine);
    c4_xfer *later;
    for (c4_xfer *xfer = engine->idle_xfers; xfer; xfer = later) {
        later = xfer->owner_next;
        free(xfer);
    }
    pthread_mutex_destroy(&engine->fault_lock);
    c4_stuck_destroy(engine->stuck);
    free((void *)atomic_load(&engine->p2p));
    free(engine->votes);
    free((void *)atomic_load(&engine->left));
    free(engine->rail_of);
    free(engine);
}
