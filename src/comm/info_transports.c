/* c4_info_get_transport: what this machine can use, and why not. */
#include <stdio.h>
#include <string.h>

#include "base/export.h"
#include "comm/info.h"
#include "transports/builtin.h"

#define PROBE_RANKS 2 /* the smallest job that needs a transport */

static void describe_capabilities(const c4_transport_caps *caps, char *text, size_t bytes)
{
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {{C4_CAP_WINDOWS, "windows"},
                 {C4_CAP_MAP, "map"},
                 {C4_CAP_FUSED_REDUCE, "fused-reduce"},
                 {C4_CAP_DOORBELL, "doorbell"},
                 {C4_CAP_SAME_HOST, "same-host"}};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (caps->flags & names[i].flag)
            used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? " " : "", names[i].name);
    if (caps->max_readers > 1)
        used += (size_t)snprintf(text + used, bytes - used, "%spublish", used ? " " : "");
    if (caps->zero_copy_bytes != SIZE_MAX)
        snprintf(text + used, bytes - used, "%szero-copy", used ? " " : "");
}

/* "loop" always serves a rank's messages to itself. */
static bool is_used(c4_info *info, const char *name)
{
    if (strcmp(name, "loop") == 0 || c4_info_wants(info, name))
        return true;
    const char *required = c4_option_string(info->options, "C4_REQUIRE_TRANSPORT");
    const char *listed = c4_option_string(info->options, "C4_TRANSPORTS");
    bool alone = c4_setup_transports(info->options) == required;
    snprintf(info->reason, sizeof info->reason, "left out by C4_%s=%.200s", alone ? "REQUIRE_TRANSPORT" : "TRANSPORTS",
             alone ? required : listed);
    return false;
}

C4_API c4_status c4_info_get_transport(size_t index, c4_info_transport *transport)
{
    c4_info *info;
    size_t count = 0;
    C4_TRY(c4_info_check(transport, transport ? transport->struct_size : 0, sizeof *transport));
    C4_TRY(c4_info_open(index == 0, &info));
    while (c4_transports[count].name)
        count++;
    if (index >= count)
        return C4_ERR_COUNT;
    const c4_transport_entry *entry = &c4_transports[index];
    const c4_transport_ops *ops;
    c4_transport_caps caps = {.struct_size = sizeof caps, .zero_copy_bytes = SIZE_MAX};
    c4_transport_host host = c4_info_host(info, PROBE_RANKS);
    info->reason[0] = '\0';
    bool usable = c4_transport_get(entry, c4_option_string(info->options, "C4_MODULE_PATH"), &ops, info->reason,
                                   sizeof info->reason) == C4_OK &&
                  ops->probe(&host, &caps, info->reason, sizeof info->reason) >= 0;
    bool available = usable && is_used(info, entry->name);
    describe_capabilities(&caps, info->capabilities, sizeof info->capabilities);
    *transport = (c4_info_transport){.struct_size = transport->struct_size,
                                     .name = entry->name,
                                     .available = available,
                                     .reason = info->reason,
                                     .latency_us = caps.latency_s * 1e6,
                                     .bandwidth_gbs = caps.seconds_per_byte > 0 ? 1e-9 / caps.seconds_per_byte : 0,
                                     .capabilities = info->capabilities};
    return C4_OK;
}

C4_API c4_status c4_info_get_device(size_t transport, size_t index, c4_info_device *device)
{
    c4_info *info;
    size_t count = 0;
    C4_TRY(c4_info_check(device, device ? device->struct_size : 0, sizeof *device));
    C4_TRY(c4_info_open(false, &info));
    while (c4_transports[count].name)
        count++;
    if (transport >= count)
        return C4_ERR_COUNT;
    const c4_transport_ops *ops;
    c4_transport_host host = c4_info_host(info, PROBE_RANKS);
    if (c4_transport_get(&c4_transports[transport], c4_option_string(info->options, "C4_MODULE_PATH"), &ops,
                         info->reason, sizeof info->reason) != C4_OK)
        return C4_ERR_COUNT;
    info->device = (c4_transport_device){.struct_size = sizeof info->device};
    C4_TRY(ops->device(&host, index, &info->device));
    *device = (c4_info_device){.struct_size = device->struct_size,
                               .name = info->device.name,
                               .used = info->device.used,
                               .reason = info->device.reason,
                               .address = info->device.address,
                               .mtu = info->device.mtu,
                               .rate_gbps = info->device.rate_bps * 1e-9,
                               .node = info->device.node,
                               .distance = info->device.distance};
    return C4_OK;
}
