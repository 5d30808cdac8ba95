/* Links made anew. When a connection to a neighbour breaks (a reset, a middlebox that forgets) while both processes live,
 * either side connects to where the other has listened since the bootstrap, proves who it is as it did then, and as then
 * the owner of the edge (overlay.h) says LINK on the first connection over which both have: that is the link, and a
 * connection that crossed it is closed. The owner tries at once, the other side after a moment. What the ranks missed
 * meanwhile the core tells (core_repair.c).
 *
 * It tells the core what trying shows: "connection refused" on all addresses means that the process is gone, no answer that
 * nothing can be known. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "control/control_internal.h"
#include "rendezvous/overlay.h"
#include "rendezvous/ties.h"

enum {
    VISITORS = 8,        /* connections that come in and have not proved who they are */
    COURTESY_MS = 250,   /* the owner has so much time before the other side tries, too */
    CROSSING_MS = 100,   /* who comes before a link is as old has set out before it was there */
    UNANSWERED_MS = 300, /* less than the core's grace for a link that closed */
    FIRST_PAUSE_MS = 20,
    LONGEST_PAUSE_MS = 1000,
    PATIENCE_MS = 5000,
    CROWDED_MS = 200 /* instead, for a visitor while others wait to come in */
};
#define MS_NS 1000000ull

typedef enum knock_phase { KNOCK_NONE, KNOCK_CONNECTING, KNOCK_SHAKING, KNOCK_WAITING } knock_phase;

/* A connection on its way to being a link. */
typedef struct knock {
    knock_phase phase;
    c4_link link;
    c4_handshake handshake;
    uint64_t since_ns;
    uint32_t index; /* for epoll: of the tie, or behind them of the visitor */
} knock;

/* An edge of the overlay. */
typedef struct tie {
    int rank;
    bool owned;
    c4_endpoint endpoint;
    uint64_t lost_ns;    /* since when a link is wanted; 0: there is one */
    uint64_t adopted_ns; /* the present one; 0: it is the first */
    uint64_t due_ns;
    int pause_ms;
    unsigned next, refusals; /* which address; in a row */
    bool told;               /* the core, that there is no answer */
    knock knock;
} tie;

struct c4_control_repair {
    c4_ties ties;
    int inbox;
    c4_rng rng;
    knock visitors[VISITORS];
    bool crowded; /* no place for the next visitor: the inbox is not watched */
    int nedges;
    tie edges[];
};

/* ---- life ---- */

c4_status c4_control_repair_open(c4_control *control, c4_bootstrap *bootstrap)
{
    int neighbours[C4_OVERLAY_MAX_NEIGHBOURS];
    int count = c4_overlay_neighbours(control->nranks, control->rank, neighbours);
    c4_handshake_hello who = {
        .job_id = c4_bootstrap_job_id(bootstrap), .role = C4_HANDSHAKE_CONTROL, .transport = "control"};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = c4_event_pack(C4_EVENT_INBOX, 0, 0)};
    if (!control->port)
        return C4_OK;
    c4_control_repair *made = calloc(1, sizeof *made + (size_t)count * sizeof made->edges[0]);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "control plane of %d ranks", control->nranks);
    control->repair = made;
    made->inbox = -1;
    made->nedges = count;
    c4_bootstrap_get_ties(bootstrap, &made->ties);
    for (int i = 0; i < count; i++) {
        tie *edge = &made->edges[i];
        *edge = (tie){.rank = neighbours[i], .knock = {.link.fd = -1, .index = (uint32_t)i}};
        edge->owned = c4_overlay_owner(control->nranks, control->rank, edge->rank) == control->rank;
        c4_bootstrap_endpoint(bootstrap, edge->rank, &edge->endpoint);
    }
    for (int i = 0; i < VISITORS; i++)
        made->visitors[i] = (knock){.link.fd = -1, .index = (uint32_t)(count + i)};
    C4_TRY(c4_random_bytes(&made->rng, sizeof made->rng));
    C4_TRY(c4_port_open_inbox(control->port, &who, 4 * (unsigned)count, &made->inbox));
    if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, made->inbox, &event) < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: epoll_ctl");
    return C4_OK;
}

void c4_control_repair_close(c4_control *control)
{
    c4_control_repair *repair = control->repair;
    if (!repair)
        return;
    for (int i = 0; i < repair->nedges; i++)
        c4_link_close(&repair->edges[i].knock.link);
    for (int i = 0; i < VISITORS; i++)
        c4_link_close(&repair->visitors[i].link);
    if (repair->inbox >= 0 && control->pid == getpid()) /* the child of a fork shares no inbox */
        c4_port_close_inbox(control->port, repair->inbox);
    explicit_bzero(&repair->ties, sizeof repair->ties);
    free(repair);
    control->repair = NULL;
}

/* ---- one connection ---- */

static void forget(c4_control *control, knock *k)
{
    if (k->link.fd >= 0 && control->pid == getpid()) /* as c4_control_close_link */
        epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, k->link.fd, NULL);
    c4_link_close(&k->link);
    k->phase = KNOCK_NONE;
}

static tie *find_edge(c4_control_repair *repair, int rank)
{
    for (int i = 0; i < repair->nedges; i++)
        if (repair->edges[i].rank == rank)
            return &repair->edges[i];
    return NULL;
}

/* It is the link. What came on the old one, which the other side may have lost before this side has noticed, counts. */
static void adopt(c4_control *control, tie *edge, knock *k)
{
    const c4_control_peer *peer = &control->peers[edge->rank];
    uint64_t lost_ns = edge->lost_ns ? edge->lost_ns : c4_now_ns();
    int fd = k->link.fd;
    epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    k->link.fd = -1;
    forget(control, k);
    forget(control, &edge->knock);
    edge->lost_ns = 0;
    edge->adopted_ns = c4_now_ns();
    if (peer->link.fd >= 0)
        c4_control_on_link_event(control, edge->rank, EPOLLIN);
    if (peer->link.fd >= 0)
        c4_control_lose_link(control, edge->rank, C4_LOSS_BREAK);
    if (c4_core_rank_state(control->core, edge->rank) == C4_CONTROL_LEFT) {
        close(fd);
        return;
    }
    if (c4_control_open_link(control, edge->rank, fd) == C4_OK)
        c4_log(C4_LOG_INFO, "control: the link to rank %d (pid %u on %s) was lost and is there again after %.2f s",
               edge->rank, peer->process.pid, peer->process.host, (double)(c4_now_ns() - lost_ns) / 1e9);
}

/* Began before the present link was there: the other side has that link too, and would lose it for this one. (If it has lost
 * it again, it comes again.) */
static bool has_crossed(const c4_control *control, const tie *edge, const knock *k)
{
    return control->peers[edge->rank].link.fd >= 0 && edge->adopted_ns &&
           k->since_ns < edge->adopted_ns + CROSSING_MS * MS_NS;
}

/* Both have proved who they are. */
static c4_status shaken(c4_control *control, tie *edge, knock *k)
{
    c4_control_header header = {C4_CONTROL_LINK, 0, (uint32_t)control->rank, 0};
    k->phase = KNOCK_WAITING;
    if (!edge->owned)
        return C4_OK;
    if (has_crossed(control, edge, k))
        return C4_ERR_LINK;
    if (c4_link_send(&k->link, &header, NULL) != C4_OK) /* 16 bytes always fit into a new connection */
        return C4_ERR_LINK;
    adopt(control, edge, k);
    return C4_OK;
}

static c4_status wait_for_link(c4_control *control, tie *edge, knock *k)
{
    unsigned char none;
    c4_status status = c4_link_receive_header(&k->link, (uint32_t)control->nranks);
    if (status != C4_OK)
        return status;
    if (k->link.header.kind != C4_CONTROL_LINK || k->link.header.bytes)
        return C4_ERR_PROTOCOL;
    C4_TRY(c4_link_receive_payload(&k->link, &none));
    adopt(control, edge, k);
    return C4_OK;
}

static c4_status shake(c4_control *control, tie *edge, knock *k)
{
    c4_status status = c4_handshake_step(&k->handshake, k->link.fd);
    if (status != C4_OK)
        return status;
    if (!edge)
        edge = find_edge(control->repair, (int)k->handshake.peer_rank);
    return edge ? shaken(control, edge, k) : C4_ERR_PROTOCOL;
}

/* As far as the socket lets it go; `edge` is NULL for a visitor. C4_IN_PROGRESS; C4_OK: it is the link; or an error. */
static c4_status step(c4_control *control, tie *edge, knock *k)
{
    c4_status status = C4_OK;
    while (status == C4_OK && k->phase != KNOCK_NONE) {
        if (k->phase == KNOCK_SHAKING) {
            status = shake(control, edge, k);
        } else {
            tie *known = edge ? edge : find_edge(control->repair, (int)k->handshake.peer_rank);
            status = known ? wait_for_link(control, known, k) : C4_ERR_PROTOCOL;
        }
    }
    return status;
}

static void watch(c4_control *control, const knock *k, int operation)
{
    const unsigned char *bytes;
    bool writes =
        k->phase == KNOCK_CONNECTING || (k->phase == KNOCK_SHAKING && c4_handshake_output(&k->handshake, &bytes) > 0);
    struct epoll_event event = {.events = writes ? EPOLLOUT : EPOLLIN,
                                .data.u64 = c4_event_pack(C4_EVENT_KNOCK, 0, k->index)};
    epoll_ctl(control->epoll_fd, operation, k->link.fd, &event);
}

static c4_status begin_shaking(c4_control *control, knock *k, uint32_t peer_rank, bool client)
{
    c4_handshake_identity identity = c4_ties_identity(&control->repair->ties, peer_rank);
    k->phase = KNOCK_SHAKING;
    return c4_handshake_init(&k->handshake, &identity, client);
}

/* ---- attempts ---- */

static void failed(c4_control *control, tie *edge, int error)
{
    unsigned naddresses = edge->endpoint.naddresses ? edge->endpoint.naddresses : 1;
    int half_ms = edge->pause_ms / 2;
    uint64_t now_ns = c4_now_ns();
    forget(control, &edge->knock);
    edge->next++;
    edge->refusals = error == ECONNREFUSED ? edge->refusals + 1 : 0;
    if (edge->refusals >= naddresses)
        c4_core_link_refused(control->core, edge->rank, now_ns);
    edge->due_ns =
        now_ns + (uint64_t)(half_ms + (int)c4_rng_below(&control->repair->rng, (uint64_t)half_ms + 1)) * MS_NS;
    edge->pause_ms = 2 * edge->pause_ms < LONGEST_PAUSE_MS ? 2 * edge->pause_ms : LONGEST_PAUSE_MS;
}

static int connect_result(int fd)
{
    int error = 0;
    socklen_t bytes = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0 ? errno : error;
}

static void drive(c4_control *control, tie *edge)
{
    knock *k = &edge->knock;
    c4_status status = C4_OK;
    if (k->phase == KNOCK_CONNECTING) {
        int error = connect_result(k->link.fd);
        if (!error && control->repair->ties.local && !c4_peer_is_same_user(k->link.fd))
            error = EACCES;
        if (error) {
            failed(control, edge, error);
            return;
        }
        status = begin_shaking(control, k, (uint32_t)edge->rank, true);
    }
    if (status >= 0)
        status = step(control, edge, k);
    if (status < 0 && k->phase != KNOCK_NONE)
        failed(control, edge, ECONNRESET);
    else if (k->phase != KNOCK_NONE)
        watch(control, k, EPOLL_CTL_MOD);
}

static void dial(c4_control *control, tie *edge)
{
    const c4_endpoint *at = &edge->endpoint;
    const c4_ties *ties = &control->repair->ties;
    knock *k = &edge->knock;
    int fd = -1;
    int error = c4_ties_dial(ties->local, ties->door_id,
                             at->naddresses ? &at->addresses[edge->next % at->naddresses] : NULL, at->tag, &fd);
    c4_link_init(&k->link, fd);
    k->since_ns = c4_now_ns();
    k->phase = KNOCK_CONNECTING;
    if (fd < 0 || (error && error != EINPROGRESS)) {
        failed(control, edge, error);
        return;
    }
    watch(control, k, EPOLL_CTL_ADD);
}

static void begin_outage(tie *edge, uint64_t now_ns)
{
    edge->lost_ns = now_ns;
    edge->due_ns = now_ns + (edge->owned ? 0 : COURTESY_MS * MS_NS);
    edge->pause_ms = FIRST_PAUSE_MS;
    edge->refusals = 0;
    edge->told = false;
}

static bool is_reachable(const tie *edge)
{
    return edge->endpoint.naddresses || edge->endpoint.tag;
}

/* Returns when to look again. */
static uint64_t tend(c4_control *control, tie *edge, uint64_t now_ns)
{
    bool wanted = is_reachable(edge) && c4_core_wants_link(control->core, edge->rank);
    if (!wanted) {
        forget(control, &edge->knock);
        edge->lost_ns = 0;
        return UINT64_MAX;
    }
    if (!edge->lost_ns)
        begin_outage(edge, now_ns);
    if (edge->knock.phase != KNOCK_NONE && now_ns - edge->knock.since_ns >= PATIENCE_MS * MS_NS)
        failed(control, edge, ETIMEDOUT);
    if (edge->knock.phase == KNOCK_NONE && now_ns >= edge->due_ns)
        dial(control, edge);
    uint64_t tell_ns = edge->lost_ns + UNANSWERED_MS * MS_NS;
    if (!edge->told && now_ns >= tell_ns && edge->refusals == 0) {
        edge->told = true;
        c4_core_link_unanswered(control->core, edge->rank, now_ns);
    }
    uint64_t next_ns = edge->knock.phase == KNOCK_NONE ? edge->due_ns : edge->knock.since_ns + PATIENCE_MS * MS_NS;
    return !edge->told && now_ns < tell_ns && tell_ns < next_ns ? tell_ns : next_ns;
}

/* A free place, or that of who has been here longest: an honest neighbour needs little time, and comes again. */
static knock *find_place(c4_control_repair *repair)
{
    knock *found = &repair->visitors[0];
    for (int i = 0; i < VISITORS; i++) {
        if (repair->visitors[i].phase == KNOCK_NONE)
            return &repair->visitors[i];
        if (repair->visitors[i].since_ns < found->since_ns)
            found = &repair->visitors[i];
    }
    return found;
}

/* When the next may have it. */
static uint64_t place_due_ns(const knock *place)
{
    return place->phase == KNOCK_NONE ? 0 : place->since_ns + CROWDED_MS * MS_NS;
}

static void watch_inbox(c4_control *control, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.u64 = c4_event_pack(C4_EVENT_INBOX, 0, 0)};
    epoll_ctl(control->epoll_fd, EPOLL_CTL_MOD, control->repair->inbox, &event);
    control->repair->crowded = !on;
}

uint64_t c4_control_repair_tick(c4_control *control)
{
    c4_control_repair *repair = control->repair;
    uint64_t now_ns = c4_now_ns(), next_ns = UINT64_MAX;
    for (int i = 0; repair && i < repair->nedges; i++) {
        uint64_t due_ns = tend(control, &repair->edges[i], now_ns);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
    }
    for (int i = 0; repair && i < VISITORS; i++) {
        knock *visitor = &repair->visitors[i];
        if (visitor->phase != KNOCK_NONE && now_ns - visitor->since_ns >= PATIENCE_MS * MS_NS)
            forget(control, visitor);
        if (visitor->phase != KNOCK_NONE && visitor->since_ns + PATIENCE_MS * MS_NS < next_ns)
            next_ns = visitor->since_ns + PATIENCE_MS * MS_NS;
    }
    if (repair && repair->crowded) {
        uint64_t due_ns = place_due_ns(find_place(repair));
        if (due_ns <= now_ns)
            watch_inbox(control, true);
        else if (due_ns < next_ns)
            next_ns = due_ns;
    }
    return next_ns;
}

bool c4_control_is_mending(const c4_control *control)
{
    const c4_control_repair *repair = control->repair;
    for (int i = 0; repair && i < repair->nedges; i++) {
        const tie *edge = &repair->edges[i];
        if (control->peers[edge->rank].link.fd < 0 && edge->refusals == 0 && is_reachable(edge) &&
            c4_core_wants_link(control->core, edge->rank))
            return true;
    }
    return false;
}

/* ---- who comes ---- */

static void visit(c4_control *control, knock *visitor)
{
    c4_status status = step(control, NULL, visitor);
    if (status < 0 && visitor->phase != KNOCK_NONE)
        forget(control, visitor);
    else if (visitor->phase != KNOCK_NONE)
        watch(control, visitor, EPOLL_CTL_MOD);
}

void c4_control_on_inbox(c4_control *control)
{
    c4_control_repair *repair = control->repair;
    for (;;) {
        knock *visitor = find_place(repair);
        if (place_due_ns(visitor) > c4_now_ns()) { /* the next ones wait in the inbox */
            watch_inbox(control, false);
            return;
        }
        int fd = c4_port_take(control->port, repair->inbox);
        if (fd < 0)
            return;
        forget(control, visitor);
        c4_link_init(&visitor->link, fd);
        visitor->since_ns = c4_now_ns();
        if (begin_shaking(control, visitor, C4_HANDSHAKE_ANY_RANK, false) < 0) {
            forget(control, visitor);
            continue;
        }
        watch(control, visitor, EPOLL_CTL_ADD);
        visit(control, visitor);
    }
}

void c4_control_on_knock(c4_control *control, uint32_t index)
{
    c4_control_repair *repair = control->repair;
    bool own = index < (uint32_t)repair->nedges;
    knock *k = own ? &repair->edges[index].knock : &repair->visitors[index - (uint32_t)repair->nedges];
    if (k->phase == KNOCK_NONE) /* an earlier event has ended it */
        return;
    if (own)
        drive(control, &repair->edges[index]);
    else
        visit(control, k);
}
