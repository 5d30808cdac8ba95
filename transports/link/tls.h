/* TLS 1.3 on a connected socket whose two ends have already proved that they have the job key.
 *
 * The key of a connection is a pre-shared one, made from the job key and everything that the challenge-response before it
 * agreed on, nonces included (c4_handshake_secret): no certificates, both sides prove it, and nothing of one connection
 * fits another. With ECDHE, so that a job key that leaks later opens no recording.
 *
 * Reads and writes have the contract of readv and sendmsg on a socket that does not block. Writing: up to
 * WRITE_RECORDS full records per system call; a byte counts as written once the kernel has the whole record that it is
 * in, so that what the peer acknowledges never exceeds it. After a short count the caller comes again with a span that
 * begins with exactly the bytes behind those that counted: they are encrypted already. One thread per connection.
 *
 * Nothing here is called while C4_TLS is off. */
#ifndef C4_TRANSPORTS_LINK_TLS_H
#define C4_TRANSPORTS_LINK_TLS_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define C4_TLINK_TLS_SECRET_BYTES 32u

typedef struct c4_tlink_tls_context c4_tlink_tls_context; /* of a hub */
typedef struct c4_tlink_tls c4_tlink_tls;                 /* of a connection */

/* `who` (a transport) is for the log. C4_ERR_UNSUPPORTED (logged, with the package to install) without libssl. */
c4_status c4_tlink_tls_open(const char *who, c4_tlink_tls_context **context);
void c4_tlink_tls_close(c4_tlink_tls_context *context);
/* Connections change their key after so many records; by default after 2^22, well before AES-GCM must (for tests). */
void c4_tlink_tls_rekey_after(c4_tlink_tls_context *context, uint32_t records);

/* Both ends start; the client's side of the challenge-response is the client here too. `fd` stays the caller's and must
 * outlive the result. C4_ERR_MEMORY (not logged). */
c4_status c4_tlink_tls_start(c4_tlink_tls_context *context, int fd, bool client,
                             const unsigned char secret[C4_TLINK_TLS_SECRET_BYTES], c4_tlink_tls **tls);
void c4_tlink_tls_end(c4_tlink_tls *tls);

/* Goes on with the handshake as far as it gets. C4_OK: done. C4_IN_PROGRESS: call again when the socket is readable.
 * C4_ERR_LINK: the connection is gone. C4_ERR_AUTH: the peer has another key, or this is not TLS; `reason` says what. */
c4_status c4_tlink_tls_handshake(c4_tlink_tls *tls, char *reason, size_t reason_bytes);

/* As readv and sendmsg: bytes moved; 0: the peer has closed; -1 and errno, EBADMSG for bytes that the peer did not send. */
ssize_t c4_tlink_tls_read(c4_tlink_tls *tls, const struct iovec *iov, int n);
ssize_t c4_tlink_tls_write(c4_tlink_tls *tls, const struct iovec *iov, int n);
/* Bytes have been taken from the kernel that no read has returned yet: poll and epoll do not know of them. */
bool c4_tlink_tls_buffered(const c4_tlink_tls *tls);

#endif
