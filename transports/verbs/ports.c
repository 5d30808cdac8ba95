#include "transports/verbs/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/rdma.h"

/* ---- listing ---- */

/* Lanes times the speed of one, IBTA's codes. */
static double rate_of(const struct ibv_port_attr *attributes)
{
    static const struct {
        uint8_t code;
        double gbps;
    } speeds[] = {{1, 2.5}, {2, 5}, {4, 10}, {8, 10.3125}, {16, 14.0625}, {32, 25.78125}, {64, 53.125}, {128, 106.25}};
    static const struct {
        uint8_t code;
        int lanes;
    } widths[] = {{1, 1}, {2, 4}, {4, 8}, {8, 12}, {16, 2}};
    double rate = 0;
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].code == attributes->active_speed)
            rate = speeds[i].gbps * 1e9;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (widths[i].code == attributes->active_width)
            return rate * widths[i].lanes;
    return rate;
}

unsigned c4_verbs_mtu_bytes(enum ibv_mtu mtu)
{
    return mtu >= IBV_MTU_256 && mtu <= IBV_MTU_4096 ? 128u << (unsigned)mtu : 256u;
}

enum ibv_mtu c4_verbs_mtu_code(unsigned bytes)
{
    enum ibv_mtu mtu = IBV_MTU_256;
    while (mtu < IBV_MTU_4096 && c4_verbs_mtu_bytes(mtu + 1) <= bytes)
        mtu++;
    return mtu;
}

int c4_verbs_port_read(struct ibv_context *context, c4_verbs_port *port)
{
    struct ibv_port_attr attributes;
    int error = c4_verbs_calls_in_use->query_port(context, port->number, &attributes);
    if (error != 0)
        return error;
    port->active = attributes.state == IBV_PORT_ACTIVE;
    port->ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
    port->lid = attributes.lid;
    port->mtu = c4_verbs_mtu_bytes(attributes.active_mtu);
    port->rate_bps = rate_of(&attributes);
    return 0;
}

/* 0, or the errno with which the device, or the last port that was, could not be asked. */
static int list_ports_of(struct ibv_context *context, const char *name, int distance, c4_verbs_port *ports,
                         size_t *count, size_t most)
{
    struct ibv_device_attr device;
    int error = c4_verbs_calls_in_use->query_device(context, &device);
    if (error != 0)
        return error;
    for (unsigned number = 1; number <= device.phys_port_cnt && *count < most; number++) {
        c4_verbs_port port = {.number = (uint8_t)number, .distance = distance};
        int unasked = c4_verbs_port_read(context, &port);
        if (unasked != 0) {
            error = unasked;
            continue;
        }
        port.software = c4_rdma_is_software(name);
        snprintf(port.device, sizeof port.device, "%s", name);
        ports[(*count)++] = port;
    }
    return error;
}

static c4_status no_device(int error, char *reason, size_t reason_bytes)
{
    if (error == EACCES || error == EPERM)
        snprintf(reason, reason_bytes,
                 "no permission to open /dev/infiniband/uverbs*: add this user to the group of those files, "
                 "or give the container the devices");
    else if (error == EPROTOTYPE)
        snprintf(reason, reason_bytes,
                 "this machine's RDMA devices are neither InfiniBand nor RoCE (iWARP, EFA): verbs cannot use them");
    else if (error != 0)
        snprintf(reason, reason_bytes, "the RDMA devices cannot be used: %s", strerror(error));
    else
        snprintf(reason, reason_bytes,
                 "this machine has no RDMA device (/sys/class/infiniband is empty; are the NIC's driver and "
                 "ib_uverbs loaded, and is its package for libibverbs installed?)");
    return error == EACCES || error == EPERM ? C4_ERR_SYSTEM : C4_ERR_UNREACHABLE;
}

/* iWARP connects its queue pairs by a connection manager, and others (EFA, usNIC) have none of the kind that is used here. */
static bool is_fit(const struct ibv_device *device)
{
    return device->transport_type == IBV_TRANSPORT_IB;
}

c4_status c4_verbs_ports_list(c4_verbs_port *ports, size_t *count, char *reason, size_t reason_bytes)
{
    int ndevices = 0, error = 0;
    size_t most = *count;
    c4_topology topology = {.ncores = 0}; /* without it every device is near */
    struct ibv_device **devices = c4_verbs_calls_in_use->get_device_list(&ndevices);
    if (devices != NULL && ndevices > 1) /* it takes longer than all else here, and one is the nearest anyway */
        (void)c4_topology_init(&topology);
    *count = 0;
    for (int i = 0; devices != NULL && i < ndevices; i++) {
        if (!is_fit(devices[i])) {
            error = error != 0 ? error : EPROTOTYPE;
            continue;
        }
        struct ibv_context *context = c4_verbs_calls_in_use->open_device(devices[i]);
        if (context == NULL) {
            error = errno != 0 ? errno : ENODEV;
            continue;
        }
        int distance = c4_rdma_distance(&topology, devices[i]->name);
        int unasked = list_ports_of(context, devices[i]->name, distance, ports, count, most);
        error = unasked != 0 ? unasked : error;
        c4_verbs_calls_in_use->close_device(context);
    }
    if (devices != NULL)
        c4_verbs_calls_in_use->free_device_list(devices);
    else if (errno != ENOSYS && errno != ENOENT) /* how libibverbs says that the kernel has no RDMA */
        error = errno;
    c4_topology_fini(&topology);
    return *count > 0 ? C4_OK : no_device(error, reason, reason_bytes);
}

/* ---- choosing ports ---- */

typedef struct wish_item {
    const char *name;
    size_t length;
    bool exact, excludes;
    unsigned long port; /* 0: all */
} wish_item;

static bool item_matches(const wish_item *item, const c4_verbs_port *port)
{
    size_t length = strlen(port->device);
    bool named = item->exact ? length == item->length : length >= item->length;
    return named && strncmp(port->device, item->name, item->length) == 0 &&
           (item->port == 0 || item->port == port->number);
}

/* A sign at the very beginning goes for all items. */
static bool for_all(const char *wish, char sign)
{
    return memchr(wish, sign, strspn(wish, "^=")) != NULL;
}

static const char *next_item(const char *wish, const char *text, wish_item *item)
{
    size_t end = strcspn(text, ",");
    *item = (wish_item){.exact = for_all(wish, '='), .excludes = for_all(wish, '^')};
    for (; end > 0 && (*text == '^' || *text == '='); text++, end--) {
        item->excludes |= *text == '^';
        item->exact |= *text == '=';
    }
    item->name = text;
    item->length = strcspn(text, ",:");
    if (text[item->length] == ':')
        item->port = strtoul(text + item->length + 1, NULL, 10);
    text += end;
    return *text == ',' ? text + 1 : text;
}

/* Does it say which ones, or at most which not? */
static bool names_some(const char *wish)
{
    wish_item item;
    bool some = false;
    for (const char *at = wish; *at != '\0';) {
        at = next_item(wish, at, &item);
        some |= item.length > 0 && !item.excludes;
    }
    return some;
}

static bool wished(const c4_verbs_port *port, const char *wish)
{
    bool named = !names_some(wish), excluded = false;
    wish_item item;
    for (const char *at = wish; *at != '\0';) {
        at = next_item(wish, at, &item);
        if (item.length == 0 || !item_matches(&item, port))
            continue;
        named |= !item.excludes;
        excluded |= item.excludes;
    }
    return named && !excluded;
}

static int by_nearness(const void *left, const void *right)
{
    const c4_verbs_port *a = left, *b = right;
    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    if (a->rate_bps != b->rate_bps)
        return a->rate_bps > b->rate_bps ? -1 : 1;
    int names = strcmp(a->device, b->device);
    return names != 0 ? names : a->number - b->number;
}

static size_t nothing_chosen(const c4_verbs_port *ports, size_t count, const char *wish, char *reason, size_t bytes)
{
    int printed = wish[0] != '\0' ? snprintf(reason, bytes, "no active port fits C4_VERBS_DEVICES=%s; there are", wish)
                                  : snprintf(reason, bytes, "no port of an RDMA device is active; there are");
    size_t used = (size_t)printed;
    for (size_t i = 0; i < count && used < bytes; i++)
        used += (size_t)snprintf(reason + used, bytes - used, " %s:%u (%s)", ports[i].device, ports[i].number,
                                 ports[i].active ? "active" : "down");
    return 0;
}

size_t c4_verbs_ports_choose(c4_verbs_port *ports, size_t count, const char *wish, size_t most, char *reason,
                             size_t reason_bytes)
{
    size_t kept = 0;
    wish = wish != NULL ? wish : "";
    for (size_t i = 0; i < count; i++) {
        if (!ports[i].active || !wished(&ports[i], wish))
            continue;
        c4_verbs_port chosen = ports[i];
        ports[i] = ports[kept];
        ports[kept++] = chosen;
    }
    if (kept == 0)
        return nothing_chosen(ports, count, wish, reason, reason_bytes);
    qsort(ports, kept, sizeof *ports, by_nearness);
    if (!names_some(wish))
        for (size_t i = 1; i < kept; i++)
            if (ports[i].distance != ports[0].distance || ports[i].rate_bps < ports[0].rate_bps)
                kept = i;
    return kept < most ? kept : most;
}

static bool is_chosen(const c4_verbs_port *port, const c4_verbs_port *chosen, size_t nchosen)
{
    for (size_t i = 0; i < nchosen; i++)
        if (strcmp(port->device, chosen[i].device) == 0 && port->number == chosen[i].number)
            return true;
    return false;
}

const char *c4_verbs_port_reason(const c4_verbs_port *port, const c4_verbs_port *chosen, size_t nchosen,
                                 const char *wish, char *text, size_t bytes)
{
    const char *way = names_some(wish) ? "C4_VERBS_DEVICES names it" : "the nearest that is up";
    if (is_chosen(port, chosen, nchosen))
        snprintf(text, bytes, "%s%s", way, names_some(wish) || nchosen == 1 ? "" : ", with others as near and as fast");
    else if (!port->active)
        snprintf(text, bytes, "its link is down");
    else if (!wished(port, wish))
        snprintf(text, bytes, "left out by C4_VERBS_DEVICES=%s", wish);
    else if (nchosen > 0 && !names_some(wish) && port->distance > chosen[0].distance)
        snprintf(text, bytes, "farther from this process's cores than %s:%u: C4_VERBS_DEVICES may name it",
                 chosen[0].device, chosen[0].number);
    else if (nchosen > 0 && !names_some(wish) && port->rate_bps < chosen[0].rate_bps)
        snprintf(text, bytes, "slower than %s:%u: C4_VERBS_DEVICES may name it", chosen[0].device, chosen[0].number);
    else
        snprintf(text, bytes, "there are %zu that are used already", nchosen);
    return text;
}

/* ---- GIDs ---- */

static bool is_ipv4(const uint8_t gid[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(gid, mapped, sizeof mapped) == 0;
}

static bool is_link_local(const uint8_t gid[16])
{
    return is_ipv4(gid) ? gid[12] == 169 && gid[13] == 254 : gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

/* The higher the better; < 0: unfit. */
static int score(const struct ibv_gid_entry *entry, int family)
{
    const uint8_t *raw = entry->gid.raw;
    bool ipv4 = is_ipv4(raw);
    if (entry->gid_type == IBV_GID_TYPE_IB)
        return 1000 - (int)entry->gid_index;
    /* Version 1 does not route and its IPv4 address is only a name; a family that was asked for leaves the other out. */
    if (family != 0 && ipv4 != (family == 4))
        return -1;
    return (entry->gid_type == IBV_GID_TYPE_ROCE_V2 ? 8 : 0) + (is_link_local(raw) ? 0 : 4) + (ipv4 ? 2 : 0);
}

static bool is_set(const uint8_t gid[16])
{
    static const uint8_t none[16];
    return memcmp(gid, none, sizeof none) != 0;
}

static void take(const struct ibv_gid_entry *entry, c4_verbs_gid *gid)
{
    *gid = (c4_verbs_gid){.index = (uint8_t)entry->gid_index,
                          .kind = entry->gid_type == IBV_GID_TYPE_IB        ? C4_VERBS_GID_IB
                                  : entry->gid_type == IBV_GID_TYPE_ROCE_V2 ? C4_VERBS_GID_ROCE_V2
                                                                            : C4_VERBS_GID_ROCE_V1};
    memcpy(gid->raw, entry->gid.raw, sizeof gid->raw);
}

c4_status c4_verbs_gid_choose(const struct ibv_gid_entry *entries, size_t count, uint8_t port, int index, int family,
                              c4_verbs_gid *gid, char *reason, size_t reason_bytes)
{
    const struct ibv_gid_entry *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct ibv_gid_entry *entry = &entries[i];
        if (entry->port_num != port || !is_set(entry->gid.raw) || entry->gid_index > UINT8_MAX)
            continue;
        if (index >= 0 ? (int)entry->gid_index == index
                       : score(entry, family) >= 0 && (best == NULL || score(entry, family) > score(best, family)))
            best = entry;
    }
    if (best != NULL) {
        take(best, gid);
        return C4_OK;
    }
    if (index >= 0)
        snprintf(reason, reason_bytes,
                 "port %u has no GID %d (C4_VERBS_GID_INDEX): `ibv_devinfo -v` lists them; unset it for "
                 "an automatic choice",
                 port, index);
    else
        snprintf(reason, reason_bytes, "port %u has no usable GID%s: its network interface needs an IP address", port,
                 family == 4   ? " of IPv4 (C4_SOCKET_FAMILY)"
                 : family == 6 ? " of IPv6 (C4_SOCKET_FAMILY)"
                               : "");
    return C4_ERR_UNREACHABLE;
}

c4_status c4_verbs_gid_read(struct ibv_context *context, uint8_t port, int index, int family, c4_verbs_gid *gid,
                            char *reason, size_t reason_bytes)
{
    struct ibv_gid_entry *entries = calloc(C4_VERBS_MAX_GIDS, sizeof *entries);
    ssize_t count = entries != NULL ? c4_verbs_calls_in_use->query_gids(context, entries, C4_VERBS_MAX_GIDS) : -ENOMEM;
    c4_status status = C4_ERR_UNREACHABLE;
    if (count < 0)
        snprintf(reason, reason_bytes, "the GIDs of port %u cannot be read: %s", port, strerror((int)-count));
    else
        status = c4_verbs_gid_choose(entries, (size_t)count, port, index, family, gid, reason, reason_bytes);
    free(entries);
    return status;
}

const char *c4_verbs_gid_text(const c4_verbs_gid *gid, char text[C4_VERBS_GID_TEXT])
{
    static const char *const kinds[] = {"InfiniBand", "RoCE v1", "RoCE v2"};
    char ip[INET6_ADDRSTRLEN];
    bool ipv4 = gid->kind != C4_VERBS_GID_IB && is_ipv4(gid->raw);
    inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? gid->raw + 12 : gid->raw, ip, sizeof ip);
    snprintf(text, C4_VERBS_GID_TEXT, "%s (%s)", ip, kinds[gid->kind]);
    return text;
}
