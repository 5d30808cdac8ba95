#include "transports/link/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/status.h"
#include "transports/link/tls_library.h"

/* The largest payload of a record (RFC 8446, 5.1), and what a record adds to it: header, type, tag. */
#define RECORD_BYTES 16384u
#define RECORD_EXTRA (5u + 1u + 16u)
/* Records per system call. */
#define WRITE_RECORDS 8u
#define OUTPUT_BYTES  ((size_t)WRITE_RECORDS * (RECORD_BYTES + RECORD_EXTRA) + 4096u)
/* Bytes that one recv takes from the kernel: as many records again, with a little room, for OpenSSL keeps some of it. */
#define INPUT_BYTES ((size_t)WRITE_RECORDS * (RECORD_BYTES + RECORD_EXTRA) + 256u)
/* AES-GCM wants another key after 2^24.5 full records (RFC 8446, 5.5). */
#define REKEY_RECORDS (1u << 22)
#define PSK_IDENTITY  "c4"
#define SUITE         "TLS_AES_128_GCM_SHA256"
static const unsigned char suite_number[2] = {0x13, 0x01};

struct c4_tlink_tls_context {
    const c4_tls_library *lib;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    uint32_t rekey_records;
};

struct c4_tlink_tls {
    const c4_tlink_tls_context *context;
    const c4_tls_library *lib;
    SSL *ssl;
    int fd;
    bool more;    /* the last read got all that it asked for */
    bool starved; /* and then the socket had no more for now */
    bool ended;   /* the peer has closed */
    int io_errno; /* what the socket said; 0: nothing wrong */
    unsigned char secret[C4_TLINK_TLS_SECRET_BYTES];
    /* Records that the kernel has not taken yet: `output` from `sent` to `filled`, and where each ends. */
    size_t sent, filled;
    struct {
        size_t end, payload_bytes;
    } records[WRITE_RECORDS];
    unsigned first_record, nrecords;
    size_t owed;          /* payload bytes of those records */
    uint32_t key_records; /* written with the present key */
    unsigned char joined[RECORD_BYTES];
    unsigned char output[OUTPUT_BYTES];
};

/* ---- OpenSSL's view of the socket ---- */

static int bio_read(BIO *bio, char *to, int bytes)
{
    const c4_tls_library *lib = c4_tls_library_opened();
    c4_tlink_tls *tls = lib->BIO_get_data(bio);
    lib->BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    ssize_t got = recv(tls->fd, to, (size_t)bytes, MSG_DONTWAIT);
    if (got > 0)
        return (int)got;
    if (got == 0)
        tls->ended = true;
    else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        tls->starved = true;
    else
        tls->io_errno = errno;
    if (tls->starved)
        lib->BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
    return (int)got;
}

/* Into the buffer, which has room for all that is asked of the library at once. */
static int bio_write(BIO *bio, const char *from, int bytes)
{
    c4_tlink_tls *tls = c4_tls_library_opened()->BIO_get_data(bio);
    if ((size_t)bytes > sizeof tls->output - tls->filled) {
        tls->io_errno = ENOBUFS;
        return -1;
    }
    memcpy(tls->output + tls->filled, from, (size_t)bytes);
    tls->filled += (size_t)bytes;
    return bytes;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* ---- the pre-shared key ---- */

static SSL_SESSION *session_create(const c4_tls_library *lib, SSL *ssl)
{
    const c4_tlink_tls *tls = lib->SSL_get_ex_data(ssl, 0);
    const SSL_CIPHER *cipher = lib->SSL_CIPHER_find(ssl, suite_number);
    SSL_SESSION *session = lib->SSL_SESSION_new();
    if (session != NULL && cipher != NULL &&
        lib->SSL_SESSION_set1_master_key(session, tls->secret, sizeof tls->secret) == 1 &&
        lib->SSL_SESSION_set_cipher(session, cipher) == 1 &&
        lib->SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1)
        return session;
    lib->SSL_SESSION_free(session);
    return NULL;
}

static int offer_psk(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *bytes, SSL_SESSION **session)
{
    (void)md; /* there is one suite */
    *identity = (const unsigned char *)PSK_IDENTITY;
    *bytes = sizeof PSK_IDENTITY - 1;
    *session = session_create(c4_tls_library_opened(), ssl);
    return *session != NULL;
}

static int find_psk(SSL *ssl, const unsigned char *identity, size_t bytes, SSL_SESSION **session)
{
    *session = NULL;
    if (bytes != sizeof PSK_IDENTITY - 1 || memcmp(identity, PSK_IDENTITY, bytes) != 0)
        return 1; /* none with this name: without certificates the handshake ends */
    *session = session_create(c4_tls_library_opened(), ssl);
    return *session != NULL;
}

/* ---- context ---- */

static bool configure(c4_tlink_tls_context *context)
{
    const c4_tls_library *lib = context->lib;
    context->ctx = lib->SSL_CTX_new(lib->TLS_method());
    context->method = lib->BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x7f, "c4 socket");
    if (context->ctx == NULL || context->method == NULL)
        return false;
    lib->BIO_meth_set_read(context->method, bio_read);
    lib->BIO_meth_set_write(context->method, bio_write);
    lib->BIO_meth_set_ctrl(context->method, bio_ctrl);
    lib->SSL_CTX_set_psk_use_session_callback(context->ctx, offer_psk);
    lib->SSL_CTX_set_psk_find_session_callback(context->ctx, find_psk);
    lib->SSL_CTX_set_default_read_buffer_len(context->ctx, INPUT_BYTES);
    lib->SSL_CTX_ctrl(context->ctx, SSL_CTRL_SET_READ_AHEAD, 1, NULL);
    lib->SSL_CTX_ctrl(context->ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
    return lib->SSL_CTX_set_ciphersuites(context->ctx, SUITE) == 1 &&
           lib->SSL_CTX_set_num_tickets(context->ctx, 0) == 1 &&
           lib->SSL_CTX_ctrl(context->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) == 1 &&
           lib->SSL_CTX_ctrl(context->ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, NULL) == 1;
}

c4_status c4_tlink_tls_open(const char *who, c4_tlink_tls_context **out)
{
    char reason[256] = "";
    const c4_tls_library *lib = c4_tls_library_get(reason, sizeof reason);
    if (lib == NULL)
        return c4_fail(
            C4_ERR_UNSUPPORTED,
            "%s: C4_TLS=on needs OpenSSL's libssl (Debian package libssl3): %s; install it or set C4_TLS=off "
            "on all ranks",
            who, reason);
    c4_tlink_tls_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return c4_fail(C4_ERR_MEMORY, "%s: TLS context", who);
    context->lib = lib;
    context->rekey_records = REKEY_RECORDS;
    lib->ERR_set_mark();
    bool good = configure(context);
    const char *why = good ? NULL : lib->ERR_reason_error_string(lib->ERR_peek_last_error());
    lib->ERR_pop_to_mark();
    if (!good) {
        c4_tlink_tls_close(context);
        return c4_fail(C4_ERR_UNSUPPORTED, "%s: OpenSSL does not offer TLS 1.3 with %s: %s; see its openssl.cnf", who,
                       SUITE, why != NULL ? why : "no reason given");
    }
    *out = context;
    return C4_OK;
}

void c4_tlink_tls_close(c4_tlink_tls_context *context)
{
    if (context == NULL)
        return;
    if (context->ctx != NULL)
        context->lib->SSL_CTX_free(context->ctx);
    if (context->method != NULL)
        context->lib->BIO_meth_free(context->method);
    free(context);
}

void c4_tlink_tls_rekey_after(c4_tlink_tls_context *context, uint32_t records)
{
    context->rekey_records = records;
}

/* ---- connection ---- */

static bool attach(c4_tlink_tls *tls, const c4_tlink_tls_context *context, bool client)
{
    const c4_tls_library *lib = tls->lib;
    tls->ssl = lib->SSL_new(context->ctx);
    BIO *bio = tls->ssl != NULL ? lib->BIO_new(context->method) : NULL;
    if (bio == NULL)
        return false;
    lib->BIO_set_data(bio, tls);
    lib->BIO_set_init(bio, 1);
    lib->SSL_set_bio(tls->ssl, bio, bio); /* owns it */
    if (client)
        lib->SSL_set_connect_state(tls->ssl);
    else
        lib->SSL_set_accept_state(tls->ssl);
    return lib->SSL_set_ex_data(tls->ssl, 0, tls) == 1;
}

c4_status c4_tlink_tls_start(c4_tlink_tls_context *context, int fd, bool client,
                             const unsigned char secret[C4_TLINK_TLS_SECRET_BYTES], c4_tlink_tls **out)
{
    c4_tlink_tls *tls = malloc(sizeof *tls);
    if (tls == NULL)
        return C4_ERR_MEMORY;
    memset(tls, 0, offsetof(c4_tlink_tls, joined));
    tls->context = context;
    tls->lib = context->lib;
    tls->fd = fd;
    memcpy(tls->secret, secret, sizeof tls->secret);
    if (!attach(tls, context, client)) {
        c4_tlink_tls_end(tls);
        return C4_ERR_MEMORY;
    }
    *out = tls;
    return C4_OK;
}

void c4_tlink_tls_end(c4_tlink_tls *tls)
{
    tls->lib->OPENSSL_cleanse(tls->secret, sizeof tls->secret);
    if (tls->ssl != NULL)
        tls->lib->SSL_free(tls->ssl);
    free(tls);
}

/* Gives the kernel what it takes. Adds to *done the payload of records that it has wholly taken. False: errno says why
 * not all went. */
static bool flush(c4_tlink_tls *tls, size_t *done)
{
    while (tls->sent < tls->filled) {
        ssize_t got = send(tls->fd, tls->output + tls->sent, tls->filled - tls->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        tls->sent += (size_t)got;
        while (tls->first_record < tls->nrecords && tls->records[tls->first_record].end <= tls->sent) {
            size_t payload = tls->records[tls->first_record++].payload_bytes;
            tls->owed -= payload;
            *done += payload;
        }
        if (tls->sent < tls->filled) {
            errno = EAGAIN; /* asking again would cost a system call to learn it */
            return false;
        }
    }
    tls->sent = tls->filled = 0;
    tls->first_record = tls->nrecords = 0;
    return true;
}

static c4_status handshake_step(c4_tlink_tls *tls, char *reason, size_t bytes)
{
    const c4_tls_library *lib = tls->lib;
    tls->starved = false;
    const char *why = "the peer did not use the pre-shared key";
    if (lib->SSL_do_handshake(tls->ssl) == 1) {
        if (lib->SSL_session_reused(tls->ssl))
            return C4_OK;
    } else {
        if (tls->starved)
            return C4_IN_PROGRESS;
        if (tls->ended || tls->io_errno != 0)
            return C4_ERR_LINK;
        why = lib->ERR_reason_error_string(lib->ERR_peek_last_error());
    }
    snprintf(reason, bytes, "TLS handshake failed: %s", why != NULL ? why : "no reason given");
    return C4_ERR_AUTH;
}

c4_status c4_tlink_tls_handshake(c4_tlink_tls *tls, char *reason, size_t reason_bytes)
{
    size_t none = 0;
    /* The errors of the program that this library is loaded into are its own. */
    tls->lib->ERR_set_mark();
    c4_status status = handshake_step(tls, reason, reason_bytes);
    tls->lib->ERR_pop_to_mark();
    /* A new socket has room: when it does not take this, the peer is gone. An alert is worth trying. */
    if (!flush(tls, &none) && status >= 0)
        return C4_ERR_LINK;
    tls->more = status == C4_OK; /* the peer's first bytes may have come with the end of its handshake */
    return status;
}

/* ---- reading ---- */

/* Fills one span, record by record. False when it did not get all. */
static bool fill(c4_tlink_tls *tls, const struct iovec *span, size_t *total)
{
    size_t at = 0;
    while (at < span->iov_len) {
        size_t got = 0;
        if (tls->lib->SSL_read_ex(tls->ssl, (char *)span->iov_base + at, span->iov_len - at, &got) != 1)
            return false;
        at += got;
        *total += got;
    }
    return true;
}

ssize_t c4_tlink_tls_read(c4_tlink_tls *tls, const struct iovec *iov, int n)
{
    size_t total = 0;
    bool all = true;
    tls->starved = false;
    tls->lib->ERR_set_mark();
    for (int i = 0; i < n && all; i++)
        all = fill(tls, &iov[i], &total);
    tls->lib->ERR_pop_to_mark();
    tls->more = all;
    if (total > 0)
        return (ssize_t)total;
    errno = EAGAIN;
    if (all || tls->starved)
        return all ? 0 : -1;
    if (tls->ended)
        return 0;
    errno = tls->io_errno != 0 ? tls->io_errno : EBADMSG;
    return -1;
}

bool c4_tlink_tls_buffered(const c4_tlink_tls *tls)
{
    return tls->more && tls->lib->SSL_has_pending(tls->ssl) != 0;
}

/* ---- writing ---- */

/* A place in a list of spans. */
typedef struct cursor {
    const struct iovec *iov;
    int n;
    size_t skip; /* bytes of iov[0] that are behind us */
} cursor;

static void cursor_advance(cursor *at, size_t bytes)
{
    while (at->n > 0 && bytes >= at->iov->iov_len - at->skip) {
        bytes -= at->iov->iov_len - at->skip;
        at->skip = 0;
        at->iov++;
        at->n--;
    }
    at->skip += bytes;
}

/* The next record's payload: in one span when that has enough, else joined from several. */
static const unsigned char *next_payload(c4_tlink_tls *tls, cursor *at, size_t *bytes)
{
    const unsigned char *from = (const unsigned char *)at->iov->iov_base + at->skip;
    size_t left = at->iov->iov_len - at->skip;
    if (left >= RECORD_BYTES || at->n == 1) {
        *bytes = left < RECORD_BYTES ? left : RECORD_BYTES;
        cursor_advance(at, *bytes);
        return from;
    }
    *bytes = 0;
    while (at->n > 0 && *bytes < RECORD_BYTES) {
        left = at->iov->iov_len - at->skip;
        size_t part = left < RECORD_BYTES - *bytes ? left : RECORD_BYTES - *bytes;
        memcpy(tls->joined + *bytes, (const char *)at->iov->iov_base + at->skip, part);
        *bytes += part;
        cursor_advance(at, part);
    }
    return tls->joined;
}

static bool encrypt(c4_tlink_tls *tls, cursor *at)
{
    const c4_tls_library *lib = tls->lib;
    size_t bytes, written = 0;
    const unsigned char *payload = next_payload(tls, at, &bytes);
    if (++tls->key_records > tls->context->rekey_records) {
        tls->key_records = 1;
        if (lib->SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
            return false;
    }
    if (lib->SSL_write_ex(tls->ssl, payload, bytes, &written) != 1 || written != bytes)
        return false;
    tls->records[tls->nrecords].end = tls->filled;
    tls->records[tls->nrecords++].payload_bytes = bytes;
    tls->owed += bytes;
    return true;
}

/* As many records as one system call takes. */
static bool encrypt_some(c4_tlink_tls *tls, cursor *at)
{
    bool good = true;
    tls->lib->ERR_set_mark();
    while (good && at->n > 0 && tls->nrecords < WRITE_RECORDS)
        good = encrypt(tls, at);
    tls->lib->ERR_pop_to_mark();
    return good;
}

ssize_t c4_tlink_tls_write(c4_tlink_tls *tls, const struct iovec *iov, int n)
{
    cursor at = {iov, n, 0};
    size_t done = 0;
    cursor_advance(&at, tls->owed);
    while (flush(tls, &done)) {
        if (at.n == 0)
            return (ssize_t)done;
        if (encrypt_some(tls, &at))
            continue;
        errno = tls->io_errno != 0 ? tls->io_errno : EBADMSG;
        return -1;
    }
    return done > 0 ? (ssize_t)done : -1;
}
