/* In place of tls.c in a build without OpenSSL's headers: no hub is made with C4_TLS=on. */
#include <errno.h>

#include "base/status.h"
#include "transports/link/tls.h"

c4_status c4_tlink_tls_open(const char *who, c4_tlink_tls_context **context)
{
    (void)context;
    return c4_fail(C4_ERR_UNSUPPORTED,
                   "%s: this build has no TLS; install libssl-dev, configure and build again, or set "
                   "C4_TLS=off on all ranks",
                   who);
}

void c4_tlink_tls_close(c4_tlink_tls_context *context)
{
    (void)context;
}

void c4_tlink_tls_rekey_after(c4_tlink_tls_context *context, uint32_t records)
{
    (void)context;
    (void)records;
}

c4_status c4_tlink_tls_start(c4_tlink_tls_context *context, int fd, bool client,
                             const unsigned char secret[C4_TLINK_TLS_SECRET_BYTES], c4_tlink_tls **tls)
{
    (void)context;
    (void)fd;
    (void)client;
    (void)secret;
    (void)tls;
    return C4_ERR_UNSUPPORTED;
}

void c4_tlink_tls_end(c4_tlink_tls *tls)
{
    (void)tls;
}

c4_status c4_tlink_tls_handshake(c4_tlink_tls *tls, char *reason, size_t reason_bytes)
{
    (void)tls;
    (void)reason;
    (void)reason_bytes;
    return C4_ERR_UNSUPPORTED;
}

ssize_t c4_tlink_tls_read(c4_tlink_tls *tls, const struct iovec *iov, int n)
{
    (void)tls;
    (void)iov;
    (void)n;
    errno = ENOTSUP;
    return -1;
}

ssize_t c4_tlink_tls_write(c4_tlink_tls *tls, const struct iovec *iov, int n)
{
    return c4_tlink_tls_read(tls, iov, n);
}

bool c4_tlink_tls_buffered(const c4_tlink_tls *tls)
{
    (void)tls;
    return false;
}
