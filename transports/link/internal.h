/* What the files of this layer need of one another, and its limits. */
#ifndef C4_TRANSPORTS_LINK_INTERNAL_H
#define C4_TRANSPORTS_LINK_INTERNAL_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "transports/link/contact.h"
#include "transports/link/link.h"
#include "transports/link/socket.h"
#include "transports/link/stream.h"
#include "wire/handshake.h"

/* Connections that have not authenticated yet: how many at once, and for how long. */
#define C4_TLINK_MAX_STRANGERS 32u
#define C4_TLINK_STRANGER_NS   5000000000u
/* While all places are taken: how long one may say nothing (an honest peer speaks as soon as it is connected), and how
 * long the handshake may take (a few round trips). An honest peer tries again. */
#define C4_TLINK_CROWDED_SILENT_NS   2000000u
#define C4_TLINK_CROWDED_STRANGER_NS 100000000u
/* Of connections in the host's inbox that nobody has looked at: so many beside one for each link of each peer. */
#define C4_TLINK_SPARE_CALLERS 64u
/* How often the log hears of connections that were turned away. */
#define C4_TLINK_REFUSED_LOG_NS 10000000000u
/* A peer's next address is tried when the one before has not led to it in this time. */
#define C4_TLINK_NEXT_ADDRESS_NS 250000000u
/* Who waits for data connects too after this time, and then less and less often: the peer may be unable to. */
#define C4_TLINK_COURTESY_NS         1000000000u
#define C4_TLINK_LONGEST_COURTESY_NS 60000000000u
/* Of link.retry_at_ns: attempts are under way and nothing is left to try beside them. */
#define C4_TLINK_NEVER_NS ((uint64_t)INT64_MAX)

/* With a link's address in what epoll says of setup_fd: its stream, which is guarded; else it is an attempt's. */
#define C4_TLINK_GUARD ((uint64_t)1)

static inline c4_tlink *c4_tlink_at(const c4_tlink_hub *hub, int peer, unsigned index)
{
    return (c4_tlink *)((char *)hub->peers[peer].links + index * hub->ops->link_bytes);
}

/* Makes the peer's links, once. */
c4_status c4_tlinks_create(c4_tlink_hub *hub, int peer);
void c4_tlinks_free(c4_tlink_hub *hub, int peer);

/* Something that progress must look after is pending. */
static inline bool c4_tlink_busy(const c4_tlink *link)
{
    return link->state <= C4_TLINK_UP &&
           (link->nattempts > 0 || (link->hub->ops->wants(link) & ~(unsigned)C4_TLINK_READ) != 0);
}

/* `stream`, authenticated and greeted, is the link's now; `theirs`: the peer's words. */
void c4_tlink_up(c4_tlink *link, c4_tlink_stream stream, uint64_t generation, const unsigned char *theirs);
/* An attempt to connect came to nothing. error 0: no fault, try again soon. */
void c4_tlink_retry(c4_tlink *link, int error);
/* It has never been up and has nothing to send: an attempt is a courtesy to a peer that may be unable to connect, and its
 * failure is no error. */
bool c4_tlink_is_courteous(const c4_tlink *link);
/* While down: starts the next attempt when it is due. */
void c4_tlink_service(c4_tlink *link, uint64_t now_ns);
/* While down: when service has something to do; 0: never. */
uint64_t c4_tlink_wake_ns(const c4_tlink *link);

#endif
