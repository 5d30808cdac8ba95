/* Every rank but 0 between check-in and exchange: connections to its neighbours.
 *
 * Each edge of the overlay has an owner (overlay.h), which connects to the other end. When no address of the other end
 * answers, the owner asks it, through rank 0, to connect the other way (a router or a firewall may let only one through).
 * Whichever way, the owner sends LINK on the first connection over which both have proved who they are; with that it is
 * the link, and others to the same rank are closed. A rank that has all its links tells rank 0; when everybody has, rank
 * 0 tells all. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_links.h"

/* ---- words to rank 0 ---- */

static c4_status send_words(c4_linking *l)
{
    while (l->nwords > 0) {
        c4_status status = c4_link_send(&l->bootstrap->links[0], &l->words[0], NULL);
        if (status != C4_OK)
            return status;
        l->nwords--;
        memmove(l->words, l->words + 1, (size_t)l->nwords * sizeof l->words[0]);
    }
    return C4_OK;
}

/* Who lacks a link knows why and fails first; then rank 0, which knows who lacks one; then who waits for its word. */
void c4_linking_complete(c4_linking *l)
{
    c4_linking_say(l, C4_CONTROL_LINKED, l->bootstrap->spec.rank, 0);
    c4_bootstrap_start_clock(l->bootstrap, 2 * C4_BOOTSTRAP_GRACE_MS);
}

/* ---- connections that come in ---- */

static c4_edge *find_edge(c4_linking *l, int rank)
{
    for (int i = 0; i < l->nedges; i++)
        if (l->edges[i].rank == rank)
            return &l->edges[i];
    return NULL;
}

static void on_shaken(c4_door *door, c4_entrant *entrant)
{
    c4_linking *l = door->context;
    c4_edge *e = find_edge(l, (int)entrant->handshake.peer_rank);
    if (!e) {
        c4_entrant_refuse(door, entrant, "not a neighbour of this rank");
    } else if (e->phase == C4_EDGE_UP || e->phase == C4_EDGE_TAKEN) {
        c4_entrant_leave(door, entrant); /* another connection was faster */
    } else if (e->owned) {
        c4_edge_rest(l, e, C4_EDGE_TAKEN);
        c4_entrant_answer(entrant, C4_CONTROL_LINK, l->bootstrap->spec.rank, 0);
    } else {
        entrant->phase = C4_ENTRANT_LINKING;
    }
}

static void on_linked(c4_door *door, c4_entrant *entrant)
{
    c4_linking *l = door->context;
    c4_edge *e = find_edge(l, (int)entrant->handshake.peer_rank);
    if (e->phase != C4_EDGE_UP) {
        c4_edge_up(l, e, entrant->link.fd);
        entrant->link.fd = -1;
    }
    c4_entrant_leave(door, entrant);
}

/* ---- words from rank 0 ---- */

static c4_status take_table(c4_linking *l)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    c4_link *link = &bootstrap->links[0];
    size_t bytes = link->header.bytes;
    if (l->has_table)
        return C4_ERR_PROTOCOL;
    if (!l->table)
        l->table = malloc(bytes ? bytes : 1);
    if (!l->table)
        return c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, bootstrap->spec.rank, "rank %d: address table of %zu bytes",
                                 bootstrap->spec.rank, bytes);
    c4_status status = c4_link_receive_payload(link, l->table);
    if (status != C4_OK)
        return status;
    C4_TRY(c4_address_table_check(l->table, bytes, (size_t)bootstrap->spec.nranks));
    bootstrap->table = l->table;
    bootstrap->table_bytes = bytes;
    l->table = NULL;
    l->has_table = true;
    c4_bootstrap_start_clock(bootstrap, 0);
    if (!l->missing)
        c4_linking_complete(l);
    for (int i = 0; i < l->nedges; i++) {
        c4_table_rank entry;
        c4_address_table_find(bootstrap->table, bytes, (size_t)l->edges[i].rank, &entry);
        l->edges[i].endpoint = entry.endpoint;
    }
    return C4_OK;
}

static c4_status on_ask(c4_linking *l, const c4_control_header *header)
{
    c4_edge *e = header->rank < (uint32_t)l->bootstrap->spec.nranks ? find_edge(l, (int)header->rank) : NULL;
    if (!e)
        return C4_ERR_PROTOCOL;
    if (header->value)
        e->peer_error = (int)header->value;
    else if (!e->active)
        e->active = true; /* it is resting, and due */
    return C4_OK;
}

static c4_status on_word(c4_linking *l)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    c4_link *link = &bootstrap->links[0];
    c4_status status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks);
    if (status != C4_OK)
        return status;
    c4_control_header header = link->header;
    if (header.kind == C4_CONTROL_FAULT)
        return c4_bootstrap_take_fault(bootstrap, link);
    if (header.kind == C4_CONTROL_TABLE)
        return take_table(l);
    if (header.bytes)
        return C4_ERR_PROTOCOL;
    C4_TRY(c4_link_receive_payload(link, &(unsigned char){0}));
    if (header.kind == C4_CONTROL_ASK && l->has_table)
        return on_ask(l, &header);
    l->all_linked = header.kind == C4_CONTROL_LINKED && l->missing == 0 && l->has_table;
    return l->all_linked ? C4_OK : C4_ERR_PROTOCOL;
}

static c4_status serve_root(c4_linking *l)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    c4_status status = send_words(l);
    while (status >= 0 && !l->all_linked) {
        status = on_word(l);
        if (status == C4_IN_PROGRESS)
            return C4_OK;
    }
    if (status >= 0 || bootstrap->fault.status < 0)
        return status;
    if (status == C4_ERR_LINK)
        return c4_bootstrap_peer_left(bootstrap, 0);
    return c4_bootstrap_fail(bootstrap, status, 0, "rank %d: rank 0 sent bytes that make no sense",
                             bootstrap->spec.rank);
}

/* ---- all together ---- */

static c4_status explain_wait(c4_linking *l, c4_status status)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    char who[C4_BOOTSTRAP_RANK_TEXT_BYTES], at[C4_NET_ADDRESS_TEXT_BYTES];
    int rank = bootstrap->spec.rank;
    int timeout_ms = bootstrap->spec.timeout_ms;
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, rank, "rank %d: aborted while the job was set up", rank);
    const c4_edge *late = NULL;
    for (int i = 0; i < l->nedges && !late; i++)
        if (l->edges[i].phase != C4_EDGE_UP)
            late = &l->edges[i];
    if (!late || !l->has_table)
        return c4_bootstrap_fail(bootstrap, status, 0,
                                 "rank %d: no word from rank 0 that all ranks have their links within %d ms "
                                 "(C4_SETUP_TIMEOUT_MS)",
                                 rank, timeout_ms);
    c4_bootstrap_rank_text(bootstrap, late->rank, who);
    if (!late->active)
        return c4_bootstrap_fail(bootstrap, status, late->rank,
                                 "rank %d: %s has not connected to it at %s within %d ms (C4_SETUP_TIMEOUT_MS)", rank,
                                 who, c4_endpoint_text(&bootstrap->endpoint, 0, at), timeout_ms);
    return c4_bootstrap_fail(bootstrap, status, late->rank,
                             "rank %d has no link with %s at %s after %d ms (C4_SETUP_TIMEOUT_MS): %s", rank, who,
                             c4_endpoint_text(&late->endpoint, late->next, at), timeout_ms, c4_edge_reason(late));
}

static void watch_all(c4_linking *l)
{
    c4_door *door = &l->door;
    c4_door_watch_all(door);
    c4_door_watch(door, l->bootstrap->links[0].fd, l->nwords ? POLLIN | POLLOUT : POLLIN, c4_door_first_other(door));
    for (int i = 0; i < l->nedges; i++) {
        c4_edge *e = &l->edges[i];
        const unsigned char *bytes = NULL;
        bool writes = e->phase == C4_EDGE_CONNECTING || e->phase == C4_EDGE_CHOOSING ||
                      (e->phase == C4_EDGE_SHAKING && c4_handshake_output(&e->handshake, &bytes));
        if (c4_edge_is_in_flight(e))
            c4_door_watch(door, e->link.fd, writes ? POLLOUT : POLLIN, c4_door_first_other(door) + 1 + i);
    }
}

static c4_status serve_watch(c4_linking *l, nfds_t i)
{
    int who = l->door.whose[i] - c4_door_first_other(&l->door);
    if (who < 0)
        return c4_door_serve(&l->door, i);
    if (who == 0)
        return serve_root(l);
    c4_status status = c4_edge_step(l, &l->edges[who - 1]);
    return status < 0 ? status : C4_OK;
}

/* A connection that this rank had chosen among those that came ended before LINK was through. */
static void release_taken(c4_linking *l)
{
    for (int i = 0; i < l->nedges; i++) {
        c4_edge *e = &l->edges[i];
        bool held = false;
        for (int k = 0; e->phase == C4_EDGE_TAKEN && k < l->door.nplaces; k++)
            held |= l->door.entrants[k].phase == C4_ENTRANT_ANSWERING &&
                    l->door.entrants[k].handshake.peer_rank == (uint32_t)e->rank;
        if (e->phase == C4_EDGE_TAKEN && !held)
            e->phase = C4_EDGE_RESTING;
    }
}

static c4_status step(c4_linking *l)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    uint64_t next_ns = UINT64_MAX;
    C4_TRY(c4_linking_drive_edges(l, &next_ns));
    watch_all(l);
    int timeout_ms = c4_bootstrap_tick(bootstrap);
    uint64_t now_ns = c4_now_ns();
    if (next_ns <= now_ns)
        timeout_ms = 0;
    else if ((next_ns - now_ns) / 1000000u < (uint64_t)timeout_ms)
        timeout_ms = (int)((next_ns - now_ns) / 1000000u) + 1;
    int ready = poll(l->door.watches, l->door.nwatches, timeout_ms);
    if (ready < 0 && errno != EINTR)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rank %d: poll: %s", bootstrap->spec.rank,
                                 strerror(errno));
    c4_door_expire(&l->door);
    for (nfds_t i = 0; ready > 0 && i < l->door.nwatches; i++)
        if (l->door.watches[i].revents)
            C4_TRY(serve_watch(l, i));
    release_taken(l);
    C4_TRY(send_words(l) == C4_ERR_LINK ? serve_root(l) : C4_OK);
    c4_status status = c4_bootstrap_check(bootstrap);
    return status < 0 ? explain_wait(l, status) : C4_OK;
}

static c4_status linking_init(c4_linking *l, c4_bootstrap *bootstrap)
{
    *l = (c4_linking){.bootstrap = bootstrap};
    C4_TRY(c4_door_init(&l->door, bootstrap, 0, 1 + C4_OVERLAY_MAX_NEIGHBOURS));
    l->door.shaken = on_shaken;
    l->door.linked = on_linked;
    l->door.context = l;
    for (size_t i = 0; i < bootstrap->nlisten_fds; i++) {
        l->door.doors[i] = bootstrap->listen_fds[i];
        l->door.local[i] = c4_bootstrap_is_local(bootstrap);
    }
    l->edges = calloc(C4_OVERLAY_MAX_NEIGHBOURS, sizeof *l->edges);
    if (!l->edges)
        return c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, bootstrap->spec.rank, "rank %d: links with its neighbours",
                                 bootstrap->spec.rank);
    for (int i = 0; i < bootstrap->nneighbours; i++) {
        int rank = bootstrap->neighbours[i];
        if (rank == 0)
            continue; /* has its link since the check-in */
        c4_edge_init(&l->edges[l->nedges++], bootstrap, rank);
    }
    l->missing = l->nedges;
    return c4_random_bytes(&l->rng, sizeof l->rng);
}

static void linking_fini(c4_linking *l)
{
    for (int i = 0; l->edges && i < l->nedges; i++)
        c4_link_close(&l->edges[i].link);
    c4_door_fini(&l->door);
    free(l->edges);
    free(l->table);
}

c4_status c4_bootstrap_link_up(c4_bootstrap *bootstrap)
{
    c4_linking l;
    uint64_t start_ns = c4_now_ns();
    c4_status status = linking_init(&l, bootstrap);
    while (status == C4_OK && !l.all_linked)
        status = step(&l);
    linking_fini(&l);
    if (status < 0)
        return status;
    bootstrap->times.links_ns = c4_now_ns() - start_ns;
    if (!c4_overlay_is_edge(bootstrap->spec.nranks, 0, bootstrap->spec.rank))
        c4_link_close(&bootstrap->links[0]);
    return C4_OK;
}
