#include "transports/tcp/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "transports/tcp/attempt.h"
#include "transports/tcp/channel.h"
#include "transports/tcp/reach.h"
#include "transports/tcp/rx.h"
#include "transports/tcp/tx.h"

#define MS               1000000u
#define FIRST_RETRY_NS   (1u * MS)
#define LONGEST_RETRY_NS (200u * MS)
/* What counts against a peer is also how often it was tried: this rank may have been busy itself. */
#define FEWEST_TRIES 3
/* How long a port may let this rank in and close: so many times C4_TCP_RETRY_MS, at least so long. */
#define TURNED_AWAY_TIMES    10u
#define TURNED_AWAY_LEAST_NS (60000u * (uint64_t)MS)
/* After a loss the lower rank connects at once; the higher one gives it this long. */
#define HIGHER_RANK_GRACE_NS (20u * MS)

c4_status c4_tcp_links_create(c4_module *module, int peer)
{
    if (module->peers[peer].links != NULL)
        return C4_OK;
    c4_tcp_link *links = calloc(module->nsockets, sizeof *links);
    if (links == NULL)
        return c4_fail(C4_ERR_MEMORY, "tcp: links to rank %d", peer);
    for (unsigned i = 0; i < module->nsockets; i++) {
        links[i].module = module;
        links[i].peer = peer;
        links[i].index = i;
        links[i].stream.fd = -1;
    }
    module->peers[peer].links = links;
    return C4_OK;
}

static void close_socket(c4_tcp_link *link)
{
    /* By hand: a child made by fork may hold it, which keeps it in the set. */
    if (link->registered)
        epoll_ctl(link->module->idle_fd, EPOLL_CTL_DEL, link->stream.fd, NULL);
    c4_tcp_stream_close(&link->stream);
    link->registered = false;
    link->watched = 0;
}

void c4_tcp_links_free(c4_module *module, int peer)
{
    c4_tcp_link *links = module->peers[peer].links;
    for (unsigned i = 0; links != NULL && i < module->nsockets; i++) {
        close_socket(&links[i]);
        c4_tcp_rx_fini(&links[i], C4_ERR_DESTROYED);
        c4_tcp_tx_fini(&links[i], C4_ERR_DESTROYED);
        c4_tcp_channels_free(&links[i]);
    }
    free(links);
    module->peers[peer].links = NULL;
}

void c4_tcp_link_activate(c4_tcp_link *link)
{
    c4_module *module = link->module;
    if (link->active)
        return;
    if (module->nactive == module->active_capacity) {
        size_t capacity = module->active_capacity != 0 ? 2 * module->active_capacity : 16;
        c4_tcp_link **grown = realloc(module->active, capacity * sizeof(*grown));
        if (grown == NULL) {
            c4_tcp_link_fail(link, c4_fail(C4_ERR_MEMORY, "tcp: list of links"));
            return;
        }
        module->active = grown;
        module->active_capacity = capacity;
    }
    module->active[module->nactive++] = link;
    link->active = true;
}

bool c4_tcp_link_busy(const c4_tcp_link *link)
{
    if (link->state == C4_TCP_FAILED || link->state == C4_TCP_ENDED)
        return false;
    return c4_tcp_tx_pending(link) || c4_tcp_link_wants_read(link) || link->rx.ack_owed || link->nattempts > 0;
}

/* ---- down and up ---- */

void c4_tcp_link_lost(c4_tcp_link *link, int error)
{
    c4_module *module = link->module;
    const c4_tcp_peer *peer = &module->peers[link->peer];
    uint64_t now = c4_now_ns();
    char text[C4_TCP_ADDRESS_TEXT], reason[96];
    close_socket(link);
    link->state = C4_TCP_DOWN;
    link->tx.blocked = false;
    link->last_errno = error;
    link->tries = link->round = link->nrefused = 0;
    link->down_since_ns = now;
    link->turned_away_told = false;
    link->retry_at_ns = now;
    if (module->host.rank > link->peer)
        link->retry_at_ns += HIGHER_RANK_GRACE_NS + c4_rng_below(&module->rng, HIGHER_RANK_GRACE_NS);
    if (!module->closing)
        C4_TCP_LOG(module, C4_TLOG_INFO, "tcp: connection %u to rank %d at %s lost (%s); connecting again", link->index,
                   link->peer, c4_tcp_address_text(&peer->contact.at[peer->best], text),
                   strerror_r(error, reason, sizeof reason));
}

void c4_tcp_link_up(c4_tcp_link *link, c4_tcp_stream stream, uint64_t generation, uint64_t received)
{
    c4_module *module = link->module;
    close_socket(link);
    link->stream = stream;
    link->generation = generation;
    c4_tcp_tune(stream.fd, module->buffer_bytes);
    if (c4_tcp_rx_init(link) < 0) {
        c4_tcp_link_fail(link, C4_ERR_MEMORY);
        return;
    }
    if (!c4_tcp_tx_rewind(link, received)) {
        c4_tcp_link_fail(
            link, c4_fail(C4_ERR_PROTOCOL, "tcp: rank %d asks for bytes that are gone or were never sent", link->peer));
        return;
    }
    link->rx.told = link->rx.received;
    link->state = C4_TCP_UP;
    link->retry_at_ns = 0;
    link->tries = 0;
    C4_TCP_LOG(module, C4_TLOG_DEBUG, "tcp: connection %u to rank %d is up (number %llu)", link->index, link->peer,
               (unsigned long long)generation);
    c4_tcp_tx_flush(link);
    if (c4_tcp_link_busy(link))
        c4_tcp_link_activate(link);
}

bool c4_tcp_link_is_courteous(const c4_tcp_link *link)
{
    return link->generation == 0 && !c4_tcp_tx_pending(link);
}

static c4_status give_up(const c4_tcp_link *link, uint64_t now)
{
    char text[C4_TCP_REACH_TEXT];
    return c4_fail_errno(C4_ERR_LINK, link->last_errno,
                         "tcp: no connection to rank %d at %s after %u tries in %.1f s (C4_TCP_RETRY_MS=%llu)",
                         link->peer, c4_tcp_reach_text(&link->module->peers[link->peer], text), link->tries,
                         (double)(now - link->down_since_ns) * 1e-9,
                         (unsigned long long)(link->module->retry_ns / 1000000u));
}

/* Since when the peer is out of reach. A port that turns this rank away is within reach: the peer comes to it when it has
 * time and room, and whether it lives, the control plane knows. But not for ever: something else, a proxy for example, may
 * let everybody in there. */
static uint64_t unreached_since(c4_tcp_link *link, uint64_t now)
{
    char text[C4_TCP_REACH_TEXT];
    uint64_t patience_ns = link->module->retry_ns * TURNED_AWAY_TIMES;
    if (patience_ns < TURNED_AWAY_LEAST_NS)
        patience_ns = TURNED_AWAY_LEAST_NS;
    if (link->turned_away_ns <= link->down_since_ns || now - link->down_since_ns >= patience_ns)
        return link->down_since_ns;
    if (!link->turned_away_told && now - link->down_since_ns >= link->module->retry_ns) {
        link->turned_away_told = true;
        C4_TCP_LOG(link->module, C4_TLOG_WARN,
                   "tcp: rank %d's port at %s lets connections in and closes them, for %.1f s now: it is crowded, or "
                   "something else listens there; it is tried for %.0f s",
                   link->peer, c4_tcp_reach_text(&link->module->peers[link->peer], text),
                   (double)(now - link->down_since_ns) * 1e-9, (double)patience_ns * 1e-9);
    }
    return link->turned_away_ns;
}

void c4_tcp_link_attempt_failed(c4_tcp_link *link, int error)
{
    c4_module *module = link->module;
    uint64_t now = c4_now_ns();
    if (link->state != C4_TCP_DOWN)
        return;
    if (error == EMFILE || error == ENFILE) {
        c4_tcp_link_fail(link, c4_fail_errno(C4_ERR_FILES, error, "tcp: socket for rank %d", link->peer));
        return;
    }
    uint64_t pause = FIRST_RETRY_NS;
    if (error != 0 && c4_tcp_link_is_courteous(link)) {
        link->retry_at_ns = 0;
        link->courtesy_at_ns = now + link->courtesy_pause_ns + c4_rng_below(&module->rng, C4_TCP_COURTESY_NS);
        return;
    }
    if (error != 0) {
        link->last_errno = error;
        link->tries++;
        /* Who refuses has closed its module or is dead: at the end nobody is left to wait for, and that is no error. */
        bool gone = module->closing && error == ECONNREFUSED;
        if (gone || (now - unreached_since(link, now) >= module->retry_ns && link->tries >= FEWEST_TRIES)) {
            c4_tcp_link_fail(link, gone ? C4_ERR_LINK : give_up(link, now));
            return;
        }
        pause = link->tries < 8 ? (uint64_t)FIRST_RETRY_NS << link->tries : LONGEST_RETRY_NS;
    }
    link->retry_at_ns = now + pause / 2 + c4_rng_below(&module->rng, pause);
    c4_tcp_link_activate(link);
}

/* Never connected, nothing to send: it is the other side's to connect. But that may be unable to (a firewall, address
 * translation), while this side may be able to. True when it is time to try. */
static bool courtesy_due(c4_tcp_link *link, uint64_t now)
{
    if (link->nposted == 0) {
        link->courtesy_at_ns = 0; /* not waiting */
        return false;
    }
    if (link->courtesy_at_ns == 0) {
        link->courtesy_at_ns = now + C4_TCP_COURTESY_NS;
        link->courtesy_pause_ns = C4_TCP_COURTESY_NS;
    }
    if (now < link->courtesy_at_ns)
        return false;
    link->courtesy_pause_ns *= link->courtesy_pause_ns < C4_TCP_LONGEST_COURTESY_NS ? 2 : 1;
    return true;
}

void c4_tcp_link_service(c4_tcp_link *link, uint64_t now)
{
    if (link->retry_at_ns == 0) {
        if (!c4_tcp_tx_pending(link) && !courtesy_due(link, now))
            return;
        link->down_since_ns = link->retry_at_ns = now;
        link->turned_away_told = false;
        link->tries = 0;
    }
    if (now >= link->retry_at_ns)
        c4_tcp_reach_next(link, now);
}

uint64_t c4_tcp_link_wake_ns(const c4_tcp_link *link)
{
    if (!link->active || link->state != C4_TCP_DOWN)
        return 0;
    return link->retry_at_ns != 0 ? link->retry_at_ns : link->courtesy_at_ns;
}

/* ---- the end ---- */

static void drop_everything(c4_tcp_link *link, c4_status status)
{
    link->status = status;
    close_socket(link);
    c4_tcp_attempts_drop_others(link, NULL);
    c4_tcp_channels_fail(link, status);
    c4_tcp_rx_fini(link, status);
    c4_tcp_tx_fini(link, status);
}

void c4_tcp_link_fail(c4_tcp_link *link, c4_status status)
{
    c4_module *module = link->module;
    if (link->state == C4_TCP_FAILED)
        return;
    link->state = C4_TCP_FAILED;
    drop_everything(link, status);
    link->next_failed = module->failed;
    module->failed = link;
}

void c4_tcp_link_ended(c4_tcp_link *link)
{
    bool missed = link->nposted > 0 || link->tx.nspans > 0 || link->npaused > 0;
    if (missed && !link->module->closing) {
        c4_tcp_link_fail(link, c4_fail(C4_ERR_LINK, "tcp: rank %d closed its end while data was expected", link->peer));
        return;
    }
    link->state = C4_TCP_ENDED;
    drop_everything(link, C4_ERR_LINK);
}
