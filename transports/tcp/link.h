/* Links as tcp uses them: the stream carries frames, and the words of the greeting say how many bytes have arrived. */
#ifndef C4_TRANSPORTS_TCP_LINK_H
#define C4_TRANSPORTS_TCP_LINK_H

#include "transports/tcp/internal.h"

extern const c4_tlink_ops c4_tcp_link_ops;

/* Says goodbye, writes what is queued and waits, up to 1 s, until the peers' kernels have it. */
void c4_tcp_flush_all(c4_module *module);

#endif
