#include "transports/link/reach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* In place of an errno: this address is in use. */
#define TAKEN (-1)

/* The n-th address to try: the best first, the others in the peer's order. */
static unsigned address_index(const c4_tlink_peer *peer, unsigned n)
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

const char *c4_tlink_reach_text(const c4_tlink_peer *peer, char text[C4_TLINK_REACH_TEXT])
{
    char name[C4_TLINK_ADDRESS_TEXT], why[96];
    size_t used = 0;
    if (peer->contact.count == 1)
        snprintf(text, C4_TLINK_REACH_TEXT, "%s", c4_tlink_address_text(&peer->contact.at[0], name));
    for (unsigned i = 0; peer->contact.count > 1 && i < peer->contact.count && used < C4_TLINK_REACH_TEXT; i++) {
        int printed = snprintf(text + used, C4_TLINK_REACH_TEXT - used, "%s%s (%s)", i > 0 ? ", " : "",
                               c4_tlink_address_text(&peer->contact.at[i], name),
                               failure_text(peer->failures[i], why, sizeof why));
        used += printed > 0 ? (size_t)printed : 0;
    }
    return text;
}

/* Why the attempt at an address has failed is kept per peer: the log explains the choice with it. */
static void note_failure(c4_tlink *link, unsigned address, int error)
{
    link->hub->peers[link->peer].failures[address] = error;
    link->last_errno = error;
}

void c4_tlink_reach_next(c4_tlink *link, uint64_t now)
{
    c4_tlink_peer *peer = &link->hub->peers[link->peer];
    if (link->round >= peer->contact.count && link->nattempts == 0)
        link->round = link->nrefused = 0;
    while (link->round < peer->contact.count) {
        unsigned address = address_index(peer, link->round++);
        int error = c4_tlink_attempt_connect(link, address);
        if (error == 0) {
            link->retry_at_ns = link->round < peer->contact.count ? now + C4_TLINK_NEXT_ADDRESS_NS : C4_TLINK_NEVER_NS;
            return;
        }
        note_failure(link, address, error);
    }
    if (link->nattempts == 0)
        c4_tlink_retry(link, link->last_errno);
    else
        link->retry_at_ns = C4_TLINK_NEVER_NS;
}

static void round_refused(c4_tlink *link, c4_status status, const char *why)
{
    const c4_tlink_peer *peer = &link->hub->peers[link->peer];
    char text[C4_TLINK_REACH_TEXT];
    c4_tlink_fail(link, c4_fail(status, "%s: rank %d at %s: %s", link->hub->ops->name, link->peer,
                                c4_tlink_reach_text(peer, text), why));
}

void c4_tlink_reach_failed(c4_tlink *link, unsigned address, int error, c4_status status, const char *why)
{
    c4_tlink_hub *hub = link->hub;
    const c4_tlink_peer *peer = &hub->peers[link->peer];
    char text[C4_TLINK_ADDRESS_TEXT];
    if (error != 0)
        note_failure(link, address, error);
    if (link->state != C4_TLINK_DOWN)
        return;
    if (status < 0) {
        link->nrefused++;
        /* Another host may have this address here. An error only when the peer is nowhere else, and is needed. */
        if (link->nrefused == peer->contact.count && !c4_tlink_is_courteous(link)) {
            round_refused(link, status, why);
            return;
        }
        C4_TLINK_LOG(hub, C4_TLOG_INFO, "%s: not rank %d at %s: %s", hub->ops->name, link->peer,
                     c4_tlink_address_text(&peer->contact.at[address], text), why);
    }
    if (error != 0 && link->round < peer->contact.count) {
        link->retry_at_ns = c4_now_ns(); /* the next one at once */
        c4_tlink_activate(link);
    } else if (link->nattempts == 0) {
        c4_tlink_retry(link, error);
    }
}

void c4_tlink_reach_won(c4_tlink_attempt *attempt)
{
    c4_tlink *link = attempt->link;
    c4_tlink_hub *hub = link->hub;
    c4_tlink_peer *peer = &hub->peers[link->peer];
    char name[C4_TLINK_ADDRESS_TEXT], others[C4_TLINK_REACH_TEXT];
    bool news = !peer->reached || peer->best != attempt->address;
    c4_tlink_attempts_drop_others(link, attempt);
    /* No other one while its welcome is awaited: that would ask the peer for bytes that are already on their way. */
    link->retry_at_ns = C4_TLINK_NEVER_NS;
    peer->best = attempt->address;
    peer->reached = true;
    link->round = link->nrefused = 0;
    peer->failures[peer->best] = TAKEN;
    if (news && peer->contact.count > 1)
        C4_TLINK_LOG(hub, C4_TLOG_INFO, "%s: rank %d is reached at %s (address %u of %u: %s)", hub->ops->name,
                     link->peer, c4_tlink_address_text(&peer->contact.at[peer->best], name), peer->best + 1,
                     peer->contact.count, c4_tlink_reach_text(peer, others));
}
