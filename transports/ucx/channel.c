#include "transports/ucx/channel.h"

#include <stdlib.h>

#include "transports/ucx/greeting.h"
#include "transports/ucx/link.h"
#include "transports/ucx/receive.h"
#include "transports/ucx/send.h"

/* A rendezvous that waits costs its description only; so do empty frames. */
#define IN_BYTES(in) (sizeof(c4_ucx_in) + ((in)->rendezvous ? 0 : (in)->header.frame.bytes))

/* ---- finding and making ---- */

static c4_channel *channel_find(c4_ucx_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = link->channels;
    while (channel != NULL && (channel->tag != tag || channel->comm != comm || channel->writer != writer))
        channel = channel->next;
    return channel;
}

static c4_channel *channel_create(c4_ucx_link *link, uint32_t comm, uint32_t tag, bool writer)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL) {
        c4_fail(C4_ERR_MEMORY, "ucx: channel to rank %d", link->peer);
        return NULL;
    }
    channel->link = link;
    channel->comm = comm;
    channel->tag = tag;
    channel->writer = writer;
    channel->depth_bytes = C4_UCX_DEPTH_BYTES;
    channel->next = link->channels;
    link->channels = channel;
    return channel;
}

c4_channel *c4_ucx_channel_incoming(c4_ucx_link *link, uint32_t comm, uint32_t tag)
{
    c4_channel *channel = link->expect;
    if (channel != NULL && channel->tag == tag && channel->comm == comm)
        return channel;
    channel = channel_find(link, comm, tag, false);
    if (channel == NULL)
        channel = channel_create(link, comm, tag, false);
    if (channel == NULL)
        c4_ucx_link_fail(link, C4_ERR_MEMORY);
    else
        link->expect = channel;
    return channel;
}

static void channel_free(c4_channel *channel)
{
    c4_ucx_ins_free(channel->link->module, channel->in_first);
    if (channel->link->expect == channel)
        channel->link->expect = NULL;
    free(channel);
}

void c4_ucx_channels_free(c4_ucx_link *link)
{
    while (link->channels != NULL) {
        c4_channel *channel = link->channels;
        link->channels = channel->next;
        channel_free(channel);
    }
}

c4_status c4_ucx_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    int peer = -1;
    c4_ucx_link *link;
    C4_TRY(c4_channel_peer(&module->host, "ucx", spec, &peer));
    if (module->addresses[peer] == NULL)
        return c4_channel_no_peer("ucx", spec, peer);
    C4_TRY(c4_ucx_link_create(module, peer, &link));
    bool writer = spec->writer == module->host.rank;
    c4_channel *channel = channel_find(link, spec->comm, spec->tag, writer);
    if (channel != NULL && channel->opened)
        return c4_fail(C4_ERR_ARGUMENT, "ucx: channel %u.%u to rank %d is open already", spec->comm, spec->tag, peer);
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

/* ---- posted xfers ---- */

static size_t *counter_of(const c4_channel *channel)
{
    c4_module *module = channel->link->module;
    return channel->writer ? &module->nheld : &module->nposted;
}

static void list_append(c4_channel *channel, c4_xfer *xfer)
{
    c4_posts_append(&channel->posts, xfer);
    ++*counter_of(channel);
}

static c4_xfer *list_take(c4_channel *channel)
{
    --*counter_of(channel);
    return c4_posts_take(&channel->posts);
}

static bool list_remove(c4_channel *channel, const c4_xfer *xfer)
{
    if (!c4_posts_remove(&channel->posts, xfer))
        return false;
    --*counter_of(channel);
    return true;
}

c4_status c4_ucx_channel_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_ucx_link *link = channel->link;
    C4_TRY(c4_post_begin(xfer, channel->writer, C4_UCX_MAX_FRAME_BYTES));
    if (link->state >= C4_UCX_ENDED)
        return xfer->state = link->status;
    if (link->sends && link->state == C4_UCX_LIVE && !channel->paused && channel->posts.first == NULL)
        return c4_ucx_send_frame(channel, xfer);
    list_append(channel, xfer);
    c4_ucx_greeting_begin(link);
    return (c4_status)xfer->state;
}

c4_status c4_ucx_channel_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_ucx_link *link = channel->link;
    C4_TRY(c4_post_begin(xfer, !channel->writer, C4_UCX_MAX_FRAME_BYTES));
    if (channel->in_first != NULL && channel->posts.first == NULL) {
        c4_ucx_receive_kept(channel, xfer);
        return (c4_status)xfer->state;
    }
    if (link->state >= C4_UCX_ENDED)
        return xfer->state = link->status;
    list_append(channel, xfer);
    return C4_IN_PROGRESS;
}

static bool forget_lost(c4_ucx_link *link, const c4_xfer *xfer)
{
    for (c4_xfer **at = &link->lost; *at != NULL; at = &(*at)->next)
        if (*at == xfer) {
            *at = xfer->next;
            return true;
        }
    return false;
}

void c4_ucx_channel_cancel(c4_channel *channel, c4_xfer *xfer)
{
    if (list_remove(channel, xfer) || forget_lost(channel->link, xfer))
        return;
    for (c4_ucx_work *work = channel->link->works; work != NULL; work = work->next)
        if (work->xfer == xfer) {
            c4_ucx_work_cancel(work);
            forget_lost(channel->link, xfer);
            return;
        }
}

c4_status c4_ucx_channel_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

void c4_ucx_channel_close(c4_channel *channel)
{
    c4_ucx_link *link = channel->link;
    while (channel->posts.first != NULL)
        list_take(channel);
    c4_ucx_works_forget(channel);
    c4_channel **at = &link->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    channel_free(channel);
}

/* ---- unexpected frames and pausing ---- */

/* Telling the writer needs this rank's own leave to send. */
static void tell(c4_channel *channel)
{
    c4_ucx_link *link = channel->link;
    if (channel->paused == channel->told || link->state != C4_UCX_LIVE)
        return;
    if (!link->sends) {
        c4_ucx_greeting_begin(link);
        return;
    }
    channel->told = channel->paused;
    c4_ucx_send_control(link, channel->paused ? C4_UCX_PAUSE : C4_UCX_RESUME, channel->comm, channel->tag);
}

c4_xfer *c4_ucx_channel_posted(c4_channel *channel)
{
    return channel->posts.first != NULL && channel->in_first == NULL ? list_take(channel) : NULL;
}

void c4_ucx_channel_keep(c4_channel *channel, c4_ucx_in *in)
{
    in->next = NULL;
    if (channel->in_first != NULL)
        channel->in_last->next = in;
    else
        channel->in_first = in;
    channel->in_last = in;
    channel->in_bytes += IN_BYTES(in);
    if (!channel->paused && channel->in_bytes > channel->depth_bytes) {
        channel->paused = true;
        tell(channel);
    }
}

c4_ucx_in *c4_ucx_channel_take(c4_channel *channel)
{
    c4_ucx_in *in = channel->in_first;
    channel->in_first = in->next;
    channel->in_bytes -= IN_BYTES(in);
    if (channel->paused && channel->in_bytes <= channel->depth_bytes / 2) {
        channel->paused = false;
        tell(channel);
    }
    return in;
}

static void go(c4_channel *channel)
{
    c4_ucx_link *link = channel->link;
    while (link->state == C4_UCX_LIVE && link->sends && !channel->paused && channel->posts.first != NULL)
        c4_ucx_send_frame(channel, list_take(channel));
}

void c4_ucx_channel_pause(c4_ucx_link *link, uint32_t comm, uint32_t tag, bool pause)
{
    c4_channel *channel = channel_find(link, comm, tag, true);
    if (channel == NULL)
        return; /* closed meanwhile */
    channel->paused = pause;
    go(channel);
}

void c4_ucx_channels_go(c4_ucx_link *link)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next) {
        if (channel->writer)
            go(channel);
        else
            tell(channel);
    }
}

void c4_ucx_channels_fail(c4_ucx_link *link, c4_status status)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        while (channel->posts.first != NULL)
            list_take(channel)->state = status;
}

bool c4_ucx_channels_wait(const c4_ucx_link *link)
{
    for (const c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        if (channel->posts.first != NULL)
            return true;
    for (const c4_ucx_work *work = link->works; work != NULL; work = work->next)
        if (work->xfer != NULL)
            return true;
    return false;
}
