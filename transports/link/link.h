/* Links: what a transport over a network has with each peer, while connections come and go underneath.
 *
 *     hub (of a module) --owns--> peers[nranks] --owns, from first use--> links[nlinks] --owns, while UP--> stream
 *                       --owns--> attempts: connections being made or accepted, until their stream becomes a link's
 *
 * This layer chooses where to listen, finds the way to a peer, turns strangers away, authenticates (and encrypts, with
 * C4_TLS=on), decides which of two crossing connections survives, connects again what was lost, and gives up when it is
 * time. The transport says in `wants` what each link is there for, and moves the data: over the stream, as tcp does, or
 * over something else that the two sides agree on with their words, for which the stream then only is the sign of life.
 *
 * One connection, as the two sides see it (it begins on either side; `words` are the transport's, words_bytes long):
 *
 *     client                                             server
 *     DOWN, wants() has SEND (or RECV for a second)      DOWN, or UP and unaware that the connection was lost
 *     connects, authenticates
 *     words(link, NULL, mine)      -- hello, mine ->     [UP: down()] words(link, theirs, mine)
 *     up(link, theirs)             <- welcome, mine --   up(link, theirs)
 *
 * Words that were given may come to nothing: the connection breaks, or one of the other direction survives. Then words()
 * is called again, without down() between, as client or as server, and what was made ready before is void. Only a call of
 * up() says that both have agreed; the client's may come and its server's connection be gone already, which is a loss
 * as any other.
 *
 * One thread at a time uses a hub; nothing here locks. "tlink", a transport's link: src/rendezvous has links too. */
#ifndef C4_TRANSPORTS_LINK_LINK_H
#define C4_TRANSPORTS_LINK_LINK_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/options.h"
#include "base/rng.h"
#include "transports/link/contact.h"
#include "transports/link/pool.h"
#include "transports/link/stream.h"

#define C4_TLINK_REACH_TEXT 512

/* What all transports that listen have in common: addresses, ports, TLS. */
extern const c4_option_table c4_tlink_option_table;

typedef struct c4_tlink c4_tlink;
typedef struct c4_tlink_hub c4_tlink_hub;
typedef struct c4_tlink_attempt c4_tlink_attempt;

typedef enum c4_tlink_state {
    C4_TLINK_DOWN, /* no stream; perhaps an attempt */
    C4_TLINK_UP,
    C4_TLINK_ENDED, /* the peer has closed its module, and nothing was expected of it */
    C4_TLINK_FAILED /* both: for good, `status` says why */
} c4_tlink_state;

/* What a link is there for at the moment. Any of them but READ keeps it among those that progress looks after.
 *     SEND    something waits to be sent: while down it connects at once, and failing is an error
 *     RECV    something of the peer's is awaited: while down it connects after a second, then less and less often, for it
 *             is the peer's to do so, who may be unable to
 *     SETTLE  the peer's word on what was sent is awaited; a peer that leaves now is an error, as with RECV
 *     READ    bytes of the stream matter, so that they end a sleep; RECV and SETTLE mean that too
 *     WRITE   the stream was full: room in it ends a sleep
 *     LOOK    progress is to be called again
 *     SOON    the same, and without any sleep before */
enum {
    C4_TLINK_SEND = 1,
    C4_TLINK_RECV = 1 << 1,
    C4_TLINK_SETTLE = 1 << 2,
    C4_TLINK_READ = 1 << 3,
    C4_TLINK_WRITE = 1 << 4,
    C4_TLINK_LOOK = 1 << 5,
    C4_TLINK_SOON = 1 << 6
};

/* What a transport gives. words, up and progress come from within c4_tlink_hub_progress alone; down and over also from within
 * c4_tlink_lost, _fail, _ended and _activate (a link fails without memory), so that a post may see its own link go; wants
 * comes at any time. "May lose": may call c4_tlink_lost, _fail or _ended, on its own link as the last that it does there,
 * and on others. The callbacks of which that is not said must not. */
typedef struct c4_tlink_ops {
    const char *name;         /* "tcp": in the handshake, the host's inbox, the log */
    const char *links_option; /* "C4_TCP_SOCKETS": links per peer, 1..16, equal on all ranks */
    const char *retry_option; /* "C4_TCP_RETRY_MS": how long a connection is tried again before the link fails */
    size_t link_bytes;        /* of the transport's link, whose first member is a c4_tlink; zeroed when made */
    size_t words_bytes;       /* at most C4_TLINK_WORDS_MAX */
    size_t extra_bytes;       /* of its own in address(), at most C4_TLINK_EXTRA_MAX: hub->extra, peers[].extra */
    /* The stream seldom has something to say, or nothing but that the peer has gone. The layer watches it, whatever `wants`
     * says, and `readable` of progress is true only when there is something (or may be); all of it must be read then. */
    bool guarded;
    const struct c4_tchannel_ops *channels; /* channel.h; NULL: its links have none */

    /* Fills `mine` from nothing (client: theirs is NULL) or from the client's (server). The link is DOWN. C4_OK; > 0: not
     * now, the attempt ends and the client tries again soon; < 0 (logged): the link fails with it, the server's client
     * hears that the link is closed. */
    c4_status (*words)(c4_tlink *link, const unsigned char *theirs, unsigned char *mine);
    /* link->stream is the link's, and UP its state. May lose. */
    void (*up)(c4_tlink *link, const unsigned char *theirs);
    /* Lost: the stream is closed, the state DOWN; what is pending stays so, for the next up. */
    void (*down)(c4_tlink *link);
    /* Failed or ended, the stream closed; `down` has not been called if it was UP. What is pending ends with `status`. Comes
     * once; nothing but fini follows. */
    void (*over)(c4_tlink *link, c4_status status);
    /* Of C4_TLINK_SEND ..; DOWN or UP. No side effects. */
    unsigned (*wants)(const c4_tlink *link);
    /* UP and among those to look after. True when something moved. May lose. */
    bool (*progress)(c4_tlink *link, bool readable);
    /* The hub closes: the last call, whatever the state; pending xfers are dropped. The stream is closed. */
    void (*fini)(c4_tlink *link);
} c4_tlink_ops;

struct c4_tlink {
    c4_tlink_hub *hub;
    int peer;
    uint32_t index;
    c4_tlink_stream stream; /* fd -1 when not UP; the transport reads and writes, and never closes it */
    c4_tlink_state state;
    c4_status status;
    c4_channel *channels; /* channel.h */
    c4_channel *expect;   /* the next frame is probably its */
    unsigned nposted;     /* receives posted and not complete */
    unsigned npaused;     /* writing channels that the peer has paused */
    /* The rest is the layer's. */
    uint64_t generation; /* connections so far */
    bool active;         /* in hub->active */
    bool registered;     /* in hub->idle_fd, or setup_fd when guarded */
    bool readable;       /* seen when all were asked together, or by the guard */
    uint32_t watched;    /* for these events */
    /* while DOWN */
    unsigned nattempts;                  /* of hub->attempts, to several of the peer's addresses */
    uint64_t down_since_ns, retry_at_ns; /* 0: not trying */
    uint64_t turned_away_ns;             /* when the peer's port last closed an attempt that the peer has not seen */
    bool turned_away_told;               /* in this outage */
    unsigned tries;
    unsigned postponed; /* greetings that came to nothing since it was last up */
    unsigned round;     /* addresses tried in this round, the best first */
    unsigned nrefused;  /* of them, did not authenticate */
    int last_errno;
    uint64_t courtesy_at_ns, courtesy_pause_ns; /* when it connects without anything to send; 0: not waiting yet */
    c4_tlink *next_failed;
};

typedef struct c4_tlink_peer {
    c4_tlink_contact contact;
    unsigned char extra[C4_TLINK_EXTRA_MAX]; /* the transport's part of its address */
    bool known, reached;
    unsigned best;                        /* of its addresses, tried first: led to it last time */
    int failures[C4_TLINK_MAX_ADDRESSES]; /* errno of the last attempt; 0: none; < 0: it led there */
    void *links;                          /* nlinks of link_bytes; NULL until the first channel or connection */
} c4_tlink_peer;

/* Embedded in the module of the transport. */
struct c4_tlink_hub {
    const c4_tlink_ops *ops;
    c4_transport_host host;
    unsigned char extra[C4_TLINK_EXTRA_MAX]; /* filled in by the transport before address() */
    unsigned nlinks;                         /* per peer */
    c4_tlink_pool pool;                      /* for frames in flight */
    c4_tlink_peer *peers;
    int idle_fd; /* epoll: links, setup_fd and timer_fd; what arm gives out. A transport may add descriptors of its own,
                   * with data.ptr NULL: they end a sleep */
    bool closing; /* set by the transport before it flushes: connections are refused, peers that leave are no error */
    /* The rest is the layer's. */
    c4_tlink_contact contact;
    c4_rng rng;
    uint64_t retry_ns;
    c4_tlink_tls_context *tls; /* NULL: C4_TLS=off */
    /* Where connections come from: an inbox of the host's port, else a socket for each of the contact's addresses. */
    const c4_transport_port *port; /* NULL: sockets of its own */
    int listen_fds[C4_TLINK_MAX_ADDRESSES];
    unsigned nlisten_fds;
    int setup_fd; /* epoll: listener, attempts and guarded streams */
    int timer_fd;
    c4_tlink **active;
    size_t nactive, active_capacity;
    c4_tlink_attempt *attempts;
    unsigned nstrangers;
    bool listening; /* the listeners are in setup_fd: off while there are too many strangers */
    uint64_t setup_poll_tsc, setup_period_tsc;
    unsigned idle_polls;                /* without an active link */
    uint64_t refused, refused_unlogged; /* connections turned away */
    uint64_t refused_logged_ns;
    c4_tlink *failed; /* to be reported by progress */
};

/* ---- the hub: what a transport's slots of the same name call ---- */

/* Is there an address to listen on? A reason when not. */
c4_status c4_tlink_hub_probe(const c4_transport_host *host, char *reason, size_t reason_bytes);
/* Of a zeroed hub. Reads C4_SOCKET_IFNAME, C4_SOCKET_FAMILY, C4_PORT_RANGE and C4_TLS, which all hubs share, besides the two
 * that ops name. Errors are logged; nothing is left behind then. */
c4_status c4_tlink_hub_open(c4_tlink_hub *hub, const c4_transport_host *host, const c4_tlink_ops *ops);
/* Closes everything at once; nothing when it is not open. A transport flushes before, with `closing` set. */
void c4_tlink_hub_close(c4_tlink_hub *hub);
c4_status c4_tlink_hub_address(const c4_tlink_hub *hub, void *address, size_t *bytes);
/* peers[peer].extra is valid afterwards; a transport that does not like it sets peers[peer].known to false and says why. */
c4_status c4_tlink_hub_add_peer(c4_tlink_hub *hub, int peer, const void *address, size_t bytes, char *reason,
                                size_t reason_bytes);
/* Moves links and attempts, and reports each failed link once. No system call while no link wants anything. */
c4_status c4_tlink_hub_progress(c4_tlink_hub *hub, int *peer);
c4_status c4_tlink_hub_arm(c4_tlink_hub *hub, int *fd);
void c4_tlink_hub_disarm(c4_tlink_hub *hub);

/* ---- links ---- */

/* Makes the peer's links when there are none yet; index < hub->nlinks. C4_ERR_MEMORY (logged). */
c4_status c4_tlink_get(c4_tlink_hub *hub, int peer, unsigned index, c4_tlink **link);
/* The first that exists (after NULL), the next one; NULL: no more. */
c4_tlink *c4_tlink_next(const c4_tlink_hub *hub, const c4_tlink *after);
/* progress looks after the link from now on, as long as it wants something. To be called when that begins. */
void c4_tlink_enlist(c4_tlink *link);
static inline void c4_tlink_activate(c4_tlink *link)
{
    if (!link->active)
        c4_tlink_enlist(link);
}
/* The stream, or what the transport has beside it, is of no use any more. Of an UP link, at any time outside of callbacks that
 * must not: closes the stream, calls down, and connects again as soon as something is wanted (`error`, an errno, for the
 * log). */
void c4_tlink_lost(c4_tlink *link, int error);
/* For good. Progress reports `status` once. Whoever found the fact has logged it. Nothing when it has failed already. */
void c4_tlink_fail(c4_tlink *link, c4_status status);
/* The peer has said that it closes its module: ENDED, or FAILED when something was expected of it. */
void c4_tlink_ended(c4_tlink *link);

/* Where it is, for messages: "10.0.0.5:5000 (Connection refused), [2001:db8::5]:5000 (not tried)"; returns text. */
const char *c4_tlink_reach_text(const c4_tlink_peer *peer, char text[C4_TLINK_REACH_TEXT]);

/* Through the host's log. */
#define C4_TLINK_LOG(hub, level, ...) (hub)->host.log((hub)->host.context, level, __VA_ARGS__)

#endif
