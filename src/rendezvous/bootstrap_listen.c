/* Where a rank other than 0 listens for its neighbours. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"

static c4_status listen_locally(c4_bootstrap *bootstrap)
{
    uint32_t number = 0;
    C4_TRY(c4_random_bytes(&number, sizeof number));
    number |= UINT32_C(1) << 31; /* not a port */
    C4_TRY(c4_listener_open_local(bootstrap->spec.job_id, number, &bootstrap->listen_fds[0]));
    bootstrap->nlisten_fds = 1;
    bootstrap->endpoint.tag = number;
    return C4_OK;
}

/* The address from which the root has been reached: most likely the others reach it, too. */
static c4_status default_address(c4_bootstrap *bootstrap, c4_net_address *address)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    if (getsockname(bootstrap->links[0].fd, (struct sockaddr *)&name, &bytes) < 0 ||
        !c4_net_address_from_sockaddr((struct sockaddr *)&name, address))
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rank %d: address of its connection to rank 0: %s",
                                 bootstrap->spec.rank, strerror(errno));
    address->port = 0;
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    c4_log(C4_LOG_INFO, "interfaces: %s (from where rank 0 is reached; C4_SOCKET_IFNAME would name another)",
           c4_net_address_format(address, text));
    return C4_OK;
}

c4_status c4_bootstrap_listen(c4_bootstrap *bootstrap)
{
    const c4_bootstrap_spec *spec = &bootstrap->spec;
    c4_net_address usual;
    if (bootstrap->nlisten_fds > 0) /* an earlier attempt has done it */
        return C4_OK;
    if (c4_bootstrap_is_local(bootstrap))
        return listen_locally(bootstrap);
    if (spec->nlisten == 0)
        C4_TRY(default_address(bootstrap, &usual));
    size_t count = spec->nlisten ? spec->nlisten : 1;
    for (size_t i = 0; i < count; i++) {
        c4_listen_spec listen = {
            .bind = spec->nlisten ? spec->listen[i] : usual, .port_lo = spec->port_lo, .port_hi = spec->port_hi};
        listen.prefer = bootstrap->endpoint.addresses[0].port; /* one number at all addresses, where it is free */
        c4_net_address *bound = &bootstrap->endpoint.addresses[i];
        C4_TRY(c4_listener_open(&listen, &bootstrap->listen_fds[i], bound));
        bootstrap->nlisten_fds = i + 1;
    }
    bootstrap->endpoint.naddresses = (uint8_t)count;
    for (size_t i = 0; i < spec->nadvertise; i++)
        bootstrap->endpoint.addresses[i] = spec->advertise[i];
    if (spec->nadvertise)
        bootstrap->endpoint.naddresses = (uint8_t)spec->nadvertise;
    return C4_OK;
}
