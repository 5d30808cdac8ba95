/* The objects of verbs and who owns them.
 *
 *     module --owns--> hub (peers, links), rails, memory, slots
 *     link   --owns--> queue pair, channels, frames on their way
 *
 * One thread at a time uses a module; nothing here locks. */
#ifndef C4_TRANSPORTS_VERBS_INTERNAL_H
#define C4_TRANSPORTS_VERBS_INTERNAL_H

#include "base/clock.h"
#include "base/status.h"
#include "transports/link/link.h"
#include "transports/posts.h"
#include "transports/verbs/path.h"
#include "transports/verbs/rail.h"
#include "transports/verbs/verbs.h"

/* Requests that one queue pair may have under way. */
#define C4_VERBS_SQ_DEPTH 128u
/* So many of them are left to messages that are no data. */
#define C4_VERBS_SQ_SPARE 8u
/* Of the peer's buffers, data leaves so many: for tickets, pauses and announcements, and the last one for acknowledgements,
 * without which neither side could go on. */
#define C4_VERBS_CREDITS_FOR_DATA    4u
#define C4_VERBS_CREDITS_FOR_TICKETS 2u
/* Tickets of one channel that are under way at most. */
#define C4_VERBS_TICKETS         8u
#define C4_VERBS_MAX_FRAME_BYTES ((size_t)512 << 10)
/* Copies of large frames, of all channels, from which on only those are made without which one could not go on. */
#define C4_VERBS_UNITS_AHEAD 16u
/* Default of c4_channel_spec.depth_bytes: unasked-for bytes kept for a channel before its writer is paused. */
#define C4_VERBS_DEPTH_BYTES ((size_t)4 << 20)
/* Headers and small frames up to this size are given to the device with the request, if it can. */
#define C4_VERBS_INLINE_BYTES 256u

/* A small frame that arrived before it was asked for, or the announcement of a large one. */
typedef struct c4_verbs_in {
    struct c4_verbs_in *next;
    c4_frame frame;
    bool announced;
    _Alignas(64) unsigned char payload[];
} c4_verbs_in;

/* Writer: where the peer wants its next large frame. Reader: a posted receive that the peer has a ticket for. */
typedef struct c4_verbs_ticket {
    uint32_t number;
    uint32_t bytes;
    uint32_t rkey;
    uint64_t address;
    c4_xfer *xfer;       /* reader */
    c4_verbs_unit *unit; /* reader: written there; NULL: into the user's memory */
} c4_verbs_ticket;

struct c4_channel {
    c4_channel *next; /* on its link */
    c4_channel *next_waiting;
    c4_verbs_link *link;
    uint32_t comm, tag;
    bool writer;
    bool opened;  /* false: frames came before channel_open */
    bool paused;  /* writer: by the peer; reader: we have paused the peer */
    bool waiting; /* among those of the link that have something to send */
    bool refused; /* reader: the first receive fails as soon as the peer cannot write to it any more */
    /* Writer: the frame at the head has been announced. Reader: a pause or resume is owed. */
    bool announced, tell_pause;
    c4_posts posts;                            /* reader: receives; writer: frames that wait */
    unsigned nlarge;                           /* reader: of them those that want a ticket, or have one */
    c4_verbs_ticket tickets[C4_VERBS_TICKETS]; /* a ring */
    unsigned first_ticket, ntickets;
    uint32_t next_number; /* reader: of tickets, over all queue pairs */
    c4_verbs_in *in_first, *in_last;
    size_t in_bytes, depth_bytes;
    c4_edge_counters counters;
};

struct c4_verbs_link {
    c4_tlink base;
    c4_module *module;
    c4_verbs_link *next_busy;
    bool busy; /* among the module's */
    /* the queue pair */
    c4_verbs_rail *rail;
    struct ibv_qp *qp;
    c4_verbs_cq *cq;
    bool connected;     /* our end is; until then a greeting is under way */
    bool open;          /* the peer's end is ready too */
    bool heard;         /* it has carried something */
    int broken;         /* errno: lost, as soon as nobody is in the middle of something */
    bool deaf;          /* broken, and something that came was not taken: nor is what came behind it */
    unsigned next_rail; /* to try */
    bool greeted;       /* as client, and nothing has come of it yet */
    bool unanswered;    /* nothing came of the last one */
    unsigned failures;  /* greetings and queue pairs that led to nothing, since the last that carried something */
    uint64_t failing_since_ns; /* of the first of them */
    uint64_t failed_ns;        /* of the last of them */
    char trouble[224];         /* why the last one was not even connected; "": it was */
    unsigned inline_bytes;
    uint32_t psn;
    unsigned mtu;                 /* what the peer has been told of ours */
    c4_verbs_gid gid;             /* ours */
    c4_verbs_path path;           /* of the queue pair that is connected */
    uint32_t window, peer_window; /* messages that the peer, and that this side, may have under way */
    /* sending */
    unsigned sq_room, unsignaled;
    bool flushing; /* every request says when it is done */
    unsigned credits;
    c4_verbs_slot *sent_first, *sent_last; /* not acknowledged */
    c4_verbs_slot *again;                  /* lost with a queue pair, to be sent before all others */
    uint64_t sent, acked;                  /* frames, over all queue pairs; those of `again` are not sent */
    unsigned nspans;                       /* of both in the user's memory */
    unsigned nqueued;                      /* posted, waiting at their channels */
    c4_channel *waiting_first, *waiting_last;
    /* receiving */
    c4_verbs_receives receives; /* where the rail has no SRQ */
    uint64_t received;
    uint32_t told;         /* of them the peer knows, modulo 2^32 */
    unsigned owed_credits; /* buffers that are free again, which the peer does not know */
    bool ack_soon;         /* the peer waits to have its span back */
    unsigned nposted, npaused;
    c4_channel *channels, *expect;
};

struct c4_module {
    c4_tlink_hub hub; /* first: a link finds its module by it */
    c4_verbs_rail rails[C4_VERBS_MAX_RAILS];
    unsigned nrails;
    c4_verbs_memory memory;
    c4_verbs_slots slots;
    c4_verbs_link *busy;
    unsigned polls;
    bool software; /* a device that needs this core for its work */
    bool moved;    /* since progress last said so */
    uint64_t taken_back;
    uint64_t retry_ns;
    uint64_t events_tsc, events_period_tsc;
    /* options */
    size_t eager_bytes;
    unsigned window;
    int gid_index, family;
    uint8_t traffic_class, service_level, timeout, retries;
    uint32_t flow_label; /* 0: each queue pair its own */
};

static inline c4_verbs_link *c4_verbs_link_of(c4_tlink *base)
{
    return (c4_verbs_link *)base;
}

/* Too large for a slot. */
static inline bool c4_verbs_is_large(const c4_channel *channel, const c4_xfer *xfer)
{
    return xfer->bytes > channel->link->module->eager_bytes;
}

/* progress has something to do for it beside what arrives. */
static inline void c4_verbs_link_busy(c4_verbs_link *link)
{
    if (link->busy)
        return;
    link->busy = true;
    link->next_busy = link->module->busy;
    link->module->busy = link;
}

/* The queue pair is of no use any more; `error` says why. Takes effect at the next progress. */
static inline void c4_verbs_link_break(c4_verbs_link *link, int error)
{
    if (link->qp == NULL || link->broken != 0)
        return;
    link->broken = error;
    c4_verbs_link_busy(link);
}

#define C4_VERBS_LOG(module, level, ...) C4_TLINK_LOG(&(module)->hub, level, __VA_ARGS__)

#endif
