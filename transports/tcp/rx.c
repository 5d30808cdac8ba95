#include "transports/tcp/rx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "transports/link/channel.h"
#include "transports/tcp/deliver.h"
#include "transports/tcp/tx.h"

/* Smaller expected frames are cheaper to copy from the stage than to describe to readv. */
#define PREDICT_BYTES 1024u
#define MAX_READS     4

c4_status c4_tcp_rx_init(c4_tcp_link *link)
{
    if (link->rx.stage == NULL)
        link->rx.stage = malloc(C4_TCP_STAGE_BYTES);
    return link->rx.stage != NULL ? C4_OK : c4_fail(C4_ERR_MEMORY, "tcp: receive buffer for rank %d", link->base.peer);
}

void c4_tcp_rx_fini(c4_tcp_link *link, int state)
{
    c4_tcp_rx *rx = &link->rx;
    if (rx->xfer != NULL)
        rx->xfer->state = state;
    if (rx->in != NULL)
        c4_tlink_pool_put(&link->base.hub->pool, rx->in);
    free(rx->stage);
    *rx = (c4_tcp_rx){.received = rx->received};
}

/* ---- one frame ---- */

static void frame_done(c4_tcp_link *link)
{
    c4_tcp_rx *rx = &link->rx;
    c4_tchannel_in *in = rx->in;
    c4_xfer *xfer = rx->xfer;
    c4_channel *channel = rx->channel;
    rx->mode = C4_TCP_RX_HEADER;
    rx->in = NULL;
    rx->xfer = NULL;
    rx->channel = NULL;
    if ((rx->flags & C4_TCP_WANT_ACK) != 0 || rx->received - rx->told >= C4_TCP_ACK_BYTES)
        rx->ack_owed = true;
    if (channel != NULL) {
        channel->counters.messages++;
        channel->counters.bytes += rx->frame.bytes;
    }
    if (xfer != NULL) {
        xfer->frame = rx->frame;
        link->base.nposted--;
        xfer->state = C4_OK;
    } else if (in != NULL) {
        c4_tchannel_store(channel, in);
    }
}

/* Whether a frame that nobody has asked for is put aside now, so that others on the link get theirs. */
static bool may_put_aside(c4_tcp_link *link, uint32_t bytes)
{
    c4_tcp_rx *rx = &link->rx;
    if (!c4_tcp_link_wants_read(link)) {
        rx->held_since_ns = 0;
        return false;
    }
    if (bytes <= 65536)
        return true;
    uint64_t now = c4_now_ns();
    if (rx->held_since_ns == 0)
        rx->held_since_ns = now;
    return now - rx->held_since_ns >= C4_TCP_HOLD_NS;
}

static bool begin_posted(c4_tcp_link *link, c4_channel *channel)
{
    c4_tcp_rx *rx = &link->rx;
    c4_xfer *xfer = c4_tchannel_pop(channel);
    if (xfer->bytes != rx->frame.bytes) {
        link->base.nposted--;
        xfer->frame = rx->frame;
        xfer->state = C4_ERR_PROTOCOL;
        return true;
    }
    rx->xfer = xfer;
    rx->target = xfer->pointer;
    rx->mode = xfer->reduce != NULL ? C4_TCP_RX_REDUCE : C4_TCP_RX_STORE;
    return true;
}

static bool begin_unexpected(c4_tcp_link *link)
{
    c4_tcp_rx *rx = &link->rx;
    rx->in = c4_tlink_pool_get(&link->base.hub->pool, sizeof *rx->in + rx->frame.bytes);
    if (rx->in == NULL) {
        c4_tlink_fail(&link->base, c4_fail(C4_ERR_MEMORY, "tcp: unexpected frame of %u bytes from rank %d",
                                           rx->frame.bytes, link->base.peer));
        return false;
    }
    rx->in->next = NULL;
    rx->in->frame = rx->frame;
    rx->target = rx->in->payload;
    rx->mode = C4_TCP_RX_STORE;
    return true;
}

/* False: the frame waits at the head of the stage (or the link has failed). */
static bool frame_begin(c4_tcp_link *link, const c4_tcp_header *header)
{
    c4_tcp_rx *rx = &link->rx;
    c4_channel *channel = c4_tchannel_incoming(&link->base, header->comm, header->tag);
    if (channel == NULL)
        return false;
    bool posted = channel->posts.first != NULL;
    bool drop = link->base.hub->closing;
    if (!posted && !drop && !may_put_aside(link, header->frame.bytes))
        return false;
    rx->held_since_ns = 0;
    rx->frame = header->frame;
    rx->flags = header->flags;
    rx->channel = channel;
    rx->done = 0;
    rx->carry_bytes = 0;
    link->base.expect = channel;
    rx->mode = C4_TCP_RX_DROP;
    if (drop)
        return true;
    return posted ? begin_posted(link, channel) : begin_unexpected(link);
}

static void control(c4_tcp_link *link, const c4_tcp_header *header)
{
    if (header->kind == C4_TCP_PAUSE || header->kind == C4_TCP_RESUME)
        c4_tchannel_pause(&link->base, header->comm, header->tag, header->kind == C4_TCP_PAUSE);
    else if (header->kind == C4_TCP_BYE)
        c4_tlink_ended(&link->base);
}

/* ---- the stage ---- */

static bool bad_frame(c4_tcp_link *link, const char *what)
{
    char text[C4_TLINK_REACH_TEXT];
    c4_tlink_fail(&link->base, c4_fail(C4_ERR_PROTOCOL, "tcp: %s from rank %d at %s", what, link->base.peer,
                                       c4_tlink_reach_text(&link->base.hub->peers[link->base.peer], text)));
    return false;
}

/* A whole header is at the head of the stage. True when it was taken. */
static bool parse_header(c4_tcp_link *link)
{
    c4_tcp_rx *rx = &link->rx;
    c4_tcp_header header;
    const char *wrong = c4_tcp_header_unpack(rx->stage + rx->head, &header);
    if (wrong != NULL)
        return bad_frame(link, wrong);
    if (!c4_tcp_tx_acknowledge(link, header.ack))
        return bad_frame(link, "acknowledgement of bytes that were never sent");
    if (header.kind == C4_TCP_DATA && !frame_begin(link, &header))
        return false;
    rx->head += C4_TCP_HEADER_BYTES;
    if (header.kind != C4_TCP_DATA)
        control(link, &header);
    return link->base.state == C4_TLINK_UP || link->base.state == C4_TLINK_DOWN;
}

bool c4_tcp_rx_parse(c4_tcp_link *link)
{
    c4_tcp_rx *rx = &link->rx;
    bool moved = false;
    for (;;) {
        if (rx->mode == C4_TCP_RX_HEADER) {
            if (rx->tail - rx->head < C4_TCP_HEADER_BYTES || !parse_header(link))
                break;
            moved = true;
            if (rx->mode == C4_TCP_RX_HEADER)
                continue;
        }
        size_t there = rx->tail - rx->head;
        size_t left = rx->frame.bytes - rx->done;
        size_t part = there < left ? there : left;
        c4_tcp_deliver_copy(link, rx->stage + rx->head, part);
        rx->head += part;
        if (part < left)
            break;
        frame_done(link);
    }
    if (rx->head == rx->tail)
        rx->head = rx->tail = 0;
    return moved;
}

/* ---- reading ---- */

/* The payload of the current frame straight to where it belongs, and a little of what follows to the stage. */
static ssize_t read_payload(c4_tcp_link *link, size_t *wanted)
{
    c4_tcp_rx *rx = &link->rx;
    struct iovec iov[2];
    size_t left = rx->frame.bytes - rx->done;
    size_t part = c4_tcp_deliver_space(link, &iov[0]);
    int n = 1;
    *wanted = part;
    if (part == left) {
        iov[n++] = (struct iovec){rx->stage, C4_TCP_TAIL_BYTES};
        *wanted += C4_TCP_TAIL_BYTES;
    }
    ssize_t got = c4_tlink_stream_readv(&link->base.stream, iov, n);
    if (got <= 0)
        return got;
    size_t payload = (size_t)got < part ? (size_t)got : part;
    rx->received += (size_t)got;
    c4_tcp_deliver_read(link, payload);
    rx->head = 0;
    rx->tail = (size_t)got - payload;
    if (rx->done == rx->frame.bytes)
        frame_done(link);
    return got;
}

/* The prediction was wrong: what went to the destination belongs behind the header in the stage. */
static void unpredict(c4_tcp_rx *rx, const void *target, size_t payload, size_t tail)
{
    memmove(rx->stage + C4_TCP_HEADER_BYTES + payload, rx->stage + C4_TCP_HEADER_BYTES, tail);
    memcpy(rx->stage + C4_TCP_HEADER_BYTES, target, payload);
    rx->head = 0;
    rx->tail = C4_TCP_HEADER_BYTES + payload + tail;
}

/* Header and payload of the frame that is expected next with one system call, without a copy. The destination may be
 * scribbled on until its receive completes, so a wrong guess costs a copy and nothing else. */
static ssize_t read_predicted(c4_tcp_link *link, c4_channel *channel, size_t *wanted)
{
    c4_tcp_rx *rx = &link->rx;
    c4_xfer *xfer = channel->posts.first;
    size_t room = xfer->bytes < 65536 ? xfer->bytes : 65536;
    bool reduce = xfer->reduce != NULL;
    void *target = reduce ? (void *)c4_tcp_module(link)->bounce : xfer->pointer;
    struct iovec iov[3] = {
        {rx->stage, C4_TCP_HEADER_BYTES}, {target, room}, {rx->stage + C4_TCP_HEADER_BYTES, C4_TCP_TAIL_BYTES}};
    int n = room == xfer->bytes ? 3 : 2;
    *wanted = C4_TCP_HEADER_BYTES + room + (n == 3 ? C4_TCP_TAIL_BYTES : 0);
    ssize_t got = c4_tlink_stream_readv(&link->base.stream, iov, n);
    if (got <= 0)
        return got;
    rx->received += (size_t)got;
    rx->head = 0;
    if ((size_t)got <= C4_TCP_HEADER_BYTES) {
        rx->tail = (size_t)got;
        return got;
    }
    size_t payload = (size_t)got - C4_TCP_HEADER_BYTES;
    size_t tail = payload > room ? payload - room : 0;
    payload -= tail;
    c4_tcp_header header;
    const char *wrong = c4_tcp_header_unpack(rx->stage, &header);
    if (wrong != NULL || header.kind != C4_TCP_DATA || header.tag != channel->tag || header.comm != channel->comm ||
        header.frame.bytes != xfer->bytes) {
        unpredict(rx, target, payload, tail);
        return got;
    }
    rx->tail = C4_TCP_HEADER_BYTES;
    if (!parse_header(link))
        return got;
    c4_tcp_deliver_read(link, payload);
    rx->tail += tail;
    if (rx->done == rx->frame.bytes)
        frame_done(link);
    return got;
}

static ssize_t read_stage(c4_tcp_link *link, size_t *wanted)
{
    c4_tcp_rx *rx = &link->rx;
    if (rx->head > 0) {
        memmove(rx->stage, rx->stage + rx->head, rx->tail - rx->head);
        rx->tail -= rx->head;
        rx->head = 0;
    }
    *wanted = C4_TCP_STAGE_BYTES - rx->tail;
    ssize_t got = c4_tlink_stream_read(&link->base.stream, rx->stage + rx->tail, *wanted);
    if (got > 0) {
        rx->received += (size_t)got;
        rx->tail += (size_t)got;
    }
    return got;
}

static ssize_t read_some(c4_tcp_link *link, size_t *wanted)
{
    const c4_tcp_rx *rx = &link->rx;
    if (rx->mode != C4_TCP_RX_HEADER)
        return read_payload(link, wanted);
    c4_channel *expect = link->base.expect;
    if (rx->tail == rx->head && expect != NULL && expect->posts.first != NULL && !expect->writer &&
        expect->posts.first->bytes >= PREDICT_BYTES)
        return read_predicted(link, expect, wanted);
    return read_stage(link, wanted);
}

bool c4_tcp_rx_poll(c4_tcp_link *link)
{
    c4_tcp_rx *rx = &link->rx;
    bool moved = c4_tcp_rx_parse(link);
    for (int reads = 0; reads < MAX_READS && link->base.state == C4_TLINK_UP && c4_tcp_link_wants_read(link); reads++) {
        if (rx->mode == C4_TCP_RX_HEADER && rx->tail - rx->head >= C4_TCP_HEADER_BYTES)
            break; /* a frame is held back */
        size_t wanted;
        ssize_t got = read_some(link, &wanted);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (got <= 0) {
            c4_tlink_lost(&link->base, got == 0 ? ECONNRESET : errno);
            break;
        }
        moved = true;
        c4_tcp_rx_parse(link);
        if ((size_t)got < wanted)
            break; /* the kernel has no more: asking again would cost a system call to learn it */
    }
    return moved;
}

/* ---- from the channel's side ---- */

void c4_tcp_rx_cancel(c4_tcp_link *link, c4_xfer *xfer)
{
    if (link->rx.xfer != xfer)
        return;
    link->rx.xfer = NULL;
    link->rx.mode = C4_TCP_RX_DROP;
    link->base.nposted--;
}

void c4_tcp_rx_forget_channel(c4_tcp_link *link, c4_channel *channel)
{
    c4_tcp_rx *rx = &link->rx;
    if (rx->channel != channel)
        return;
    rx->channel = NULL;
    rx->mode = C4_TCP_RX_DROP;
    if (rx->xfer != NULL)
        link->base.nposted--;
    rx->xfer = NULL;
    if (rx->in != NULL)
        c4_tlink_pool_put(&link->base.hub->pool, rx->in);
    rx->in = NULL;
}
