/* Which network interface to listen on. The list comes from the system; the choice is pure.
 *
 * A wish is the text of C4_SOCKET_IFNAME, a comma separated list of
 *     eth         names that begin so                 =eth0       exactly this name
 *     10.0.0.5    the interface with this address     10.0.0.0/8  those with an address in this network
 *     fe80::1%eth0, [2001:db8::5]                     IPv6, with a scope or in brackets too
 * An item that begins with '^' excludes; '^' or '=' at the very beginning goes for all items, as in NCCL. */
#ifndef C4_HOST_NETIF_H
#define C4_HOST_NETIF_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct c4_netif {
    char name[16];
    uint8_t family; /* 4 or 6 */
    unsigned char ip[16];
    uint8_t prefix_bits; /* of its network; 0: not told */
    uint32_t scope;
    bool loopback, link_local, running;
    bool has_default_route;
} c4_netif;

typedef struct c4_netif_wish {
    const char *spec; /* C4_SOCKET_IFNAME; "" or NULL: no wish */
    int family;       /* 4, 6 or 0: any, IPv4 first */
    bool all_local;   /* every rank is on this host: loopback will do */
} c4_netif_wish;

/* Addresses of all interfaces that are up. *count: in capacity, out number written. */
c4_status c4_netif_list(c4_netif *list, size_t *count);

/* The best of the list; C4_ERR_INTERFACE (logged, naming what there is) when none fits the wish. */
c4_status c4_netif_choose(const c4_netif *list, size_t count, const c4_netif_wish *wish, const c4_netif **chosen);

/* All that fit the wish, the best first: what a peer may try one after the other. Returns how many were written, at most
 * `room`. Bridges of containers and loopback come last. */
size_t c4_netif_candidates(const c4_netif *list, size_t count, const c4_netif_wish *wish, const c4_netif **candidates,
                           size_t room);

/* Of those the ones that are worth trying beside the best, at most `room`; *count: in how many there are, out how many are
 * left. Bridges, loopback and link-local addresses lead elsewhere on other hosts, if anywhere; what was asked for by name
 * is all worth it. */
void c4_netif_keep_likely(const c4_netif_wish *wish, const c4_netif **candidates, size_t *count, size_t room);

/* Whether the interface fits a C4_SOCKET_IFNAME text. */
bool c4_netif_matches(const c4_netif *netif, const char *spec);

/* Why an interface was taken or was not, in a few words: "default route", "loopback: other hosts cannot reach it". `chosen`
 * may be NULL. Static text. */
const char *c4_netif_reason(const c4_netif *netif, const c4_netif *chosen, const c4_netif_wish *wish);
/* One line for the log: "eth0 10.0.0.5 (default route), then eth1 10.1.0.5 (no default route); not lo 127.0.0.1 (loopback:
 * ...), ...". `chosen`: nchosen >= 1 of `list`, the best first. Returns text. */
const char *c4_netif_explain(const c4_netif *list, size_t count, const c4_netif_wish *wish,
                             const c4_netif *const *chosen, size_t nchosen, char *text, size_t bytes);
/* False when the text was asked about before in this process: every communicator chooses, the log has it once. */
bool c4_netif_is_news(const char *text);

/* A bridge or pair that containers and virtual machines make: other hosts cannot reach it. By name. */
bool c4_netif_is_virtual(const char *name);
/* Whether both have an address of one network. */
bool c4_netif_same_network(const c4_netif *a, const c4_netif *b);

/* "10.0.0.5" or "fe80::1"; returns text. */
const char *c4_netif_ip_text(uint8_t family, const unsigned char ip[16], char *text, size_t bytes);

#endif
