/* Communicators: what they are asked, how they end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/export.h"
#include "base/log.h"
#include "comm/internal.h"
#include "comm/options.h"

c4_status c4_comm_alloc(const char *name, int rank, int nranks, c4_comm **out)
{
    c4_comm *comm = calloc(1, sizeof *comm);
    size_t *displs = calloc(2 * (size_t)nranks, sizeof *displs);
    if (!comm || !displs) {
        free(comm);
        free(displs);
        return c4_fail(C4_ERR_MEMORY, "communicator of %d ranks", nranks);
    }
    c4_tsc_begin(); /* somebody will ask for the rate when set-up is through */
    comm->magic = C4_COMM_MAGIC;
    comm->alive = c4_fork_guard();
    comm->rank = rank;
    comm->nranks = nranks;
    comm->displs = displs;
    comm->setup_status = C4_IN_PROGRESS;
    pthread_mutex_init(&comm->derive_lock, NULL);
    strncpy(comm->name, name ? name : "world", sizeof comm->name - 1);
    *out = comm;
    return C4_OK;
}

c4_status c4_comm_resolve_options(c4_comm *comm, const char *inherited, const char *own)
{
    size_t bytes = (inherited ? strlen(inherited) : 0) + (own ? strlen(own) : 0) + 2;
    comm->call_options = malloc(bytes);
    if (!comm->call_options)
        return c4_fail(C4_ERR_MEMORY, "options of %zu bytes", bytes);
    snprintf(comm->call_options, bytes, "%s %s", inherited ? inherited : "", own ? own : "");
    return c4_comm_options_load(comm->call_options, &comm->options);
}

c4_status c4_comm_reshape(c4_comm *comm, int rank, int nranks)
{
    size_t *displs = calloc(2 * (size_t)nranks, sizeof *displs);
    if (!displs)
        return c4_fail(C4_ERR_MEMORY, "communicator of %d ranks", nranks);
    free(comm->displs);
    comm->displs = displs;
    comm->rank = rank;
    comm->nranks = nranks;
    return C4_OK;
}

void c4_comm_undo(c4_comm *comm)
{
    c4_progress_stop(comm);
    c4_control_detach(comm->attachment); /* no fault may reach an engine that is going */
    comm->attachment = NULL;
    c4_status ended = comm->engine ? c4_engine_status(comm->engine, NULL) : comm->setup_status;
    c4_engine_destroy(comm->engine);
    comm->engine = NULL;
    comm->doorbell = NULL;
    c4_record_writer_close(&comm->writer, ended);
    c4_recorder_release(comm->recorder, ended == C4_OK || ended == C4_IN_PROGRESS);
    comm->recorder = NULL;
    c4_job_leave(comm);
    c4_bootstrap_close(comm->bootstrap);
    comm->bootstrap = NULL;
    c4_tuning_fini(&comm->tuning);
    comm->tuning = (c4_tuning){0};
    free(comm->roster.host_of);
    comm->roster = (c4_roster){0};
}

/* Frees everything but tells nobody: after a failed set-up, or at the end of destroy. */
void c4_comm_free(c4_comm *comm)
{
    if (comm->threaded)
        c4_progress_stop(comm);
    c4_requests_orphan(comm);
    c4_comm_undo(comm);
    c4_options_destroy(comm->options);
    free(comm->call_options);
    free(comm->displs);
    pthread_mutex_destroy(&comm->derive_lock);
    comm->magic = 0;
    free(comm);
}

/* Ends what this rank has started. */
static void finish_requests(c4_comm *comm)
{
    for (c4_request *r = comm->requests; r; r = r->next)
        if (r->op && !c4_operation_done(r->op))
            c4_engine_wait(comm->engine, r->op);
}

C4_API c4_status c4_comm_destroy(c4_comm *comm)
{
    if (!comm)
        return C4_OK;
    for (c4_request *r = comm->setup_status == C4_OK ? NULL : comm->requests; r; r = r->next) {
        if (!r->setup || atomic_load(&r->setup_done))
            continue;
        atomic_store(&comm->abort_requested, 1);
        return c4_fail(C4_ERR_ARGUMENT, "communicator \"%s\" is being created; complete its request first", comm->name);
    }
    C4_TRY(c4_comm_enter(comm));
    if (atomic_load(&comm->in_control))
        return c4_comm_leave(comm, c4_fail(C4_ERR_CONCURRENT_USE,
                                           "c4_comm_destroy: agree or shrink of \"%s\" is under way; "
                                           "complete it first",
                                           comm->name));
    if (c4_group_active())
        return c4_comm_leave(comm, c4_fail(C4_ERR_GROUP, "c4_comm_destroy inside a group"));
    if (atomic_load(&comm->grouped))
        return c4_comm_leave(comm, c4_fail(C4_ERR_GROUP,
                                           "c4_comm_destroy: communicator \"%s\" has calls in another "
                                           "thread's open group; end that group first",
                                           comm->name));
    if (comm->setup_status == C4_OK)
        finish_requests(comm);
    if (comm->threaded)
        c4_progress_leave(comm);
    c4_comm_free(comm);
    return C4_OK;
}

void c4_comm_derive(c4_comm *parent, c4_comm *child)
{
    pthread_mutex_lock(&parent->derive_lock);
    parent->deriving = child;
    pthread_mutex_unlock(&parent->derive_lock);
}

/* The engine ends its operations, the peers are told. Once: the second call finds it done. */
static void abort_engine(c4_comm *comm)
{
    if (atomic_exchange(&comm->aborted, 1))
        return;
    c4_fail(C4_ERR_ABORTED, "communicator \"%s\" was aborted by rank %d", comm->name, comm->rank);
    c4_engine_fault(comm->engine, C4_ERR_ABORTED, comm->rank, c4_fail_text());
    if (comm->attachment)
        c4_control_report(comm->attachment, C4_ERR_ABORTED, c4_fail_text());
}

static void ask_to_end(c4_comm *comm)
{
    atomic_store(&comm->abort_requested, C4_COMM_ABORT_ASKED);
    atomic_store(&comm->control_abort, 1);
}

static void ask_derived_to_end(c4_comm *comm)
{
    pthread_mutex_lock(&comm->derive_lock);
    if (comm->deriving)
        ask_to_end(comm->deriving);
    pthread_mutex_unlock(&comm->derive_lock);
}

/* A call that is under way logs its end itself. */
void c4_comm_abort_by(c4_comm *comm, const char *by)
{
    char text[C4_ERROR_TEXT_BYTES];
    ask_to_end(comm);
    ask_derived_to_end(comm);
    if (atomic_exchange(&comm->aborted, 1))
        return;
    snprintf(text, sizeof text, "communicator \"%s\" was %s", comm->name, by);
    if (!atomic_load(&comm->busy))
        c4_log(C4_LOG_WARN, "%s", text);
    c4_engine_fault_told(comm->engine, C4_ERR_ABORTED, comm->rank, text);
}

C4_API c4_status c4_comm_abort(c4_comm *comm)
{
    if (!comm)
        return c4_fail(C4_ERR_NULL, "c4_comm_abort: communicator is NULL");
    if (comm->magic != C4_COMM_MAGIC || *comm->alive == 0)
        return c4_fail(C4_ERR_DESTROYED, "communicator handle is not valid (destroyed, or of the parent of a fork)");
    ask_to_end(comm);
    if (comm->setup_status != C4_OK)
        return C4_OK;
    ask_derived_to_end(comm);
    abort_engine(comm);
    return C4_OK;
}

static c4_status comm_check(const c4_comm *comm, const void *output)
{
    if (!comm || !output)
        return c4_fail(C4_ERR_NULL, "communicator or output is NULL");
    if (comm->magic != C4_COMM_MAGIC)
        return c4_fail(C4_ERR_DESTROYED, "communicator handle is not valid");
    return C4_OK;
}

/* A split's child learns its shape during set-up. */
static c4_status shape_check(const c4_comm *comm, const void *output)
{
    C4_TRY(comm_check(comm, output));
    if (comm->derived && comm->setup_status != C4_OK)
        return c4_fail(C4_ERR_ARGUMENT, "communicator \"%s\" is not set up; complete its request first", comm->name);
    return C4_OK;
}

C4_API c4_status c4_comm_rank(const c4_comm *comm, int *rank)
{
    C4_TRY(shape_check(comm, rank));
    *rank = comm->rank;
    return C4_OK;
}

C4_API c4_status c4_comm_size(const c4_comm *comm, int *nranks)
{
    C4_TRY(shape_check(comm, nranks));
    *nranks = comm->nranks;
    return C4_OK;
}

C4_API c4_status c4_comm_name(const c4_comm *comm, const char **name)
{
    C4_TRY(comm_check(comm, name));
    *name = comm->name;
    return C4_OK;
}

C4_API c4_status c4_comm_status(const c4_comm *comm)
{
    C4_TRY(comm_check(comm, comm));
    return comm->setup_status == C4_OK ? c4_engine_status(comm->engine, NULL) : comm->setup_status;
}

C4_API const char *c4_last_error(const c4_comm *comm)
{
    return comm ? comm->error : c4_fail_text();
}
