/* Channels: their slots in the table, and what links need of them. */
#ifndef C4_TRANSPORTS_TCP_CHANNEL_H
#define C4_TRANSPORTS_TCP_CHANNEL_H

#include "transports/tcp/internal.h"

c4_status c4_tcp_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel);
void c4_tcp_channel_close(c4_channel *channel);
c4_status c4_tcp_channel_send(c4_channel *channel, c4_xfer *xfer);
c4_status c4_tcp_channel_recv(c4_channel *channel, c4_xfer *xfer);
void c4_tcp_channel_cancel(c4_channel *channel, c4_xfer *xfer);
c4_status c4_tcp_channel_counters(c4_channel *channel, c4_edge_counters *counters);

/* The reader's end that a frame belongs to; made when it comes before channel_open. NULL: the link has failed. */
c4_channel *c4_tcp_channel_incoming(c4_tcp_link *link, uint32_t comm, uint32_t tag);
/* Keeps an unexpected frame, or hands it to a receive that was posted meanwhile. NULL channel: drops it. */
void c4_tcp_channel_store(c4_channel *channel, c4_tcp_in *in);
/* Oldest kept frame; there must be one. */
c4_tcp_in *c4_tcp_channel_take(c4_channel *channel);
/* The peer asks this writer to pause or to go on. */
void c4_tcp_channel_pause(c4_tcp_link *link, uint32_t comm, uint32_t tag, bool pause);
/* Ends everything that is pending on the link's channels with `status`. */
void c4_tcp_channels_fail(c4_tcp_link *link, c4_status status);
void c4_tcp_channels_free(c4_tcp_link *link);

#endif
