/* The receiving half of a link: stage, headers, payload to where it belongs, unexpected frames. */
#ifndef C4_TRANSPORTS_TCP_RX_H
#define C4_TRANSPORTS_TCP_RX_H

#include "transports/tcp/internal.h"

/* Reads and delivers while bytes come and somebody wants them. True when bytes moved. A lost socket is dealt with. */
bool c4_tcp_rx_poll(c4_tcp_link *link);
/* Delivers from the stage alone, after a receive was posted. True when a frame moved. */
bool c4_tcp_rx_parse(c4_tcp_link *link);
/* The xfer is no longer there: drops what is left of the frame that it was receiving. */
void c4_tcp_rx_cancel(c4_tcp_link *link, c4_xfer *xfer);
void c4_tcp_rx_forget_channel(c4_tcp_link *link, c4_channel *channel);
c4_status c4_tcp_rx_init(c4_tcp_link *link);
void c4_tcp_rx_fini(c4_tcp_link *link, int state);

#endif
