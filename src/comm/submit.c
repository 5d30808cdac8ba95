/* From a checked call to a running operation, and the one-thread-at-a-time rule. */
#include <sched.h>
#include <string.h>

#include "comm/internal.h"

c4_status c4_comm_enter(c4_comm *comm)
{
    if (!comm)
        return c4_fail(C4_ERR_NULL, "communicator is NULL");
    if (comm->magic != C4_COMM_MAGIC || *comm->alive == 0)
        return c4_fail(C4_ERR_DESTROYED, "communicator handle is not valid (destroyed, or of the parent of a fork)");
    /* Load and store instead of an exchange (20 cycles on the shortest path): two threads that meet within a few
     * nanoseconds may slip through once; a program that does this meets the check within a few calls. */
    if (atomic_load_explicit(&comm->busy, memory_order_relaxed))
        return c4_fail(C4_ERR_CONCURRENT_USE,
                       "communicator \"%s\" is in use by another thread, or by a c4_comm_split or c4_comm_grow whose "
                       "request is open",
                       comm->name);
    atomic_store_explicit(&comm->busy, 1, memory_order_relaxed);
    /* Before set-up has ended, `threaded` is not to be read; what was locked here is unlocked in leave, whatever it says then. */
    comm->locked = atomic_load_explicit(&comm->setup_status, memory_order_acquire) != C4_IN_PROGRESS && comm->threaded;
    if (comm->locked)
        pthread_mutex_lock(&comm->progress_lock);
    return C4_OK;
}

/* A fault that this rank found by itself ends the operations of the others too: they may be waiting for this rank. */
void c4_comm_tell_peers(c4_comm *comm)
{
    const char *text;
    c4_status fault = comm->engine ? c4_engine_status(comm->engine, &text) : C4_OK;
    bool from_peers = fault <= C4_ERR_PEER_DEAD && fault >= C4_ERR_PEER_ERROR;
    if (fault == C4_OK || comm->told_peers)
        return;
    comm->told_peers = true;
    if (comm->attachment && !from_peers && fault != C4_ERR_ABORTED && !c4_engine_fault_is_known(comm->engine))
        c4_control_report(comm->attachment, fault, text);
}

c4_status c4_comm_leave(c4_comm *comm, c4_status status)
{
    /* While it is being created, error and engine are the creating thread's. */
    if (__builtin_expect(status < 0, 0) && comm->setup_status != C4_IN_PROGRESS) {
        memcpy(comm->error, c4_fail_text(), sizeof comm->error);
        c4_comm_tell_peers(comm);
    }
    if (comm->locked)
        c4_progress_leave(comm);
    atomic_store_explicit(&comm->busy, 0, memory_order_release);
    return status;
}

void c4_comm_hand_over(c4_comm *comm)
{
    if (comm->threaded)
        c4_progress_leave(comm);
}

void c4_comm_take_over(c4_comm *comm)
{
    if (comm->threaded)
        pthread_mutex_lock(&comm->progress_lock);
}

c4_status c4_comm_enter_control(c4_comm *comm, const char *what)
{
    if (!comm)
        return c4_fail(C4_ERR_NULL, "%s: communicator is NULL", what);
    if (comm->magic != C4_COMM_MAGIC || *comm->alive == 0)
        return c4_fail(C4_ERR_DESTROYED, "communicator handle is not valid (destroyed, or of the parent of a fork)");
    if (c4_group_active())
        return c4_fail(C4_ERR_GROUP, "%s inside a group", what);
    C4_TRY(c4_comm_usable(comm));
    if (atomic_exchange(&comm->in_control, 1))
        return c4_fail(C4_ERR_CONCURRENT_USE, "%s: another thread is in agree or shrink of \"%s\"", what, comm->name);
    atomic_store(&comm->control_abort, 0);
    return C4_OK;
}

void c4_comm_note_error(c4_comm *comm)
{
    if (atomic_exchange(&comm->busy, 1))
        return;
    memcpy(comm->error, c4_fail_text(), sizeof comm->error);
    atomic_store_explicit(&comm->busy, 0, memory_order_release);
}

c4_status c4_comm_leave_control(c4_comm *comm, c4_status status)
{
    if (status < 0)
        c4_comm_note_error(comm);
    atomic_store(&comm->in_control, 0);
    return status;
}

c4_status c4_comm_usable(const c4_comm *comm)
{
    c4_status setup = comm->setup_status;
    if (__builtin_expect(setup == C4_OK, 1))
        return C4_OK;
    if (setup == C4_IN_PROGRESS)
        return c4_fail(C4_ERR_ARGUMENT, "communicator \"%s\" is still being created; complete its request first",
                       comm->name);
    return setup;
}

/* The engine's fault, told in the words of whoever found it. A call that failed here for want of something (memory, a
 * channel) is under way on the other ranks: they must hear that this rank will not come. */
static c4_status engine_error(c4_comm *comm, c4_status status)
{
    const char *text;
    c4_status fault = c4_engine_status(comm->engine, &text);
    if (status < 0 && fault == status)
        c4_fail_keep(text);
    else if (fault == C4_OK && status <= C4_ERR_MEMORY)
        c4_engine_fault(comm->engine, status, comm->rank, c4_fail_text());
    return status;
}

c4_status c4_comm_fail(c4_comm *comm, c4_status status)
{
    return c4_comm_leave(comm, engine_error(comm, status));
}

/* +1: a receive from this rank itself, -1: a send to itself, 0: anything else. */
static int self_part(const c4_comm *comm, const c4_call *call)
{
    if (call->root != comm->rank)
        return 0;
    return call->kind == C4_KIND_RECV ? 1 : call->kind == C4_KIND_SEND ? -1 : 0;
}

/* A blocking message between this rank and itself needs its other half before: there is nobody else to make it. The rule
 * does not depend on the size, so that a program that works with small messages works with large ones. */
static c4_status self_check(c4_comm *comm, const c4_call *call)
{
    int part = self_part(comm, call);
    comm->checked.valid = false; /* every such call must come here, this one too when it is made again */
    if (part < 0 && comm->self_receives <= 0)
        return c4_fail(C4_ERR_ARGUMENT,
                       "a blocking send of rank %d to itself on \"%s\" would wait for itself for ever: "
                       "post the receive first (with a request or in a group)",
                       comm->rank, comm->name);
    if (part > 0 && comm->self_receives >= 0)
        return c4_fail(C4_ERR_ARGUMENT,
                       "a blocking receive of rank %d from itself on \"%s\" would wait for itself for "
                       "ever: post the send first (with a request or in a group)",
                       comm->rank, comm->name);
    comm->self_receives += part;
    return C4_OK;
}

static void start(c4_comm *comm, const c4_call *call, c4_operation *op)
{
    comm->self_receives += self_part(comm, call);
    c4_engine_start(comm->engine, op);
}

/* Prepared now; started now, or with the group. */
static c4_status submit_later(c4_comm *comm, const c4_call *call, c4_request **request)
{
    c4_operation *op;
    c4_status status = c4_engine_prepare(comm->engine, call, &op);
    if (status < 0)
        return engine_error(comm, status);
    c4_request *handle = NULL;
    if (request) {
        status = c4_request_create(comm, op, &handle);
        if (status < 0) {
            c4_engine_finish(comm->engine, op);
            return status;
        }
    }
    if (c4_group_active())
        status = c4_group_add(comm, op, handle, self_part(comm, call));
    else
        start(comm, call, op);
    if (status < 0) {
        c4_request_discard(handle);
        c4_engine_finish(comm->engine, op);
    } else if (request) {
        *request = handle;
    }
    return status;
}

c4_status c4_comm_submit(c4_comm *comm, const c4_call *call, c4_request **request)
{
    C4_TRY(c4_comm_usable(comm));
    if (request || c4_group_active())
        return submit_later(comm, call, request);
    if (__builtin_expect(self_part(comm, call) != 0, 0))
        C4_TRY(self_check(comm, call));
    c4_status status = c4_engine_call(comm->engine, call);
    return __builtin_expect(status < 0, 0) ? engine_error(comm, status) : status;
}
