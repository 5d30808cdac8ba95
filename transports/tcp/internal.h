/* The objects of tcp and who owns them: links, as transports/link has them, whose streams carry frames.
 *
 *     module = hub of links --owns--> links[C4_TCP_SOCKETS] of each peer --owns--> channels, tx queue
 *
 * One thread at a time uses a module; nothing here locks. */
#ifndef C4_TRANSPORTS_TCP_INTERNAL_H
#define C4_TRANSPORTS_TCP_INTERNAL_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/status.h"
#include "transports/link/channel.h"
#include "transports/tcp/frame.h"
#include "transports/tcp/tcp.h"

/* Bytes read behind the payload that is expected, so that the next header comes with the same system call. */
#define C4_TCP_TAIL_BYTES 4096u
/* A header, 64 KiB of payload and the tail fit: what a predicted read may have to be put back into. */
#define C4_TCP_STAGE_BYTES (C4_TCP_HEADER_BYTES + 65536u + C4_TCP_TAIL_BYTES)
/* Reductions read this much, then reduce it while it is in the cache. */
#define C4_TCP_BOUNCE_BYTES (128u << 10)
/* Copies of sent frames that one link retains at most; what exceeds it waits in the caller's span. */
#define C4_TCP_RETAIN_BYTES (1u << 20)
/* Acknowledge at the latest after so many received bytes. */
#define C4_TCP_ACK_BYTES (256u << 10)
/* How long a large frame that nobody has asked for yet may block others on its link before it is put aside. */
#define C4_TCP_HOLD_NS 100000u

typedef struct c4_tcp_link c4_tcp_link;

/* A frame on its way out: queued, then retained until acknowledged. In pool memory; copied payload follows `head`. */
typedef struct c4_tcp_out {
    struct c4_tcp_out *next;
    c4_channel *channel; /* NULL: control frame, or the channel was closed */
    c4_xfer *xfer;       /* whose span `payload` is; NULL: copied or cancelled */
    const unsigned char *payload;
    void *own_payload; /* pool memory made when the xfer was cancelled */
    c4_xfer *waiting;  /* of a copied frame: complete once the kernel has the bytes, so that they go without progress */
    uint32_t bytes;
    bool started; /* has its place in the stream: `start` is valid, the header is packed */
    uint64_t start;
    c4_tcp_header header;
    unsigned char head[C4_TCP_HEADER_BYTES];
    unsigned char copy[];
} c4_tcp_out;

typedef struct c4_tcp_tx {
    c4_tcp_out *head, *tail;  /* oldest retained .. newest queued */
    c4_tcp_out *last_started; /* last with a place in the stream; NULL: none is retained */
    c4_tcp_out *write;        /* first that is not wholly written; NULL: all are */
    size_t written;           /* bytes of `write` that are */
    uint64_t end;             /* stream position behind last_started */
    uint64_t sent;            /* stream position behind the last byte given to the kernel, over all sockets */
    uint64_t acked;
    size_t retained_bytes; /* memory of outs that hold no caller's span */
    unsigned nspans;       /* outs that hold a caller's span */
    bool blocked;          /* the kernel's buffer is full */
} c4_tcp_tx;

typedef enum c4_tcp_rx_mode { C4_TCP_RX_HEADER, C4_TCP_RX_STORE, C4_TCP_RX_REDUCE, C4_TCP_RX_DROP } c4_tcp_rx_mode;

typedef struct c4_tcp_rx {
    unsigned char *stage;
    size_t head, tail; /* unread part of the stage */
    uint64_t received; /* stream bytes taken from the kernel, over all sockets */
    uint64_t told;     /* of which the peer has been told */
    bool ack_owed;
    c4_tcp_rx_mode mode;
    uint8_t flags;       /* of the current frame */
    c4_frame frame;      /* current */
    c4_channel *channel; /* of the current frame; NULL when closed meanwhile */
    c4_xfer *xfer;       /* receives the current frame; NULL: `in` does, or it is dropped */
    c4_tchannel_in *in;
    unsigned char *target;   /* STORE: start of the destination */
    size_t done;             /* payload bytes taken, including `carry` */
    unsigned char carry[16]; /* REDUCE: the beginning of an element whose rest has not come yet */
    size_t carry_bytes;
    uint64_t held_since_ns; /* a large frame waits at the head of the stage; 0: none */
} c4_tcp_rx;

struct c4_tcp_link {
    c4_tlink base;
    c4_tcp_tx tx;
    c4_tcp_rx rx;
};

struct c4_module {
    c4_tlink_hub hub;
    size_t copy_bytes, buffer_bytes; /* options */
    unsigned char *bounce;
    bool truncate; /* injected: cut the next frame in the middle and drop its socket */
};

static inline c4_module *c4_tcp_module(const c4_tcp_link *link)
{
    return (c4_module *)link->base.hub;
}

/* Bytes from the peer matter: a receive is posted, or an acknowledgement or permission is awaited. */
static inline bool c4_tcp_link_wants_read(const c4_tcp_link *link)
{
    return link->base.nposted > 0 || link->tx.nspans > 0 || link->base.npaused > 0 ||
           link->tx.retained_bytes >= C4_TCP_RETAIN_BYTES / 2 || link->base.hub->closing;
}

static inline unsigned c4_tcp_link_wants(const c4_tcp_link *link)
{
    unsigned wants = 0;
    if (link->tx.write != NULL)
        wants |= C4_TLINK_SEND;
    if (link->base.nposted > 0)
        wants |= C4_TLINK_RECV;
    if (link->tx.nspans > 0 || link->base.npaused > 0)
        wants |= C4_TLINK_SETTLE;
    if (link->tx.retained_bytes >= C4_TCP_RETAIN_BYTES / 2 || link->base.hub->closing)
        wants |= C4_TLINK_READ | C4_TLINK_LOOK;
    if (link->rx.ack_owed)
        wants |= C4_TLINK_LOOK;
    if (link->tx.blocked)
        wants |= C4_TLINK_WRITE;
    if (link->rx.held_since_ns != 0)
        wants |= C4_TLINK_SOON; /* a frame that is soon put aside */
    return wants;
}

#endif
