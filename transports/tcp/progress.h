/* Moving everything, and waiting while nothing moves. */
#ifndef C4_TRANSPORTS_TCP_PROGRESS_H
#define C4_TRANSPORTS_TCP_PROGRESS_H

#include "transports/tcp/internal.h"

c4_status c4_tcp_progress(c4_module *module, int *peer);
c4_status c4_tcp_arm(c4_module *module, int *fd);
void c4_tcp_disarm(c4_module *module);
/* Writes what is queued and waits, up to 1 s, until the peers' kernels have it. */
void c4_tcp_flush_all(c4_module *module);

#endif
