/* Where a hub listens: on which interfaces, and there on the port of the process or on sockets of its own. */
#ifndef C4_TRANSPORTS_LINK_LISTEN_H
#define C4_TRANSPORTS_LINK_LISTEN_H

#include "transports/link/internal.h"

#define C4_TLINK_CHOICE_TEXT 480 /* with its prefix within what a host may log */

/* Where this rank can listen, without ports; and why there, for the log: "" where the job's port decides. */
c4_status c4_tlink_choose_addresses(const c4_transport_host *host, c4_tlink_contact *contact,
                                    char text[C4_TLINK_CHOICE_TEXT]);
/* Fills hub->contact and listen_fds. What was opened before a failure is closed by unlisten. */
c4_status c4_tlink_listen(c4_tlink_hub *hub);
void c4_tlink_unlisten(c4_tlink_hub *hub);

#endif
