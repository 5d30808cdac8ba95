/* Rank 0 between check-in and links: it hands out the address table, carries requests between ranks that cannot reach
 * one another, and tells all when everybody has its links. Its own links are there: all have come to it. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/rank_list.h"

/* Requests that wait for one rank; what does not fit is dropped, and asked again. */
enum { MAX_WAITING = 8 };

typedef struct port {
    bool has_table, linked, told;
    int nwaiting;
    uint32_t waiting_from[MAX_WAITING];
    uint32_t waiting_value[MAX_WAITING];
} port;

typedef struct exchange {
    c4_bootstrap *bootstrap;
    port *ports;
    struct pollfd *watches;
    int missing; /* have not said that they have their links */
    int untold;  /* do not know yet that everybody has */
} exchange;

/* ---- table ---- */

static void describe(const void *context, size_t rank, c4_table_rank *entry)
{
    const c4_bootstrap *bootstrap = context;
    entry->pid = bootstrap->processes[rank].pid;
    memcpy(entry->host, bootstrap->processes[rank].host, sizeof entry->host);
    entry->endpoint = bootstrap->endpoints[rank];
}

static c4_status make_table(c4_bootstrap *bootstrap)
{
    size_t nranks = (size_t)bootstrap->spec.nranks;
    bootstrap->table = malloc(c4_address_table_max_bytes(nranks));
    if (!bootstrap->table)
        return c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, 0, "rank 0: address table of %zu ranks", nranks);
    bootstrap->table_bytes = c4_address_table_pack(nranks, describe, bootstrap, bootstrap->table);
    unsigned char *fitting = realloc(bootstrap->table, bootstrap->table_bytes);
    if (fitting)
        bootstrap->table = fitting;
    return C4_OK;
}

/* ---- one rank ---- */

/* As far as the socket takes it. */
static c4_status send_to(exchange *ex, int rank)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    c4_link *link = &bootstrap->links[rank];
    port *to = &ex->ports[rank];
    c4_status status = C4_OK;
    if (!to->has_table) {
        c4_control_header header = {C4_CONTROL_TABLE, (uint32_t)bootstrap->table_bytes, 0, 0};
        status = c4_link_send(link, &header, bootstrap->table);
        to->has_table = status == C4_OK;
    }
    while (status == C4_OK && to->nwaiting > 0) {
        c4_control_header header = {C4_CONTROL_ASK, 0, to->waiting_from[0], to->waiting_value[0]};
        status = c4_link_send(link, &header, NULL);
        if (status != C4_OK)
            break;
        to->nwaiting--;
        memmove(to->waiting_from, to->waiting_from + 1, (size_t)to->nwaiting * sizeof to->waiting_from[0]);
        memmove(to->waiting_value, to->waiting_value + 1, (size_t)to->nwaiting * sizeof to->waiting_value[0]);
    }
    if (status == C4_OK && ex->missing == 0 && !to->told) {
        c4_control_header header = {C4_CONTROL_LINKED, 0, 0, 0};
        status = c4_link_send(link, &header, NULL);
        to->told = status == C4_OK;
        ex->untold -= to->told;
    }
    return status;
}

static bool has_news_for(const exchange *ex, int rank)
{
    const port *to = &ex->ports[rank];
    return !to->has_table || to->nwaiting > 0 || (ex->missing == 0 && !to->told);
}

static c4_status on_message(exchange *ex, int from)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    c4_link *link = &bootstrap->links[from];
    const c4_control_header *header = &link->header;
    if (header->kind == C4_CONTROL_FAULT)
        return c4_bootstrap_take_fault(bootstrap, link);
    C4_TRY(c4_link_receive_payload(link, &(unsigned char){0})); /* there is none */
    if (header->kind == C4_CONTROL_LINKED && !ex->ports[from].linked) {
        ex->ports[from].linked = true;
        ex->missing--;
        return C4_OK;
    }
    bool edge = header->rank > 0 && header->rank < (uint32_t)bootstrap->spec.nranks &&
                c4_overlay_is_edge(bootstrap->spec.nranks, from, (int)header->rank);
    if (header->kind != C4_CONTROL_ASK || !edge)
        return C4_ERR_PROTOCOL;
    port *to = &ex->ports[header->rank];
    if (to->nwaiting == MAX_WAITING)
        return C4_OK;
    to->waiting_from[to->nwaiting] = (uint32_t)from;
    to->waiting_value[to->nwaiting++] = header->value;
    return C4_OK;
}

static c4_status receive_from(exchange *ex, int rank)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    c4_link *link = &bootstrap->links[rank];
    c4_status status = C4_OK;
    while (status == C4_OK) {
        status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks);
        if (status == C4_OK && link->header.bytes && link->header.kind != C4_CONTROL_FAULT)
            status = C4_ERR_PROTOCOL;
        if (status == C4_OK)
            status = on_message(ex, rank);
    }
    return status;
}

static c4_status serve(exchange *ex, int rank, short events)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    char who[C4_BOOTSTRAP_RANK_TEXT_BYTES];
    c4_status status = C4_OK;
    if (events & ~POLLOUT)
        status = receive_from(ex, rank);
    if (status >= 0)
        status = send_to(ex, rank);
    if (status >= 0 || bootstrap->fault.status < 0)
        return status;
    if (status == C4_ERR_LINK)
        return c4_bootstrap_peer_left(bootstrap, rank);
    return c4_bootstrap_fail(bootstrap, status, rank, "%s sent a malformed message during set-up",
                             c4_bootstrap_rank_text(bootstrap, rank, who));
}

/* ---- all ---- */

static bool is_late(const void *context, int rank)
{
    const exchange *ex = context;
    return rank > 0 && !ex->ports[rank].linked;
}

static c4_status explain_wait(exchange *ex, c4_status status)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    char ranks[160];
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, 0, "rank 0: aborted while the job was set up");
    c4_rank_list(bootstrap->spec.nranks, is_late, ex, ranks, sizeof ranks);
    return c4_bootstrap_fail(bootstrap, status, -1,
                             "%s not linked up with its neighbours after %d ms (C4_SETUP_TIMEOUT_MS)", ranks,
                             bootstrap->spec.timeout_ms);
}

/* Once everybody is linked and a rank has been told, it may go. */
static c4_status step(exchange *ex)
{
    c4_bootstrap *bootstrap = ex->bootstrap;
    int nranks = bootstrap->spec.nranks;
    for (int rank = 1; rank < nranks; rank++)
        ex->watches[rank] = (struct pollfd){.fd = ex->ports[rank].told ? -1 : bootstrap->links[rank].fd,
                                            .events = (short)(POLLIN | (has_news_for(ex, rank) ? POLLOUT : 0))};
    int ready = poll(ex->watches + 1, (nfds_t)nranks - 1, c4_bootstrap_tick(bootstrap));
    if (ready < 0 && errno != EINTR)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: poll: %s", strerror(errno));
    for (int rank = 1; ready > 0 && rank < nranks; rank++)
        if (ex->watches[rank].revents)
            C4_TRY(serve(ex, rank, ex->watches[rank].revents));
    c4_status status = c4_bootstrap_check(bootstrap);
    return status < 0 ? explain_wait(ex, status) : C4_OK;
}

c4_status c4_bootstrap_switch(c4_bootstrap *bootstrap)
{
    int nranks = bootstrap->spec.nranks;
    c4_status status = C4_OK;
    uint64_t start_ns = c4_now_ns();
    exchange ex = {.bootstrap = bootstrap, .missing = nranks - 1, .untold = nranks - 1};
    ex.ports = calloc((size_t)nranks, sizeof *ex.ports);
    ex.watches = calloc((size_t)nranks, sizeof *ex.watches);
    if (!ex.ports || !ex.watches)
        C4_TRY_GOTO(c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, 0, "rank 0: links of %d ranks", nranks), out);
    C4_TRY_GOTO(make_table(bootstrap), out);
    c4_bootstrap_start_clock(bootstrap, C4_BOOTSTRAP_GRACE_MS); /* a rank knows which address does not answer */
    while (status == C4_OK && ex.untold > 0)
        status = step(&ex);
    if (status < 0)
        goto out;
    bootstrap->times.links_ns = c4_now_ns() - start_ns;
    for (int rank = 1; rank < nranks; rank++)
        if (!c4_overlay_is_edge(nranks, 0, rank))
            c4_link_close(&bootstrap->links[rank]);
out:
    free(ex.ports);
    free(ex.watches);
    return status;
}
