#include "transports/tcp/link.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "transports/link/socket.h"
#include "transports/tcp/rx.h"
#include "transports/tcp/tx.h"
#include "wire/bytes.h"

#define FLUSH_NS 1000000000u

/* ---- the words of a greeting: bytes of the peer's stream that have arrived ---- */

static c4_status link_words(c4_tlink *base, const unsigned char *theirs, unsigned char *mine)
{
    (void)theirs; /* for up */
    c4_put_u64(mine, ((c4_tcp_link *)base)->rx.received);
    return C4_OK;
}

static void link_up(c4_tlink *base, const unsigned char *theirs)
{
    c4_tcp_link *link = (c4_tcp_link *)base;
    c4_tlink_socket_tune(base->stream.fd, c4_tcp_module(link)->buffer_bytes);
    if (c4_tcp_rx_init(link) < 0) {
        c4_tlink_fail(base, C4_ERR_MEMORY);
        return;
    }
    if (!c4_tcp_tx_rewind(link, c4_get_u64(theirs))) {
        c4_tlink_fail(
            base, c4_fail(C4_ERR_PROTOCOL, "tcp: rank %d asks for bytes that are gone or were never sent", base->peer));
        return;
    }
    link->rx.told = link->rx.received;
    c4_tcp_tx_flush(link);
}

static void link_down(c4_tlink *base)
{
    ((c4_tcp_link *)base)->tx.blocked = false;
}

static void link_over(c4_tlink *base, c4_status status)
{
    c4_tcp_link *link = (c4_tcp_link *)base;
    c4_tchannels_fail(base, status);
    c4_tcp_rx_fini(link, status);
    c4_tcp_tx_fini(link, status);
}

static void link_fini(c4_tlink *base)
{
    c4_tcp_link *link = (c4_tcp_link *)base;
    c4_tcp_rx_fini(link, C4_ERR_DESTROYED);
    c4_tcp_tx_fini(link, C4_ERR_DESTROYED);
    c4_tchannels_free(base);
}

static unsigned link_wants(const c4_tlink *base)
{
    return c4_tcp_link_wants((const c4_tcp_link *)base);
}

/* ---- moving ---- */

/* Tells the peer what has arrived, unless a frame that is about to start does. */
static void send_owed_ack(c4_tcp_link *link)
{
    const c4_tcp_out *last = link->tx.last_started;
    const c4_tcp_out *unstarted = last != NULL ? last->next : link->tx.head;
    if (unstarted == NULL && c4_tcp_tx_control(link, C4_TCP_ACK, 0, 0) < 0)
        return;
    if (!link->tx.blocked)
        c4_tcp_tx_flush(link);
}

static bool link_progress(c4_tlink *base, bool readable)
{
    c4_tcp_link *link = (c4_tcp_link *)base;
    bool moved = readable ? c4_tcp_rx_poll(link) : c4_tcp_rx_parse(link);
    if (c4_tcp_tx_pending(link))
        moved |= c4_tcp_tx_flush(link);
    if (link->rx.ack_owed && base->state == C4_TLINK_UP)
        send_owed_ack(link);
    return moved;
}

/* ---- channels ---- */

static c4_tcp_link *link_of(const c4_channel *channel)
{
    return (c4_tcp_link *)channel->link;
}

static void channel_posted(c4_channel *channel)
{
    c4_tcp_link *link = link_of(channel);
    if (link->rx.tail > link->rx.head)
        c4_tcp_rx_parse(link);
}

static void channel_cancel(c4_channel *channel, c4_xfer *xfer)
{
    if (channel->writer)
        c4_tcp_tx_cancel(link_of(channel), xfer);
    else
        c4_tcp_rx_cancel(link_of(channel), xfer);
}

static void channel_forget(c4_channel *channel)
{
    if (channel->writer)
        c4_tcp_tx_forget_channel(link_of(channel), channel);
    else
        c4_tcp_rx_forget_channel(link_of(channel), channel);
}

static c4_status channel_pause(c4_channel *channel, bool pause)
{
    return c4_tcp_tx_control(link_of(channel), pause ? C4_TCP_PAUSE : C4_TCP_RESUME, channel->comm, channel->tag);
}

static const c4_tchannel_ops channel_ops = {
    .max_frame_bytes = C4_TCP_MAX_FRAME_BYTES,
    .send = c4_tcp_tx_post,
    .posted = channel_posted,
    .cancel = channel_cancel,
    .forget = channel_forget,
    .pause = channel_pause,
};

const c4_tlink_ops c4_tcp_link_ops = {
    .name = "tcp",
    .links_option = "C4_TCP_SOCKETS",
    .retry_option = "C4_TCP_RETRY_MS",
    .link_bytes = sizeof(c4_tcp_link),
    .words_bytes = sizeof(uint64_t),
    .channels = &channel_ops,
    .words = link_words,
    .up = link_up,
    .down = link_down,
    .over = link_over,
    .wants = link_wants,
    .progress = link_progress,
    .fini = link_fini,
};

/* ---- closing ---- */

static bool link_flushed(const c4_tcp_link *link)
{
    int queued = 0;
    if (link->base.state == C4_TLINK_FAILED || link->base.state == C4_TLINK_ENDED)
        return true;
    if (c4_tcp_tx_pending(link))
        return false;
    return link->base.state != C4_TLINK_UP || ioctl(link->base.stream.fd, SIOCOUTQ, &queued) != 0 || queued == 0;
}

static bool all_flushed(const c4_tlink_hub *hub)
{
    for (c4_tlink *base = c4_tlink_next(hub, NULL); base != NULL; base = c4_tlink_next(hub, base))
        if (!link_flushed((const c4_tcp_link *)base))
            return false;
    return true;
}

static void say_bye(const c4_tlink_hub *hub)
{
    for (c4_tlink *base = c4_tlink_next(hub, NULL); base != NULL; base = c4_tlink_next(hub, base)) {
        c4_tcp_link *link = (c4_tcp_link *)base;
        if (base->state == C4_TLINK_UP || (base->state == C4_TLINK_DOWN && c4_tcp_tx_pending(link)))
            c4_tcp_tx_control(link, C4_TCP_BYE, 0, 0);
    }
}

void c4_tcp_flush_all(c4_module *module)
{
    c4_tlink_hub *hub = &module->hub;
    uint64_t deadline = c4_now_ns() + FLUSH_NS;
    int peer;
    say_bye(hub);
    while (c4_tlink_hub_progress(hub, &peer), !all_flushed(hub) && c4_now_ns() < deadline) {
        struct pollfd waiter = {.fd = -1, .events = POLLIN};
        if (c4_tlink_hub_arm(hub, &waiter.fd) == C4_IN_PROGRESS)
            poll(&waiter, 1, 1);
    }
}
