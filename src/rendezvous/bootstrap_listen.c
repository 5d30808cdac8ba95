/* Where a rank other than 0 listens for its neighbours. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "host/netif.h"
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
        return c4_fail_errno(C4_ERR_SYSTEM, errno, "address of the connection to rank 0");
    address->port = 0;
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    c4_net_address_format(address, text);
    if (c4_netif_is_news(text))
        c4_log(C4_LOG_INFO, "interfaces: %s (from where rank 0 is reached; C4_SOCKET_IFNAME would name another)", text);
    return C4_OK;
}

/* An address that was there a moment ago may not be usable yet or any more; it is one of several. */
static c4_status listen_where_possible(c4_bootstrap *bootstrap, const c4_net_address *addresses, size_t count)
{
    const c4_bootstrap_spec *spec = &bootstrap->spec;
    c4_listen_spec listen = {.port_lo = spec->port_lo, .port_hi = spec->port_hi};
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        char text[C4_NET_ADDRESS_TEXT_BYTES];
        listen.bind = addresses[i];
        listen.prefer = kept ? bootstrap->endpoint.addresses[0].port : 0; /* one number at all, where it is free */
        int error = c4_listener_try(&listen, &bootstrap->listen_fds[kept], &bootstrap->endpoint.addresses[kept]);
        if (error && kept == 0 && i + 1 == count)
            return c4_listener_fail(error, &listen);
        if (error)
            c4_log(C4_LOG_WARN, "interfaces: this rank does not listen on %s: %s",
                   c4_net_address_format(&addresses[i], text), strerror(error));
        else
            bootstrap->nlisten_fds = ++kept;
    }
    bootstrap->endpoint.naddresses = (uint8_t)kept;
    return C4_OK;
}

static c4_status listen_for_all(c4_bootstrap *bootstrap)
{
    c4_bootstrap_spec *spec = &bootstrap->spec;
    size_t count = spec->nlisten;
    if (count == 0 && spec->choose_listen) {
        count = C4_ENDPOINT_ADDRESSES;
        C4_TRY(spec->choose_listen(spec->choose_context, bootstrap->listen, &count));
    }
    if (count == 0) {
        C4_TRY(default_address(bootstrap, &bootstrap->listen[0]));
        count = 1;
    }
    return listen_where_possible(bootstrap, bootstrap->listen, count);
}

c4_status c4_bootstrap_listen(c4_bootstrap *bootstrap)
{
    const c4_bootstrap_spec *spec = &bootstrap->spec;
    if (bootstrap->nlisten_fds > 0) /* an earlier attempt has done it */
        return C4_OK;
    bool local = c4_bootstrap_is_local(bootstrap);
    c4_status status = local ? listen_locally(bootstrap) : listen_for_all(bootstrap);
    if (status < 0)
        return c4_bootstrap_pass_on(bootstrap, status);
    if (local)
        return C4_OK;
    for (size_t i = 0; i < spec->nadvertise; i++)
        bootstrap->endpoint.addresses[i] = spec->advertise[i];
    if (spec->nadvertise)
        bootstrap->endpoint.naddresses = (uint8_t)spec->nadvertise;
    return C4_OK;
}
