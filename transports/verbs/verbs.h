/* verbs: frames over RC queue pairs of RDMA devices (InfiniBand, RoCE), several rails, any of which may die in mid-frame.
 *
 *     channel --((tag + comm) % links)--> link = (peer, number) --> a queue pair on one rail, made anew on another when lost
 *
 * Small frames travel with their header in one SEND, inline where the device can, from a registered copy into a buffer that
 * the receiver has posted. Large frames go by RDMA WRITE to where the receiver has said, straight between the users' buffers
 * when these are declared (c4_mem_alloc, c4_mem_register): posting a receive sends a *ticket* (address, key, size), so that in
 * the steady state the writer waits for nothing; the header follows in a SEND on the same queue pair, which arrives after the
 * data. A write with immediate data would need a message for the header all the same: 32 bits do not hold it.
 *
 * Flow control is by credits: a link may have as many messages under way as its peer has posted buffers for it, the last few
 * being kept for tickets and acknowledgements. So a receive buffer is never lacking (no RNR).
 *
 * A link counts the frames of each direction from its first queue pair on. Frames are kept until the peer has said that it
 * took them (not until the NIC has: that may die with them). When a queue pair breaks, its successor's greeting carries both
 * counts, and each side goes on with the frame that the other lacks; tickets and credits are void and given anew.
 *
 * The connection on which two links greet one another (transports/link) stays open as their sign of life: it closes when one
 * process dies, which queue pairs do not tell. Data is not encrypted, with C4_TLS=on neither. */
#ifndef C4_TRANSPORTS_VERBS_VERBS_H
#define C4_TRANSPORTS_VERBS_VERBS_H

#include <c4/transport.h>

#include "base/options.h"

extern const c4_transport_ops c4_verbs_ops;
extern const c4_option_table c4_verbs_option_table;

#endif
