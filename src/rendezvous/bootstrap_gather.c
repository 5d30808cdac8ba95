/* All-gather over the star: parts go to the root, the whole comes back. n parts of s bytes take n + n * (n * s) bytes
 * through the root, which for blobs of some 100 bytes and 256 ranks is a few 10 MB. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/rank_list.h"

/* How far the root is with each rank. */
typedef enum stage { AWAIT_PART, IN_PART, SEND_WHOLE, DONE } stage;

typedef struct gathering {
    c4_bootstrap *bootstrap;
    size_t bytes;
    unsigned char *out;
    stage *stages;
    struct pollfd *watches;
    stage goal; /* SEND_WHOLE: collecting; DONE: handing out */
} gathering;

/* ---- faults ---- */

void c4_bootstrap_spread_fault(c4_bootstrap *bootstrap)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_header header = {C4_CONTROL_FAULT, 0, (uint32_t)bootstrap->fault_rank, 0};
    header.bytes = (uint32_t)c4_control_fault_pack(&bootstrap->fault, payload);
    int nlinks = c4_bootstrap_is_root(bootstrap) ? bootstrap->spec.nranks : 1;
    for (int i = 0; i < nlinks; i++) {
        c4_link *link = &bootstrap->links[i];
        if (link->fd >= 0 && link->sent == 0) /* in the middle of a message the end of the connection must do */
            c4_link_send(link, &header, payload);
    }
}

/* Takes a fault that arrives on `link` where something else was expected. C4_IN_PROGRESS is waited for: it is short. */
static c4_status take_fault(c4_bootstrap *bootstrap, c4_link *link, int from)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_fault fault;
    c4_status status = C4_OK;
    while ((status = c4_link_receive_payload(link, payload)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    C4_TRY(status);
    C4_TRY(c4_control_fault_unpack(payload, link->header.bytes, &fault));
    return c4_bootstrap_fail(bootstrap, fault.status, (int)link->header.rank, "rank %d reports: %s", from, fault.text);
}

c4_status c4_bootstrap_rank_left(c4_bootstrap *bootstrap, int rank)
{
    c4_link *link = &bootstrap->links[rank];
    const c4_process *process = &bootstrap->processes[rank];
    if (c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks) == C4_OK &&
        link->header.kind == C4_CONTROL_FAULT) {
        c4_status status = take_fault(bootstrap, link, rank);
        if (bootstrap->fault.status < 0)
            return status;
    }
    if (c4_bootstrap_check(bootstrap) == C4_ERR_ABORTED) /* all abort at once, and the others were faster */
        return c4_bootstrap_fail(bootstrap, C4_ERR_ABORTED, 0, "rank 0: aborted while the job was set up");
    return c4_bootstrap_fail(bootstrap, C4_ERR_PEER_DEAD, rank, "rank %d (pid %u on %s) died or left during set-up",
                             rank, process->pid, process->host);
}

void c4_bootstrap_give_up(c4_bootstrap *bootstrap, const char *text)
{
    if (bootstrap->fault.status < 0)
        return; /* everybody has been told */
    bootstrap->fault.status = C4_ERR_PEER_ERROR;
    bootstrap->fault_rank = bootstrap->spec.rank;
    snprintf(bootstrap->fault.text, sizeof bootstrap->fault.text, "rank %d: %s", bootstrap->spec.rank, text);
    c4_bootstrap_spread_fault(bootstrap);
}

/* ---- root ---- */

static c4_status receive_part(gathering *gather, int rank)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    c4_link *link = &bootstrap->links[rank];
    if (gather->stages[rank] == AWAIT_PART) {
        c4_status status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks);
        if (status != C4_OK)
            return status;
        const c4_control_header *header = &link->header;
        if (header->kind == C4_CONTROL_FAULT)
            return take_fault(bootstrap, link, rank);
        if (header->kind != C4_CONTROL_PART || header->rank != (uint32_t)rank)
            return C4_ERR_PROTOCOL;
        if (header->value != bootstrap->round || header->bytes != gather->bytes)
            return c4_bootstrap_fail(bootstrap, C4_ERR_MISMATCH, rank,
                                     "rank %d is at set-up exchange %u with %u bytes, rank 0 at %u with %zu; all ranks "
                                     "must run the same C4 version with the same options",
                                     rank, header->value, header->bytes, bootstrap->round, gather->bytes);
        gather->stages[rank] = IN_PART;
    }
    c4_status status = c4_link_receive_payload(link, gather->out + (size_t)rank * gather->bytes);
    if (status == C4_OK)
        gather->stages[rank] = SEND_WHOLE;
    return status;
}

static c4_status send_whole(gathering *gather, int rank)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    size_t whole = gather->bytes * (size_t)bootstrap->spec.nranks;
    c4_control_header header = {C4_CONTROL_WHOLE, (uint32_t)whole, 0, bootstrap->round};
    c4_status status = c4_link_send(&bootstrap->links[rank], &header, gather->out);
    if (status == C4_OK)
        gather->stages[rank] = DONE;
    return status;
}

/* Advances one rank; a broken connection here is that rank's end. */
static c4_status serve(gathering *gather, int rank)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    c4_status status = gather->goal == DONE ? send_whole(gather, rank) : receive_part(gather, rank);
    if (status >= 0 || bootstrap->fault.status < 0)
        return status;
    const c4_process *process = &bootstrap->processes[rank];
    if (status == C4_ERR_LINK)
        return c4_bootstrap_rank_left(bootstrap, rank);
    return c4_bootstrap_fail(bootstrap, status, rank, "rank %d (pid %u on %s) sent a malformed message during set-up",
                             rank, process->pid, process->host);
}

static bool is_late(const void *context, int rank)
{
    const gathering *gather = context;
    return gather->stages[rank] < gather->goal;
}

static c4_status explain_wait(gathering *gather, c4_status status)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    char ranks[160];
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, 0, "rank 0: aborted while the job was set up");
    c4_rank_list(bootstrap->spec.nranks, is_late, gather, ranks, sizeof ranks);
    return c4_bootstrap_fail(bootstrap, status, -1,
                             "%s not reached set-up exchange %u after %d ms "
                             "(C4_SETUP_TIMEOUT_MS)",
                             ranks, bootstrap->round, bootstrap->spec.timeout_ms);
}

/* Brings all ranks to the goal. */
static c4_status serve_all(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    int nranks = bootstrap->spec.nranks;
    short events = gather->goal == DONE ? POLLOUT : POLLIN;
    for (;;) {
        int late = 0;
        for (int rank = 1; rank < nranks; rank++) {
            bool waits = is_late(gather, rank);
            late += waits;
            /* While parts come in, those who have sent theirs are watched for their end; with the whole in hand a rank
             * may go. */
            int fd = waits || gather->goal == SEND_WHOLE ? bootstrap->links[rank].fd : -1;
            gather->watches[rank] = (struct pollfd){.fd = fd, .events = waits ? events : POLLRDHUP};
        }
        if (!late)
            return C4_OK;
        int ready = poll(gather->watches + 1, (nfds_t)nranks - 1, c4_bootstrap_tick(bootstrap));
        if (ready < 0 && errno != EINTR)
            return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: poll: %s", strerror(errno));
        for (int rank = 1; ready > 0 && rank < nranks; rank++) {
            if (!gather->watches[rank].revents)
                continue;
            if (is_late(gather, rank))
                C4_TRY(serve(gather, rank));
            else
                return c4_bootstrap_rank_left(bootstrap, rank);
        }
        c4_status status = c4_bootstrap_check(bootstrap);
        if (status < 0)
            return explain_wait(gather, status);
    }
}

static c4_status gather_as_root(c4_bootstrap *bootstrap, size_t bytes, void *out)
{
    size_t nranks = (size_t)bootstrap->spec.nranks;
    c4_status status = C4_OK;
    gathering gather = {.bootstrap = bootstrap, .bytes = bytes, .out = out, .goal = SEND_WHOLE};
    gather.stages = calloc(nranks, sizeof *gather.stages);
    gather.watches = calloc(nranks, sizeof *gather.watches);
    if (!gather.stages || !gather.watches)
        C4_TRY_GOTO(c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, 0, "set-up exchange of %zu ranks", nranks), out);
    gather.stages[0] = DONE;
    C4_TRY_GOTO(serve_all(&gather), out);
    gather.goal = DONE;
    C4_TRY_GOTO(serve_all(&gather), out);
out:
    if (status < 0)
        c4_bootstrap_spread_fault(bootstrap);
    free(gather.stages);
    free(gather.watches);
    return status;
}

/* ---- the others ---- */

static c4_status exchange_with_root(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out)
{
    c4_link *link = &bootstrap->links[0];
    uint32_t nranks = (uint32_t)bootstrap->spec.nranks;
    c4_control_header header = {C4_CONTROL_PART, (uint32_t)bytes, (uint32_t)bootstrap->spec.rank, bootstrap->round};
    c4_status status = C4_OK;
    while ((status = c4_link_send(link, &header, in)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLOUT));
    C4_TRY(status);
    while ((status = c4_link_receive_header(link, nranks)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    C4_TRY(status);
    if (link->header.kind == C4_CONTROL_FAULT)
        return take_fault(bootstrap, link, 0);
    if (link->header.kind != C4_CONTROL_WHOLE || link->header.value != bootstrap->round ||
        link->header.bytes != bytes * nranks)
        return C4_ERR_PROTOCOL;
    while ((status = c4_link_receive_payload(link, out)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    return status;
}

/* A closed connection may hide the fault that came before it: sending fails first, but the bytes are still there. */
static c4_status last_words(c4_bootstrap *bootstrap)
{
    c4_link *link = &bootstrap->links[0];
    if (c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks) == C4_OK &&
        link->header.kind == C4_CONTROL_FAULT)
        return take_fault(bootstrap, link, 0);
    return C4_ERR_LINK;
}

static c4_status explain_exchange(c4_bootstrap *bootstrap, c4_status status)
{
    int rank = bootstrap->spec.rank;
    if (status == C4_ERR_LINK && c4_bootstrap_check(bootstrap) == C4_ERR_ABORTED)
        status = C4_ERR_ABORTED; /* all abort at once, and rank 0 was faster */
    if (status == C4_ERR_LINK)
        return c4_bootstrap_fail(bootstrap, C4_ERR_PEER_DEAD, 0, "rank %d: rank 0 died or left during set-up", rank);
    if (status == C4_ERR_TIMEOUT)
        c4_bootstrap_fail(bootstrap, status, 0,
                          "rank %d: rank 0 did not answer set-up exchange %u within %d ms "
                          "(C4_SETUP_TIMEOUT_MS)",
                          rank, bootstrap->round, bootstrap->spec.timeout_ms);
    else if (status == C4_ERR_ABORTED)
        c4_bootstrap_fail(bootstrap, status, rank, "rank %d: aborted while the job was set up", rank);
    else
        c4_bootstrap_fail(bootstrap, status, 0, "rank %d: set-up exchange %u with rank 0 failed", rank,
                          bootstrap->round);
    c4_bootstrap_spread_fault(bootstrap); /* so that rank 0 can tell the others why */
    return status;
}

static c4_status gather_as_other(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out)
{
    c4_status status = exchange_with_root(bootstrap, in, bytes, out);
    if (status == C4_ERR_LINK && bootstrap->fault.status == C4_OK) /* and not a fault that says so */
        status = last_words(bootstrap);
    if (status >= 0 || bootstrap->fault.status < 0)
        return status;
    return explain_exchange(bootstrap, status);
}

c4_status c4_bootstrap_all_gather(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out)
{
    if (bytes > C4_CONTROL_BLOB_MAX_BYTES)
        return c4_fail(C4_ERR_COUNT, "set-up exchange of %zu bytes a rank; %u fit", bytes, C4_CONTROL_BLOB_MAX_BYTES);
    if (bootstrap->fault.status < 0)
        return c4_fail(bootstrap->fault.status, "%s", bootstrap->fault.text);
    unsigned char nothing = 0;
    bool root = c4_bootstrap_is_root(bootstrap);
    if (!bytes)
        in = out = &nothing;
    bootstrap->round++;
    c4_bootstrap_start_clock(bootstrap, root ? 0 : C4_BOOTSTRAP_GRACE_MS);
    if (root && bytes)
        memcpy(out, in, bytes);
    return root ? gather_as_root(bootstrap, bytes, out) : gather_as_other(bootstrap, in, bytes, out);
}
