#include "host/netif.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

const char *c4_netif_ip_text(uint8_t family, const unsigned char ip[16], char *text, size_t bytes)
{
    if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, ip, text, (socklen_t)bytes) == NULL)
        snprintf(text, bytes, "?");
    return text;
}

/* ---- the list ---- */

static void default_route_interface(char name[16])
{
    char line[256];
    name[0] = '\0';
    FILE *file = fopen("/proc/net/route", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof line, file) != NULL) {
        char interface[16];
        unsigned destination;
        if (sscanf(line, "%15s %x", interface, &destination) == 2 && destination == 0) {
            memcpy(name, interface, sizeof interface);
            break;
        }
    }
    fclose(file);
}

static bool netif_from_ifaddr(const struct ifaddrs *item, const char *default_name, c4_netif *netif)
{
    if (item->ifa_addr == NULL || (item->ifa_flags & IFF_UP) == 0)
        return false;
    memset(netif, 0, sizeof *netif);
    if (item->ifa_addr->sa_family == AF_INET) {
        netif->family = 4;
        memcpy(netif->ip, &((const struct sockaddr_in *)(const void *)item->ifa_addr)->sin_addr, 4);
    } else if (item->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)item->ifa_addr;
        netif->family = 6;
        memcpy(netif->ip, &in6->sin6_addr, 16);
        netif->link_local = IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
        netif->scope = in6->sin6_scope_id;
    } else {
        return false;
    }
    snprintf(netif->name, sizeof netif->name, "%s", item->ifa_name);
    netif->loopback = (item->ifa_flags & IFF_LOOPBACK) != 0;
    netif->running = (item->ifa_flags & IFF_RUNNING) != 0;
    netif->has_default_route = strcmp(netif->name, default_name) == 0;
    return true;
}

c4_status c4_netif_list(c4_netif *list, size_t *count)
{
    struct ifaddrs *items;
    char default_name[16];
    size_t n = 0;
    if (getifaddrs(&items) != 0) {
        bool files = errno == EMFILE || errno == ENFILE;
        return c4_fail_errno(files ? C4_ERR_FILES : C4_ERR_INTERFACE, errno, "tcp: cannot list network interfaces");
    }
    default_route_interface(default_name);
    for (const struct ifaddrs *item = items; item != NULL && n < *count; item = item->ifa_next)
        if (netif_from_ifaddr(item, default_name, &list[n]))
            n++;
    freeifaddrs(items);
    *count = n;
    return C4_OK;
}

/* ---- matching ---- */

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    unsigned char mask = (unsigned char)(0xff00u >> bits % 8);
    return bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

/* Address or CIDR. False when the item is none. */
static bool item_is_network(const char *item, unsigned char ip[16], uint8_t *family, unsigned *bits)
{
    char text[INET6_ADDRSTRLEN + 8];
    if (strlen(item) >= sizeof text)
        return false;
    strcpy(text, item);
    char *slash = strchr(text, '/');
    if (slash != NULL)
        *slash = '\0';
    if (inet_pton(AF_INET, text, ip) == 1)
        *family = 4;
    else if (inet_pton(AF_INET6, text, ip) == 1)
        *family = 6;
    else
        return false;
    *bits = *family == 4 ? 32 : 128;
    if (slash == NULL)
        return true;
    char *end;
    unsigned long given = strtoul(slash + 1, &end, 10);
    if (slash[1] == '\0' || *end != '\0' || given > *bits)
        return false;
    *bits = (unsigned)given;
    return true;
}

static bool item_matches(const c4_netif *netif, const char *item, bool exact)
{
    unsigned char ip[16];
    uint8_t family;
    unsigned bits;
    if (item_is_network(item, ip, &family, &bits))
        return family == netif->family && bits_equal(ip, netif->ip, bits);
    return exact ? strcmp(netif->name, item) == 0 : strncmp(netif->name, item, strlen(item)) == 0;
}

bool c4_netif_matches(const c4_netif *netif, const char *spec)
{
    bool exclude = *spec == '^';
    spec += exclude;
    bool exact = *spec == '=';
    spec += exact;
    bool found = false;
    while (*spec != '\0' && !found) {
        char item[64];
        size_t length = strcspn(spec, ",");
        if (length > 0 && length < sizeof item) {
            memcpy(item, spec, length);
            item[length] = '\0';
            found = item_matches(netif, item, exact);
        }
        spec += length + (spec[length] == ',');
    }
    return found != exclude;
}

/* ---- the choice ---- */

/* Bridges and pairs that containers and virtual machines make: other hosts cannot reach them. */
static bool is_virtual(const char *name)
{
    static const char *const prefixes[] = {"docker", "virbr", "br-", "veth", "cni", "flannel", "lxc", "podman", "cali"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static int score(const c4_netif *netif, const c4_netif_wish *wish, bool asked)
{
    int points = 0;
    if (!asked && netif->loopback)
        points += wish->all_local ? 64 : -64;
    if (!asked && is_virtual(netif->name))
        points -= 32;
    points += netif->running ? 16 : 0;
    points -= netif->link_local ? 8 : 0;
    points += netif->has_default_route ? 4 : 0;
    points += netif->family == 4 ? 1 : 0;
    return points;
}

static c4_status no_interface(const c4_netif *list, size_t count, const c4_netif_wish *wish, bool asked)
{
    char there[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof there; i++) {
        char ip[INET6_ADDRSTRLEN];
        int printed = snprintf(there + used, sizeof there - used, "%s%s %s", i > 0 ? ", " : "", list[i].name,
                               c4_netif_ip_text(list[i].family, list[i].ip, ip, sizeof ip));
        used += printed > 0 ? (size_t)printed : 0;
    }
    const char *family = wish->family == 4 ? "IPv4 " : wish->family == 6 ? "IPv6 " : "";
    if (asked)
        return c4_fail(C4_ERR_INTERFACE, "tcp: no %sinterface that is up matches C4_SOCKET_IFNAME=%s; there are: %s",
                       family, wish->spec, count > 0 ? there : "none");
    return c4_fail(C4_ERR_INTERFACE, "tcp: no %sinterface is up; there are: %s", family, count > 0 ? there : "none");
}

c4_status c4_netif_choose(const c4_netif *list, size_t count, const c4_netif_wish *wish, const c4_netif **chosen)
{
    bool asked = wish->spec != NULL && wish->spec[0] != '\0';
    bool by_name = asked && wish->spec[0] != '^'; /* what is asked for is taken, loopback and bridges too */
    const c4_netif *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const c4_netif *netif = &list[i];
        if (wish->family != 0 && netif->family != wish->family)
            continue;
        if (asked && !c4_netif_matches(netif, wish->spec))
            continue;
        if (best == NULL || score(netif, wish, by_name) > score(best, wish, by_name))
            best = netif;
    }
    if (best == NULL)
        return no_interface(list, count, wish, asked);
    *chosen = best;
    return C4_OK;
}
