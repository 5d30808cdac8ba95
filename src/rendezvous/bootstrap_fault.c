/* What ends a set-up, and how everybody learns it: the rank that finds out writes the text, and each rank that fails
 * tells all it has a connection to, word for word. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"

c4_status c4_bootstrap_fail(c4_bootstrap *bootstrap, c4_status status, int rank, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(bootstrap->fault.text, sizeof bootstrap->fault.text, format, args);
    va_end(args);
    bootstrap->fault.status = status;
    bootstrap->fault_rank = rank;
    return c4_fail(status, "%s", bootstrap->fault.text);
}

c4_status c4_bootstrap_pass_on(c4_bootstrap *bootstrap, c4_status status)
{
    c4_control_fault *fault = &bootstrap->fault;
    fault->status = status;
    bootstrap->fault_rank = bootstrap->spec.rank;
    snprintf(fault->text, sizeof fault->text, "rank %d (pid %u on %s): %s", bootstrap->spec.rank, bootstrap->self.pid,
             bootstrap->self.host, c4_fail_text());
    return status;
}

const char *c4_bootstrap_rank_text(const c4_bootstrap *bootstrap, int rank, char text[C4_BOOTSTRAP_RANK_TEXT_BYTES])
{
    c4_table_rank entry = {0};
    if (bootstrap->table) {
        c4_address_table_find(bootstrap->table, bootstrap->table_bytes, (size_t)rank, &entry);
    } else if (bootstrap->processes) {
        entry.pid = bootstrap->processes[rank].pid;
        snprintf(entry.host, sizeof entry.host, "%s", bootstrap->processes[rank].host);
    }
    if (entry.pid)
        snprintf(text, C4_BOOTSTRAP_RANK_TEXT_BYTES, "rank %d (pid %u on %s)", rank, entry.pid, entry.host);
    else
        snprintf(text, C4_BOOTSTRAP_RANK_TEXT_BYTES, "rank %d", rank);
    return text;
}

void c4_bootstrap_spread_fault(c4_bootstrap *bootstrap)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_header header = {C4_CONTROL_FAULT, 0, (uint32_t)bootstrap->fault_rank, 0};
    header.bytes = (uint32_t)c4_control_fault_pack(&bootstrap->fault, payload);
    for (int i = 0; i < bootstrap->spec.nranks; i++) {
        c4_link *link = &bootstrap->links[i];
        if (link->fd >= 0 && link->sent == 0) /* in the middle of a message the end of the connection must do */
            c4_link_send(link, &header, payload);
    }
}

/* C4_IN_PROGRESS is waited for: a fault is short. */
c4_status c4_bootstrap_take_fault(c4_bootstrap *bootstrap, c4_link *link)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_fault fault;
    c4_status status = C4_OK;
    while ((status = c4_link_receive_payload(link, payload)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    C4_TRY(status);
    C4_TRY(c4_control_fault_unpack(payload, link->header.bytes, &fault));
    return c4_bootstrap_fail(bootstrap, fault.status, (int)link->header.rank, "%s", fault.text);
}

/* What it sent before, for later steps, comes first. */
static c4_status find_last_words(c4_bootstrap *bootstrap, c4_link *link)
{
    for (;;) {
        c4_status status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks);
        if (status != C4_OK)
            return status;
        if (link->header.kind == C4_CONTROL_FAULT)
            return c4_bootstrap_take_fault(bootstrap, link);
        status = c4_link_skip_payload(link);
        if (status != C4_OK)
            return status;
    }
}

c4_status c4_bootstrap_peer_left(c4_bootstrap *bootstrap, int rank)
{
    char who[C4_BOOTSTRAP_RANK_TEXT_BYTES];
    int self = bootstrap->spec.rank;
    find_last_words(bootstrap, &bootstrap->links[rank]);
    if (bootstrap->fault.status < 0)
        return bootstrap->fault.status;
    if (c4_bootstrap_check(bootstrap) == C4_ERR_ABORTED) /* all abort at once, and the others were faster */
        return c4_bootstrap_fail(bootstrap, C4_ERR_ABORTED, self, "rank %d: aborted while the job was set up", self);
    return c4_bootstrap_fail(bootstrap, C4_ERR_PEER_DEAD, rank, "%s died or left during set-up (seen by rank %d)",
                             c4_bootstrap_rank_text(bootstrap, rank, who), self);
}

void c4_bootstrap_give_up(c4_bootstrap *bootstrap, const char *text)
{
    if (bootstrap->fault.status < 0)
        return; /* everybody has been told */
    bootstrap->fault.status = C4_ERR_PEER_ERROR;
    bootstrap->fault_rank = bootstrap->spec.rank;
    snprintf(bootstrap->fault.text, sizeof bootstrap->fault.text, "rank %d (pid %u on %s): %s", bootstrap->spec.rank,
             bootstrap->self.pid, bootstrap->self.host, text);
    c4_bootstrap_spread_fault(bootstrap);
}
