/* Operations that get no further: who is waited for, what that rank is in, and what follows from it.
 *
 * An operation that has not moved for a second asks the rank that it waits for, over the control plane and at most once a
 * second, about its call of the same number. The answer is made on that rank's control thread, from its flight record and from
 * what its engine shows of its own waiting. What follows:
 *
 * - It called something else: C4_ERR_MISMATCH, both calls named.
 * - It has not come so far: named in the log once, after 5 s. But when its thread is inside a call that waits for a rank, that
 *   one is asked about that call, and so on. When this leads back to this rank, which has not called its part either and whose
 *   thread is inside its call too, or to one asked before, then nobody of the circle can go on: C4_ERR_MISMATCH, all named. This holds whatever is slow:
 *   each has not *called* what its neighbour needs, and calls nothing before its own call is over.
 *   A send may end without its receive, when there is room on the way: it counts as waiting for its peer at once where both
 *   share memory, over a network after send_stuck_ms.
 * - It is in the same call, and waits for another, whom this call needs too: that one is asked.
 *
 * All is decided by the thread that drives the engine, so an operation ends where it would end with any other error. */
#ifndef C4_ENGINE_STUCK_H
#define C4_ENGINE_STUCK_H

#include "control/control.h"
#include "engine/internal.h"

c4_stuck *c4_stuck_create(void);
void c4_stuck_destroy(c4_stuck *stuck);

/* Time to look? Some 10 ns. */
bool c4_stuck_due(const c4_engine *engine);
/* Looks at the active operations; may end one. `waited`: the thread is inside c4_engine_wait for it; NULL: it is not. */
void c4_stuck_look(c4_engine *engine, const c4_operation *waited);
/* The thread leaves c4_engine_wait. */
void c4_stuck_leave_wait(c4_engine *engine);

/* Fails with C4_ERR_MISMATCH because of a frame that does not belong to the op's call: asks the writer what it called, for up
 * to a second. */
c4_status c4_stuck_mismatch(c4_engine *engine, const c4_operation *op, const c4_edge *edge, const c4_frame *frame);

/* Has this rank called its part of `call` of rank `owner`? Any thread. */
bool c4_engine_called(const c4_engine *engine, int owner, const c4_call_card *call);

/* "all_reduce #17 of 8 float32 sum on communicator "dp", 3.2 s after the call, waiting to receive from rank 2 (host h)" */
void c4_operation_context(const c4_engine *engine, const c4_operation *op, char *text, size_t bytes);
/* "rank 2 (host h)" */
void c4_engine_describe(const c4_engine *engine, int rank, char text[C4_ENGINE_WHO_BYTES]);

#endif
