/* Payload of a link's current frame, from the kernel or the stage to its destination: stored, reduced or dropped. */
#ifndef C4_TRANSPORTS_TCP_DELIVER_H
#define C4_TRANSPORTS_TCP_DELIVER_H

#include <sys/uio.h>

#include "transports/tcp/internal.h"

/* Takes `bytes` from memory. */
void c4_tcp_deliver_copy(c4_tcp_link *link, const unsigned char *from, size_t bytes);
/* Where to read the next piece to; returns its size, at most what the frame still lacks. */
size_t c4_tcp_deliver_space(c4_tcp_link *link, struct iovec *iov);
/* `bytes` have been read to where deliver_space said (or, for the first piece of a frame, to the start of it). */
void c4_tcp_deliver_read(c4_tcp_link *link, size_t bytes);

#endif
