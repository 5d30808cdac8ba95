/* Channels: their slots in the table, and what links need of them. */
#ifndef C4_TRANSPORTS_UCX_CHANNEL_H
#define C4_TRANSPORTS_UCX_CHANNEL_H

#include "transports/ucx/internal.h"

c4_status c4_ucx_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel);
void c4_ucx_channel_close(c4_channel *channel);
c4_status c4_ucx_channel_send(c4_channel *channel, c4_xfer *xfer);
c4_status c4_ucx_channel_recv(c4_channel *channel, c4_xfer *xfer);
void c4_ucx_channel_cancel(c4_channel *channel, c4_xfer *xfer);
c4_status c4_ucx_channel_counters(c4_channel *channel, c4_edge_counters *counters);

/* The reader's end that a frame belongs to; made when it comes before channel_open. NULL: the link has failed. */
c4_channel *c4_ucx_channel_incoming(c4_ucx_link *link, uint32_t comm, uint32_t tag);
/* The first posted receive, taken off the list; NULL: none, or kept frames come first. */
c4_xfer *c4_ucx_channel_posted(c4_channel *channel);
/* Keeps a frame that nobody has asked for. */
void c4_ucx_channel_keep(c4_channel *channel, c4_ucx_in *in);
/* Oldest kept frame; there must be one. */
c4_ucx_in *c4_ucx_channel_take(c4_channel *channel);
/* The peer asks this writer to pause or to go on. */
void c4_ucx_channel_pause(c4_ucx_link *link, uint32_t comm, uint32_t tag, bool pause);
/* The link can send now. */
void c4_ucx_channels_go(c4_ucx_link *link);
/* Ends everything that is pending on the link's channels, and is not in UCX's hands, with `status`. */
void c4_ucx_channels_fail(c4_ucx_link *link, c4_status status);
/* Is anything pending on them? */
bool c4_ucx_channels_wait(const c4_ucx_link *link);
void c4_ucx_channels_free(c4_ucx_link *link);

#endif
