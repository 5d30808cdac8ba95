/* The algorithms' entry points, for the table in algorithms.c, and the two-lane shape that most of them have.
 * What each is, costs and excludes: at the top of its file. */
#ifndef C4_SCHEDULE_BUILDERS_H
#define C4_SCHEDULE_BUILDERS_H

#include "schedule/builder.h"

/* A program whose sends and receives proceed side by side, written as if it were sequential: the send lane is gated on the
 * receives that a send needs. With eager frames a send never waits for its reader, so one lane does both and no gate is needed. */
typedef struct c4_duplex {
    c4_builder *b;
    bool eager;
    uint32_t send_lane, receive_lane;
    uint32_t send_loop, receive_loop; /* where to open the next step */
    uint32_t done_loop;               /* receive loop before the present one, UINT32_MAX: none */
} c4_duplex;

void c4_duplex_open(c4_duplex *duplex, c4_builder *builder, bool eager);
/* What follows starts in new loops; both lanes' loops so far get the same number of iterations. */
void c4_duplex_next(c4_duplex *duplex);
void c4_duplex_close(c4_duplex *duplex);
/* The send step that was just opened waits for everything received so far: in this loop chunk by chunk, else the loop before. */
void c4_duplex_gate_send(c4_duplex *duplex);
/* The receive step that was just opened waits for everything sent so far in this loop. */
void c4_duplex_gate_receive(c4_duplex *duplex);

#define C4_BUILDER(name)                                   \
    c4_status c4_##name##_restrict(const c4_query *query); \
    c4_status c4_##name##_build(const c4_query *query, c4_schedule **schedule)
C4_BUILDER(direct);
C4_BUILDER(rsag);
C4_BUILDER(ring);
C4_BUILDER(rhd);
C4_BUILDER(tree);
C4_BUILDER(bruck);
C4_BUILDER(pairwise);
C4_BUILDER(mapped);
C4_BUILDER(hierarchical);

#endif
