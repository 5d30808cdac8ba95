/* Frames on their way out. */
#ifndef C4_TRANSPORTS_UCX_SEND_H
#define C4_TRANSPORTS_UCX_SEND_H

#include "transports/ucx/internal.h"

/* Gives a frame to UCX; the link sends. Returns the xfer's state. */
c4_status c4_ucx_send_frame(c4_channel *channel, c4_xfer *xfer);
/* A message of ours; the link sends. */
void c4_ucx_send_control(c4_ucx_link *link, c4_ucx_kind kind, uint32_t comm, uint32_t tag);
/* One message of a handshake. */
void c4_ucx_send_greeting(c4_ucx_link *link, const c4_ucx_greeting *greeting, const void *message, size_t bytes);

#endif
