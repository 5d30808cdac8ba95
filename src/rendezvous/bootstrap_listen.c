/* Where a rank listens for its neighbours. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "host/netif.h"
#include "rendezvous/admission_internal.h"
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

/* ---- ranks other than 0 ---- */

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

/* ---- rank 0, once all are in ---- */

/* Rank 0 is where the next communicator's ranks look for it, too. */
static void warn_of_stay(const c4_listen_spec *listen, const c4_net_address *bound)
{
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    c4_log(
        C4_LOG_WARN,
        "rendezvous: this communicator stays at %s, since all ports of C4_PORT_RANGE=%u-%u are in use: as long as it "
        "lives no other can be made from the environment, whose ranks would wait for rank 0 there until "
        "C4_SETUP_TIMEOUT_MS; let the range have a port more for every communicator",
        c4_net_address_format(bound, text), listen->port_lo, listen->port_hi);
}

/* Listens at the same addresses and another port. The door stays in its place when no port of the range is free. */
static c4_status move_door(c4_bootstrap *bootstrap, c4_door *door)
{
    c4_bootstrap_spec *spec = &bootstrap->spec;
    c4_listen_spec listen = {.port_lo = spec->port_lo, .port_hi = spec->port_hi};
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    c4_net_address bound;
    int fd = -1;
    if (getsockname(door->doors[0], (struct sockaddr *)&name, &bytes) < 0 ||
        !c4_net_address_from_sockaddr((struct sockaddr *)&name, &listen.bind))
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, 0, "rank 0: address of its rendezvous: %s", strerror(errno));
    bound = listen.bind;
    listen.bind.port = 0;
    if (name.ss_family == AF_INET6)
        listen.scope = ((struct sockaddr_in6 *)&name)->sin6_scope_id;
    int error = c4_listener_try(&listen, &fd, &bound);
    if (error == EADDRINUSE) {
        warn_of_stay(&listen, &bound);
        return C4_OK;
    }
    if (error)
        return c4_bootstrap_pass_on(bootstrap, c4_listener_fail(error, &listen));
    close(door->doors[0]);
    door->doors[0] = fd;
    for (size_t i = 0; i < spec->naddresses; i++)
        bootstrap->addresses[i].port = bound.port;
    return C4_OK;
}

/* Without a key: none but the AF_UNIX socket matters, and it has a name of its own. */
static c4_status move_local_door(c4_bootstrap *bootstrap, c4_door *door)
{
    c4_status status = listen_locally(bootstrap);
    if (status < 0)
        return c4_bootstrap_pass_on(bootstrap, status);
    close(door->doors[1]);
    close(bootstrap->spec.listen_fd);
    door->doors[0] = door->doors[1] = bootstrap->spec.listen_fd = -1;
    return C4_OK;
}

c4_status c4_bootstrap_keep_door(c4_bootstrap *bootstrap, c4_door *door)
{
    c4_endpoint *own = &bootstrap->endpoint;
    bool local = c4_bootstrap_is_local(bootstrap);
    if (bootstrap->spec.fixed && local) {
        C4_TRY(move_local_door(bootstrap, door));
    } else {
        int *kept = &door->doors[local ? 1 : 0];
        if (bootstrap->spec.fixed)
            C4_TRY(move_door(bootstrap, door));
        bootstrap->listen_fds[bootstrap->nlisten_fds++] = *kept;
        *kept = -1;
        if (local)
            own->tag = bootstrap->addresses[0].port;
        else
            bootstrap->spec.listen_fd = -1;
    }
    own->naddresses = local ? 0 : (uint8_t)bootstrap->spec.naddresses;
    memcpy(own->addresses, bootstrap->addresses, sizeof own->addresses);
    bootstrap->endpoints[0] = *own;
    bootstrap->processes[0] = bootstrap->self;
    return C4_OK;
}
