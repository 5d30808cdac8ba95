#include "transports/verbs/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "host/rdma.h"
#include "transports/verbs/wire.h"

struct ibv_context *c4_verbs_device_open(const char *name)
{
    int count = 0;
    struct ibv_context *context = NULL;
    struct ibv_device **devices = c4_verbs_calls_in_use->get_device_list(&count);
    for (int i = 0; devices != NULL && i < count && context == NULL; i++)
        if (strcmp(devices[i]->name, name) == 0)
            context = c4_verbs_calls_in_use->open_device(devices[i]);
    if (devices != NULL)
        c4_verbs_calls_in_use->free_device_list(devices);
    return context;
}

c4_status c4_verbs_device_choose(const c4_transport_host *host, c4_verbs_port ports[C4_VERBS_MAX_PORTS], size_t *there,
                                 size_t *count, char *reason, size_t reason_bytes)
{
    *there = C4_VERBS_MAX_PORTS;
    *count = 0;
    C4_TRY(c4_verbs_ports_list(ports, there, reason, reason_bytes));
    const char *wish = host->option_string(host->context, "C4_VERBS_DEVICES");
    *count = c4_verbs_ports_choose(ports, *there, wish, C4_VERBS_MAX_RAILS, reason, reason_bytes);
    return *count > 0 ? C4_OK : C4_ERR_UNREACHABLE;
}

int c4_verbs_device_family(const c4_transport_host *host)
{
    static const int families[] = {0, 4, 6};
    int64_t family = host->option_int(host->context, "C4_SOCKET_FAMILY");
    return families[family > 0 && family < 3 ? family : 0];
}

/* Of a port that would be used; it is not if it has none. */
static void tell_address(const c4_transport_host *host, const c4_verbs_port *port, c4_transport_device *device)
{
    char text[C4_VERBS_GID_TEXT], reason[sizeof device->reason];
    c4_verbs_gid gid;
    struct ibv_context *context = c4_verbs_device_open(port->device);
    int index = (int)host->option_int(host->context, "C4_VERBS_GID_INDEX");
    c4_status status = C4_ERR_SYSTEM;
    if (context == NULL)
        snprintf(reason, sizeof reason, "it cannot be opened: %s", strerror(errno));
    else
        status =
            c4_verbs_gid_read(context, port->number, index, c4_verbs_device_family(host), &gid, reason, sizeof reason);
    if (context != NULL)
        c4_verbs_calls_in_use->close_device(context);
    if (status == C4_OK) {
        snprintf(device->address, sizeof device->address, "%s", c4_verbs_gid_text(&gid, text));
        return;
    }
    if (device->used)
        snprintf(device->reason, sizeof device->reason, "%s", reason);
    device->used = 0;
}

c4_status c4_verbs_device(const c4_transport_host *host, size_t index, c4_transport_device *device)
{
    c4_verbs_port ports[C4_VERBS_MAX_PORTS];
    size_t there = 0, count = 0;
    char reason[240];
    const char *wish = host->option_string(host->context, "C4_VERBS_DEVICES");
    (void)c4_verbs_device_choose(host, ports, &there, &count, reason,
                                 sizeof reason); /* none may be up: they are told of */
    if (index >= there)
        return C4_ERR_COUNT;
    const c4_verbs_port *port = &ports[index];
    *device = (c4_transport_device){.struct_size = device->struct_size,
                                    .used = index < count,
                                    .mtu = port->mtu,
                                    .rate_bps = port->rate_bps,
                                    .node = c4_rdma_node(port->device),
                                    .distance = port->distance};
    snprintf(device->name, sizeof device->name, "%s:%u", port->device, port->number);
    c4_verbs_port_reason(port, ports, count, wish != NULL ? wish : "", device->reason, sizeof device->reason);
    if (port->active)
        tell_address(host, port, device);
    return C4_OK;
}
