#include "comm/port.h"

#include <string.h>
#include <unistd.h>

#include "base/status.h"

c4_status c4_comm_port_create(c4_comm *comm)
{
    const c4_options *options = comm->options;
    uint16_t lo = 0, hi = 0;
    int fds[C4_ENDPOINT_ADDRESSES];
    c4_parse_port_range(c4_option_string(options, "C4_PORT_RANGE"), &lo, &hi); /* refused elsewhere when it is none */
    C4_TRY(c4_port_create(lo, hi, &comm->port));
    comm->owns_port = true;
    size_t count = c4_bootstrap_take_listeners(comm->bootstrap, fds);
    c4_status status = C4_OK;
    for (size_t i = 0; i < count; i++) {
        c4_status taken = c4_port_adopt(comm->port, fds[i]);
        status = taken < 0 ? taken : status;
    }
    return status;
}

/* ---- lent to transports ---- */

static int lend_known(void *context, unsigned index, c4_transport_address *address)
{
    const c4_comm *comm = context;
    c4_net_address at;
    uint32_t scope;
    if (!c4_port_address(comm->port, index, &at, &scope))
        return 0;
    *address = (c4_transport_address){.family = at.family, .port = at.port, .scope = scope};
    memcpy(address->ip, at.bytes, sizeof address->ip);
    return 1;
}

static c4_status lend_listen(void *context, c4_transport_address *address)
{
    const c4_comm *comm = context;
    c4_net_address at = {.family = address->family};
    memcpy(at.bytes, address->ip, sizeof at.bytes);
    C4_TRY(c4_port_listen(comm->port, &at, address->scope));
    address->port = at.port;
    return C4_OK;
}

static c4_status lend_open(void *context, const char *transport, unsigned capacity, int *fd)
{
    const c4_comm *comm = context;
    c4_handshake_hello who = {.job_id = comm->job_id, .role = C4_HANDSHAKE_DATA};
    strncpy(who.transport, transport, sizeof who.transport - 1);
    return c4_port_open_inbox(comm->port, &who, capacity, fd);
}

static int lend_take(void *context, int fd)
{
    const c4_comm *comm = context;
    return c4_port_take(comm->port, fd);
}

static void lend_close(void *context, int fd)
{
    const c4_comm *comm = context;
    c4_port_close_inbox(comm->port, fd);
}

const c4_transport_port *c4_comm_port_lend(c4_comm *comm)
{
    comm->lent_port = (c4_transport_port){.struct_size = sizeof comm->lent_port,
                                          .context = comm,
                                          .known = lend_known,
                                          .listen = lend_listen,
                                          .open = lend_open,
                                          .take = lend_take,
                                          .close = lend_close};
    return comm->port ? &comm->lent_port : NULL;
}
