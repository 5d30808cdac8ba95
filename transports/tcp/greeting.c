#include "transports/tcp/greeting.h"

#include <errno.h>

#include "transports/tcp/link.h"
#include "transports/tcp/reach.h"
#include "transports/tcp/strangers.h"

static bool send_hello(const c4_tcp_stream *stream, c4_tcp_hello_code code, uint32_t index, uint64_t generation,
                       uint64_t received)
{
    const c4_tcp_hello hello = {(uint16_t)code, index, generation, received};
    unsigned char wire[C4_TCP_HELLO_BYTES];
    c4_tcp_hello_pack(&hello, wire);
    struct iovec iov = {wire, sizeof wire};
    return c4_tcp_stream_writev(stream, &iov, 1) == (ssize_t)sizeof wire;
}

/* What the server's side answers. Of two crossing connections exactly one survives: the lower rank's if the higher has
 * taken part in its handshake, so that it is sure to arrive; else the other. */
static c4_tcp_hello_code judge(const c4_tcp_link *link, const c4_tcp_hello *hello)
{
    if (link->state == C4_TCP_FAILED || link->state == C4_TCP_ENDED || link->module->closing)
        return C4_TCP_CLOSED;
    if (c4_tcp_attempts_heard(link) && link->module->host.rank < link->peer)
        return C4_TCP_BUSY;
    /* Also while down: what the greeting says of received bytes is older than the last connection. */
    if (hello->generation < link->generation)
        return C4_TCP_STALE;
    return C4_TCP_WELCOME;
}

static void welcome(c4_tcp_link *link, c4_tcp_stream stream, const c4_tcp_hello *hello)
{
    uint64_t newest = hello->generation > link->generation ? hello->generation : link->generation;
    c4_tcp_attempts_drop_others(link, NULL);
    if (link->state == C4_TCP_UP)
        c4_tcp_link_lost(link, ECONNRESET); /* the peer has noticed before us */
    if (!send_hello(&stream, C4_TCP_WELCOME, link->index, newest + 1, link->rx.received)) {
        c4_tcp_stream_close(&stream);
        return;
    }
    c4_tcp_link_up(link, stream, newest + 1, hello->received);
}

static void serve_hello(c4_tcp_attempt *attempt, const c4_tcp_hello *hello)
{
    c4_module *module = attempt->module;
    int peer = (int)attempt->handshake.peer_rank;
    if (hello->code != C4_TCP_HELLO || hello->index >= module->nsockets || peer == module->host.rank ||
        c4_tcp_links_create(module, peer) < 0) {
        c4_tcp_stranger_refuse(attempt, "bad greeting (has every rank the same C4_TCP_SOCKETS?)");
        return;
    }
    c4_tcp_link *link = &module->peers[peer].links[hello->index];
    c4_tcp_hello_code answer = judge(link, hello);
    c4_tcp_stream stream = c4_tcp_attempt_release(attempt);
    if (answer == C4_TCP_WELCOME) {
        welcome(link, stream, hello);
        return;
    }
    send_hello(&stream, answer, hello->index, link->generation, 0);
    c4_tcp_stream_close(&stream);
}

static void client_answer(c4_tcp_attempt *attempt, const c4_tcp_hello *hello)
{
    c4_tcp_link *link = attempt->link;
    c4_tcp_stream stream = c4_tcp_attempt_release(attempt);
    if (hello->code == C4_TCP_WELCOME) {
        c4_tcp_attempts_drop_others(link, NULL);
        c4_tcp_link_up(link, stream, hello->generation, hello->received);
        return;
    }
    c4_tcp_stream_close(&stream);
    if (hello->code == C4_TCP_CLOSED) {
        c4_tcp_link_ended(link); /* an error only if something is still expected */
        return;
    }
    if (hello->code == C4_TCP_STALE)
        link->generation = hello->generation;
    c4_tcp_link_attempt_failed(link, 0);
}

void c4_tcp_greeting_begin(c4_tcp_attempt *attempt)
{
    const c4_tcp_link *link = attempt->link;
    attempt->stage = C4_TCP_GREETING;
    if (link != NULL)
        c4_tcp_reach_won(attempt);
    if (link != NULL && !send_hello(&attempt->stream, C4_TCP_HELLO, link->index, link->generation, link->rx.received))
        c4_tcp_attempt_closed(attempt, ECONNRESET);
    else if (c4_tcp_stream_buffered(&attempt->stream))
        c4_tcp_greeting_read(attempt); /* it came with the end of the TLS handshake: epoll does not know of it */
}

/* Reads the greeting and not a byte more: frames follow. */
void c4_tcp_greeting_read(c4_tcp_attempt *attempt)
{
    ssize_t got =
        c4_tcp_stream_read(&attempt->stream, attempt->in + attempt->in_bytes, sizeof attempt->in - attempt->in_bytes);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        c4_tcp_attempt_closed(attempt, got == 0 ? ECONNRESET : errno);
        return;
    }
    attempt->in_bytes += (size_t)got;
    if (attempt->in_bytes < sizeof attempt->in)
        return;
    c4_tcp_hello hello;
    if (!c4_tcp_hello_unpack(attempt->in, &hello))
        c4_tcp_attempt_failed(attempt, EPROTO, "malformed greeting");
    else if (attempt->link != NULL)
        client_answer(attempt, &hello);
    else
        serve_hello(attempt, &hello);
}
