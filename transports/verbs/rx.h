/* What arrives: completions, the messages in them, and the channels they belong to. */
#ifndef C4_TRANSPORTS_VERBS_RX_H
#define C4_TRANSPORTS_VERBS_RX_H

#include "transports/verbs/internal.h"

/* Takes all completions that are there. A queue pair that has failed is marked broken, nothing more. */
bool c4_verbs_rx_poll(c4_module *module, c4_verbs_rail *rail);
/* The same until none is left: of a queue pair that is taken apart. */
void c4_verbs_rx_drain(c4_module *module, c4_verbs_rail *rail);

/* A receive has been posted: what has arrived for it is given to it, else tickets go out. */
void c4_verbs_rx_match(c4_channel *channel);
/* Sends the tickets that can be given. */
void c4_verbs_rx_grant(c4_channel *channel);
/* The queue pair has gone: tickets and announcements are void. */
void c4_verbs_rx_revoke(c4_verbs_link *link);
/* Gives up the tickets of a channel, to which the peer may be writing: breaks the queue pair if there are any. */
void c4_verbs_rx_forget(c4_channel *channel);

#endif
