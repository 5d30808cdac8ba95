/* The first message of a link on a connection that has authenticated: which link it is, and the
 * transport's words. */
#ifndef C4_TRANSPORTS_LINK_GREETING_H
#define C4_TRANSPORTS_LINK_GREETING_H

#include "transports/link/attempt.h"

/* The client greets, the server waits for it. The attempt may be gone afterwards. */
void c4_tlink_greeting_begin(c4_tlink_attempt *attempt);
/* Reads the other side's; once it is whole the connection becomes the link's or is closed. */
void c4_tlink_greeting_read(c4_tlink_attempt *attempt);

#endif
