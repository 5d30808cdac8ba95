#include "transports/verbs/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "transports/verbs/rx.h"
#include "transports/verbs/tx.h"

/* ---- finding and making ---- */

c4_channel *c4_verbs_channel_find(const c4_verbs_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = link->channels;
    while (channel != NULL && (channel->tag != tag || channel->comm != comm || channel->writer != writer))
        channel = channel->next;
    return channel;
}

static c4_channel *channel_create(c4_verbs_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        c4_fail(C4_ERR_MEMORY, "verbs: channel to rank %d", link->base.peer);
        return NULL;
    }
    channel->link = link;
    channel->comm = comm;
    channel->tag = tag;
    channel->writer = writer;
    channel->depth_bytes = C4_VERBS_DEPTH_BYTES;
    channel->next = link->channels;
    link->channels = channel;
    return channel;
}

c4_channel *c4_verbs_channel_incoming(c4_verbs_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *expect = link->expect;
    if (expect != NULL && expect->tag == tag && expect->comm == comm && expect->writer == writer)
        return expect;
    c4_channel *channel = c4_verbs_channel_find(link, comm, tag, writer);
    if (channel == NULL)
        channel = channel_create(link, comm, tag, writer);
    if (channel != NULL)
        link->expect = channel;
    return channel;
}

static void channel_free(c4_channel *channel)
{
    while (channel->in_first != NULL) {
        c4_verbs_in *in = channel->in_first;
        channel->in_first = in->next;
        free(in);
    }
    free(channel);
}

void c4_verbs_channels_prune(c4_verbs_link *link)
{
    for (c4_channel **at = &link->channels; *at != NULL;) {
        c4_channel *channel = *at;
        if (channel->opened || !channel->writer) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        channel_free(channel);
    }
    link->expect = NULL;
}

void c4_verbs_channels_free(c4_verbs_link *link)
{
    while (link->channels != NULL) {
        c4_channel *channel = link->channels;
        link->channels = channel->next;
        channel_free(channel);
    }
    link->expect = NULL;
    link->waiting_first = link->waiting_last = NULL;
}

c4_status c4_verbs_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    int peer = -1;
    c4_tlink *base = NULL;
    C4_TRY(c4_channel_peer(&module->hub.host, "verbs", spec, &peer));
    if (!module->hub.peers[peer].known)
        return c4_channel_no_peer("verbs", spec, peer);
    /* Neighbouring tags (lanes) go to different queue pairs; both directions agree. */
    C4_TRY(c4_tlink_get(&module->hub, peer, (spec->tag + spec->comm) % module->hub.nlinks, &base));
    c4_verbs_link *link = c4_verbs_link_of(base);
    link->module = module;
    bool writer = spec->writer == module->hub.host.rank;
    c4_channel *channel = c4_verbs_channel_find(link, spec->comm, spec->tag, writer);
    if (channel != NULL && channel->opened)
        return c4_fail(C4_ERR_ARGUMENT, "verbs: channel %u.%u to rank %d is open already", spec->comm, spec->tag, peer);
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

/* ---- waiting ---- */

void c4_verbs_channel_waits_on(c4_channel *channel)
{
    c4_verbs_link *link = channel->link;
    if (channel->waiting || !link->open)
        return; /* a link that opens looks at all its channels */
    channel->waiting = true;
    channel->next_waiting = NULL;
    if (link->waiting_first != NULL)
        link->waiting_last->next_waiting = channel;
    else
        link->waiting_first = channel;
    link->waiting_last = channel;
}

void c4_verbs_channel_waits(c4_channel *channel)
{
    c4_verbs_channel_waits_on(channel);
    if (channel->waiting)
        c4_verbs_link_busy(channel->link);
}

static void stop_waiting(c4_channel *channel)
{
    c4_verbs_link *link = channel->link;
    c4_channel *before = NULL;
    for (c4_channel *at = channel->waiting ? link->waiting_first : NULL; at != channel && at != NULL;
         at = at->next_waiting)
        before = at;
    if (!channel->waiting)
        return;
    if (before != NULL)
        before->next_waiting = channel->next_waiting;
    else
        link->waiting_first = channel->next_waiting;
    if (link->waiting_last == channel)
        link->waiting_last = before;
    channel->waiting = false;
}

/* ---- posts ---- */

void c4_verbs_channel_append(c4_channel *channel, c4_xfer *xfer)
{
    c4_posts_append(&channel->posts, xfer);
    if (channel->writer)
        channel->link->nqueued++;
    else
        channel->link->nposted++;
    channel->nlarge += !channel->writer && c4_verbs_is_large(channel, xfer);
}

static void gone(c4_channel *channel, const c4_xfer *xfer)
{
    if (channel->writer)
        channel->link->nqueued--;
    else
        channel->link->nposted--;
    channel->nlarge -= !channel->writer && c4_verbs_is_large(channel, xfer);
}

void c4_verbs_channel_shift(c4_channel *channel)
{
    gone(channel, c4_posts_take(&channel->posts));
}

static bool list_remove(c4_channel *channel, const c4_xfer *xfer)
{
    if (!c4_posts_remove(&channel->posts, xfer))
        return false;
    gone(channel, xfer);
    return true;
}

c4_status c4_verbs_channel_send(c4_channel *channel, c4_xfer *xfer)
{
    C4_TRY(c4_post_begin(xfer, channel->writer, C4_VERBS_MAX_FRAME_BYTES));
    if (channel->link->base.state >= C4_TLINK_ENDED)
        return xfer->state = channel->link->base.status;
    return c4_verbs_tx_post(channel, xfer);
}

c4_status c4_verbs_channel_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_verbs_link *link = channel->link;
    C4_TRY(c4_post_begin(xfer, !channel->writer, C4_VERBS_MAX_FRAME_BYTES));
    if (link->base.state >= C4_TLINK_ENDED && channel->in_first == NULL)
        return xfer->state = link->base.status;
    c4_verbs_channel_append(channel, xfer);
    link->expect = channel;
    c4_verbs_rx_match(channel);
    if (xfer->state == C4_IN_PROGRESS)
        c4_tlink_activate(&link->base);
    return xfer->state;
}

/* The peer or the device may be using the span of a pending post: until the queue pair has ended. */
static void end_queue_pair(c4_verbs_link *link)
{
    if (link->base.state == C4_TLINK_UP)
        c4_tlink_lost(&link->base, ECANCELED);
}

void c4_verbs_channel_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_verbs_link *link = channel->link;
    if (!channel->writer && channel->ntickets > 0)
        end_queue_pair(link);
    if (list_remove(channel, xfer))
        return;
    if (channel->writer && c4_verbs_tx_cancel(link, xfer))
        end_queue_pair(link);
}

void c4_verbs_channel_close(c4_channel *channel)
{
    c4_verbs_link *link = channel->link;
    if (!channel->writer && channel->ntickets > 0)
        end_queue_pair(link);
    while (channel->posts.first != NULL)
        c4_verbs_channel_shift(channel);
    if (channel->writer && c4_verbs_tx_forget(channel))
        end_queue_pair(link);
    stop_waiting(channel);
    if (link->expect == channel)
        link->expect = NULL;
    c4_channel **at = &link->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    channel_free(channel);
}

c4_status c4_verbs_channel_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

void c4_verbs_channels_fail(c4_verbs_link *link, c4_status status)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        while (channel->posts.first != NULL) {
            c4_xfer *xfer = channel->posts.first;
            c4_verbs_channel_shift(channel);
            xfer->state = status;
        }
}
