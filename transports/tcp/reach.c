#include "transports/tcp/reach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "transports/tcp/link.h"

/* In place of an errno: this address is in use. */
#define TAKEN (-1)

/* The n-th address to try: the best first, the others in the peer's order. */
static unsigned address_index(const c4_tcp_peer *peer, unsigned n)
{
    if (n == 0)
        return peer->best;
    return n <= peer->best ? n - 1 : n;
}

static const char *failure_text(int error, char *text, size_t bytes)
{
    if (error <= 0)
        return error == 0 ? "not tried" : "taken";
    return error == EACCES ? "is somebody else" : strerror_r(error, text, bytes);
}

const char *c4_tcp_reach_text(const c4_tcp_peer *peer, char text[C4_TCP_REACH_TEXT])
{
    char name[C4_TCP_ADDRESS_TEXT], why[96];
    size_t used = 0;
    if (peer->contact.count == 1)
        snprintf(text, C4_TCP_REACH_TEXT, "%s", c4_tcp_address_text(&peer->contact.at[0], name));
    for (unsigned i = 0; peer->contact.count > 1 && i < peer->contact.count && used < C4_TCP_REACH_TEXT; i++) {
        int printed =
            snprintf(text + used, C4_TCP_REACH_TEXT - used, "%s%s (%s)", i > 0 ? ", " : "",
                     c4_tcp_address_text(&peer->contact.at[i], name), failure_text(peer->failures[i], why, sizeof why));
        used += printed > 0 ? (size_t)printed : 0;
    }
    return text;
}

/* Why the attempt at an address has failed is kept per peer: the log explains the choice with it. */
static void note_failure(c4_tcp_link *link, unsigned address, int error)
{
    link->module->peers[link->peer].failures[address] = error;
    link->last_errno = error;
}

void c4_tcp_reach_next(c4_tcp_link *link, uint64_t now)
{
    c4_tcp_peer *peer = &link->module->peers[link->peer];
    if (link->round >= peer->contact.count && link->nattempts == 0)
        link->round = link->nrefused = 0;
    while (link->round < peer->contact.count) {
        unsigned address = address_index(peer, link->round++);
        int error = c4_tcp_attempt_connect(link, address);
        if (error == 0) {
            link->retry_at_ns = link->round < peer->contact.count ? now + C4_TCP_NEXT_ADDRESS_NS : C4_TCP_NEVER_NS;
            return;
        }
        note_failure(link, address, error);
    }
    if (link->nattempts == 0)
        c4_tcp_link_attempt_failed(link, link->last_errno);
    else
        link->retry_at_ns = C4_TCP_NEVER_NS;
}

static void round_refused(c4_tcp_link *link, c4_status status, const char *why)
{
    const c4_tcp_peer *peer = &link->module->peers[link->peer];
    char text[C4_TCP_REACH_TEXT];
    c4_tcp_link_fail(link, c4_fail(status, "tcp: rank %d at %s: %s", link->peer, c4_tcp_reach_text(peer, text), why));
}

void c4_tcp_reach_failed(c4_tcp_link *link, unsigned address, int error, c4_status status, const char *why)
{
    c4_module *module = link->module;
    const c4_tcp_peer *peer = &module->peers[link->peer];
    char text[C4_TCP_ADDRESS_TEXT];
    if (error != 0)
        note_failure(link, address, error);
    if (link->state != C4_TCP_DOWN)
        return;
    if (status < 0) {
        link->nrefused++;
        /* Another host may have this address here. An error only when the peer is nowhere else, and is needed. */
        if (link->nrefused == peer->contact.count && !c4_tcp_link_is_courteous(link)) {
            round_refused(link, status, why);
            return;
        }
        C4_TCP_LOG(module, C4_TLOG_INFO, "tcp: not rank %d at %s: %s", link->peer,
                   c4_tcp_address_text(&peer->contact.at[address], text), why);
    }
    if (error != 0 && link->round < peer->contact.count) {
        link->retry_at_ns = c4_now_ns(); /* the next one at once */
        c4_tcp_link_activate(link);
    } else if (link->nattempts == 0) {
        c4_tcp_link_attempt_failed(link, error);
    }
}

void c4_tcp_reach_won(c4_tcp_attempt *attempt)
{
    c4_tcp_link *link = attempt->link;
    c4_module *module = link->module;
    c4_tcp_peer *peer = &module->peers[link->peer];
    char name[C4_TCP_ADDRESS_TEXT], others[C4_TCP_REACH_TEXT];
    bool news = !peer->reached || peer->best != attempt->address;
    c4_tcp_attempts_drop_others(link, attempt);
    /* No other one while its welcome is awaited: that would ask the peer for bytes that are already on their way. */
    link->retry_at_ns = C4_TCP_NEVER_NS;
    peer->best = attempt->address;
    peer->reached = true;
    link->round = link->nrefused = 0;
    peer->failures[peer->best] = TAKEN;
    if (news && peer->contact.count > 1)
        C4_TCP_LOG(module, C4_TLOG_INFO, "tcp: rank %d is reached at %s (address %u of %u: %s)", link->peer,
                   c4_tcp_address_text(&peer->contact.at[peer->best], name), peer->best + 1, peer->contact.count,
                   c4_tcp_reach_text(peer, others));
}
