/* A layer around any transport: counts, traces, and injects the faults that C4_HOOK names, so that tests and exercises
 * can make one transport of one rank misbehave without touching it.
 *
 *     C4_HOOK = rule[,rule...]      rule = action=transport[:duration][@frame:N][#rank]
 *
 *     slow=shm:200us          every frame is held back for 200 us before it is sent
 *     delay=tcp:5ms@frame:3   the 3rd frame that this rank sends is
 *     close=tcp@frame:17      the transport's "close_socket" fault, just before the 17th frame
 *     truncate=tcp@frame:17   its "truncate" fault; likewise garbage=
 *     drop=loop@frame:4#1     rank 1's 4th frame vanishes, as no transport may let it: for tests of hang detection
 *     fail=tcp@frame:2        sending the 2nd frame fails with C4_ERR_LINK
 *     trace=tcp               every frame is logged (level info)
 *     count=tcp               totals are logged at close (level info)
 *
 * Frames count from 1 over all channels of a module. Without @frame a rule holds for every frame, without # on every
 * rank. Durations: ns, us, ms, s. */
#ifndef C4_TRANSPORTS_HOOK_HOOK_H
#define C4_TRANSPORTS_HOOK_HOOK_H

#include <c4/transport.h>

#include "base/options.h"

extern const c4_option_table c4_hook_option_table;

/* A table that behaves as `inner` with the rules of the host's C4_HOOK, read at open. The same for the same `inner`;
 * lives for ever. NULL when more than C4_HOOK_MAX_WRAPPED different tables are wrapped. Any thread. */
#define C4_HOOK_MAX_WRAPPED 8
const c4_transport_ops *c4_hook_wrap(const c4_transport_ops *inner);

#endif
