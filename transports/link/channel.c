#include "transports/link/channel.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* ---- frames that were not asked for ---- */

/* The oldest kept frame; there must be one. */
static c4_tchannel_in *take(c4_channel *channel)
{
    c4_tchannel_in *in = channel->in_first;
    channel->in_first = in->next;
    channel->in_bytes -= in->frame.bytes + sizeof *in;
    if (!channel->writer && channel->paused && channel->in_bytes <= channel->depth_bytes / 2 &&
        channel->ops->pause(channel, false) == C4_OK)
        channel->paused = false;
    return in;
}

void c4_tchannel_fill(c4_xfer *xfer, const c4_frame *frame, const void *payload)
{
    xfer->frame = *frame;
    if (xfer->bytes == frame->bytes && xfer->reduce != NULL)
        xfer->reduce->reduce(xfer->pointer, xfer->operand, payload, xfer->bytes / xfer->reduce->element_bytes, 0);
    else if (xfer->bytes == frame->bytes && xfer->bytes > 0)
        memcpy(xfer->pointer, payload, xfer->bytes);
    xfer->state = xfer->bytes == frame->bytes ? C4_OK : C4_ERR_PROTOCOL;
}

/* Hands a posted receive the oldest kept frame. */
static void match(c4_channel *channel, c4_xfer *xfer)
{
    c4_tchannel_in *in = take(channel);
    c4_tchannel_fill(xfer, &in->frame, in->payload);
    c4_tlink_pool_put(&channel->link->hub->pool, in);
}

/* ---- finding and making ---- */

static c4_channel *channel_find(c4_tlink *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = link->channels;
    while (channel != NULL && (channel->tag != tag || channel->comm != comm || channel->writer != writer))
        channel = channel->next;
    return channel;
}

static c4_channel *channel_create(c4_tlink *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        c4_fail(C4_ERR_MEMORY, "%s: channel to rank %d", link->hub->ops->name, link->peer);
        return NULL;
    }
    channel->link = link;
    channel->ops = link->hub->ops->channels;
    channel->comm = comm;
    channel->tag = tag;
    channel->writer = writer;
    channel->depth_bytes = C4_TCHANNEL_DEPTH_BYTES;
    channel->next = link->channels;
    link->channels = channel;
    return channel;
}

c4_channel *c4_tchannel_incoming(c4_tlink *link, uint32_t comm, uint32_t tag)
{
    c4_channel *expect = link->expect;
    if (expect != NULL && expect->tag == tag && expect->comm == comm && !expect->writer)
        return expect;
    c4_channel *channel = channel_find(link, comm, tag, false);
    if (channel == NULL)
        channel = channel_create(link, comm, tag, false);
    if (channel == NULL)
        c4_tlink_fail(link, C4_ERR_MEMORY);
    return channel;
}

static void channel_free(c4_channel *channel)
{
    while (channel->in_first != NULL)
        c4_tlink_pool_put(&channel->link->hub->pool, take(channel));
    free(channel);
}

void c4_tchannels_free(c4_tlink *link)
{
    while (link->channels != NULL) {
        c4_channel *channel = link->channels;
        link->channels = channel->next;
        channel->paused = false;
        channel_free(channel);
    }
}

/* Neighbouring tags (lanes) go to different links; both directions agree. */
static uint32_t link_index(const c4_tlink_hub *hub, const c4_channel_spec *spec)
{
    return (spec->tag + spec->comm) % hub->nlinks;
}

c4_status c4_tchannel_open(c4_tlink_hub *hub, const c4_channel_spec *spec, c4_channel **out)
{
    int peer = -1;
    C4_TRY(c4_channel_peer(&hub->host, hub->ops->name, spec, &peer));
    if (!hub->peers[peer].known)
        return c4_channel_no_peer(hub->ops->name, spec, peer);
    c4_tlink *link;
    C4_TRY(c4_tlink_get(hub, peer, link_index(hub, spec), &link));
    bool writer = spec->writer == hub->host.rank;
    c4_channel *channel = channel_find(link, spec->comm, spec->tag, writer);
    if (channel != NULL && channel->opened)
        return c4_fail(C4_ERR_ARGUMENT, "%s: channel %u.%u to rank %d is open already", hub->ops->name, spec->comm,
                       spec->tag, peer);
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

void c4_tchannel_close(c4_channel *channel)
{
    c4_tlink *link = channel->link;
    if (channel->writer) {
        channel->ops->forget(channel);
        if (channel->paused)
            link->npaused--;
    } else {
        if (link->expect == channel)
            link->expect = NULL;
        channel->ops->forget(channel);
        for (c4_xfer *xfer = channel->posts.first; xfer != NULL; xfer = xfer->next)
            link->nposted--;
        channel->posts.first = NULL;
    }
    c4_channel **at = &link->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    channel_free(channel);
}

/* ---- posted xfers ---- */

c4_status c4_tchannel_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_tlink *link = channel->link;
    C4_TRY(c4_post_begin(xfer, channel->writer, channel->ops->max_frame_bytes));
    if (link->state >= C4_TLINK_ENDED)
        return xfer->state = link->status;
    if (channel->paused || channel->posts.first != NULL) {
        c4_posts_append(&channel->posts, xfer);
        c4_tlink_activate(link);
        return C4_IN_PROGRESS;
    }
    return channel->ops->send(channel, xfer);
}

c4_status c4_tchannel_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_tlink *link = channel->link;
    C4_TRY(c4_post_begin(xfer, !channel->writer, channel->ops->max_frame_bytes));
    if (channel->in_first != NULL && channel->posts.first == NULL) {
        match(channel, xfer);
        return xfer->state;
    }
    if (link->state >= C4_TLINK_ENDED)
        return xfer->state = link->status;
    c4_posts_append(&channel->posts, xfer);
    link->nposted++;
    if (link->expect == NULL || link->expect->posts.first == NULL)
        link->expect = channel;
    c4_tlink_activate(link);
    channel->ops->posted(channel);
    return xfer->state;
}

void c4_tchannel_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_tlink *link = channel->link;
    if (c4_posts_remove(&channel->posts, xfer)) {
        if (!channel->writer)
            link->nposted--;
        return;
    }
    channel->ops->cancel(channel, xfer);
}

c4_status c4_tchannel_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

/* ---- what arrives ---- */

void c4_tchannel_store(c4_channel *channel, c4_tchannel_in *in)
{
    c4_tlink *link = channel->link;
    in->next = NULL;
    if (channel->in_first != NULL)
        channel->in_last->next = in;
    else
        channel->in_first = in;
    channel->in_last = in;
    /* Empty frames take memory too. */
    channel->in_bytes += in->frame.bytes + sizeof *in;
    while (channel->posts.first != NULL && channel->in_first != NULL) {
        link->nposted--;
        match(channel, c4_tchannel_pop(channel));
    }
    if (!channel->paused && channel->in_bytes > channel->depth_bytes && channel->ops->pause(channel, true) == C4_OK)
        channel->paused = true;
}

void c4_tchannel_pause(c4_tlink *link, uint32_t comm, uint32_t tag, bool pause)
{
    c4_channel *channel = channel_find(link, comm, tag, true);
    if (channel == NULL || channel->paused == pause)
        return; /* closed meanwhile */
    channel->paused = pause;
    link->npaused += pause ? 1 : -1u;
    while (!channel->paused && channel->posts.first != NULL)
        channel->ops->send(channel, c4_tchannel_pop(channel));
}

void c4_tchannels_fail(c4_tlink *link, c4_status status)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        while (channel->posts.first != NULL)
            c4_tchannel_pop(channel)->state = status;
    link->nposted = 0;
}

void c4_tchannels_close(c4_tlink_hub *hub)
{
    for (c4_tlink *link = c4_tlink_next(hub, NULL); link != NULL; link = c4_tlink_next(hub, link))
        while (link->channels != NULL)
            c4_tchannel_close(link->channels);
}
