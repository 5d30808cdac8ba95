/* A rail: one port of one device, opened. Its queue pairs share a receive queue (receives.h); a completion queue serves as many
 * queue pairs as fit into it, then another one is made. */
#ifndef C4_TRANSPORTS_VERBS_RAIL_H
#define C4_TRANSPORTS_VERBS_RAIL_H

#include "transports/verbs/memory.h"
#include "transports/verbs/receives.h"
#include "transports/verbs/slot.h"

#define C4_VERBS_CQ_ENTRIES 8192u /* of the first */
#define C4_VERBS_CQS        16u

typedef struct c4_verbs_cq {
    struct ibv_cq *cq;
    unsigned room; /* completions that no queue pair has claimed */
} c4_verbs_cq;

/* Which link a completion belongs to. */
typedef struct c4_verbs_qpn_entry {
    uint32_t qpn;
    c4_verbs_link *link; /* NULL: free */
} c4_verbs_qpn_entry;

struct c4_verbs_rail {
    unsigned index;
    c4_verbs_port port;
    bool up;                 /* the port is active, as far as is known */
    bool gone;               /* the device has been removed: never up again */
    bool told_up, told_gone; /* what c4_verbs_rail_events has said of both */
    unsigned nerrors;        /* links lost on it for its own sake */
    struct ibv_context *context;
    struct ibv_pd *pd;
    struct ibv_comp_channel *wake;
    struct ibv_srq *srq; /* NULL: the device has none */
    c4_verbs_cq cqs[C4_VERBS_CQS];
    unsigned ncqs;
    unsigned max_cqe, max_posted; /* limits of the device; of receive slots: of the SRQ, or of each queue pair */
    unsigned promised;            /* receive slots, to links */
    uint32_t slot_bytes;          /* of each */
    c4_verbs_receives receives;   /* of the SRQ */
    c4_verbs_qpn_entry *links;    /* open addressing, capacity a power of two */
    unsigned nlinks, capacity;
};

/* Opens the device behind `port`. Errors are logged; nothing is left behind then. */
c4_status c4_verbs_rail_open(c4_verbs_rail *rail, unsigned index, const c4_verbs_port *port);
/* After its links are gone; before the memory goes that it registered. */
void c4_verbs_rail_close_queues(c4_verbs_rail *rail);
/* After the memory has gone. */
void c4_verbs_rail_close(c4_verbs_rail *rail);

/* A completion queue with room for `entries` more; NULL: the device has no more (logged). Give back with `room`. */
c4_verbs_cq *c4_verbs_rail_cq(c4_verbs_rail *rail, unsigned entries);

bool c4_verbs_rail_add_link(c4_verbs_rail *rail, uint32_t qpn, c4_verbs_link *link);
void c4_verbs_rail_remove_link(c4_verbs_rail *rail, uint32_t qpn);
c4_verbs_link *c4_verbs_rail_find_link(const c4_verbs_rail *rail, uint32_t qpn);

/* Something has failed: true if that is because the device has been removed. Its links are broken then. */
bool c4_verbs_rail_is_gone(c4_verbs_rail *rail);
/* Port down or up, device gone: reads what the device has said, without waiting. True when `up` or `gone` has changed since. */
bool c4_verbs_rail_events(c4_verbs_rail *rail, const c4_transport_host *host);

/* From now on the next completion makes wake->fd readable. False: there may be completions already. */
bool c4_verbs_rail_arm(c4_verbs_rail *rail);
void c4_verbs_rail_disarm(c4_verbs_rail *rail);

#endif
