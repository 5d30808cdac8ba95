/* tcp: frames over several TCP connections per peer, any of which may be lost and made again in mid-frame.
 *
 *     channel --(hash of comm, tag)--> link = (peer, socket index) --> socket, replaced when lost
 *
 * A link carries a stream of frames in each direction and counts its bytes from the first connection on. The count of
 * what was received rides on every frame header; what is not yet acknowledged is retained (small frames as copies, so
 * that their xfer completes at once; large ones in the caller's span, until acknowledged). When a socket is lost, the
 * next one starts with both counts, and each side goes on with exactly the byte that the other misses: nothing is
 * lost, nothing arrives twice, and a reduction in the middle of a frame simply continues.
 */
#ifndef C4_TRANSPORTS_TCP_TCP_H
#define C4_TRANSPORTS_TCP_TCP_H

#include <c4/transport.h>

#include "base/options.h"

extern const c4_transport_ops c4_tcp_ops;
extern const c4_option_table c4_tcp_option_table;

#endif
