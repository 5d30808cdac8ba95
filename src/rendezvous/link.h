/* A control connection: non-blocking, framed by control_message.h. Used by the bootstrap and by the control thread.
 * Nothing here logs or blocks. */
#ifndef C4_RENDEZVOUS_LINK_H
#define C4_RENDEZVOUS_LINK_H

#include <stddef.h>
#include <sys/uio.h>

#include "wire/control_message.h"

typedef struct c4_link {
    int fd; /* -1: closed */
    /* receiving */
    size_t got;               /* bytes of the message so far, header included */
    c4_control_header header; /* valid once got >= C4_CONTROL_HEADER_BYTES */
    unsigned char head[C4_CONTROL_HEADER_BYTES];
    /* sending */
    size_t sent; /* bytes of the message so far, header included */
} c4_link;

void c4_link_init(c4_link *link, int fd); /* takes the descriptor, which must be non-blocking */
void c4_link_close(c4_link *link);

/* C4_IN_PROGRESS until a header is there; then C4_OK with the same link->header until the payload was taken.
 * C4_ERR_LINK: the peer closed (errno 0) or the connection broke; C4_ERR_PROTOCOL: not a header. */
c4_status c4_link_receive_header(c4_link *link, uint32_t nranks);
/* Receives the whole payload (link->header.bytes of it) into `payload`; to be called with the same buffer until it
 * returns other than C4_IN_PROGRESS. C4_OK makes room for the next header. */
c4_status c4_link_receive_payload(c4_link *link, void *payload);
/* The same into `nparts` pieces of memory, which hold exactly the payload. */
c4_status c4_link_receive_parts(c4_link *link, const struct iovec *parts, size_t nparts);
/* Drops the payload, or what is left of it. */
c4_status c4_link_skip_payload(c4_link *link);
/* Sends one message; to be called with the same arguments until it returns other than C4_IN_PROGRESS. */
c4_status c4_link_send(c4_link *link, const c4_control_header *header, const void *payload);
/* The same with the payload in `nparts` (0 .. 2) pieces. */
c4_status c4_link_send_parts(c4_link *link, const c4_control_header *header, const struct iovec *parts, size_t nparts);
/* Which kind the next message has, if its header is there and nothing of it was received: looks, takes nothing.
 * C4_IN_PROGRESS: nothing yet; C4_ERR_LINK: ended, with nothing left to read; C4_ERR_PROTOCOL: not a header. */
c4_status c4_link_peek_kind(const c4_link *link, uint32_t nranks, c4_control_kind *kind);

#endif
