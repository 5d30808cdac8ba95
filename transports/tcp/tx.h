/* The sending half of a link: queue, retained frames, acknowledgements, writing. */
#ifndef C4_TRANSPORTS_TCP_TX_H
#define C4_TRANSPORTS_TCP_TX_H

#include "transports/tcp/internal.h"

/* Queues a frame and writes what the kernel takes at once. Returns as the transport's send does. */
c4_status c4_tcp_tx_post(c4_channel *channel, c4_xfer *xfer);
/* Queues a control frame; ACKs overtake frames that have not started. */
c4_status c4_tcp_tx_control(c4_tcp_link *link, c4_tcp_kind kind, uint32_t comm, uint32_t tag);
/* Writes what is queued. True when bytes moved. A lost socket is dealt with. */
bool c4_tcp_tx_flush(c4_tcp_link *link);
/* The peer has received everything before `position`. False when that cannot be. */
bool c4_tcp_tx_acknowledge(c4_tcp_link *link, uint64_t position);
/* A new socket: the peer goes on with byte `position`. False when that cannot be. */
bool c4_tcp_tx_rewind(c4_tcp_link *link, uint64_t position);
/* Lets go of a caller's span. */
void c4_tcp_tx_cancel(c4_tcp_link *link, c4_xfer *xfer);
/* The channel goes away: its frames that have begun are finished, the others dropped. */
void c4_tcp_tx_forget_channel(c4_tcp_link *link, c4_channel *channel);
/* Frees the queue; pending xfers get `state`. */
void c4_tcp_tx_fini(c4_tcp_link *link, int state);

static inline bool c4_tcp_tx_pending(const c4_tcp_link *link)
{
    return link->tx.write != NULL;
}

#endif
