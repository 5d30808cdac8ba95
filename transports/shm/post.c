/* Posted frames, on top of the windows: a send is complete once it lies in the ring. */
#include "base/status.h"
#include "transports/shm/copy.h"
#include "transports/shm/module.h"

static void pending_add(c4_channel *channel)
{
    c4_module *module = channel->module;
    if (channel->is_pending)
        return;
    channel->is_pending = true;
    channel->previous_pending = NULL;
    channel->next_pending = module->pending;
    if (module->pending)
        module->pending->previous_pending = channel;
    module->pending = channel;
}

static void pending_remove(c4_channel *channel)
{
    if (!channel->is_pending || channel->sends.first || channel->receives.first)
        return;
    channel->is_pending = false;
    if (channel->next_pending)
        channel->next_pending->previous_pending = channel->previous_pending;
    if (channel->previous_pending)
        channel->previous_pending->next_pending = channel->next_pending;
    else
        channel->module->pending = channel->next_pending;
}

static void queue_push(c4_shm_queue *queue, c4_xfer *xfer)
{
    xfer->next = NULL;
    xfer->state = C4_IN_PROGRESS;
    if (queue->last)
        queue->last->next = xfer;
    else
        queue->first = xfer;
    queue->last = xfer;
}

static void queue_pop(c4_shm_queue *queue)
{
    queue->first = queue->first->next;
    if (!queue->first)
        queue->last = NULL;
}

static bool queue_remove(c4_shm_queue *queue, c4_xfer *xfer)
{
    c4_xfer *before = NULL;
    for (c4_xfer *x = queue->first; x; before = x, x = x->next) {
        if (x != xfer)
            continue;
        if (before)
            before->next = x->next;
        else
            queue->first = x->next;
        if (queue->last == x)
            queue->last = before;
        return true;
    }
    return false;
}

static c4_status send_try(c4_channel *channel, c4_xfer *xfer)
{
    c4_window window;
    c4_status status = c4_shm_reserve(channel, xfer->bytes, &window);
    if (status != C4_OK)
        return status;
    if (window.stream)
        c4_shm_copy_stream(window.pointer, xfer->pointer, xfer->bytes);
    else if (xfer->bytes)
        memcpy(window.pointer, xfer->pointer, xfer->bytes);
    xfer->frame.bytes = (uint32_t)xfer->bytes;
    c4_shm_commit(channel, &xfer->frame);
    xfer->handed_over = 1;
    return C4_OK;
}

static c4_status recv_try(c4_channel *channel, c4_xfer *xfer)
{
    c4_window window;
    c4_status status = c4_shm_peek(channel, &window);
    if (status != C4_OK)
        return status;
    xfer->frame = window.frame;
    if (window.bytes != xfer->bytes) /* this xfer's error, not the channel's: the frame stays for another receive */
        return c4_fail(C4_ERR_PROTOCOL,
                       "shm: a frame of %zu bytes from rank %d where %zu were expected (channel %u:%u)", window.bytes,
                       channel->spec.writer, xfer->bytes, channel->spec.comm, channel->spec.tag);
    if (xfer->reduce)
        xfer->reduce->reduce(xfer->pointer, xfer->operand, window.pointer, xfer->bytes / xfer->reduce->element_bytes,
                             0);
    else if (xfer->bytes)
        memcpy(xfer->pointer, window.pointer, xfer->bytes);
    c4_shm_consume(channel);
    return C4_OK;
}

static c4_status over_max(const c4_channel *channel, c4_xfer *xfer)
{
    xfer->state = c4_fail(C4_ERR_COUNT, "shm: a frame of %zu bytes on a channel that takes %zu (a quarter of its ring)",
                          xfer->bytes, channel->max_frame_bytes);
    return (c4_status)xfer->state;
}

static c4_status post(c4_channel *channel, c4_shm_queue *queue, c4_xfer *xfer,
                      c4_status (*attempt)(c4_channel *, c4_xfer *))
{
    if (__builtin_expect(xfer->bytes > channel->max_frame_bytes, 0))
        return over_max(channel, xfer);
    xfer->handed_over = 0;
    c4_status status = queue->first ? C4_IN_PROGRESS : attempt(channel, xfer);
    xfer->state = status;
    if (status != C4_IN_PROGRESS)
        return status;
    queue_push(queue, xfer);
    pending_add(channel);
    return C4_IN_PROGRESS;
}

c4_status c4_shm_send(c4_channel *channel, c4_xfer *xfer)
{
    return post(channel, &channel->sends, xfer, send_try);
}

c4_status c4_shm_recv(c4_channel *channel, c4_xfer *xfer)
{
    return post(channel, &channel->receives, xfer, recv_try);
}

void c4_shm_cancel(c4_channel *channel, c4_xfer *xfer)
{
    if (!queue_remove(&channel->sends, xfer))
        queue_remove(&channel->receives, xfer);
    pending_remove(channel);
}

/* C4_OK: something moved. A failed xfer leaves the queue with the error as its state; only an error of the channel
 * itself is returned. */
static c4_status queue_move(c4_channel *channel, c4_shm_queue *queue, c4_status (*attempt)(c4_channel *, c4_xfer *))
{
    bool moved = false;
    while (queue->first) {
        c4_xfer *xfer = queue->first;
        c4_status status = attempt(channel, xfer);
        if (status == C4_IN_PROGRESS)
            break;
        queue_pop(queue);
        xfer->state = status;
        moved = true;
        C4_TRY(channel->error);
    }
    return moved ? C4_OK : C4_IN_PROGRESS;
}

c4_status c4_shm_progress(c4_module *module, int *peer)
{
    c4_status result = C4_IN_PROGRESS;
    *peer = -1;
    for (c4_channel *channel = module->pending, *next; channel; channel = next) {
        next = channel->next_pending;
        c4_status sent = queue_move(channel, &channel->sends, send_try);
        c4_status received = queue_move(channel, &channel->receives, recv_try);
        pending_remove(channel);
        if (sent < 0 || received < 0) {
            *peer = received < 0 ? channel->spec.writer : channel->readers[0];
            return received < 0 ? received : sent;
        }
        if (sent == C4_OK || received == C4_OK)
            result = C4_OK;
    }
    return result;
}
