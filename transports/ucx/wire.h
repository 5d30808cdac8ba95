/* What ucx puts on the wire: headers of its active messages, and the address of a module. Little endian. Pure: no I/O. */
#ifndef C4_TRANSPORTS_UCX_WIRE_H
#define C4_TRANSPORTS_UCX_WIRE_H

#include <c4/transport.h>
#include <stdbool.h>

#define C4_UCX_WIRE_VERSION    1u
#define C4_UCX_HEADER_BYTES    64u
#define C4_UCX_GREETING_BYTES  16u
#define C4_UCX_ADDRESS_BYTES   24u /* before UCX's own */
#define C4_UCX_MAX_FRAME_BYTES ((size_t)1 << 20)

typedef enum c4_ucx_kind {
    C4_UCX_DATA = 1,
    C4_UCX_PAUSE = 2, /* stop sending on this channel: frames nobody has asked for pile up */
    C4_UCX_RESUME = 3,
    C4_UCX_BYE = 4 /* the sender closes its module; nothing follows */
} c4_ucx_kind;

/*  0 u32 kind | tag << 8    4 u32 comm    8 u64 token    16 u64 sequence    24 u32 from    28 zero    32 frame */
typedef struct c4_ucx_header {
    uint8_t kind;
    uint32_t tag, comm; /* the channel */
    uint64_t token;     /* of the link's handshake */
    uint64_t sequence;  /* on this direction of the link, from 0 */
    uint32_t from;      /* job rank */
    c4_frame frame;     /* DATA: as given to send; else zero */
} c4_ucx_header;

void c4_ucx_header_pack(const c4_ucx_header *header, unsigned char wire[C4_UCX_HEADER_BYTES]);
/* False when malformed. */
bool c4_ucx_header_unpack(const void *bytes, size_t nbytes, c4_ucx_header *header);

/* Before a message of the handshake:   0 u32 'to server'   4 u32 from   8 u64 attempt */
typedef struct c4_ucx_greeting {
    bool to_server;
    uint32_t from;
    uint64_t attempt; /* the client's number for this handshake */
} c4_ucx_greeting;

void c4_ucx_greeting_pack(const c4_ucx_greeting *greeting, unsigned char wire[C4_UCX_GREETING_BYTES]);
bool c4_ucx_greeting_unpack(const void *bytes, size_t nbytes, c4_ucx_greeting *greeting);

/* `worker`, UCX's address of `bytes`, after a head that lets another rank see what it is. C4_ERR_COUNT: does not fit. */
c4_status c4_ucx_address_pack(const void *worker, size_t bytes, unsigned version, void *wire, size_t *wire_bytes);
/* NULL when valid and of the same UCX version, else what is wrong with it. */
const char *c4_ucx_address_check(const void *bytes, size_t nbytes, unsigned version);

#endif
