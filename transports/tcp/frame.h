/* What tcp puts on the wire: frame headers. (Greetings and addresses are those of links.) Little endian.
 * Pure: no I/O. Everything read is checked against limits before anybody uses it. */
#ifndef C4_TRANSPORTS_TCP_FRAME_H
#define C4_TRANSPORTS_TCP_FRAME_H

#include <c4/transport.h>
#include <stdbool.h>

#define C4_TCP_HEADER_BYTES    48u
#define C4_TCP_MAX_FRAME_BYTES ((size_t)16 << 20)

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

#endif
