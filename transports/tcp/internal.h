/* The objects of tcp and who owns them.
 *
 *     module --owns--> peers[nranks] --owns, from first use--> links[C4_TCP_SOCKETS] --owns--> channels, tx queue
 *            --owns--> attempts: connections being made or accepted, until their socket becomes a link's
 *
 * One thread at a time uses a module; nothing here locks. */
#ifndef C4_TRANSPORTS_TCP_INTERNAL_H
#define C4_TRANSPORTS_TCP_INTERNAL_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "transports/tcp/frame.h"
#include "transports/tcp/pool.h"
#include "transports/tcp/socket.h"
#include "transports/tcp/stream.h"
#include "transports/tcp/tcp.h"
#include "wire/handshake.h"

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
/* Default of c4_channel_spec.depth_bytes: unasked-for bytes kept for a channel before its writer is paused. */
#define C4_TCP_DEPTH_BYTES (4u << 20)
/* How long a large frame that nobody has asked for yet may block others on its link before it is put aside. */
#define C4_TCP_HOLD_NS 100000u
/* Connections that have not authenticated yet: how many at once, and for how long. */
#define C4_TCP_MAX_STRANGERS 32u
#define C4_TCP_STRANGER_NS   5000000000u
/* While all places are taken: how long one may say nothing (an honest peer speaks as soon as it is connected), and how
 * long the handshake may take (a few round trips). An honest peer tries again. */
#define C4_TCP_CROWDED_SILENT_NS   2000000u
#define C4_TCP_CROWDED_STRANGER_NS 100000000u
/* Of connections in the host's inbox that nobody has looked at: so many beside one for each socket of each peer. */
#define C4_TCP_SPARE_CALLERS 64u
/* How often the log hears of connections that were turned away. */
#define C4_TCP_REFUSED_LOG_NS 10000000000u
/* A peer's next address is tried when the one before has not led to it in this time. */
#define C4_TCP_NEXT_ADDRESS_NS 250000000u
/* Who waits for data connects too after this time, and then less and less often: the peer may be unable to. */
#define C4_TCP_COURTESY_NS         1000000000u
#define C4_TCP_LONGEST_COURTESY_NS 60000000000u
/* Of link.retry_at_ns: attempts are under way and nothing is left to try beside them. */
#define C4_TCP_NEVER_NS ((uint64_t)INT64_MAX)

typedef struct c4_tcp_link c4_tcp_link;
typedef struct c4_tcp_attempt c4_tcp_attempt;

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

/* A frame that arrived before it was asked for. In pool memory. */
typedef struct c4_tcp_in {
    struct c4_tcp_in *next;
    c4_frame frame;
    _Alignas(64) unsigned char payload[];
} c4_tcp_in;

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
    c4_tcp_in *in;
    unsigned char *target;   /* STORE: start of the destination */
    size_t done;             /* payload bytes taken, including `carry` */
    unsigned char carry[16]; /* REDUCE: the beginning of an element whose rest has not come yet */
    size_t carry_bytes;
    uint64_t held_since_ns; /* a large frame waits at the head of the stage; 0: none */
} c4_tcp_rx;

typedef enum c4_tcp_link_state {
    C4_TCP_DOWN, /* no socket; perhaps an attempt */
    C4_TCP_UP,
    C4_TCP_ENDED, /* the peer said BYE */
    C4_TCP_FAILED /* `status` says why */
} c4_tcp_link_state;

struct c4_tcp_link {
    c4_module *module;
    int peer;
    uint32_t index;
    c4_tcp_stream stream; /* fd -1 when not UP */
    c4_tcp_link_state state;
    c4_status status;
    uint64_t generation; /* sockets so far */
    c4_channel *channels;
    c4_channel *expect; /* the next frame is probably its */
    unsigned nposted;   /* receives posted and not complete */
    bool active;        /* in module->active */
    unsigned npaused;   /* writing channels that the peer has paused */
    bool registered;    /* in module->idle_fd */
    uint32_t watched;   /* for these events */
    bool readable;      /* seen when all were asked together */
    c4_tcp_tx tx;
    c4_tcp_rx rx;
    /* while DOWN */
    unsigned nattempts;                  /* of module->attempts, to several of the peer's addresses */
    uint64_t down_since_ns, retry_at_ns; /* 0: not trying */
    uint64_t turned_away_ns;             /* when the peer's port last closed an attempt that the peer has not seen */
    bool turned_away_told;               /* in this outage */
    unsigned tries;
    unsigned round;    /* addresses tried in this round, the best first */
    unsigned nrefused; /* of them, did not authenticate */
    int last_errno;
    uint64_t courtesy_at_ns, courtesy_pause_ns; /* when it connects without anything to send; 0: not waiting yet */
    c4_tcp_link *next_failed;
};

struct c4_channel {
    c4_channel *next; /* on its link */
    c4_tcp_link *link;
    uint32_t comm, tag;
    bool writer;
    bool opened;           /* false: frames came before channel_open */
    bool paused;           /* writer: by the peer; reader: we have paused the peer */
    c4_xfer *first, *last; /* reader: posted receives; writer: sends held back while paused */
    c4_tcp_in *in_first, *in_last;
    size_t in_bytes, depth_bytes;
    c4_edge_counters counters;
};

typedef struct c4_tcp_peer {
    c4_tcp_contact contact;
    bool known, reached;
    unsigned best;                      /* of its addresses, tried first: led to it last time */
    int failures[C4_TCP_MAX_ADDRESSES]; /* errno of the last attempt; 0: none; < 0: it led there */
    c4_tcp_link *links;                 /* NULL until the first channel or connection */
} c4_tcp_peer;

/* Through the host's log. */
#define C4_TCP_LOG(module, level, ...) (module)->host.log((module)->host.context, level, __VA_ARGS__)

struct c4_module {
    c4_transport_host host;
    c4_tcp_contact contact;
    c4_rng rng;
    /* options */
    unsigned nsockets;
    size_t copy_bytes, buffer_bytes;
    uint64_t retry_ns;
    c4_tcp_tls_context *tls; /* NULL: C4_TLS=off */

    /* Where connections come from: an inbox of the host's port, else a socket for each of the contact's addresses. */
    const c4_transport_port *port; /* NULL: sockets of its own */
    int listen_fds[C4_TCP_MAX_ADDRESSES];
    unsigned nlisten_fds;
    int setup_fd; /* epoll: listener and attempts */
    int idle_fd;  /* epoll: links, setup_fd and timer_fd; what arm gives out */
    int timer_fd;
    c4_tcp_peer *peers;
    c4_tcp_link **active;
    size_t nactive, active_capacity;
    c4_tcp_attempt *attempts;
    unsigned nstrangers;
    bool listening; /* the listeners are in setup_fd: off while there are too many strangers */
    uint64_t setup_poll_tsc, setup_period_tsc;
    unsigned idle_polls;                /* without an active link */
    uint64_t refused, refused_unlogged; /* connections turned away */
    uint64_t refused_logged_ns;
    c4_tcp_pool pool;
    unsigned char *bounce;
    c4_tcp_link *failed; /* to be reported by progress */
    bool closing;
    bool truncate; /* injected: cut the next frame in the middle and drop its socket */
};

#endif
