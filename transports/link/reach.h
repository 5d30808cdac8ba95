/* Getting to a peer by one of its addresses: the one that led to it last time first, the next a quarter of a second later
 * or as soon as that has failed, and the first that authenticates wins (RFC 8305). */
#ifndef C4_TRANSPORTS_LINK_REACH_H
#define C4_TRANSPORTS_LINK_REACH_H

#include "transports/link/attempt.h"

/* The link is down and the time has come: tries the next address of this round, or begins a round. */
void c4_tlink_reach_next(c4_tlink *link, uint64_t now_ns);
/* An attempt has come to nothing and is gone already. Others may be under way; after the last one the link hears of it.
 * status < 0: the other side did not authenticate, or refused to; `why` says so. */
void c4_tlink_reach_failed(c4_tlink *link, unsigned address, int error, c4_status status, const char *why);
/* The other side of this attempt is the peer. */
void c4_tlink_reach_won(c4_tlink_attempt *attempt);

#endif
