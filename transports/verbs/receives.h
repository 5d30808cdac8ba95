/* Buffers that messages arrive in. The queue pairs of a rail share them (an SRQ), so that memory follows what peers are allowed
 * to send and not their number; where the device has no shared receive queues each queue pair holds its own, until it ends.
 * They cannot run out (no RNR): a link is granted a window only when that many more are posted. */
#ifndef C4_TRANSPORTS_VERBS_RECEIVES_H
#define C4_TRANSPORTS_VERBS_RECEIVES_H

#include "transports/verbs/slot.h"

/* Buffers are posted again so many at once, or when nothing else arrives: that many more than promised are there. */
#define C4_VERBS_REFILL_AT 8u

typedef struct c4_verbs_link c4_verbs_link;

/* Of a rail, or of one queue pair. */
typedef struct c4_verbs_receives {
    unsigned posted;      /* slots that the device holds, or that were just taken from it */
    c4_verbs_slot *spare; /* to be posted again */
    unsigned nspare;
    c4_verbs_slot *first, *last; /* of one queue pair: those that it holds, in the order in which they come back */
} c4_verbs_receives;

/* Has `count` more slots for a link whose queue pair is to be made on this rail: with an SRQ they are posted now.
 * C4_ERR_MEMORY when the device takes no more (logged). C4_IN_PROGRESS: the device is gone. */
c4_status c4_verbs_receives_promise(c4_verbs_link *link, c4_verbs_rail *rail, unsigned count);
/* The queue pair has been made: without an SRQ its slots are posted. 0 or errno. */
int c4_verbs_receives_begin(c4_verbs_link *link, c4_verbs_rail *rail, struct ibv_qp *qp);
/* It has been destroyed, or was never made, and all its completions have been taken: the promise ends. */
void c4_verbs_receives_end(c4_verbs_link *link, c4_verbs_rail *rail, unsigned count);

/* Posts what is spare of a rail's. 0 or errno. */
int c4_verbs_receives_refill(c4_verbs_rail *rail);
/* A completion has brought this one back. `link`: the queue pair's; NULL: it has gone. */
void c4_verbs_receives_back(c4_verbs_rail *rail, c4_verbs_link *link, c4_verbs_slot *slot);

#endif
