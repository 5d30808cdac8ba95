/* The bytes of a connection: the socket itself, or TLS on it. Who reads and writes does not know which. */
#ifndef C4_TRANSPORTS_LINK_STREAM_H
#define C4_TRANSPORTS_LINK_STREAM_H

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "transports/link/tls.h"

typedef struct c4_tlink_stream {
    int fd;            /* -1: none */
    c4_tlink_tls *tls; /* NULL: plain */
} c4_tlink_stream;

/* As recv, readv, send and sendmsg on a socket that does not block. A write that was short is followed by one of the
 * bytes behind it. */
static inline ssize_t c4_tlink_stream_readv(const c4_tlink_stream *stream, const struct iovec *iov, int n)
{
    return stream->tls == NULL ? readv(stream->fd, iov, n) : c4_tlink_tls_read(stream->tls, iov, n);
}

static inline ssize_t c4_tlink_stream_read(const c4_tlink_stream *stream, void *to, size_t bytes)
{
    if (__builtin_expect(stream->tls == NULL, 1))
        return recv(stream->fd, to, bytes, MSG_DONTWAIT);
    const struct iovec iov = {to, bytes};
    return c4_tlink_tls_read(stream->tls, &iov, 1);
}

static inline ssize_t c4_tlink_stream_writev(const c4_tlink_stream *stream, struct iovec *iov, int n)
{
    if (__builtin_expect(stream->tls != NULL, 0))
        return c4_tlink_tls_write(stream->tls, iov, n);
    if (n == 1)
        return send(stream->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    return sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* There may be more to read although the kernel has nothing. */
static inline bool c4_tlink_stream_buffered(const c4_tlink_stream *stream)
{
    return stream->tls != NULL && c4_tlink_tls_buffered(stream->tls);
}

static inline void c4_tlink_stream_close(c4_tlink_stream *stream)
{
    if (stream->tls != NULL)
        c4_tlink_tls_end(stream->tls);
    if (stream->fd >= 0)
        close(stream->fd); /* epoll forgets it by itself */
    *stream = (c4_tlink_stream){.fd = -1};
}

#endif
