#include "transports/link/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "transports/link/attempt.h"
#include "transports/link/reach.h"

#define MS               1000000u
#define FIRST_RETRY_NS   (1u * MS)
#define LONGEST_RETRY_NS (200u * MS)
/* What came to nothing without being an error is tried again as soon, and up to 2 to this power as late: one side may not be
 * able to for a while. */
#define MOST_POSTPONED 5u
/* What counts against a peer is also how often it was tried: this rank may have been busy itself. */
#define FEWEST_TRIES 3
/* How long a port may let this rank in and close: so many times the retry time, at least so long. */
#define TURNED_AWAY_TIMES    10u
#define TURNED_AWAY_LEAST_NS (60000u * (uint64_t)MS)
/* After a loss the lower rank connects at once; the higher one gives it this long. */
#define HIGHER_RANK_GRACE_NS (20u * MS)

c4_status c4_tlinks_create(c4_tlink_hub *hub, int peer)
{
    if (hub->peers[peer].links != NULL)
        return C4_OK;
    hub->peers[peer].links = calloc(hub->nlinks, hub->ops->link_bytes);
    if (hub->peers[peer].links == NULL)
        return c4_fail(C4_ERR_MEMORY, "%s: links to rank %d", hub->ops->name, peer);
    for (unsigned i = 0; i < hub->nlinks; i++) {
        c4_tlink *link = c4_tlink_at(hub, peer, i);
        link->hub = hub;
        link->peer = peer;
        link->index = i;
        link->stream.fd = -1;
    }
    return C4_OK;
}

c4_status c4_tlink_get(c4_tlink_hub *hub, int peer, unsigned index, c4_tlink **link)
{
    C4_TRY(c4_tlinks_create(hub, peer));
    *link = c4_tlink_at(hub, peer, index);
    return C4_OK;
}

c4_tlink *c4_tlink_next(const c4_tlink_hub *hub, const c4_tlink *after)
{
    if (after != NULL && after->index + 1 < hub->nlinks)
        return c4_tlink_at(hub, after->peer, after->index + 1);
    for (int peer = after != NULL ? after->peer + 1 : 0; peer < hub->host.nranks; peer++)
        if (hub->peers[peer].links != NULL)
            return c4_tlink_at(hub, peer, 0);
    return NULL;
}

static void close_stream(c4_tlink *link)
{
    int set = link->hub->ops->guarded ? link->hub->setup_fd : link->hub->idle_fd;
    /* By hand: a child made by fork may hold it, which keeps it in the set. */
    if (link->registered)
        epoll_ctl(set, EPOLL_CTL_DEL, link->stream.fd, NULL);
    c4_tlink_stream_close(&link->stream);
    link->registered = link->readable = false;
    link->watched = 0;
}

void c4_tlinks_free(c4_tlink_hub *hub, int peer)
{
    for (unsigned i = 0; hub->peers[peer].links != NULL && i < hub->nlinks; i++) {
        c4_tlink *link = c4_tlink_at(hub, peer, i);
        close_stream(link);
        hub->ops->fini(link);
    }
    free(hub->peers[peer].links);
    hub->peers[peer].links = NULL;
}

void c4_tlink_enlist(c4_tlink *link)
{
    c4_tlink_hub *hub = link->hub;
    if (hub->nactive == hub->active_capacity) {
        size_t capacity = hub->active_capacity != 0 ? 2 * hub->active_capacity : 16;
        c4_tlink **grown = realloc(hub->active, capacity * sizeof(*grown));
        if (grown == NULL) {
            c4_tlink_fail(link, c4_fail(C4_ERR_MEMORY, "%s: list of links", hub->ops->name));
            return;
        }
        hub->active = grown;
        hub->active_capacity = capacity;
    }
    hub->active[hub->nactive++] = link;
    link->active = true;
}

/* ---- down and up ---- */

void c4_tlink_lost(c4_tlink *link, int error)
{
    c4_tlink_hub *hub = link->hub;
    const c4_tlink_peer *peer = &hub->peers[link->peer];
    uint64_t now = c4_now_ns();
    char text[C4_TLINK_ADDRESS_TEXT], reason[96];
    if (link->state != C4_TLINK_UP)
        return;
    close_stream(link);
    link->state = C4_TLINK_DOWN;
    link->last_errno = error;
    link->tries = link->round = link->nrefused = 0;
    link->down_since_ns = now;
    link->turned_away_told = false;
    link->retry_at_ns = now;
    if (hub->host.rank > link->peer)
        link->retry_at_ns += HIGHER_RANK_GRACE_NS + c4_rng_below(&hub->rng, HIGHER_RANK_GRACE_NS);
    if (!hub->closing)
        C4_TLINK_LOG(hub, C4_TLOG_INFO, "%s: connection %u to rank %d at %s lost (%s); connecting again",
                     hub->ops->name, link->index, link->peer,
                     c4_tlink_address_text(&peer->contact.at[peer->best], text),
                     strerror_r(error, reason, sizeof reason));
    hub->ops->down(link);
    if (c4_tlink_busy(link))
        c4_tlink_activate(link);
    else
        link->retry_at_ns = 0; /* its time begins when something is wanted of it */
}

/* What the peer has to say to a link that seldom looks, and that it has gone. */
static bool guard(c4_tlink *link)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uintptr_t)link | C4_TLINK_GUARD};
    link->registered = epoll_ctl(link->hub->setup_fd, EPOLL_CTL_ADD, link->stream.fd, &event) == 0;
    link->readable = c4_tlink_stream_buffered(&link->stream);
    return link->registered;
}

void c4_tlink_up(c4_tlink *link, c4_tlink_stream stream, uint64_t generation, const unsigned char *theirs)
{
    c4_tlink_hub *hub = link->hub;
    close_stream(link);
    link->stream = stream;
    link->generation = generation;
    if (hub->ops->guarded && !guard(link)) {
        int error = errno;
        c4_tlink_fail(link, c4_fail_errno(c4_status_from_errno(error), error, "%s: epoll", hub->ops->name));
        return;
    }
    link->state = C4_TLINK_UP;
    link->retry_at_ns = 0;
    link->tries = link->postponed = 0;
    C4_TLINK_LOG(hub, C4_TLOG_DEBUG, "%s: connection %u to rank %d is up (number %llu)", hub->ops->name, link->index,
                 link->peer, (unsigned long long)generation);
    hub->ops->up(link, theirs);
    if (link->readable || c4_tlink_busy(link))
        c4_tlink_activate(link);
}

bool c4_tlink_is_courteous(const c4_tlink *link)
{
    return link->generation == 0 && (link->hub->ops->wants(link) & C4_TLINK_SEND) == 0;
}

static c4_status give_up(const c4_tlink *link, uint64_t now)
{
    char text[C4_TLINK_REACH_TEXT];
    return c4_fail_errno(C4_ERR_LINK, link->last_errno,
                         "%s: no connection to rank %d at %s after %u tries in %.1f s (%s=%llu)", link->hub->ops->name,
                         link->peer, c4_tlink_reach_text(&link->hub->peers[link->peer], text), link->tries,
                         (double)(now - link->down_since_ns) * 1e-9, link->hub->ops->retry_option,
                         (unsigned long long)(link->hub->retry_ns / 1000000u));
}

/* Since when the peer is out of reach. A port that turns this rank away is within reach: the peer comes to it when it has
 * time and room, and whether it lives, the control plane knows. But not for ever: something else, a proxy for example, may
 * let everybody in there. */
static uint64_t unreached_since(c4_tlink *link, uint64_t now)
{
    char text[C4_TLINK_REACH_TEXT];
    uint64_t patience_ns = link->hub->retry_ns * TURNED_AWAY_TIMES;
    if (patience_ns < TURNED_AWAY_LEAST_NS)
        patience_ns = TURNED_AWAY_LEAST_NS;
    if (link->turned_away_ns <= link->down_since_ns || now - link->down_since_ns >= patience_ns)
        return link->down_since_ns;
    if (!link->turned_away_told && now - link->down_since_ns >= link->hub->retry_ns) {
        link->turned_away_told = true;
        C4_TLINK_LOG(link->hub, C4_TLOG_WARN,
                     "%s: rank %d's port at %s lets connections in and closes them, for %.1f s now: it is crowded, or "
                     "something else listens there; it is tried for %.0f s",
                     link->hub->ops->name, link->peer, c4_tlink_reach_text(&link->hub->peers[link->peer], text),
                     (double)(now - link->down_since_ns) * 1e-9, (double)patience_ns * 1e-9);
    }
    return link->turned_away_ns;
}

void c4_tlink_retry(c4_tlink *link, int error)
{
    c4_tlink_hub *hub = link->hub;
    uint64_t now = c4_now_ns();
    if (link->state != C4_TLINK_DOWN)
        return;
    if (error == EMFILE || error == ENFILE) {
        c4_tlink_fail(link, c4_fail_errno(C4_ERR_FILES, error, "%s: socket for rank %d", hub->ops->name, link->peer));
        return;
    }
    uint64_t pause;
    if (error != 0 && c4_tlink_is_courteous(link)) {
        link->retry_at_ns = 0;
        link->courtesy_at_ns = now + link->courtesy_pause_ns + c4_rng_below(&hub->rng, C4_TLINK_COURTESY_NS);
        return;
    }
    if (error != 0) {
        link->last_errno = error;
        link->tries++;
        /* Who refuses has closed its hub or is dead: at the end nobody is left to wait for, and that is no error. */
        bool gone = hub->closing && error == ECONNREFUSED;
        if (gone || (now - unreached_since(link, now) >= hub->retry_ns && link->tries >= FEWEST_TRIES)) {
            c4_tlink_fail(link, gone ? C4_ERR_LINK : give_up(link, now));
            return;
        }
        pause = link->tries < 8 ? (uint64_t)FIRST_RETRY_NS << link->tries : LONGEST_RETRY_NS;
    } else {
        pause = (uint64_t)FIRST_RETRY_NS << link->postponed;
        link->postponed += link->postponed < MOST_POSTPONED;
    }
    link->retry_at_ns = now + pause / 2 + c4_rng_below(&hub->rng, pause);
    c4_tlink_activate(link);
}

/* Never connected, nothing to send: it is the other side's to connect. But that may be unable to (a firewall, address
 * translation), while this side may be able to. True when it is time to try. */
static bool courtesy_due(c4_tlink *link, unsigned wants, uint64_t now)
{
    if ((wants & C4_TLINK_RECV) == 0) {
        link->courtesy_at_ns = 0; /* not waiting */
        return false;
    }
    if (link->courtesy_at_ns == 0) {
        link->courtesy_at_ns = now + C4_TLINK_COURTESY_NS;
        link->courtesy_pause_ns = C4_TLINK_COURTESY_NS;
    }
    if (now < link->courtesy_at_ns)
        return false;
    link->courtesy_pause_ns *= link->courtesy_pause_ns < C4_TLINK_LONGEST_COURTESY_NS ? 2 : 1;
    return true;
}

void c4_tlink_service(c4_tlink *link, uint64_t now)
{
    if (link->retry_at_ns == 0) {
        unsigned wants = link->hub->ops->wants(link);
        if ((wants & C4_TLINK_SEND) == 0 && !courtesy_due(link, wants, now))
            return;
        link->down_since_ns = link->retry_at_ns = now;
        link->turned_away_told = false;
        link->tries = 0;
    }
    if (now >= link->retry_at_ns)
        c4_tlink_reach_next(link, now);
}

uint64_t c4_tlink_wake_ns(const c4_tlink *link)
{
    if (!link->active || link->state != C4_TLINK_DOWN)
        return 0;
    return link->retry_at_ns != 0 ? link->retry_at_ns : link->courtesy_at_ns;
}

/* ---- the end ---- */

static void over(c4_tlink *link, c4_tlink_state state, c4_status status)
{
    link->state = state;
    link->status = status;
    close_stream(link);
    c4_tlink_attempts_drop_others(link, NULL);
    link->hub->ops->over(link, status);
}

void c4_tlink_fail(c4_tlink *link, c4_status status)
{
    c4_tlink_hub *hub = link->hub;
    if (link->state == C4_TLINK_FAILED)
        return;
    over(link, C4_TLINK_FAILED, status);
    link->next_failed = hub->failed;
    hub->failed = link;
}

void c4_tlink_ended(c4_tlink *link)
{
    bool missed = (link->hub->ops->wants(link) & (C4_TLINK_RECV | C4_TLINK_SETTLE)) != 0;
    if (missed && !link->hub->closing) {
        c4_tlink_fail(link, c4_fail(C4_ERR_LINK, "%s: rank %d closed its end while data was expected",
                                    link->hub->ops->name, link->peer));
        return;
    }
    over(link, C4_TLINK_ENDED, C4_ERR_LINK);
}
