/* Groups: prepared operations of this thread, started together at the outermost end. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/export.h"
#include "comm/internal.h"

typedef struct group_entry {
    c4_comm *comm;
    c4_operation *op;
    c4_request *request; /* NULL: the group waits for it */
    int self;            /* what it adds to comm->self_receives */
    c4_status refused;   /* why the call could not be started */
} group_entry;

/* initial-exec: one load instead of a call on every collective; 40 bytes of static TLS are free in any program. */
static __thread __attribute__((tls_model("initial-exec"))) struct {
    unsigned depth;
    group_entry *entries;
    size_t count, capacity;
} group;

bool c4_group_active(void)
{
    return group.depth > 0;
}

c4_status c4_group_add(c4_comm *comm, c4_operation *op, c4_request *request, int self)
{
    if (group.count == group.capacity) {
        size_t capacity = group.capacity ? 2 * group.capacity : 16;
        group_entry *entries = realloc(group.entries, capacity * sizeof *entries);
        if (!entries)
            return c4_fail(C4_ERR_MEMORY, "group of %zu calls", capacity);
        group.entries = entries;
        group.capacity = capacity;
    }
    group.entries[group.count++] = (group_entry){.comm = comm, .op = op, .request = request, .self = self};
    atomic_fetch_add(&comm->grouped, 1);
    return C4_OK;
}

C4_API c4_status c4_group_start(void)
{
    group.depth++;
    return C4_OK;
}

/* ---- the end ---- */

/* Takes every communicator of the group, once each and until the group is done: no other thread may come between start,
 * wait and finish. A communicator that refuses its first call refuses the later ones too, or they would be out of order.
 * Returns the first error; the others are logged. */
static c4_status group_enter(group_entry *entries, size_t count, char *text, size_t bytes)
{
    c4_status first = C4_OK;
    bool refusals = false;
    for (size_t i = 0; i < count; i++) {
        c4_comm *comm = entries[i].comm;
        if (comm->group_owner == &group) /* nobody else writes this address */
            continue;
        for (size_t j = 0; refusals && j < i && entries[i].refused == C4_OK; j++)
            if (entries[j].comm == comm)
                entries[i].refused = entries[j].refused;
        if (entries[i].refused < 0)
            continue;
        entries[i].refused = c4_comm_enter(comm);
        if (entries[i].refused == C4_OK) {
            comm->group_owner = &group;
            continue;
        }
        refusals = true;
        if (first == C4_OK) {
            first = entries[i].refused;
            snprintf(text, bytes, "%s", c4_fail_text());
        }
    }
    return first;
}

/* All engines of the group take turns: one that waits must not keep another's peers waiting. */
static bool group_poll(const group_entry *entries, size_t count, bool *moved)
{
    bool done = true;
    *moved = false;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].request || entries[i].refused < 0 || c4_operation_done(entries[i].op))
            continue;
        *moved |= c4_engine_progress(entries[i].comm->engine);
        done &= c4_operation_done(entries[i].op);
    }
    return done;
}

static bool group_single(const group_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (entries[i].comm != entries[0].comm)
            return false;
    return true;
}

/* Several engines have several doorbells, and a thread sleeps on one: so it looks again after a pause that grows with the
 * time nothing has moved, from YIELDS rounds of sched_yield to PAUSE_LIMIT_NS. An idle group costs under 1 % of a core
 * and hears of a frame at most a millisecond late. */
enum { YIELDS = 300, PAUSE_NS = 20000, PAUSE_LIMIT_NS = 1000000 };

static void group_pause(unsigned idle)
{
    if (idle < YIELDS) {
        sched_yield();
        return;
    }
    unsigned doublings = (idle - YIELDS) / 16;
    long pause_ns = doublings < 6 ? PAUSE_NS << doublings : PAUSE_LIMIT_NS;
    nanosleep(&(struct timespec){.tv_nsec = pause_ns < PAUSE_LIMIT_NS ? pause_ns : PAUSE_LIMIT_NS}, NULL);
}

static void group_wait(const group_entry *entries, size_t count)
{
    if (group_single(entries, count)) {
        for (size_t i = 0; i < count && entries[i].refused == C4_OK; i++)
            if (!entries[i].request)
                c4_engine_wait(entries[i].comm->engine, entries[i].op);
        return;
    }
    bool moved;
    for (unsigned idle = 0; !group_poll(entries, count, &moved);) {
        idle = moved ? 0 : idle + 1;
        if (idle)
            group_pause(idle);
    }
}

/* The group's part in one communicator, which entries[0] belongs to, is over: its entries forget it, because another thread
 * may destroy it from now on. */
static c4_status group_leave(group_entry *entries, size_t count)
{
    c4_comm *comm = entries[0].comm;
    c4_status first = C4_OK;
    unsigned calls = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].comm != comm)
            continue;
        calls++;
        c4_status status = entries[i].request ? C4_OK : c4_engine_finish(comm->engine, entries[i].op);
        if (first == C4_OK)
            first = status;
        entries[i].comm = NULL;
    }
    const char *text;
    if (first < 0 && c4_engine_status(comm->engine, &text) == first)
        c4_fail_keep(text);
    comm->group_owner = NULL;
    atomic_fetch_sub(&comm->grouped, calls);
    return c4_comm_leave(comm, first);
}

/* Gives a call back that was never made: its handle tells why. */
static void group_refuse(const group_entry *entry)
{
    c4_comm *comm = entry->comm;
    if (entry->request) {
        entry->request->op = NULL;
        entry->request->status = entry->refused;
    }
    if (entry->refused == C4_ERR_DESTROYED) /* in the child of a fork: nothing there is this process's */
        return;
    c4_engine_drop(comm->engine, entry->op);
    atomic_fetch_sub(&comm->grouped, 1);
}

static c4_status group_run(group_entry *entries, size_t count)
{
    char text[C4_ERROR_TEXT_BYTES];
    c4_status status = group_enter(entries, count, text, sizeof text);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].refused < 0)
            continue;
        entries[i].comm->self_receives += entries[i].self;
        c4_engine_start(entries[i].comm->engine, entries[i].op);
    }
    group_wait(entries, count);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].refused < 0) {
            group_refuse(&entries[i]);
        } else if (entries[i].comm) {
            c4_status left = group_leave(entries + i, count - i);
            if (status == C4_OK && left < 0)
                snprintf(text, sizeof text, "%s", c4_fail_text());
            if (status == C4_OK)
                status = left;
        }
    }
    if (status < 0)
        c4_fail_keep(text);
    return status;
}

C4_API c4_status c4_group_end(void)
{
    if (group.depth == 0)
        return c4_fail(C4_ERR_GROUP, "c4_group_end without c4_group_start");
    if (--group.depth > 0)
        return C4_OK;
    group_entry *entries = group.entries;
    size_t count = group.count;
    group.entries = NULL;
    group.count = group.capacity = 0;
    c4_status status = count ? group_run(entries, count) : C4_OK;
    free(entries);
    return status;
}
