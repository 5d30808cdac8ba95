/* ucx: frames as active messages of UCP, for whatever networks and shared memory UCX reaches. A module of its own.
 *
 *     channel --> link = (peer) --> one UCP endpoint, made on first use; one worker for all
 *
 * A frame is one active message: its header says which channel and which place in the link's order, its payload comes by
 * UCX's eager or rendezvous protocol, whichever UCX finds faster for the size. Active messages rather than tags, because
 * one message then carries header and payload, and a receive that was posted takes the payload without a copy of ours.
 * Frames of different protocols may overtake one another: the reader puts them in order by the link's count.
 *
 * UCX makes connections by itself and knows no keys. So each direction of a link starts with the handshake of
 * src/wire/handshake.h, as messages of their own: who wants to send is its client. It ends with a number that only the two
 * sides know, and that every frame shows; what does not is dropped unseen. Answers go to the address that the rendezvous
 * has told for that rank, never to where a question came from: a stranger gets nothing, and what is kept for it is
 * bounded. Payload is not protected (UCX has no means for it).
 *
 * UCX resends what networks lose. An endpoint that fails is not made again: its link has failed. */
#ifndef C4_TRANSPORTS_UCX_UCX_H
#define C4_TRANSPORTS_UCX_UCX_H

#include <c4/transport.h>

extern const c4_transport_ops c4_ucx_ops;

#endif
