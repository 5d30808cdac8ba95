/* Which of this host's addresses the job's sockets are bound to, by C4_SOCKET_IFNAME and C4_SOCKET_FAMILY, else the best.
 * Transports that listen choose by the same rules. */
#ifndef C4_RENDEZVOUS_INTERFACES_H
#define C4_RENDEZVOUS_INTERFACES_H

#include <c4/c4.h>
#include <stdbool.h>

#include "base/options.h"
#include "wire/net_address.h"

/* The user has said which. */
bool c4_interfaces_asked(const c4_options *options);

/* The best first, without ports; *count: in room, out 0 .. room. Says why at info, unless it did before. No link-local
 * addresses of IPv6, which mean something else on every host: none when the user has asked for nothing else.
 * C4_ERR_INTERFACE, logged with what there is, when nothing fits. `options` must hold the table of tcp. */
c4_status c4_interfaces_choose(const c4_options *options, c4_net_address *addresses, size_t *count);
/* The best, for rank 0, which the others must find: C4_ERR_INTERFACE, logged, also when it would be a link-local one. */
c4_status c4_interfaces_choose_one(const c4_options *options, c4_net_address *address);

#endif
