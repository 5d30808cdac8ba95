#include "transports/tcp/deliver.h"

#include <string.h>

/* `bytes` lie at `from`, the first of them the continuation of the carried beginning of an element, which is already
 * in front of them. Whole elements are reduced, the rest is carried. */
static void reduce_piece(c4_tcp_link *link, const unsigned char *from, size_t bytes)
{
    c4_tcp_rx *rx = &link->rx;
    const c4_xfer *xfer = rx->xfer;
    size_t element = xfer->reduce->element_bytes;
    size_t start = rx->done - rx->carry_bytes;
    size_t total = rx->carry_bytes + bytes;
    size_t whole = total - total % element;
    if (whole > 0)
        xfer->reduce->reduce((char *)xfer->pointer + start, (const char *)xfer->operand + start, from, whole / element,
                             0);
    rx->carry_bytes = total - whole;
    memcpy(rx->carry, from + whole, rx->carry_bytes);
    rx->done += bytes;
}

static void reduce_copied(c4_tcp_link *link, const unsigned char *from, size_t bytes)
{
    c4_tcp_rx *rx = &link->rx;
    unsigned char *bounce = c4_tcp_module(link)->bounce;
    while (bytes > 0) {
        size_t room = C4_TCP_BOUNCE_BYTES - sizeof rx->carry;
        size_t part = bytes < room ? bytes : room;
        memcpy(bounce, rx->carry, rx->carry_bytes);
        memcpy(bounce + rx->carry_bytes, from, part);
        reduce_piece(link, bounce, part);
        from += part;
        bytes -= part;
    }
}

void c4_tcp_deliver_copy(c4_tcp_link *link, const unsigned char *from, size_t bytes)
{
    c4_tcp_rx *rx = &link->rx;
    if (bytes == 0)
        return;
    if (rx->mode == C4_TCP_RX_REDUCE) {
        bool direct = rx->carry_bytes == 0 && (uintptr_t)from % rx->xfer->reduce->element_bytes == 0;
        if (direct)
            reduce_piece(link, from, bytes);
        else
            reduce_copied(link, from, bytes);
        return;
    }
    if (rx->mode == C4_TCP_RX_STORE)
        memcpy(rx->target + rx->done, from, bytes);
    rx->done += bytes;
}

size_t c4_tcp_deliver_space(c4_tcp_link *link, struct iovec *iov)
{
    c4_tcp_rx *rx = &link->rx;
    size_t left = rx->frame.bytes - rx->done;
    if (rx->mode == C4_TCP_RX_STORE) {
        *iov = (struct iovec){rx->target + rx->done, left};
        return left;
    }
    size_t room = C4_TCP_BOUNCE_BYTES - sizeof rx->carry;
    memcpy(c4_tcp_module(link)->bounce, rx->carry, rx->carry_bytes);
    *iov = (struct iovec){c4_tcp_module(link)->bounce + rx->carry_bytes, left < room ? left : room};
    return iov->iov_len;
}

void c4_tcp_deliver_read(c4_tcp_link *link, size_t bytes)
{
    c4_tcp_rx *rx = &link->rx;
    if (rx->mode == C4_TCP_RX_REDUCE)
        reduce_piece(link, c4_tcp_module(link)->bounce, bytes);
    else
        rx->done += bytes;
}
