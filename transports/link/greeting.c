#include "transports/link/greeting.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "transports/link/reach.h"
#include "transports/link/strangers.h"

/* words NULL: zeros. */
static bool send_hello(const c4_tlink_hub *hub, const c4_tlink_stream *stream, const c4_tlink_hello *hello,
                       const unsigned char *words)
{
    unsigned char wire[C4_TLINK_HELLO_BYTES + C4_TLINK_WORDS_MAX] = {0};
    size_t bytes = C4_TLINK_HELLO_BYTES + hub->ops->words_bytes;
    c4_tlink_hello_pack(hello, wire);
    if (words != NULL)
        memcpy(wire + C4_TLINK_HELLO_BYTES, words, hub->ops->words_bytes);
    struct iovec iov = {wire, bytes};
    return c4_tlink_stream_writev(stream, &iov, 1) == (ssize_t)bytes;
}

/* What the server's side answers. Of two crossing connections exactly one survives: the lower rank's if the higher has
 * taken part in its handshake, so that it is sure to arrive; else the other. */
static c4_tlink_hello_code judge(const c4_tlink *link, const c4_tlink_hello *hello)
{
    if (link->state == C4_TLINK_FAILED || link->state == C4_TLINK_ENDED || link->hub->closing)
        return C4_TLINK_CLOSED;
    if (c4_tlink_attempts_heard(link) && link->hub->host.rank < link->peer)
        return C4_TLINK_BUSY;
    /* Also while down: the words of the greeting are older than the last connection. */
    if (hello->generation < link->generation)
        return C4_TLINK_STALE;
    return C4_TLINK_WELCOME;
}

/* Both sides have to agree; the stream is closed unless they do. */
static void refuse(const c4_tlink *link, c4_tlink_stream *stream, c4_tlink_hello_code code)
{
    const c4_tlink_hello answer = {(uint16_t)code, link->index, link->generation};
    send_hello(link->hub, stream, &answer, NULL);
    c4_tlink_stream_close(stream);
}

static void welcome(c4_tlink *link, c4_tlink_stream stream, const c4_tlink_hello *hello, const unsigned char *theirs)
{
    uint64_t newest = hello->generation > link->generation ? hello->generation : link->generation;
    const c4_tlink_hello answer = {C4_TLINK_WELCOME, link->index, newest + 1};
    unsigned char mine[C4_TLINK_WORDS_MAX];
    c4_tlink_attempts_drop_others(link, NULL);
    c4_tlink_lost(link, ECONNRESET); /* if it is up, the peer has noticed before us */
    c4_status status = link->hub->ops->words(link, theirs, mine);
    if (status < 0) {
        refuse(link, &stream, C4_TLINK_CLOSED);
        c4_tlink_fail(link, status);
    } else if (status > 0) {
        refuse(link, &stream, C4_TLINK_BUSY);
        c4_tlink_retry(link, 0);
    } else if (send_hello(link->hub, &stream, &answer, mine)) {
        c4_tlink_up(link, stream, newest + 1, theirs);
    } else {
        c4_tlink_stream_close(&stream);
        c4_tlink_retry(link, 0);
    }
}

static void serve_hello(c4_tlink_attempt *attempt, const c4_tlink_hello *hello)
{
    c4_tlink_hub *hub = attempt->hub;
    unsigned char theirs[C4_TLINK_WORDS_MAX];
    char why[96];
    int peer = (int)attempt->handshake.peer_rank;
    if (hello->code != C4_TLINK_HELLO || hello->index >= hub->nlinks || peer == hub->host.rank ||
        c4_tlinks_create(hub, peer) < 0) {
        snprintf(why, sizeof why, "bad greeting (has every rank the same %s?)", hub->ops->links_option);
        c4_tlink_stranger_refuse(attempt, why);
        return;
    }
    c4_tlink *link = c4_tlink_at(hub, peer, hello->index);
    c4_tlink_hello_code answer = judge(link, hello);
    memcpy(theirs, attempt->in + C4_TLINK_HELLO_BYTES, sizeof theirs);
    c4_tlink_stream stream = c4_tlink_attempt_release(attempt);
    if (answer == C4_TLINK_WELCOME)
        welcome(link, stream, hello, theirs);
    else
        refuse(link, &stream, answer);
}

static void client_answer(c4_tlink_attempt *attempt, const c4_tlink_hello *hello)
{
    c4_tlink *link = attempt->link;
    unsigned char theirs[C4_TLINK_WORDS_MAX];
    memcpy(theirs, attempt->in + C4_TLINK_HELLO_BYTES, sizeof theirs);
    c4_tlink_stream stream = c4_tlink_attempt_release(attempt);
    if (hello->code == C4_TLINK_WELCOME) {
        c4_tlink_attempts_drop_others(link, NULL);
        c4_tlink_up(link, stream, hello->generation, theirs);
        return;
    }
    c4_tlink_stream_close(&stream);
    if (hello->code == C4_TLINK_CLOSED) {
        c4_tlink_ended(link); /* an error only if something is still expected */
        return;
    }
    if (hello->code == C4_TLINK_STALE)
        link->generation = hello->generation;
    c4_tlink_retry(link, 0);
}

/* The attempt is gone when it is not C4_OK. */
static c4_status greet(c4_tlink_attempt *attempt)
{
    c4_tlink *link = attempt->link;
    const c4_tlink_hello hello = {C4_TLINK_HELLO, link->index, link->generation};
    unsigned char mine[C4_TLINK_WORDS_MAX];
    c4_tlink_reach_won(attempt);
    c4_status status = link->hub->ops->words(link, NULL, mine);
    if (status == C4_OK && send_hello(link->hub, &attempt->stream, &hello, mine))
        return C4_OK;
    if (status == C4_OK) {
        c4_tlink_attempt_closed(attempt, ECONNRESET);
        return C4_ERR_LINK;
    }
    c4_tlink_attempt_drop(attempt);
    if (status > 0)
        c4_tlink_retry(link, 0);
    else
        c4_tlink_fail(link, status);
    return status;
}

void c4_tlink_greeting_begin(c4_tlink_attempt *attempt)
{
    attempt->stage = C4_TLINK_GREETING;
    if (attempt->link != NULL && greet(attempt) != C4_OK)
        return;
    if (c4_tlink_stream_buffered(&attempt->stream))
        c4_tlink_greeting_read(attempt); /* it came with the end of the TLS handshake: epoll does not know of it */
}

/* Reads the greeting and not a byte more: what follows is the transport's. */
void c4_tlink_greeting_read(c4_tlink_attempt *attempt)
{
    size_t bytes = C4_TLINK_HELLO_BYTES + attempt->hub->ops->words_bytes;
    ssize_t got = c4_tlink_stream_read(&attempt->stream, attempt->in + attempt->in_bytes, bytes - attempt->in_bytes);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        c4_tlink_attempt_closed(attempt, got == 0 ? ECONNRESET : errno);
        return;
    }
    attempt->in_bytes += (size_t)got;
    if (attempt->in_bytes < bytes)
        return;
    c4_tlink_hello hello;
    if (!c4_tlink_hello_unpack(attempt->in, &hello))
        c4_tlink_attempt_failed(attempt, EPROTO, "malformed greeting");
    else if (attempt->link != NULL)
        client_answer(attempt, &hello);
    else
        serve_hello(attempt, &hello);
}
