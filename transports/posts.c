#include "transports/posts.h"

#include "base/status.h"
#include "wire/frame.h"

bool c4_posts_remove(c4_posts *posts, const c4_xfer *xfer)
{
    c4_xfer *before = NULL, *at = posts->first;
    while (at != NULL && at != xfer) {
        before = at;
        at = at->next;
    }
    if (at == NULL)
        return false;
    if (before != NULL)
        before->next = at->next;
    else
        posts->first = at->next;
    if (posts->last == at)
        posts->last = before;
    at->next = NULL;
    return true;
}

c4_status c4_post_begin(c4_xfer *xfer, bool right_end, size_t max_frame_bytes)
{
    xfer->next = NULL;
    xfer->handed_over = 0;
    xfer->state = C4_IN_PROGRESS;
    if (!right_end)
        return xfer->state = C4_ERR_ARGUMENT;
    if (xfer->bytes > max_frame_bytes)
        return xfer->state = C4_ERR_COUNT;
    if (xfer->kind != C4_MEMORY_HOST)
        return xfer->state = C4_ERR_UNSUPPORTED;
    return C4_OK;
}

c4_status c4_channel_no_peer(const char *transport, const c4_channel_spec *spec, int peer)
{
    return c4_fail(C4_ERR_ROOT, "%s: channel %u.%u to rank %d, which is no peer", transport, spec->comm, spec->tag,
                   peer);
}

c4_status c4_channel_peer(const c4_transport_host *host, const char *transport, const c4_channel_spec *spec, int *peer)
{
    if (spec->nreaders != 1 || spec->tag >= C4_FRAME_TAG_LIMIT)
        return c4_fail(C4_ERR_ARGUMENT, "%s: channel %u.%u has %d readers: one is possible", transport, spec->comm,
                       spec->tag, spec->nreaders);
    bool writes = spec->writer == host->rank;
    *peer = writes ? spec->readers[0] : spec->writer;
    if (!writes && spec->readers[0] != host->rank)
        return c4_fail(C4_ERR_ARGUMENT, "%s: rank %d is neither writer nor reader of channel %u.%u", transport,
                       host->rank, spec->comm, spec->tag);
    if (*peer < 0 || *peer >= host->nranks || *peer == host->rank)
        return c4_channel_no_peer(transport, spec, *peer);
    return C4_OK;
}
