/* The objects of ucx and who owns them.
 *
 *     module --owns--> worker, links[nranks] --own--> endpoint, channels, work in UCX's hands
 *
 * One thread at a time uses a module; nothing here locks. UCX calls back from within ucp_worker_progress only. */
#ifndef C4_TRANSPORTS_UCX_INTERNAL_H
#define C4_TRANSPORTS_UCX_INTERNAL_H

#include <c4/transport.h>
#include <stdbool.h>
#include <ucp/api/ucp.h>

#include "base/clock.h"
#include "base/status.h"
#include "transports/posts.h"
#include "transports/ucx/ucx.h"
#include "transports/ucx/wire.h"
#include "wire/handshake.h"

enum { C4_UCX_AM_GREETING = 0, C4_UCX_AM_FRAME = 1 };

/* Default of c4_channel_spec.depth_bytes: unasked-for bytes kept for a channel before its writer is paused. */
#define C4_UCX_DEPTH_BYTES (4u << 20)
/* Of a link's frames, so many that came before an earlier one are kept. */
#define C4_UCX_MAX_EARLY 4096u
/* Handshakes that others have begun, for each rank that they say they are. */
#define C4_UCX_MAX_SERVERS 4u
/* How long an endpoint's failure is kept back: who knows better (a process that died) tells within 1 s. */
#define C4_UCX_GRACE_NS 2000000000u
/* What all cancelled requests of a module together may wait for UCX to let go of their memory, before their links end. */
#define C4_UCX_PATIENCE_NS 300000000u
#define C4_UCX_FLUSH_NS    1000000000u
/* Of module->bounce. */
#define C4_UCX_BOUNCE_BYTES (64u << 10)
/* How long a sleeper sleeps at most before it looks whether UCX has something to do: see progress.c. */
#define C4_UCX_SHORTEST_NAP_NS 1000000u
#define C4_UCX_LONGEST_NAP_NS  128000000u
/* Of so many polls with nothing pending one looks at the network, for those who connect. */
#define C4_UCX_IDLE_POLLS 65536u

typedef struct c4_ucx_link c4_ucx_link;

/* Something that UCX has in its hands, with all it points to. */
typedef struct c4_ucx_work {
    struct c4_ucx_work *next, **at; /* on the link; `at`: who points here */
    struct c4_ucx_work *all;        /* of the module, for its end */
    c4_ucx_link *link;
    c4_xfer *xfer; /* NULL: a message of ours, or forgotten */
    c4_channel *channel;
    void *request;
    void *buffer; /* incoming payload that is to be reduced */
    unsigned char header[C4_UCX_HEADER_BYTES];
    unsigned char payload[C4_HANDSHAKE_MESSAGE_BYTES];
} c4_ucx_work;

/* A message that arrived before its turn, or before it was asked for. */
typedef struct c4_ucx_in {
    struct c4_ucx_in *next;
    c4_ucx_header header;
    void *data; /* UCX's, or `copy` */
    bool rendezvous, held;
    _Alignas(64) unsigned char copy[];
} c4_ucx_in;

typedef struct c4_ucx_handshake {
    uint64_t attempt;
    c4_handshake state;
} c4_ucx_handshake;

typedef enum c4_ucx_state {
    C4_UCX_LIVE,
    C4_UCX_LOST,  /* the endpoint has failed, or was not to be had; told after the grace */
    C4_UCX_ENDED, /* the peer said BYE */
    C4_UCX_FAILED /* `status` says why */
} c4_ucx_state;

struct c4_ucx_link {
    c4_module *module;
    int peer;
    c4_ucx_state state;
    c4_status status;
    uint64_t lost_until_ns;
    ucs_status_t refused; /* why UCX has made no endpoint: as likely as not the peer has just died */
    ucp_ep_h endpoint;
    bool close_endpoint; /* by force, outside of UCX's callbacks */
    /* this rank as client: what it needs to send */
    c4_ucx_handshake *client; /* NULL: not begun, or done */
    bool sends;
    uint64_t send_token, send_sequence;
    /* as server */
    c4_ucx_handshake *servers[C4_UCX_MAX_SERVERS];
    unsigned next_server;
    bool receives;
    uint64_t receive_token, receive_sequence;
    c4_ucx_in *early; /* by sequence */
    unsigned nearly;
    c4_channel *channels;
    c4_channel *expect; /* the next frame is probably its */
    c4_ucx_work *works;
    c4_xfer *lost; /* xfers that UCX gave back with an error, until the link has failed */
    c4_ucx_link *next_failed;
};

struct c4_channel {
    c4_channel *next; /* on its link */
    c4_ucx_link *link;
    uint32_t comm, tag;
    bool writer;
    bool opened;    /* false: frames came before channel_open */
    bool paused;    /* writer: by the peer; reader: the peer ought to be */
    bool told;      /* reader: what the peer has been told of `paused` */
    c4_posts posts; /* reader: receives; writer: sends held back */
    c4_ucx_in *in_first, *in_last;
    size_t in_bytes, depth_bytes;
    c4_edge_counters counters;
};

struct c4_module {
    c4_transport_host host;
    ucp_context_h context;
    ucp_worker_h worker;
    int idle_fd; /* epoll: the worker's and timer_fd; what arm gives out */
    int timer_fd;
    unsigned char address[C4_ADDRESS_MAX_BYTES];
    size_t address_bytes;
    unsigned char **addresses; /* [nranks] of peers; NULL: unknown */
    c4_ucx_link **links;       /* [nranks] NULL until something is wanted of the peer, or it speaks */
    unsigned char *bounce;     /* for reductions of what lies badly */
    void *spare_buffer;        /* C4_UCX_MAX_FRAME_BYTES, for the next reduction; NULL: in use */
    c4_ucx_work *free_works, *all_works;
    size_t nposted;      /* receives that no frame has come for */
    size_t nheld;        /* sends that wait for a handshake or a permission */
    size_t nworks;       /* in UCX's hands */
    unsigned nlost;      /* links */
    unsigned nclosing;   /* endpoints to be closed */
    c4_ucx_link *failed; /* to be reported by progress */
    bool sent;           /* since the last flush began */
    void *flush;         /* its request */
    bool look;           /* the next progress asks UCX, whatever is pending */
    bool closing;
    unsigned idle_polls;
    uint64_t patience_ns, nap_ns;
    uint64_t refused;
};

/* Through the host's log. */
#define C4_UCX_LOG(module, level, ...) (module)->host.log((module)->host.context, level, __VA_ARGS__)

c4_status c4_ucx_status(ucs_status_t status);

#endif
