#include "transports/tcp/tx.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MAX_IOV 16
/* One system call writes at most this much, so that reading and writing alternate. A whole frame of plain data: 1 MiB one way
 * over loopback takes 130 us in calls of 512 KiB and 101 in one. */
#define WRITE_BYTES (((size_t)1 << 20) + C4_TCP_HEADER_BYTES)

static size_t out_size(const c4_tcp_out *out)
{
    return C4_TCP_HEADER_BYTES + out->bytes;
}

/* What an out without a caller's span adds to retained_bytes. Empty frames take memory too. */
static size_t out_cost(const c4_tcp_out *out)
{
    return sizeof *out + out->bytes;
}

static void out_free(c4_tcp_link *link, c4_tcp_out *out)
{
    c4_tlink_pool *pool = &link->base.hub->pool;
    if (out->xfer != NULL)
        link->tx.nspans--;
    else
        link->tx.retained_bytes -= out_cost(out);
    if (out->own_payload != NULL)
        c4_tlink_pool_put(pool, out->own_payload);
    c4_tlink_pool_put(pool, out);
}

/* ---- queue ---- */

static c4_tcp_out *out_create(c4_tcp_link *link, size_t copy_bytes)
{
    c4_tcp_out *out = c4_tlink_pool_get(&link->base.hub->pool, sizeof *out + copy_bytes);
    if (out == NULL) {
        c4_fail(C4_ERR_MEMORY, "tcp: frame to rank %d", link->base.peer);
        return NULL;
    }
    memset(out, 0, offsetof(c4_tcp_out, head));
    return out;
}

static void queue_append(c4_tcp_tx *tx, c4_tcp_out *out)
{
    if (tx->tail != NULL)
        tx->tail->next = out;
    else
        tx->head = out;
    tx->tail = out;
    if (tx->write == NULL) {
        tx->write = out;
        tx->written = 0;
    }
}

/* Before everything that has not started. */
static void queue_insert_first(c4_tcp_tx *tx, c4_tcp_out *out)
{
    c4_tcp_out **link = tx->last_started != NULL ? &tx->last_started->next : &tx->head;
    out->next = *link;
    *link = out;
    if (out->next == NULL)
        tx->tail = out;
    if (tx->write == NULL || tx->write == out->next) {
        tx->write = out;
        tx->written = 0;
    }
}

static void out_start(c4_tcp_link *link, c4_tcp_out *out)
{
    c4_tcp_tx *tx = &link->tx;
    out->started = true;
    out->start = tx->end;
    tx->end += out_size(out);
    tx->last_started = out;
    out->header.ack = link->rx.received;
    link->rx.told = link->rx.received;
    link->rx.ack_owed = false;
    c4_tcp_header_pack(&out->header, out->head);
}

/* ---- writing ---- */

static size_t gather_one(c4_tcp_out *out, size_t skip, size_t room, struct iovec *iov, int *n)
{
    size_t total = 0;
    if (skip < C4_TCP_HEADER_BYTES) {
        /* A copied payload follows its header in memory. */
        size_t joined = out->payload == out->copy ? out_size(out) : C4_TCP_HEADER_BYTES;
        iov[(*n)++] = (struct iovec){out->head + skip, joined - skip};
        total = joined - skip;
        skip = joined;
    }
    size_t left = out_size(out) - skip;
    if (left > 0 && *n < MAX_IOV) {
        size_t part = left < room ? left : room;
        iov[(*n)++] = (struct iovec){(void *)(uintptr_t)(out->payload + (skip - C4_TCP_HEADER_BYTES)), part};
        total += part;
    }
    return total;
}

static size_t gather(c4_tcp_link *link, struct iovec *iov, int *n)
{
    c4_tcp_tx *tx = &link->tx;
    size_t total = 0;
    size_t skip = tx->written;
    *n = 0;
    for (c4_tcp_out *out = tx->write; out != NULL && *n < MAX_IOV && total < WRITE_BYTES; out = out->next) {
        if (!out->started)
            out_start(link, out);
        size_t part = gather_one(out, skip, WRITE_BYTES - total, iov, n);
        total += part;
        if (skip + part < out_size(out))
            break;
        skip = 0;
    }
    return total;
}

static void advance(c4_tcp_link *link, size_t bytes)
{
    c4_tcp_tx *tx = &link->tx;
    tx->sent += bytes;
    while (bytes > 0) {
        c4_tcp_out *out = tx->write;
        size_t left = out_size(out) - tx->written;
        if (bytes < left) {
            tx->written += bytes;
            return;
        }
        bytes -= left;
        if (out->xfer != NULL)
            out->xfer->handed_over = 1;
        if (out->waiting != NULL)
            out->waiting->state = C4_OK;
        out->waiting = NULL;
        tx->write = out->next;
        tx->written = 0;
    }
}

static ssize_t write_some(c4_tcp_link *link, size_t *wanted)
{
    struct iovec iov[MAX_IOV];
    int n;
    *wanted = gather(link, iov, &n);
    if (c4_tcp_module(link)->truncate) {
        c4_tcp_module(link)->truncate = false;
        iov[0].iov_len /= 2;
        ssize_t half = c4_tlink_stream_writev(&link->base.stream, iov, 1);
        shutdown(link->base.stream.fd, SHUT_RDWR);
        return half;
    }
    return c4_tlink_stream_writev(&link->base.stream, iov, n);
}

bool c4_tcp_tx_flush(c4_tcp_link *link)
{
    bool moved = false;
    while (link->tx.write != NULL && link->base.state == C4_TLINK_UP) {
        size_t wanted;
        ssize_t got = write_some(link, &wanted);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) {
            link->tx.blocked = true;
            break;
        }
        if (got < 0) {
            c4_tlink_lost(&link->base, errno);
            break;
        }
        moved = true;
        advance(link, (size_t)got);
        link->tx.blocked = (size_t)got < wanted;
        if (wanted >= WRITE_BYTES || link->tx.blocked)
            break; /* let the reading side have its turn */
    }
    return moved;
}

/* ---- posting ---- */

static c4_status post_frame(c4_tcp_link *link, c4_channel *channel, c4_xfer *xfer, bool copy)
{
    c4_tcp_out *out = out_create(link, copy ? xfer->bytes : 0);
    if (out == NULL)
        return xfer->state = C4_ERR_MEMORY;
    out->channel = channel;
    out->bytes = (uint32_t)xfer->bytes;
    out->header = (c4_tcp_header){C4_TCP_DATA, copy ? 0 : C4_TCP_WANT_ACK, channel->tag, channel->comm, 0, xfer->frame};
    out->header.frame.bytes = out->bytes;
    if (copy) {
        if (xfer->bytes > 0)
            memcpy(out->copy, xfer->pointer, xfer->bytes);
        out->payload = out->copy;
        link->tx.retained_bytes += out_cost(out);
        out->waiting = xfer;
        xfer->handed_over = 1;
    } else {
        out->payload = xfer->pointer;
        out->xfer = xfer;
        link->tx.nspans++;
    }
    xfer->state = C4_IN_PROGRESS;
    queue_append(&link->tx, out);
    return C4_OK;
}

c4_status c4_tcp_tx_post(c4_channel *channel, c4_xfer *xfer)
{
    c4_tcp_link *link = (c4_tcp_link *)channel->link;
    bool copy = xfer->bytes <= c4_tcp_module(link)->copy_bytes && link->tx.retained_bytes < C4_TCP_RETAIN_BYTES;
    bool first = link->tx.write == NULL;
    C4_TRY(post_frame(link, channel, xfer, copy));
    channel->counters.messages++;
    channel->counters.bytes += xfer->bytes;
    if (first && link->base.state == C4_TLINK_UP)
        c4_tcp_tx_flush(link);
    if (!link->base.active && link->base.state <= C4_TLINK_UP && c4_tcp_link_wants(link) != 0)
        c4_tlink_activate(&link->base);
    return xfer->state;
}

c4_status c4_tcp_tx_control(c4_tcp_link *link, c4_tcp_kind kind, uint32_t comm, uint32_t tag)
{
    c4_tcp_out *out = out_create(link, 0);
    if (out == NULL)
        return C4_ERR_MEMORY;
    out->payload = out->copy;
    out->header = (c4_tcp_header){.kind = (uint8_t)kind, .tag = tag, .comm = comm};
    link->tx.retained_bytes += out_cost(out);
    if (kind == C4_TCP_ACK)
        queue_insert_first(&link->tx, out);
    else
        queue_append(&link->tx, out);
    c4_tlink_activate(&link->base);
    return C4_OK;
}

/* ---- acknowledgements and new sockets ---- */

bool c4_tcp_tx_acknowledge(c4_tcp_link *link, uint64_t position)
{
    c4_tcp_tx *tx = &link->tx;
    if (position <= tx->acked)
        return true; /* headers that are sent again carry old counts */
    if (position > tx->sent)
        return false;
    tx->acked = position;
    while (tx->head != NULL && tx->head != tx->write && tx->head->start + out_size(tx->head) <= position) {
        c4_tcp_out *out = tx->head;
        tx->head = out->next;
        if (tx->tail == out)
            tx->tail = NULL;
        if (tx->last_started == out)
            tx->last_started = NULL;
        c4_xfer *xfer = out->xfer;
        out_free(link, out);
        if (xfer != NULL)
            xfer->state = C4_OK;
    }
    return true;
}

bool c4_tcp_tx_rewind(c4_tcp_link *link, uint64_t position)
{
    c4_tcp_tx *tx = &link->tx;
    if (position < tx->acked || position > tx->sent || !c4_tcp_tx_acknowledge(link, position))
        return false;
    tx->blocked = false;
    c4_tcp_out *out = tx->head;
    while (out != NULL && out->started && out->start + out_size(out) <= position)
        out = out->next;
    tx->write = out;
    tx->written = out != NULL && out->started ? (size_t)(position - out->start) : 0;
    for (; out != NULL && out->started && out->start < tx->sent && position < tx->sent; out = out->next)
        if (out->channel != NULL)
            out->channel->counters.resends++;
    tx->sent = position;
    return true;
}

/* ---- letting go ---- */

static void queue_remove(c4_tcp_link *link, c4_tcp_out *before, c4_tcp_out *out)
{
    c4_tcp_tx *tx = &link->tx;
    if (before != NULL)
        before->next = out->next;
    else
        tx->head = out->next;
    if (tx->tail == out)
        tx->tail = before;
    if (tx->write == out)
        tx->write = out->next;
    out_free(link, out);
}

/* The stream must go on with these very bytes, now or on the next socket: keeps a copy of the span. */
static void out_detach(c4_tcp_link *link, c4_tcp_out *out)
{
    void *copy = c4_tlink_pool_get(&link->base.hub->pool, out->bytes);
    if (copy == NULL) {
        c4_tlink_fail(&link->base, c4_fail(C4_ERR_MEMORY, "tcp: cancelling a frame of %u bytes to rank %d", out->bytes,
                                           link->base.peer));
        return;
    }
    memcpy(copy, out->payload, out->bytes);
    out->own_payload = copy;
    out->payload = copy;
    out->xfer = NULL;
    link->tx.nspans--;
    link->tx.retained_bytes += out_cost(out);
}

void c4_tcp_tx_cancel(c4_tcp_link *link, c4_xfer *xfer)
{
    c4_tcp_out *before = NULL;
    c4_tcp_out *out = link->tx.head;
    while (out != NULL && out->xfer != xfer && out->waiting != xfer) {
        before = out;
        out = out->next;
    }
    if (out == NULL)
        return;
    if (out->waiting == xfer)
        out->waiting = NULL; /* the copy is sent all the same */
    else if (out->started)
        out_detach(link, out);
    else
        queue_remove(link, before, out);
}

void c4_tcp_tx_forget_channel(c4_tcp_link *link, c4_channel *channel)
{
    c4_tcp_out *before = NULL;
    for (c4_tcp_out *out = link->tx.head; out != NULL;) {
        c4_tcp_out *next = out->next;
        bool mine = out->channel == channel;
        if (mine && out->xfer != NULL && !out->started) {
            queue_remove(link, before, out);
            out = next;
            continue;
        }
        if (mine)
            out->channel = NULL;
        if (mine)
            out->waiting = NULL;
        if (mine && out->xfer != NULL)
            out_detach(link, out);
        if (link->base.state == C4_TLINK_FAILED)
            return; /* detaching failed and the queue is gone */
        before = out;
        out = next;
    }
}

void c4_tcp_tx_fini(c4_tcp_link *link, int state)
{
    c4_tcp_tx *tx = &link->tx;
    while (tx->head != NULL) {
        c4_tcp_out *out = tx->head;
        c4_xfer *xfer = out->xfer != NULL ? out->xfer : out->waiting;
        tx->head = out->next;
        out_free(link, out);
        if (xfer != NULL)
            xfer->state = state;
    }
    tx->tail = tx->last_started = tx->write = NULL;
    tx->written = 0;
}
