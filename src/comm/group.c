/* Groups: prepared operations of this thread, started together at the outermost end. */
#include <sched.h>
#include <stdlib.h>

#include "base/export.h"
#include "comm/internal.h"

typedef struct group_entry {
    c4_comm *comm;
    c4_operation *op;
    c4_request *request; /* NULL: the group waits for it */
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

c4_status c4_group_add(c4_comm *comm, c4_operation *op, c4_request *request)
{
    if (group.count == group.capacity) {
        size_t capacity = group.capacity ? 2 * group.capacity : 16;
        group_entry *entries = realloc(group.entries, capacity * sizeof *entries);
        if (!entries)
            return c4_fail(C4_ERR_MEMORY, "group of %zu calls", capacity);
        group.entries = entries;
        group.capacity = capacity;
    }
    group.entries[group.count++] = (group_entry){comm, op, request};
    return C4_OK;
}

C4_API c4_status c4_group_start(void)
{
    group.depth++;
    return C4_OK;
}

/* All engines of the group take turns: one that waits must not keep another's peers waiting. */
static bool group_poll(const group_entry *entries, size_t count)
{
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].request || c4_comm_enter(entries[i].comm) != C4_OK)
            continue;
        if (!c4_operation_done(entries[i].op)) {
            c4_engine_progress(entries[i].comm->engine);
            done = false;
        }
        c4_comm_leave(entries[i].comm, C4_OK);
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

static void group_wait(const group_entry *entries, size_t count)
{
    bool single = group_single(entries, count);
    for (size_t i = 0; single && i < count; i++)
        if (!entries[i].request && c4_comm_enter(entries[i].comm) == C4_OK) {
            c4_engine_wait(entries[i].comm->engine, entries[i].op);
            c4_comm_leave(entries[i].comm, C4_OK);
        }
    for (unsigned polls = 0; !single && !group_poll(entries, count); polls++)
        if (polls > 100)
            sched_yield();
}

static c4_status group_finish(const group_entry *entries, size_t count)
{
    c4_status first = C4_OK;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].request)
            continue;
        c4_comm *comm = entries[i].comm;
        c4_status status = c4_comm_enter(comm);
        if (status == C4_OK) {
            status = c4_engine_finish(comm->engine, entries[i].op);
            const char *text;
            if (status < 0 && c4_engine_status(comm->engine, &text) == status)
                c4_fail_keep(text);
            c4_comm_leave(comm, status);
        }
        if (first == C4_OK)
            first = status;
    }
    return first;
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
    c4_status status = C4_OK;
    for (size_t i = 0; i < count; i++) {
        c4_status entered = c4_comm_enter(entries[i].comm);
        if (entered == C4_OK) {
            c4_engine_start(entries[i].comm->engine, entries[i].op);
            c4_comm_leave(entries[i].comm, C4_OK);
        } else {
            status = entered;
        }
    }
    if (status == C4_OK && count) {
        group_wait(entries, count);
        status = group_finish(entries, count);
    }
    free(entries);
    return status;
}
