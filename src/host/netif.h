/* Which network interface to listen on. The list comes from the system; the choice is pure. */
#ifndef C4_HOST_NETIF_H
#define C4_HOST_NETIF_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct c4_netif {
    char name[16];
    uint8_t family; /* 4 or 6 */
    unsigned char ip[16];
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

/* Whether the interface fits a C4_SOCKET_IFNAME text. */
bool c4_netif_matches(const c4_netif *netif, const char *spec);

/* "10.0.0.5" or "fe80::1"; returns text. */
const char *c4_netif_ip_text(uint8_t family, const unsigned char ip[16], char *text, size_t bytes);

#endif
