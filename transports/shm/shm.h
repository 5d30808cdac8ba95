/* Shared memory between ranks of one host.
 *
 * - The ranks of a host share one segment, in which each has a part ("arena"): one file and one mapping a rank, however many
 *   peers (segment.h).
 * - Channels: rings in the writer's arena, one writer, up to 64 readers. Windows and posted
 *   frames; a spec's depth_bytes below four times caps.max_frame_bytes lowers that channel's frame limit to a quarter
 *   of it.
 * - c4_mem_alloc memory: one shared region each, mapped by peers on demand.
 * - Idle waiting: read the doorbell word, then arm, then FUTEX_WAIT (shared, not private) on the word with the value
 *   read; disarm after it. Whoever rings adds 1 to the word and wakes. */
#ifndef C4_TRANSPORTS_SHM_SHM_H
#define C4_TRANSPORTS_SHM_SHM_H

#include <c4/transport.h>

#include "base/options.h"

extern const c4_transport_ops c4_shm_ops;
extern const c4_option_table c4_shm_option_table;

#endif
