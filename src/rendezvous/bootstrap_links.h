/* Shared by bootstrap_links.c (all links of this rank) and bootstrap_edge.c (one of them) only. */
#ifndef C4_RENDEZVOUS_BOOTSTRAP_LINKS_H
#define C4_RENDEZVOUS_BOOTSTRAP_LINKS_H

#include "base/rng.h"
#include "rendezvous/admission_internal.h"

enum { C4_LINKING_MAX_WORDS = 4 * C4_OVERLAY_MAX_NEIGHBOURS };

typedef enum c4_edge_phase {
    C4_EDGE_RESTING, /* until due */
    C4_EDGE_CONNECTING,
    C4_EDGE_SHAKING,
    C4_EDGE_WAITING,  /* for the owner's LINK */
    C4_EDGE_CHOOSING, /* sends LINK */
    C4_EDGE_TAKEN,    /* by a connection that came in: LINK is being sent */
    C4_EDGE_UP
} c4_edge_phase;

typedef struct c4_edge {
    int rank;
    bool owned;  /* by this rank */
    bool active; /* owned, or asked to connect */
    c4_edge_phase phase;
    c4_link link;
    c4_handshake handshake;
    c4_endpoint endpoint;
    unsigned next;     /* which address */
    unsigned failures; /* in a row */
    uint64_t failing_since_ns;
    int error;       /* errno of the last failure */
    char reason[96]; /* of the last failed handshake */
    int peer_error;  /* what the other end met on its way here; 0: not known */
    int pause_ms;
    uint64_t due_ns;
} c4_edge;

typedef struct c4_linking {
    c4_bootstrap *bootstrap;
    c4_door door;
    c4_edge *edges;
    int nedges;
    int missing;
    int in_flight;
    bool has_table, told, all_linked;
    unsigned char *table; /* being received */
    c4_rng rng;
    c4_control_header words[C4_LINKING_MAX_WORDS]; /* to rank 0 */
    int nwords;
} c4_linking;

/* Puts a word to rank 0 into the queue. When there is no room it is dropped: requests are repeated, and for LINKED there
 * is always room. */
void c4_linking_say(c4_linking *l, c4_control_kind kind, int rank, int value);
/* This rank has all its links. */
void c4_linking_complete(c4_linking *l);
/* What the clock says: begin, begin anew. *next_ns is lowered to when to look again. */
c4_status c4_linking_drive_edges(c4_linking *l, uint64_t *next_ns);

void c4_edge_init(c4_edge *e, const c4_bootstrap *bootstrap, int rank);
bool c4_edge_is_in_flight(const c4_edge *e);
/* Ends this rank's own connection, if there is one. */
void c4_edge_rest(c4_linking *l, c4_edge *e, c4_edge_phase phase);
/* `fd` is the link. */
void c4_edge_up(c4_linking *l, c4_edge *e, int fd);
/* As far as its socket lets it go; C4_IN_PROGRESS is no error. */
c4_status c4_edge_step(c4_linking *l, c4_edge *e);
/* What the last attempt met. */
const char *c4_edge_reason(const c4_edge *e);
/* "10.0.0.5:4711", or what there is without a key. Returns text. */
const char *c4_endpoint_text(const c4_endpoint *endpoint, unsigned index, char text[C4_NET_ADDRESS_TEXT_BYTES]);

#endif
