/* Requests: handles of operations, and of set-up. */
#include <stdlib.h>

#include "base/export.h"
#include "comm/internal.h"

c4_status c4_request_create(c4_comm *comm, c4_operation *op, c4_request **request)
{
    c4_request *r = calloc(1, sizeof *r);
    if (!r)
        return c4_fail(C4_ERR_MEMORY, "request");
    r->comm = comm;
    r->op = op;
    r->status = C4_IN_PROGRESS;
    *request = r;
    if (!comm)
        return C4_OK;
    r->next = comm->requests;
    if (r->next)
        r->next->previous = r;
    comm->requests = r;
    return C4_OK;
}

static void request_unlink(c4_request *r)
{
    if (r->previous)
        r->previous->next = r->next;
    else if (r->comm)
        r->comm->requests = r->next;
    if (r->next)
        r->next->previous = r->previous;
}

static c4_status request_free(c4_request **request, c4_status status)
{
    request_unlink(*request);
    free((*request)->error);
    free(*request);
    *request = NULL;
    return status;
}

void c4_request_discard(c4_request *request)
{
    if (request)
        request_free(&request, C4_OK);
}

c4_status c4_request_start_setup(c4_comm *comm, void *(*main)(void *), void *argument, c4_request **request)
{
    c4_request *r;
    C4_TRY(c4_request_create(comm, NULL, &r));
    r->setup = true;
    r->argument = argument;
    int error = pthread_create(&r->thread, NULL, main, r);
    if (error) {
        c4_request_discard(r);
        return c4_fail_thread(error, "the set-up thread");
    }
    *request = r;
    return C4_OK;
}

void c4_requests_orphan(c4_comm *comm)
{
    c4_request *next;
    for (c4_request *r = comm->requests; r; r = next) {
        next = r->next;
        if (r->setup)
            r->status = comm->setup_status;
        else if (r->op)
            r->status = c4_engine_finish(comm->engine, r->op);
        r->op = NULL;
        r->comm = NULL;
        r->next = r->previous = NULL;
    }
    comm->requests = NULL;
}

static c4_status setup_complete(c4_request **request)
{
    c4_request *r = *request;
    c4_comm *comm = r->comm;
    pthread_join(r->thread, NULL);
    if (comm && comm->setup_status < 0)
        c4_fail_keep(comm->error);
    else if (r->error)
        c4_fail_keep(r->error);
    return request_free(request, comm ? comm->setup_status : r->status);
}

/* Inside enter/leave. A call without operation was complete at once, or its group could not start it. */
static c4_status empty_complete(c4_request **request)
{
    if ((*request)->status < 0)
        c4_fail_keep("the call was not started: its communicator was in use by another thread at c4_group_end");
    return request_free(request, (*request)->status);
}

/* Inside enter/leave. */
static c4_status operation_complete(c4_request **request)
{
    c4_request *r = *request;
    c4_comm *comm = r->comm;
    c4_status status = c4_engine_finish(comm->engine, r->op);
    const char *text;
    if (status < 0 && c4_engine_status(comm->engine, &text) == status)
        c4_fail_keep(text);
    r->op = NULL;
    return request_free(request, status);
}

static c4_status request_check(c4_request **request)
{
    if (!request || !*request)
        return c4_fail(C4_ERR_NULL, "request is NULL");
    return C4_OK;
}

C4_API c4_status c4_test(c4_request **request)
{
    C4_TRY(request_check(request));
    c4_request *r = *request;
    if (r->setup)
        return atomic_load(&r->setup_done) ? setup_complete(request) : C4_IN_PROGRESS;
    if (!r->comm)
        return request_free(request, r->status);
    c4_comm *comm = r->comm;
    C4_TRY(c4_comm_enter(comm));
    if (!r->op)
        return c4_comm_leave(comm, empty_complete(request));
    if (!c4_operation_done(r->op))
        c4_engine_progress(comm->engine);
    if (!c4_operation_done(r->op))
        return c4_comm_leave(comm, C4_IN_PROGRESS);
    return c4_comm_leave(comm, operation_complete(request));
}

C4_API c4_status c4_wait(c4_request **request)
{
    C4_TRY(request_check(request));
    c4_request *r = *request;
    if (r->setup)
        return setup_complete(request);
    if (!r->comm)
        return request_free(request, r->status);
    c4_comm *comm = r->comm;
    C4_TRY(c4_comm_enter(comm));
    if (!r->op)
        return c4_comm_leave(comm, empty_complete(request));
    if (c4_group_active() && !c4_operation_done(r->op) && c4_operation_status(r->op) == C4_IN_PROGRESS &&
        !c4_operation_started(r->op))
        return c4_comm_leave(comm, c4_fail(C4_ERR_GROUP, "c4_wait on a call that starts at c4_group_end"));
    if (!c4_operation_done(r->op))
        c4_engine_wait(comm->engine, r->op);
    return c4_comm_leave(comm, operation_complete(request));
}
