/* The job behind communicators: its control thread, faults on their way to the engines, sleep and wake-up. */
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "comm/internal.h"
#include "comm/mismatch.h"
#include "comm/operator.h"
#include "comm/shrink.h"
#include "control/control_options.h"

/* A member's own words do not say whose they are, and what it lacks this rank may have. A rank that hears of its own death lives:
 * it was stopped or cut off for too long, no peer of it is silent, and what it should do is another thing. */
static c4_status say_who(c4_status status, int member, int rank, const char *text, char told[C4_ERROR_TEXT_BYTES])
{
    bool death = status == C4_ERR_PEER_DEAD || status == C4_ERR_PEER_SILENT;
    bool third = death || status == C4_ERR_MISMATCH;
    bool resource = status <= C4_ERR_MEMORY && status > C4_ERR_LINK;
    if (third)
        snprintf(told, C4_ERROR_TEXT_BYTES, "%s", text);
    else
        snprintf(told, C4_ERROR_TEXT_BYTES, "rank %d reports: %s", member, text);
    if (death && member == rank)
        return C4_ERR_EXCLUDED;
    return resource ? C4_ERR_PEER_ERROR : status;
}

static void on_fault(void *context, c4_status status, int member, const char *text)
{
    c4_comm *comm = context;
    char told[C4_ERROR_TEXT_BYTES];
    if (c4_shrink_take_fault(comm, status, member, text))
        return;
    status = say_who(status, member, comm->rank, text, told);
    c4_engine_fault_told(comm->engine, status, member, told);
}

static void on_left(void *context, int member)
{
    c4_comm *comm = context;
    c4_engine_peer_left(comm->engine, member);
}

static c4_status attach(c4_comm *comm)
{
    C4_TRY(c4_control_attach(comm->job->control, (uint32_t)comm->job_id, comm->job_ranks, comm->nranks, on_fault, comm,
                             &comm->attachment));
    c4_control_watch_leavers(comm->attachment, on_left);
    c4_comm_answer_peers(comm);
    c4_comm_serve_operator(comm);
    return C4_OK;
}

c4_status c4_job_start(c4_comm *comm)
{
    c4_job *job = calloc(1, sizeof *job);
    comm->job_ranks = calloc((size_t)comm->nranks, sizeof *comm->job_ranks);
    if (!job || !comm->job_ranks) {
        free(job);
        return c4_fail(C4_ERR_MEMORY, "job of %d ranks", comm->nranks);
    }
    for (int i = 0; i < comm->nranks; i++)
        comm->job_ranks[i] = i;
    c4_control_spec spec;
    c4_status status = c4_control_spec_read(comm->options, &spec);
    if (status == C4_OK)
        status = c4_control_start_with(comm->bootstrap, &spec, comm->port, &job->control);
    if (status < 0) {
        free(job);
        return status;
    }
    job->port = comm->port;
    comm->owns_port = false;
    job->users = 1;
    comm->job = job;
    return attach(comm);
}

c4_status c4_job_join(c4_comm *comm, c4_job *job, const c4_comm *parent, const int *members)
{
    comm->job_ranks = calloc((size_t)comm->nranks, sizeof *comm->job_ranks);
    if (!comm->job_ranks)
        return c4_fail(C4_ERR_MEMORY, "job of %d ranks", comm->nranks);
    for (int i = 0; i < comm->nranks; i++)
        comm->job_ranks[i] = parent->job_ranks[members[i]];
    atomic_fetch_add(&job->users, 1);
    comm->job = job;
    return attach(comm);
}

void c4_job_leave(c4_comm *comm)
{
    c4_control_detach(comm->attachment);
    comm->attachment = NULL;
    /* The last one says goodbye for all. By now the transports have sent what they had. */
    if (comm->job && atomic_load(&comm->job->users) > 1)
        c4_control_leave(comm->job->control, (uint32_t)comm->job_id);
    if (comm->job && atomic_fetch_sub(&comm->job->users, 1) == 1) {
        c4_control_stop(comm->job->control);
        c4_port_destroy(comm->job->port);
        free(comm->job);
    }
    if (comm->owns_port)
        c4_port_destroy(comm->port);
    comm->owns_port = false;
    comm->port = NULL;
    comm->job = NULL;
    free(comm->job_ranks);
    comm->job_ranks = NULL;
}

static void ring(void *context)
{
    uint32_t *doorbell = context;
    __atomic_add_fetch(doorbell, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, doorbell, FUTEX_WAKE, 1, NULL, NULL, 0);
}

c4_status c4_job_watch_fd(void *context, int fd)
{
    c4_comm *comm = context;
    if (!comm->job)
        return C4_ERR_UNSUPPORTED;
    return c4_control_watch_fd(comm->job->control, fd, ring, comm->doorbell);
}

void c4_job_unwatch_fd(void *context, int fd)
{
    c4_comm *comm = context;
    if (comm->job)
        c4_control_unwatch_fd(comm->job->control, fd);
}
