/* loop: the reference transport. Ranks of one process (threads, or one rank talking to itself) exchange frames through
 * queues in memory. Simple first: a mutex per channel, a copy in and a copy out. */
#ifndef C4_TRANSPORTS_LOOP_LOOP_H
#define C4_TRANSPORTS_LOOP_LOOP_H

#include <c4/transport.h>

extern const c4_transport_ops c4_loop_ops;

#endif
