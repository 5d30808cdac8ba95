/* One edge of the overlay at set-up: the connection that this rank makes to a neighbour, and when it tries again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_links.h"

enum {
    MAX_IN_FLIGHT = 16,
    FIRST_PAUSE_MS = 10,
    LONGEST_PAUSE_MS = 1000,
    CONNECT_MS = 3000,
    SHAKE_MS = 10000,
    HOPELESS = 6, /* failures on each side, and how long, after which nobody tries on */
    HOPELESS_MS = 1500
};

void c4_linking_say(c4_linking *l, c4_control_kind kind, int rank, int value)
{
    int room = kind == C4_CONTROL_LINKED ? C4_LINKING_MAX_WORDS : C4_LINKING_MAX_WORDS - 1;
    if (l->nwords < room)
        l->words[l->nwords++] = (c4_control_header){kind, 0, (uint32_t)rank, (uint32_t)value};
}

void c4_edge_init(c4_edge *e, const c4_bootstrap *bootstrap, int rank)
{
    int self = bootstrap->spec.rank;
    bool owned = c4_overlay_owner(bootstrap->spec.nranks, self, rank) == self;
    *e = (c4_edge){.rank = rank, .owned = owned, .active = owned, .pause_ms = FIRST_PAUSE_MS};
    c4_link_init(&e->link, -1);
}

bool c4_edge_is_in_flight(const c4_edge *e)
{
    return e->phase > C4_EDGE_RESTING && e->phase < C4_EDGE_TAKEN;
}

void c4_edge_rest(c4_linking *l, c4_edge *e, c4_edge_phase phase)
{
    l->in_flight -= c4_edge_is_in_flight(e);
    c4_link_close(&e->link);
    e->phase = phase;
}

void c4_edge_up(c4_linking *l, c4_edge *e, int fd)
{
    c4_edge_rest(l, e, C4_EDGE_UP);
    c4_link_init(&l->bootstrap->links[e->rank], fd);
    if (--l->missing == 0 && l->has_table)
        c4_linking_complete(l);
}

const char *c4_endpoint_text(const c4_endpoint *endpoint, unsigned index, char text[C4_NET_ADDRESS_TEXT_BYTES])
{
    if (endpoint->naddresses)
        return c4_net_address_format(&endpoint->addresses[index % endpoint->naddresses], text);
    snprintf(text, C4_NET_ADDRESS_TEXT_BYTES, "its local socket");
    return text;
}

const char *c4_edge_reason(const c4_edge *e)
{
    return *e->reason ? e->reason : e->error ? strerror(e->error) : "no answer";
}

static c4_status fail_unreachable(c4_linking *l, const c4_edge *e)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    char who[C4_BOOTSTRAP_RANK_TEXT_BYTES], theirs[C4_NET_ADDRESS_TEXT_BYTES], own[C4_NET_ADDRESS_TEXT_BYTES];
    return c4_bootstrap_fail(
        bootstrap, C4_ERR_UNREACHABLE, e->rank,
        "rank %d on %s cannot connect to %s at %s (%s), nor that rank to this one at %s (%s): open "
        "the ports of C4_PORT_RANGE between both hosts or choose another network with "
        "C4_SOCKET_IFNAME",
        bootstrap->spec.rank, bootstrap->self.host, c4_bootstrap_rank_text(bootstrap, e->rank, who),
        c4_endpoint_text(&e->endpoint, e->next, theirs), c4_edge_reason(e),
        c4_endpoint_text(&bootstrap->endpoint, 0, own), strerror(e->peer_error));
}

/* Another attempt later, at the next address; jittered, so that ranks that failed together do not return together. */
static c4_status edge_failed(c4_linking *l, c4_edge *e, int error, const char *reason)
{
    e->error = error;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    uint64_t now_ns = c4_now_ns();
    if (e->failures++ == 0)
        e->failing_since_ns = now_ns;
    c4_edge_rest(l, e, C4_EDGE_RESTING);
    bool hopeless = e->failures >= HOPELESS * (e->endpoint.naddresses > 1 ? e->endpoint.naddresses : 1u) &&
                    now_ns - e->failing_since_ns >= HOPELESS_MS * 1000000ull;
    if (e->owned && hopeless && e->peer_error)
        return fail_unreachable(l, e);
    if (e->owned && e->failures >= e->endpoint.naddresses)
        c4_linking_say(l, C4_CONTROL_ASK, e->rank, 0);
    else if (!e->owned && hopeless)
        c4_linking_say(l, C4_CONTROL_ASK, e->rank, error ? error : EPROTO);
    int wait_ms = e->pause_ms / 2 + (int)c4_rng_below(&l->rng, (uint64_t)e->pause_ms / 2 + 1);
    e->due_ns = now_ns + (uint64_t)wait_ms * 1000000u;
    e->pause_ms = 2 * e->pause_ms < LONGEST_PAUSE_MS ? 2 * e->pause_ms : LONGEST_PAUSE_MS;
    e->next++;
    return C4_OK;
}

static void set_phase(c4_edge *e, c4_edge_phase phase, int patience_ms)
{
    e->phase = phase;
    e->due_ns = c4_now_ns() + (uint64_t)patience_ms * 1000000u;
}

static c4_status start_edge(c4_linking *l, c4_edge *e)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    const c4_endpoint *at = &e->endpoint;
    int fd = -1;
    if (at->naddresses == 0 && !at->tag)
        return edge_failed(l, e, EDESTADDRREQ, "");
    int error =
        c4_bootstrap_dial(bootstrap, at->naddresses ? &at->addresses[e->next % at->naddresses] : NULL, at->tag, &fd);
    if (fd < 0)
        return c4_bootstrap_fail(bootstrap, c4_status_from_errno(error), bootstrap->spec.rank,
                                 "rank %d: socket for rank %d: %s", bootstrap->spec.rank, e->rank, strerror(error));
    c4_link_init(&e->link, fd);
    l->in_flight++;
    set_phase(e, C4_EDGE_CONNECTING, CONNECT_MS);
    return error && error != EINPROGRESS ? edge_failed(l, e, error, "") : C4_OK;
}

static c4_status on_connected(c4_linking *l, c4_edge *e)
{
    c4_bootstrap *bootstrap = l->bootstrap;
    c4_handshake_identity identity = c4_bootstrap_run_identity(bootstrap, (uint32_t)e->rank);
    int error = 0;
    socklen_t bytes = sizeof error;
    if (getsockopt(e->link.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
        error = errno;
    if (error)
        return edge_failed(l, e, error, "");
    if (c4_bootstrap_is_local(bootstrap) && !c4_peer_is_same_user(e->link.fd))
        return edge_failed(l, e, EACCES, "another user listens there");
    c4_status status = c4_handshake_init(&e->handshake, &identity, true);
    if (status < 0)
        return c4_bootstrap_fail(bootstrap, status, bootstrap->spec.rank, "rank %d: %s", bootstrap->spec.rank,
                                 c4_fail_text());
    set_phase(e, C4_EDGE_SHAKING, SHAKE_MS);
    return C4_OK;
}

/* C4_IN_PROGRESS: not yet; C4_OK: the next phase, or failed and resting. */
static c4_status step_once(c4_linking *l, c4_edge *e)
{
    c4_status status = C4_OK;
    switch (e->phase) {
    case C4_EDGE_CONNECTING:
        return on_connected(l, e);
    case C4_EDGE_SHAKING:
        status = c4_handshake_step(&e->handshake, e->link.fd);
        if (status == C4_ERR_LINK)
            return edge_failed(l, e, ECONNRESET, "");
        if (status < 0) /* another program or job at this address: there may be better ones */
            return edge_failed(l, e, 0, e->handshake.reason);
        if (status == C4_OK)
            set_phase(e, e->owned ? C4_EDGE_CHOOSING : C4_EDGE_WAITING, SHAKE_MS);
        return status;
    case C4_EDGE_WAITING:
        status = c4_link_receive_header(&e->link, (uint32_t)l->bootstrap->spec.nranks);
        if (status == C4_OK && (e->link.header.kind != C4_CONTROL_LINK || e->link.header.bytes))
            status = C4_ERR_PROTOCOL;
        break;
    case C4_EDGE_CHOOSING: {
        c4_control_header header = {C4_CONTROL_LINK, 0, (uint32_t)l->bootstrap->spec.rank, 0};
        status = c4_link_send(&e->link, &header, NULL);
        break;
    }
    default:
        return C4_IN_PROGRESS;
    }
    if (status < 0)
        return edge_failed(l, e, status == C4_ERR_LINK ? ECONNRESET : EPROTO, "");
    if (status == C4_OK) {
        int fd = e->link.fd;
        e->link.fd = -1;
        c4_edge_up(l, e, fd);
    }
    return status;
}

c4_status c4_edge_step(c4_linking *l, c4_edge *e)
{
    c4_status status = C4_OK;
    while (status == C4_OK && c4_edge_is_in_flight(e))
        status = step_once(l, e);
    return status;
}

c4_status c4_linking_drive_edges(c4_linking *l, uint64_t *next_ns)
{
    uint64_t now_ns = c4_now_ns();
    for (int i = 0; i < l->nedges && l->has_table; i++) {
        c4_edge *e = &l->edges[i];
        if (c4_edge_is_in_flight(e) && e->due_ns <= now_ns)
            C4_TRY(edge_failed(l, e, ETIMEDOUT, e->phase == C4_EDGE_CONNECTING ? "" : "connected, but no answer"));
        bool ready = e->active && e->phase == C4_EDGE_RESTING && l->in_flight < MAX_IN_FLIGHT;
        if (ready && e->due_ns <= now_ns)
            C4_TRY(start_edge(l, e));
        if ((ready || c4_edge_is_in_flight(e)) && e->due_ns < *next_ns)
            *next_ns = e->due_ns;
    }
    return C4_OK;
}
