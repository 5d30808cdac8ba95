#include "transports/tcp/channel.h"

#include <stdlib.h>

#include "base/hash.h"
#include "transports/tcp/rx.h"
#include "transports/tcp/tx.h"

/* ---- finding and making ---- */

static c4_channel *channel_find(c4_tcp_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = link->channels;
    while (channel != NULL && (channel->tag != tag || channel->comm != comm || channel->writer != writer))
        channel = channel->next;
    return channel;
}

static c4_channel *channel_create(c4_tcp_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        c4_fail(C4_ERR_MEMORY, "tcp: channel to rank %d", link->base.peer);
        return NULL;
    }
    channel->link = link;
    channel->comm = comm;
    channel->tag = tag;
    channel->writer = writer;
    channel->depth_bytes = C4_TCP_DEPTH_BYTES;
    channel->next = link->channels;
    link->channels = channel;
    return channel;
}

c4_channel *c4_tcp_channel_incoming(c4_tcp_link *link, uint32_t comm, uint32_t tag)
{
    c4_channel *expect = link->expect;
    if (expect != NULL && expect->tag == tag && expect->comm == comm && !expect->writer)
        return expect;
    c4_channel *channel = channel_find(link, comm, tag, false);
    if (channel == NULL)
        channel = channel_create(link, comm, tag, false);
    if (channel == NULL)
        c4_tlink_fail(&link->base, C4_ERR_MEMORY);
    return channel;
}

static void channel_free(c4_channel *channel)
{
    while (channel->in_first != NULL)
        c4_tcp_pool_put(&c4_tcp_module(channel->link)->pool, c4_tcp_channel_take(channel));
    free(channel);
}

void c4_tcp_channels_free(c4_tcp_link *link)
{
    while (link->channels != NULL) {
        c4_channel *channel = link->channels;
        link->channels = channel->next;
        channel->paused = false;
        channel_free(channel);
    }
}

static c4_status check_spec(const c4_module *module, const c4_channel_spec *spec, int *peer)
{
    if (spec->nreaders != 1 || spec->tag >= C4_TCP_TAG_LIMIT)
        return c4_fail(C4_ERR_ARGUMENT, "tcp: channel %u.%u has %d readers: one is possible", spec->comm, spec->tag,
                       spec->nreaders);
    bool writes = spec->writer == module->hub.host.rank;
    *peer = writes ? spec->readers[0] : spec->writer;
    if (!writes && spec->readers[0] != module->hub.host.rank)
        return c4_fail(C4_ERR_ARGUMENT, "tcp: rank %d is neither writer nor reader of channel %u.%u",
                       module->hub.host.rank, spec->comm, spec->tag);
    if (*peer < 0 || *peer >= module->hub.host.nranks || *peer == module->hub.host.rank ||
        !module->hub.peers[*peer].known)
        return c4_fail(C4_ERR_ROOT, "tcp: channel %u.%u to rank %d, which is no peer", spec->comm, spec->tag, *peer);
    return C4_OK;
}

/* Neighbouring tags (lanes) go to different sockets; both directions agree. */
static uint32_t link_index(const c4_module *module, const c4_channel_spec *spec)
{
    return (spec->tag + spec->comm) % module->hub.nlinks;
}

c4_status c4_tcp_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    int peer = -1;
    C4_TRY(check_spec(module, spec, &peer));
    c4_tlink *base;
    C4_TRY(c4_tlink_get(&module->hub, peer, link_index(module, spec), &base));
    c4_tcp_link *link = (c4_tcp_link *)base;
    bool writer = spec->writer == module->hub.host.rank;
    c4_channel *channel = channel_find(link, spec->comm, spec->tag, writer);
    if (channel != NULL && channel->opened)
        return c4_fail(C4_ERR_ARGUMENT, "tcp: channel %u.%u to rank %d is open already", spec->comm, spec->tag, peer);
    if (channel == NULL)
        channel = channel_create(link, spec->comm, spec->tag, writer);
    if (channel == NULL)
        return C4_ERR_MEMORY;
    channel->opened = true;
    if (spec->depth_bytes != 0 && spec->depth_bytes < channel->depth_bytes)
        channel->depth_bytes = spec->depth_bytes;
    *out = channel;
    return C4_OK;
}

void c4_tcp_channel_close(c4_channel *channel)
{
    c4_tcp_link *link = channel->link;
    if (channel->writer) {
        c4_tcp_tx_forget_channel(link, channel);
        if (channel->paused)
            link->npaused--;
    } else {
        c4_tcp_rx_forget_channel(link, channel);
        for (c4_xfer *xfer = channel->first; xfer != NULL; xfer = xfer->next)
            link->nposted--;
        channel->first = NULL;
    }
    c4_channel **at = &link->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    channel_free(channel);
}

/* ---- posted xfers ---- */

static void list_append(c4_channel *channel, c4_xfer *xfer)
{
    if (channel->first != NULL)
        channel->last->next = xfer;
    else
        channel->first = xfer;
    channel->last = xfer;
}

static bool list_remove(c4_channel *channel, const c4_xfer *xfer)
{
    c4_xfer *before = NULL;
    c4_xfer *at = channel->first;
    while (at != NULL && at != xfer) {
        before = at;
        at = at->next;
    }
    if (at == NULL)
        return false;
    if (before != NULL)
        before->next = at->next;
    else
        channel->first = at->next;
    if (channel->last == at)
        channel->last = before;
    at->next = NULL;
    return true;
}

static c4_status check_post(const c4_channel *channel, c4_xfer *xfer, bool writer)
{
    xfer->next = NULL;
    xfer->handed_over = 0;
    xfer->state = C4_IN_PROGRESS;
    if (channel->writer != writer)
        return xfer->state = C4_ERR_ARGUMENT;
    if (xfer->bytes > C4_TCP_MAX_FRAME_BYTES)
        return xfer->state = C4_ERR_COUNT;
    if (xfer->kind != C4_MEMORY_HOST)
        return xfer->state = C4_ERR_UNSUPPORTED;
    return C4_OK;
}

c4_status c4_tcp_channel_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_tcp_link *link = channel->link;
    C4_TRY(check_post(channel, xfer, true));
    if (link->base.state >= C4_TLINK_ENDED)
        return xfer->state = link->base.status;
    if (channel->paused || channel->first != NULL) {
        list_append(channel, xfer);
        c4_tlink_activate(&link->base);
        return C4_IN_PROGRESS;
    }
    return c4_tcp_tx_post(link, channel, xfer);
}

c4_status c4_tcp_channel_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_tcp_link *link = channel->link;
    C4_TRY(check_post(channel, xfer, false));
    if (channel->in_first != NULL && channel->first == NULL) {
        c4_tcp_rx_match(channel, xfer);
        return xfer->state;
    }
    if (link->base.state >= C4_TLINK_ENDED)
        return xfer->state = link->base.status;
    list_append(channel, xfer);
    link->nposted++;
    if (link->expect == NULL || link->expect->first == NULL)
        link->expect = channel;
    c4_tlink_activate(&link->base);
    if (link->rx.tail > link->rx.head)
        c4_tcp_rx_parse(link);
    return xfer->state;
}

void c4_tcp_channel_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_tcp_link *link = channel->link;
    if (list_remove(channel, xfer)) {
        if (!channel->writer)
            link->nposted--;
        return;
    }
    if (channel->writer)
        c4_tcp_tx_cancel(link, xfer);
    else
        c4_tcp_rx_cancel(link, xfer);
}

c4_status c4_tcp_channel_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

/* ---- unexpected frames and pausing ---- */

void c4_tcp_channel_store(c4_channel *channel, c4_tcp_in *in)
{
    c4_tcp_link *link = channel->link;
    in->next = NULL;
    if (channel->in_first != NULL)
        channel->in_last->next = in;
    else
        channel->in_first = in;
    channel->in_last = in;
    /* Empty frames take memory too. */
    channel->in_bytes += in->frame.bytes + sizeof *in;
    while (channel->first != NULL && channel->in_first != NULL) {
        c4_xfer *xfer = channel->first;
        channel->first = xfer->next;
        link->nposted--;
        c4_tcp_rx_match(channel, xfer);
    }
    if (!channel->paused && channel->in_bytes > channel->depth_bytes &&
        c4_tcp_tx_control(link, C4_TCP_PAUSE, channel->comm, channel->tag) == C4_OK)
        channel->paused = true;
}

c4_tcp_in *c4_tcp_channel_take(c4_channel *channel)
{
    c4_tcp_in *in = channel->in_first;
    channel->in_first = in->next;
    channel->in_bytes -= in->frame.bytes + sizeof *in;
    if (!channel->writer && channel->paused && channel->in_bytes <= channel->depth_bytes / 2 &&
        c4_tcp_tx_control(channel->link, C4_TCP_RESUME, channel->comm, channel->tag) == C4_OK)
        channel->paused = false;
    return in;
}

void c4_tcp_channel_pause(c4_tcp_link *link, uint32_t comm, uint32_t tag, bool pause)
{
    c4_channel *channel = channel_find(link, comm, tag, true);
    if (channel == NULL || channel->paused == pause)
        return; /* closed meanwhile */
    channel->paused = pause;
    link->npaused += pause ? 1 : -1u;
    while (!channel->paused && channel->first != NULL) {
        c4_xfer *xfer = channel->first;
        channel->first = xfer->next;
        xfer->next = NULL;
        c4_tcp_tx_post(link, channel, xfer);
    }
}

void c4_tcp_channels_fail(c4_tcp_link *link, c4_status status)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        while (channel->first != NULL) {
            c4_xfer *xfer = channel->first;
            channel->first = xfer->next;
            xfer->state = status;
        }
    link->nposted = 0;
}
