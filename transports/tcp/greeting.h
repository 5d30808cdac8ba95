/* The first message of a link on a connection that has authenticated: which link it is, and what it has received. */
#ifndef C4_TRANSPORTS_TCP_GREETING_H
#define C4_TRANSPORTS_TCP_GREETING_H

#include "transports/tcp/attempt.h"

/* The client greets, the server waits for it. The attempt may be gone afterwards. */
void c4_tcp_greeting_begin(c4_tcp_attempt *attempt);
/* Reads the other side's; once it is whole the connection becomes the link's or is closed. */
void c4_tcp_greeting_read(c4_tcp_attempt *attempt);

#endif
