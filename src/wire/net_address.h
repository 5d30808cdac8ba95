/* An IPv4 or IPv6 address with its port: on the wire (20 bytes), as text ("127.0.0.1:4711", "[::1]:4711") and as a
 * sockaddr. No look-ups. */
#ifndef C4_WIRE_NET_ADDRESS_H
#define C4_WIRE_NET_ADDRESS_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define C4_NET_ADDRESS_BYTES      20u
#define C4_NET_ADDRESS_TEXT_BYTES 64u

typedef struct c4_net_address {
    uint8_t family;          /* 4 or 6; 0: none */
    uint16_t port;           /* host byte order */
    unsigned char bytes[16]; /* network byte order; IPv4 uses the first 4, the rest is zero */
} c4_net_address;

void c4_net_address_pack(const c4_net_address *address, unsigned char out[C4_NET_ADDRESS_BYTES]);
/* C4_ERR_PROTOCOL (not logged) for a family that is neither, or stray bytes. */
c4_status c4_net_address_unpack(const unsigned char in[C4_NET_ADDRESS_BYTES], c4_net_address *address);

/* Returns `text`. */
const char *c4_net_address_format(const c4_net_address *address, char text[C4_NET_ADDRESS_TEXT_BYTES]);
/* "1.2.3.4:80" or "[::1]:80", numbers only; false for anything else. */
bool c4_net_address_parse(const char *text, c4_net_address *address);

bool c4_net_address_from_sockaddr(const struct sockaddr *from, c4_net_address *address);
socklen_t c4_net_address_to_sockaddr(const c4_net_address *address, struct sockaddr_storage *to);
bool c4_net_address_is_loopback(const c4_net_address *address);

#endif
