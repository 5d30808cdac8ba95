/* What links put on the wire: the greeting of a link on a connection, and the address of a hub. Little endian.
 * Pure: no I/O. Everything read is checked against limits before anybody uses it. */
#ifndef C4_TRANSPORTS_LINK_CONTACT_H
#define C4_TRANSPORTS_LINK_CONTACT_H

#include <c4/transport.h>
#include <stdbool.h>

#define C4_TLINK_HELLO_BYTES   24u
#define C4_TLINK_WORDS_MAX     256u /* of a transport, behind the hello */
#define C4_TLINK_MAX_ADDRESSES 4u
#define C4_TLINK_EXTRA_MAX     128u /* of a transport, behind the addresses */
#define C4_TLINK_CONTACT_BYTES (16u + 24u * C4_TLINK_MAX_ADDRESSES)
#define C4_TLINK_WIRE_VERSION  2u

_Static_assert(C4_TLINK_CONTACT_BYTES + C4_TLINK_EXTRA_MAX <= C4_ADDRESS_MAX_BYTES, "all of it is one address");

typedef enum c4_tlink_hello_code {
    C4_TLINK_HELLO = 1,   /* client: please connect this link */
    C4_TLINK_WELCOME = 2, /* server: connected */
    C4_TLINK_BUSY = 3,    /* server: try again soon: my own connection to you is under way, or I am not ready */
    C4_TLINK_STALE = 4,   /* server: a newer connection exists; try again with this generation */
    C4_TLINK_CLOSED = 5   /* server: the link was closed or has failed */
} c4_tlink_hello_code;

/* The first message of a link on a connection, after the handshake, in both directions: 24 bytes, and behind them the
 * transport's words, which mean something in HELLO and WELCOME (else they are zero). */
typedef struct c4_tlink_hello {
    uint16_t code;       /* c4_tlink_hello_code */
    uint32_t index;      /* of the link */
    uint64_t generation; /* connections of this link so far; WELCOME: with this one */
} c4_tlink_hello;

void c4_tlink_hello_pack(const c4_tlink_hello *hello, unsigned char wire[C4_TLINK_HELLO_BYTES]);
/* False when malformed or of another version. */
bool c4_tlink_hello_unpack(const unsigned char wire[C4_TLINK_HELLO_BYTES], c4_tlink_hello *hello);

/* One place where a hub listens. */
typedef struct c4_tlink_address {
    uint8_t family; /* 4 or 6 */
    bool loopback;
    uint16_t port;
    uint32_t scope; /* of a link-local IPv6 address */
    unsigned char ip[16];
} c4_tlink_address;

/* All of them, the best first: what a hub tells its peers. */
typedef struct c4_tlink_contact {
    uint64_t host; /* equal for processes that can reach one another's loopback */
    bool tls;      /* C4_TLS=on */
    unsigned count;
    c4_tlink_address at[C4_TLINK_MAX_ADDRESSES];
} c4_tlink_contact;

/* 16 bytes and 24 for each address; returns how many. */
size_t c4_tlink_contact_pack(const c4_tlink_contact *contact, unsigned char wire[C4_TLINK_CONTACT_BYTES]);
/* *used: how many of `bytes` it is; what is behind them is the transport's. NULL when valid, else what is wrong with it. */
const char *c4_tlink_contact_unpack(const void *wire, size_t bytes, c4_tlink_contact *contact, size_t *used);

#endif
