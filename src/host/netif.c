#include "host/netif.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"

const char *c4_netif_ip_text(uint8_t family, const unsigned char ip[16], char *text, size_t bytes)
{
    if (inet_ntop(family == 6 ? AF_INET6 : AF_INET, ip, text, (socklen_t)bytes) == NULL)
        snprintf(text, bytes, "?");
    return text;
}

/* ---- the list ---- */

/* Names of the interfaces of the first default routes; "" without one. */
typedef struct default_routes {
    char name4[16], name6[16];
} default_routes;

static void read_default_routes(default_routes *routes)
{
    char line[256], interface[16];
    *routes = (default_routes){"", ""};
    FILE *file = fopen("/proc/net/route", "re");
    while (file != NULL && routes->name4[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        unsigned destination;
        if (sscanf(line, "%15s %x", interface, &destination) == 2 && destination == 0)
            memcpy(routes->name4, interface, sizeof interface);
    }
    if (file != NULL)
        fclose(file);
    /* destination, its bits, source, its bits, next hop, metric, references, uses, flags, interface */
    file = fopen("/proc/net/ipv6_route", "re");
    while (file != NULL && routes->name6[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        unsigned bits, flags;
        if (sscanf(line, "%*32s %x %*32s %*x %*32s %*x %*x %*x %x %15s", &bits, &flags, interface) == 3 && bits == 0 &&
            (flags & RTF_REJECT) == 0 && strcmp(interface, "lo") != 0)
            memcpy(routes->name6, interface, sizeof interface);
    }
    if (file != NULL)
        fclose(file);
}

static uint8_t count_bits(const unsigned char *mask, size_t bytes)
{
    int bits = 0;
    for (size_t i = 0; i < bytes; i++)
        bits += __builtin_popcount(mask[i]);
    return (uint8_t)bits;
}

static bool netif_from_ifaddr(const struct ifaddrs *item, const default_routes *routes, c4_netif *netif)
{
    if (item->ifa_addr == NULL || (item->ifa_flags & IFF_UP) == 0)
        return false;
    memset(netif, 0, sizeof *netif);
    snprintf(netif->name, sizeof netif->name, "%s", item->ifa_name);
    if (item->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *mask = (const void *)item->ifa_netmask;
        netif->family = 4;
        memcpy(netif->ip, &((const struct sockaddr_in *)(const void *)item->ifa_addr)->sin_addr, 4);
        netif->prefix_bits = mask ? count_bits((const unsigned char *)&mask->sin_addr, 4) : 0;
        netif->has_default_route = strcmp(netif->name, routes->name4) == 0;
    } else if (item->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)item->ifa_addr, *mask = (const void *)item->ifa_netmask;
        netif->family = 6;
        memcpy(netif->ip, &in6->sin6_addr, 16);
        netif->prefix_bits = mask ? count_bits((const unsigned char *)&mask->sin6_addr, 16) : 0;
        netif->link_local = IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr);
        netif->scope = in6->sin6_scope_id;
        netif->has_default_route = strcmp(netif->name, routes->name6) == 0;
    } else {
        return false;
    }
    netif->loopback = (item->ifa_flags & IFF_LOOPBACK) != 0;
    netif->running = (item->ifa_flags & IFF_RUNNING) != 0;
    return true;
}

c4_status c4_netif_list(c4_netif *list, size_t *count)
{
    struct ifaddrs *items;
    default_routes routes;
    size_t n = 0;
    if (getifaddrs(&items) != 0) {
        bool files = errno == EMFILE || errno == ENFILE;
        return c4_fail_errno(files ? C4_ERR_FILES : C4_ERR_INTERFACE, errno, "tcp: cannot list network interfaces");
    }
    read_default_routes(&routes);
    for (const struct ifaddrs *item = items; item != NULL && n < *count; item = item->ifa_next)
        if (netif_from_ifaddr(item, &routes, &list[n]))
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

/* "10.0.0.5", "10.0.0.0/8", "[2001:db8::5]", "fe80::1%eth0". */
typedef struct network {
    uint8_t family;
    unsigned char ip[16];
    unsigned bits;
    char scope[16]; /* name of the interface; "": any */
} network;

/* Cuts `text` after its brackets, slash and scope are taken out. False when they are malformed. */
static bool take_parts(char *text, const char **bits, const char **scope)
{
    char *slash = strchr(text, '/');
    *bits = slash != NULL ? slash + 1 : NULL;
    if (slash != NULL)
        *slash = '\0';
    size_t length = strlen(text);
    if (text[0] == '[') {
        if (text[length - 1] != ']')
            return false;
        text[length - 1] = '\0';
        memmove(text, text + 1, length - 1);
    }
    char *percent = strchr(text, '%');
    *scope = percent != NULL ? percent + 1 : "";
    if (percent != NULL)
        *percent = '\0';
    return percent == NULL || (**scope != '\0' && strlen(*scope) < sizeof((network *)NULL)->scope);
}

/* False when the item is neither an address nor a network. */
static bool network_parse(const char *item, network *made)
{
    char text[INET6_ADDRSTRLEN + 24], *end;
    const char *bits, *scope;
    if (strlen(item) >= sizeof text)
        return false;
    strcpy(text, item);
    if (!take_parts(text, &bits, &scope))
        return false;
    if (inet_pton(AF_INET, text, made->ip) == 1)
        made->family = 4;
    else if (inet_pton(AF_INET6, text, made->ip) == 1)
        made->family = 6;
    else
        return false;
    made->bits = made->family == 4 ? 32 : 128;
    snprintf(made->scope, sizeof made->scope, "%s", scope);
    if (bits == NULL)
        return true;
    unsigned long given = strtoul(bits, &end, 10);
    if (*bits < '0' || *bits > '9' || *end != '\0' || given > made->bits)
        return false;
    made->bits = (unsigned)given;
    return true;
}

static bool item_matches(const c4_netif *netif, const char *item, bool exact)
{
    network wanted;
    if (network_parse(item, &wanted))
        return wanted.family == netif->family && bits_equal(wanted.ip, netif->ip, wanted.bits) &&
               (wanted.scope[0] == '\0' || strcmp(wanted.scope, netif->name) == 0 ||
                strtoul(wanted.scope, NULL, 10) == netif->scope);
    return exact ? strcmp(netif->name, item) == 0 : strncmp(netif->name, item, strlen(item)) == 0;
}

/* Walks the items of a wish. */
typedef struct items {
    const char *at;
    bool all_exclude, all_exact;
    bool exclude, exact; /* of the item */
    char text[64];
} items;

static items items_begin(const char *spec)
{
    items it = {.at = spec};
    it.all_exclude = *it.at == '^';
    it.at += it.all_exclude;
    it.all_exact = *it.at == '=';
    it.at += it.all_exact;
    return it;
}

static bool items_next(items *it)
{
    while (*it->at != '\0') {
        const char *from = it->at;
        size_t length = strcspn(from, ",");
        it->at += length + (from[length] == ',');
        while (length > 0 && from[length - 1] == ' ')
            length--;
        while (length > 0 && *from == ' ') {
            from++;
            length--;
        }
        bool marked = length > 0 && *from == '^';
        it->exclude = it->all_exclude || marked;
        from += marked;
        length -= marked;
        marked = length > 0 && *from == '=';
        it->exact = it->all_exact || marked;
        from += marked;
        length -= marked;
        if (length == 0 || length >= sizeof it->text)
            continue;
        memcpy(it->text, from, length);
        it->text[length] = '\0';
        return true;
    }
    return false;
}

bool c4_netif_matches(const c4_netif *netif, const char *spec)
{
    items it = items_begin(spec);
    bool wanted = false, any_wanted = !it.all_exclude && strchr(spec, '^') == NULL;
    while (items_next(&it)) {
        bool matches = item_matches(netif, it.text, it.exact);
        if (it.exclude && matches)
            return false;
        any_wanted |= !it.exclude;
        wanted |= !it.exclude && matches;
    }
    return wanted || !any_wanted;
}

/* ---- the choice ---- */

bool c4_netif_is_virtual(const char *name)
{
    static const char *const prefixes[] = {"docker", "virbr",  "br-",     "veth",        "cni",   "flannel",
                                           "lxc",    "lxdbr",  "podman",  "cali",        "vmnet", "vboxnet",
                                           "kube-",  "cilium", "incusbr", "nodelocaldns"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

bool c4_netif_same_network(const c4_netif *a, const c4_netif *b)
{
    return a->family == b->family && a->prefix_bits == b->prefix_bits && a->prefix_bits > 0 &&
           bits_equal(a->ip, b->ip, a->prefix_bits);
}

static bool is_asked(const c4_netif_wish *wish)
{
    return wish->spec != NULL && wish->spec[0] != '\0';
}

/* Something is asked for: then loopback is not preferred for a job on one host. What is asked for alone is taken, loopback
 * and bridges too: only what fits competes. */
static bool is_named(const c4_netif_wish *wish)
{
    if (!is_asked(wish))
        return false;
    items it = items_begin(wish->spec);
    while (items_next(&it))
        if (!it.exclude)
            return true;
    return false;
}

static bool is_own_host(const c4_netif *netif, const c4_netif_wish *wish)
{
    return netif->loopback && wish->all_local && !is_named(wish);
}

static bool leaves_host(const c4_netif *netif, const c4_netif_wish *wish)
{
    return !netif->loopback || (wish->all_local && !is_named(wish));
}

static bool is_real(const c4_netif *netif, const c4_netif_wish *wish)
{
    (void)wish;
    return !c4_netif_is_virtual(netif->name);
}

static bool is_running(const c4_netif *netif, const c4_netif_wish *wish)
{
    (void)wish;
    return netif->running;
}

static bool is_routed(const c4_netif *netif, const c4_netif_wish *wish)
{
    (void)wish;
    return !netif->link_local;
}

static bool has_default_route(const c4_netif *netif, const c4_netif_wish *wish)
{
    (void)wish;
    return netif->has_default_route;
}

static bool is_ipv4(const c4_netif *netif, const c4_netif_wish *wish)
{
    (void)wish;
    return netif->family == 4;
}

/* In order of weight: the first in which two interfaces differ decides. */
static const struct {
    bool (*has)(const c4_netif *netif, const c4_netif_wish *wish);
    const char *won, *lost;
} merits[] = {
    {is_own_host, "all ranks are on this host", "all ranks are on this host: loopback will do"},
    {leaves_host, "other hosts can reach it", "loopback: other hosts cannot reach it"},
    {is_real, "no bridge of containers", "bridge of containers or virtual machines: other hosts cannot reach it"},
    {is_running, "has a carrier", "no carrier"},
    {is_routed, "routed address", "link-local address"},
    {has_default_route, "default route", "no default route"},
    {is_ipv4, "IPv4", "IPv4 comes first (C4_SOCKET_FAMILY)"},
};
#define NMERITS (sizeof merits / sizeof merits[0])

static unsigned score(const c4_netif *netif, const c4_netif_wish *wish)
{
    unsigned points = 0;
    for (size_t i = 0; i < NMERITS; i++)
        points = 2 * points + merits[i].has(netif, wish);
    return points;
}

static bool fits(const c4_netif *netif, const c4_netif_wish *wish)
{
    return (wish->family == 0 || netif->family == wish->family) &&
           (!is_asked(wish) || c4_netif_matches(netif, wish->spec));
}

const char *c4_netif_reason(const c4_netif *netif, const c4_netif *chosen, const c4_netif_wish *wish)
{
    if (wish->family != 0 && netif->family != wish->family)
        return "the other address family (C4_SOCKET_FAMILY)";
    if (!fits(netif, wish))
        return is_named(wish) ? "not in C4_SOCKET_IFNAME" : "excluded by C4_SOCKET_IFNAME";
    if (chosen == NULL || netif == chosen) {
        if (is_named(wish))
            return "asked for by C4_SOCKET_IFNAME";
        for (size_t i = 0; i < NMERITS; i++)
            if (merits[i].has == has_default_route || merits[i].has == is_own_host)
                if (merits[i].has(netif, wish))
                    return merits[i].won;
        return "the best there is";
    }
    for (size_t i = 0; i < NMERITS; i++)
        if (merits[i].has(chosen, wish) != merits[i].has(netif, wish))
            return merits[i].lost;
    return "equally good, but later in the system's list";
}

size_t c4_netif_candidates(const c4_netif *list, size_t count, const c4_netif_wish *wish, const c4_netif **candidates,
                           size_t room)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!fits(&list[i], wish))
            continue;
        size_t at = found;
        while (at > 0 && score(candidates[at - 1], wish) < score(&list[i], wish))
            at--;
        if (at >= room)
            continue;
        found += found < room;
        memmove(&candidates[at + 1], &candidates[at], (found - 1 - at) * sizeof *candidates);
        candidates[at] = &list[i];
    }
    return found;
}

static bool is_likely(const c4_netif *netif, const c4_netif *best, const c4_netif_wish *wish)
{
    if (best->loopback || netif->loopback)
        return netif == best;
    return is_asked(wish) || (netif->running == best->running && netif->link_local == best->link_local &&
                              c4_netif_is_virtual(netif->name) == c4_netif_is_virtual(best->name));
}

void c4_netif_keep_likely(const c4_netif_wish *wish, const c4_netif **candidates, size_t *count, size_t room)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count && kept < room; i++)
        if (is_likely(candidates[i], candidates[0], wish))
            candidates[kept++] = candidates[i];
    *count = kept;
}

/* An IPv4 or IPv6 address that the wish names and this host does not have; NULL: none such. */
static const char *foreign_address(const char *spec, char text[64])
{
    network wanted;
    items it = items_begin(spec);
    while (items_next(&it))
        if (!it.exclude && network_parse(it.text, &wanted) && wanted.bits == (wanted.family == 4 ? 32u : 128u))
            return memcpy(text, it.text, 64);
    return NULL;
}

/* An item with a slash that is no network. */
static const char *malformed_network(const char *spec, char text[64])
{
    network wanted;
    items it = items_begin(spec);
    while (items_next(&it))
        if (strchr(it.text, '/') != NULL && !network_parse(it.text, &wanted))
            return memcpy(text, it.text, 64);
    return NULL;
}

static c4_status no_interface(const c4_netif *list, size_t count, const c4_netif_wish *wish)
{
    char there[256] = "", item[64];
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof there; i++) {
        char ip[INET6_ADDRSTRLEN];
        int printed = snprintf(there + used, sizeof there - used, "%s%s %s", i > 0 ? ", " : "", list[i].name,
                               c4_netif_ip_text(list[i].family, list[i].ip, ip, sizeof ip));
        used += printed > 0 ? (size_t)printed : 0;
    }
    const char *family = wish->family == 4 ? "IPv4 " : wish->family == 6 ? "IPv6 " : "";
    const char *what = count > 0 ? there : "none";
    if (!is_asked(wish))
        return c4_fail(C4_ERR_INTERFACE, "tcp: no %sinterface is up; there are: %s", family, what);
    if (malformed_network(wish->spec, item) != NULL)
        return c4_fail(C4_ERR_INTERFACE,
                       "tcp: C4_SOCKET_IFNAME=%s: %s is not a network; write 10.0.0.0/8; there are: %s", wish->spec,
                       item, what);
    if (foreign_address(wish->spec, item) != NULL)
        return c4_fail(C4_ERR_INTERFACE,
                       "tcp: C4_SOCKET_IFNAME=%s: %s is not an %saddress of this host (a network, 10.0.0.0/8, fits all "
                       "hosts); there are: %s",
                       wish->spec, item, family, what);
    return c4_fail(C4_ERR_INTERFACE, "tcp: no %sinterface that is up matches C4_SOCKET_IFNAME=%s; there are: %s",
                   family, wish->spec, what);
}

c4_status c4_netif_choose(const c4_netif *list, size_t count, const c4_netif_wish *wish, const c4_netif **chosen)
{
    const c4_netif *best;
    if (c4_netif_candidates(list, count, wish, &best, 1) == 0)
        return no_interface(list, count, wish);
    *chosen = best;
    return C4_OK;
}

static size_t add_reason(const c4_netif *netif, const c4_netif *best, const c4_netif_wish *wish, const char *before,
                         char *text, size_t bytes)
{
    char ip[INET6_ADDRSTRLEN];
    int printed =
        snprintf(text, bytes, "%s%s %s (%s)", before, netif->name,
                 c4_netif_ip_text(netif->family, netif->ip, ip, sizeof ip), c4_netif_reason(netif, best, wish));
    return printed > 0 ? (size_t)printed : 0;
}

static bool is_among(const c4_netif *netif, const c4_netif *const *chosen, size_t nchosen)
{
    for (size_t i = 0; i < nchosen; i++)
        if (chosen[i] == netif)
            return true;
    return false;
}

const char *c4_netif_explain(const c4_netif *list, size_t count, const c4_netif_wish *wish,
                             const c4_netif *const *chosen, size_t nchosen, char *text, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < nchosen && used < bytes; i++)
        used += add_reason(chosen[i], chosen[0], wish, i ? ", then " : "", text + used, bytes - used);
    const char *separator = "; not ";
    for (size_t i = 0; i < count && used < bytes; i++) {
        if (is_among(&list[i], chosen, nchosen))
            continue;
        used += add_reason(&list[i], chosen[0], wish, separator, text + used, bytes - used);
        separator = ", ";
    }
    return text;
}

/* Forgets the oldest when there are more than any job has reason for. Without a lock, which a fork could leave behind:
 * two threads may say the same thing at once. */
bool c4_netif_is_news(const char *text)
{
    enum { REMEMBERED = 32 };
    static _Atomic uint64_t known[REMEMBERED];
    static atomic_size_t next;
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, text, strlen(text));
    for (size_t i = 0; i < REMEMBERED; i++)
        if (known[i] == hash)
            return false;
    known[atomic_fetch_add(&next, 1) % REMEMBERED] = hash;
    return true;
}
