/* Connections that come in: letting them in, a bounded number at a time, and turning them away. */
#ifndef C4_TRANSPORTS_LINK_STRANGERS_H
#define C4_TRANSPORTS_LINK_STRANGERS_H

#include "transports/link/attempt.h"

/* Takes what waits at the listeners, as far as there are places. When there are none, the oldest that has said nothing
 * for a while loses its own, then the oldest that does not get through the handshake. */
void c4_tlink_strangers_accept(c4_tlink_hub *hub);
/* One has been released: its place is free. */
void c4_tlink_strangers_left(c4_tlink_hub *hub);
/* When this one loses its place. */
uint64_t c4_tlink_stranger_deadline(const c4_tlink_attempt *attempt);
/* Turns it away. The log hears of it, but seldom: strangers must not fill it. */
void c4_tlink_stranger_refuse(c4_tlink_attempt *attempt, const char *why);

#endif
