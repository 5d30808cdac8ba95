/* The prover: shows that the schedules of all ranks together do what the call promises.
 *
 * It runs them symbolically. A byte's value is an expression tree over (rank, input offset) leaves; memory maps intervals to such
 * values, so that a proof costs steps, not elements. Shown, for every interleaving, because the order that is checked is
 * happens-before (vector clocks over lane order, gates and frames), not the order of one run:
 * - every output byte has the right leaves, each once, and AVG's division exactly once; all ranks of an all_reduce have the same
 *   tree (a op b = b op a, nothing else); deterministic calls have the left fold in rank order, in hops of C4_FOLD_SOURCES;
 * - nothing undefined is read, nothing outside the buffers is touched, no input is changed, no gap between v-blocks is written;
 * - concurrent lanes, and ranks that access each other's memory, never touch the same bytes unordered when one of them writes;
 *   a rank does not finish while others may still access its buffers;
 * - a span that left in a frame is not overwritten before a happens-before chain from its receipt;
 * - every frame is received, by a step of equal size and offset; no two lanes race on a channel; frames fit the links;
 * - no deadlock when frames above C4_SCHEDULE_EAGER_BYTES wait for their reader (rendezvous), nor when every channel holds one
 *   frame and a step needs all its frames and all its room at once (windows with one credit).
 * A schedule with a fallback is proved together with it. */
#ifndef C4_SCHEDULE_PROVE_H
#define C4_SCHEDULE_PROVE_H

#include "schedule/schedule.h"

typedef struct c4_proof {
    uint64_t steps; /* step instances run, over all ranks */
    char text[256]; /* why it failed: rank, lane, step and reason; "" on success */
} c4_proof;

/* queries, schedules: [nranks] in rank order; nranks and kind as in queries[0] (SEND pairs with RECV). C4_OK, C4_ERR_INTERNAL
 * with proof->text when something is wrong, C4_ERR_MEMORY. Logs nothing. */
c4_status c4_schedule_prove(const c4_query *queries, c4_schedule *const *schedules, c4_proof *proof);

#endif
