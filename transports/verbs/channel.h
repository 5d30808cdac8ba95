/* A link's channels: found and made, posts and the frames that nobody has asked for. */
#ifndef C4_TRANSPORTS_VERBS_CHANNEL_H
#define C4_TRANSPORTS_VERBS_CHANNEL_H

#include "transports/verbs/internal.h"

/* The slots of c4_transport_ops. */
c4_status c4_verbs_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel);
void c4_verbs_channel_close(c4_channel *channel);
c4_status c4_verbs_channel_send(c4_channel *channel, c4_xfer *xfer);
c4_status c4_verbs_channel_recv(c4_channel *channel, c4_xfer *xfer);
void c4_verbs_channel_cancel(c4_channel *channel, c4_xfer *xfer);
c4_status c4_verbs_channel_counters(c4_channel *channel, c4_edge_counters *counters);

c4_channel *c4_verbs_channel_find(const c4_verbs_link *link, uint32_t comm, uint32_t tag, bool writer);
/* The end of a channel that a frame or a ticket is for, made when they come before it is opened. NULL: no memory. */
c4_channel *c4_verbs_channel_incoming(c4_verbs_link *link, uint32_t comm, uint32_t tag, bool writer);
/* It has something to send, when the link may: from now on; or as before, until a message or a completion changes that. */
void c4_verbs_channel_waits(c4_channel *channel);
void c4_verbs_channel_waits_on(c4_channel *channel);
/* Puts a post behind the others; takes the first one away. */
void c4_verbs_channel_append(c4_channel *channel, c4_xfer *xfer);
void c4_verbs_channel_shift(c4_channel *channel);

/* The link's posts end with `status`. */
void c4_verbs_channels_fail(c4_verbs_link *link, c4_status status);
/* The queue pair has gone: drops writers that nobody has opened, whose tickets are void. (One whose channel is closed for good
 * comes to this too: a reader that closes with a ticket out ends the queue pair.) */
void c4_verbs_channels_prune(c4_verbs_link *link);
void c4_verbs_channels_free(c4_verbs_link *link);

#endif
