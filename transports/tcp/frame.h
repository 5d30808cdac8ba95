/* What tcp puts on the wire: frame headers, the greeting of a link, and the address of a module. Little endian.
 * Pure: no I/O. Everything read is checked against limits before anybody uses it. */
#ifndef C4_TRANSPORTS_TCP_FRAME_H
#define C4_TRANSPORTS_TCP_FRAME_H

#include <c4/transport.h>
#include <stdbool.h>

#define C4_TCP_HEADER_BYTES    48u
#define C4_TCP_HELLO_BYTES     32u
#define C4_TCP_MAX_ADDRESSES   4u
#define C4_TCP_CONTACT_BYTES   (16u + 24u * C4_TCP_MAX_ADDRESSES)
#define C4_TCP_WIRE_VERSION    2u
#define C4_TCP_MAX_FRAME_BYTES ((size_t)16 << 20)
#define C4_TCP_TAG_LIMIT       (1u << 24)

typedef enum c4_tcp_kind {
    C4_TCP_DATA = 1,  /* payload follows */
    C4_TCP_ACK = 2,   /* carries `ack` alone */
    C4_TCP_PAUSE = 3, /* stop sending on this channel: frames nobody has asked for pile up */
    C4_TCP_RESUME = 4,
    C4_TCP_BYE = 5 /* the sender closes its module; nothing follows */
} c4_tcp_kind;

enum {
    C4_TCP_WANT_ACK = 1 /* acknowledge this frame as soon as it has arrived */
};

/* One header: 48 bytes.
 *     0 u32 kind | flags << 4 | tag << 8      4 u32 comm      8 u64 ack      16 frame (32 bytes) */
typedef struct c4_tcp_header {
    uint8_t kind;       /* c4_tcp_kind */
    uint8_t flags;      /* C4_TCP_WANT_ACK */
    uint32_t tag, comm; /* the channel */
    uint64_t ack;       /* bytes of the opposite stream received so far */
    c4_frame frame;     /* DATA: as given to send; else zero */
} c4_tcp_header;

void c4_tcp_header_pack(const c4_tcp_header *header, unsigned char wire[C4_TCP_HEADER_BYTES]);
/* NULL when valid, else what is wrong with it. */
const char *c4_tcp_header_unpack(const unsigned char wire[C4_TCP_HEADER_BYTES], c4_tcp_header *header);

typedef enum c4_tcp_hello_code {
    C4_TCP_HELLO = 1,   /* client: please connect this link */
    C4_TCP_WELCOME = 2, /* server: connected */
    C4_TCP_BUSY = 3,    /* server: my own connection to you is under way, wait for it */
    C4_TCP_STALE = 4,   /* server: a newer connection exists; try again with this generation */
    C4_TCP_CLOSED = 5   /* server: the link was closed or has failed */
} c4_tcp_hello_code;

/* The first message of a link on a connection, after the handshake, in both directions: 32 bytes. */
typedef struct c4_tcp_hello {
    uint16_t code;       /* c4_tcp_hello_code */
    uint32_t index;      /* of the socket, below C4_TCP_SOCKETS */
    uint64_t generation; /* connections of this link so far; WELCOME: with this one */
    uint64_t received;   /* bytes of the peer's stream that have arrived */
} c4_tcp_hello;

void c4_tcp_hello_pack(const c4_tcp_hello *hello, unsigned char wire[C4_TCP_HELLO_BYTES]);
/* False when malformed or of another version. */
bool c4_tcp_hello_unpack(const unsigned char wire[C4_TCP_HELLO_BYTES], c4_tcp_hello *hello);

/* One place where a module listens. */
typedef struct c4_tcp_address {
    uint8_t family; /* 4 or 6 */
    bool loopback;
    uint16_t port;
    uint32_t scope; /* of a link-local IPv6 address */
    unsigned char ip[16];
} c4_tcp_address;

/* All of them, the best first: what a module tells its peers. */
typedef struct c4_tcp_contact {
    uint64_t host; /* equal for processes that can reach one another's loopback */
    bool tls;      /* C4_TLS=on */
    unsigned count;
    c4_tcp_address at[C4_TCP_MAX_ADDRESSES];
} c4_tcp_contact;

/* 16 bytes and 24 for each address; returns how many. */
size_t c4_tcp_contact_pack(const c4_tcp_contact *contact, unsigned char wire[C4_TCP_CONTACT_BYTES]);
/* NULL when valid, else what is wrong with it. */
const char *c4_tcp_contact_unpack(const void *wire, size_t bytes, c4_tcp_contact *contact);

#endif
