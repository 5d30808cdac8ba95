#include "transports/loop/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/status.h"
#include "transports/loop/pipe.h"
#include "transports/stubs.h"

#define LOOP_ADDRESS_MAGIC 0x504f4f4cu /* "LOOP" */

struct loop_address {
    uint32_t magic;
    int32_t pid;
    uint64_t job_id;
};

struct c4_module {
    c4_transport_host host;
    c4_loop_waker waker;
    c4_channel *channels;
};

struct c4_channel {
    c4_channel *next;
    c4_module *module;
    c4_loop_pipe *pipe;
    int reader; /* index, or -1: this end writes */
    c4_xfer *first, *last;
    c4_loop_node *reserved;
    size_t reserved_bytes;
    c4_edge_counters counters;
};

static void fill_caps(c4_transport_caps *caps)
{
    *caps = (c4_transport_caps){
        .struct_size = sizeof *caps,
        .flags = C4_CAP_WINDOWS | C4_CAP_MAP | C4_CAP_FUSED_REDUCE | C4_CAP_SAME_HOST,
        .latency_s = 0.4e-6,
        .seconds_per_byte = 0.15e-9,
        .inline_bytes = 4096,
        .max_frame_bytes = C4_LOOP_MAX_FRAME_BYTES,
        .zero_copy_bytes = SIZE_MAX,
        .max_readers = 4096,
        .put_bytes = C4_LOOP_MAX_FRAME_BYTES,
    };
}

static c4_status loop_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    (void)host, (void)reason, (void)reason_bytes;
    fill_caps(caps);
    return C4_OK;
}

static c4_status loop_open(const c4_transport_host *host, c4_module **out)
{
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "loop: module");
    module->host = *host;
    module->waker.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (module->waker.fd < 0) {
        int error = errno;
        free(module);
        return c4_fail_errno(c4_status_from_errno(error), error, "loop: eventfd");
    }
    c4_status status = c4_loop_job_join(host->job_id);
    if (status < 0) {
        close(module->waker.fd);
        free(module);
        return status;
    }
    *out = module;
    return C4_OK;
}

static void loop_channel_close(c4_channel *channel)
{
    c4_channel **link = &channel->module->channels;
    while (*link != channel)
        link = &(*link)->next;
    *link = channel->next;
    free(channel->reserved);
    c4_loop_pipe_close(channel->pipe, channel->reader);
    free(channel);
}

static void loop_close(c4_module *module)
{
    while (module->channels != NULL)
        loop_channel_close(module->channels);
    c4_loop_job_leave(module->host.job_id);
    close(module->waker.fd);
    free(module);
}

static c4_status loop_caps(c4_module *module, c4_transport_caps *caps)
{
    (void)module;
    fill_caps(caps);
    return C4_OK;
}

static c4_status loop_address(c4_module *module, void *address, size_t *bytes)
{
    const struct loop_address mine = {LOOP_ADDRESS_MAGIC, getpid(), module->host.job_id};
    if (*bytes < sizeof mine)
        return C4_ERR_COUNT;
    memcpy(address, &mine, sizeof mine);
    *bytes = sizeof mine;
    return C4_OK;
}

static c4_status loop_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                               size_t reason_bytes)
{
    struct loop_address theirs;
    const char *why = NULL;
    if (peer < 0 || peer >= module->host.nranks)
        return C4_ERR_ROOT;
    memset(&theirs, 0, sizeof theirs);
    memcpy(&theirs, address, bytes < sizeof theirs ? bytes : sizeof theirs);
    if (bytes != sizeof theirs || theirs.magic != LOOP_ADDRESS_MAGIC)
        why = "not a loop address: the peer runs another C4 version";
    else if (theirs.pid != getpid())
        why = "the peer is another process: loop joins ranks of one process only";
    else if (theirs.job_id != module->host.job_id)
        why = "the peer belongs to another job";
    if (why == NULL)
        return C4_OK;
    strncpy(reason, why, reason_bytes);
    if (reason_bytes > 0)
        reason[reason_bytes - 1] = '\0';
    return C4_ERR_UNREACHABLE;
}

static c4_status loop_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    if (spec->nreaders < 1)
        return c4_fail(C4_ERR_ARGUMENT, "loop: channel %u.%u has no reader", spec->comm, spec->tag);
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return c4_fail(C4_ERR_MEMORY, "loop: channel");
    c4_status status = c4_loop_pipe_open(module->host.job_id, module->host.epoch, spec, module->host.rank,
                                         &module->waker, &channel->reader, &channel->pipe);
    if (status < 0) {
        free(channel);
        return status;
    }
    channel->module = module;
    channel->next = module->channels;
    module->channels = channel;
    *out = channel;
    return C4_OK;
}

/* ---- windows ---- */

static c4_status loop_peek(c4_channel *channel, c4_window *window)
{
    if (channel->reader < 0)
        return C4_ERR_ARGUMENT;
    c4_loop_node *node = c4_loop_pipe_head(channel->pipe, channel->reader);
    if (node == NULL)
        return C4_IN_PROGRESS;
    *window = (c4_window){node->payload, node->frame.bytes, 0, node->frame};
    return C4_OK;
}

static void count_frame(c4_channel *channel, size_t bytes)
{
    channel->counters.messages++;
    channel->counters.bytes += bytes;
}

static void loop_consume(c4_channel *channel)
{
    c4_loop_node *node = c4_loop_pipe_head(channel->pipe, channel->reader);
    if (node == NULL)
        return;
    count_frame(channel, node->frame.bytes);
    c4_loop_pipe_pop(channel->pipe, channel->reader);
}

static c4_status loop_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    if (channel->reader >= 0)
        return C4_ERR_ARGUMENT;
    if (bytes > C4_LOOP_MAX_FRAME_BYTES)
        return C4_ERR_COUNT;
    if (channel->reserved != NULL && channel->reserved_bytes < bytes) {
        free(channel->reserved);
        channel->reserved = NULL;
    }
    if (channel->reserved == NULL) {
        if (!c4_loop_pipe_has_room(channel->pipe, bytes))
            return C4_IN_PROGRESS;
        channel->reserved = c4_loop_node_create(bytes);
        if (channel->reserved == NULL)
            return c4_fail(C4_ERR_MEMORY, "loop: frame of %zu bytes", bytes);
        channel->reserved_bytes = bytes;
    }
    *window = (c4_window){channel->reserved->payload, bytes, 0, {0}};
    return C4_OK;
}

static void loop_commit(c4_channel *channel, const c4_frame *frame)
{
    c4_loop_node *node = channel->reserved;
    if (node == NULL)
        return;
    node->frame = *frame;
    channel->reserved = NULL;
    count_frame(channel, frame->bytes);
    c4_loop_pipe_push(channel->pipe, node);
}

static c4_status loop_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    return c4_put_by_window(channel, frame, payload, loop_reserve, loop_commit);
}

/* ---- posted ---- */

static c4_status xfer_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_frame frame = xfer->frame;
    frame.bytes = (uint32_t)xfer->bytes;
    c4_status status = loop_put(channel, &frame, xfer->pointer);
    xfer->handed_over = status == C4_OK;
    return status;
}

static c4_status xfer_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_window window;
    c4_status status = loop_peek(channel, &window);
    if (status != C4_OK)
        return status;
    xfer->frame = window.frame;
    if (window.bytes != xfer->bytes)
        status = C4_ERR_PROTOCOL;
    else if (xfer->reduce != NULL)
        xfer->reduce->reduce(xfer->pointer, xfer->operand, window.pointer, xfer->bytes / xfer->reduce->element_bytes,
                             0);
    else if (xfer->bytes != 0)
        memcpy(xfer->pointer, window.pointer, xfer->bytes);
    loop_consume(channel);
    return status;
}

static c4_status xfer_try(c4_channel *channel, c4_xfer *xfer)
{
    c4_status status = channel->reader < 0 ? xfer_send(channel, xfer) : xfer_recv(channel, xfer);
    xfer->state = status;
    return status;
}

/* Posts behind what is pending. */
static c4_status post(c4_channel *channel, c4_xfer *xfer)
{
    xfer->next = NULL;
    xfer->handed_over = 0;
    xfer->state = C4_IN_PROGRESS;
    if (xfer->bytes > C4_LOOP_MAX_FRAME_BYTES)
        return xfer->state = C4_ERR_COUNT;
    if (channel->first == NULL) {
        c4_status status = xfer_try(channel, xfer);
        if (status != C4_IN_PROGRESS)
            return status;
        channel->first = xfer;
    } else {
        channel->last->next = xfer;
    }
    channel->last = xfer;
    return C4_IN_PROGRESS;
}

static c4_status loop_send(c4_channel *channel, c4_xfer *xfer)
{
    return channel->reader < 0 ? post(channel, xfer) : C4_ERR_ARGUMENT;
}

static c4_status loop_recv(c4_channel *channel, c4_xfer *xfer)
{
    return channel->reader >= 0 ? post(channel, xfer) : C4_ERR_ARGUMENT;
}

static void loop_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_xfer *before = NULL;
    c4_xfer *at = channel->first;
    while (at != NULL && at != xfer) {
        before = at;
        at = at->next;
    }
    if (at == NULL)
        return;
    if (before != NULL)
        before->next = xfer->next;
    else
        channel->first = xfer->next;
    if (channel->last == xfer)
        channel->last = before;
    xfer->next = NULL;
}

static bool channel_progress(c4_channel *channel)
{
    bool moved = false;
    while (channel->first != NULL) {
        c4_xfer *xfer = channel->first;
        c4_xfer *next = xfer->next; /* the owner may reuse the xfer once its state has changed */
        if (xfer_try(channel, xfer) == C4_IN_PROGRESS)
            break;
        channel->first = next;
        moved = true;
    }
    return moved;
}

static c4_status loop_progress(c4_module *module, int *peer)
{
    bool moved = false;
    *peer = -1;
    for (c4_channel *channel = module->channels; channel != NULL; channel = channel->next)
        moved |= channel_progress(channel);
    return moved ? C4_OK : C4_IN_PROGRESS;
}

/* ---- memory, waiting, counters ---- */

static c4_status loop_mem_export(const void *pointer, size_t bytes, c4_memory_handle *handle)
{
    if (!c4_loop_memory_contains(pointer, bytes))
        return C4_ERR_ARGUMENT;
    memset(handle, 0, sizeof *handle);
    memcpy(handle->bytes, &pointer, sizeof pointer);
    memcpy(handle->bytes + sizeof pointer, &bytes, sizeof bytes);
    return C4_OK;
}

static c4_status loop_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer)
{
    void *start;
    size_t bytes;
    (void)module, (void)peer;
    memcpy(&start, handle->bytes, sizeof start);
    memcpy(&bytes, handle->bytes + sizeof start, sizeof bytes);
    if (!c4_loop_memory_contains(start, bytes))
        return c4_fail(C4_ERR_PROTOCOL, "loop: rank %d exported memory that is gone", peer);
    *pointer = start;
    return C4_OK;
}

static bool channel_ready(c4_channel *channel)
{
    if (channel->reader >= 0)
        return c4_loop_pipe_head(channel->pipe, channel->reader) != NULL;
    return channel->first != NULL && c4_loop_pipe_has_room(channel->pipe, channel->first->bytes);
}

static c4_status loop_arm(c4_module *module, int *fd)
{
    uint64_t rung;
    (void)!read(module->waker.fd, &rung, sizeof rung); /* an old ring would wake us for nothing */
    atomic_store(&module->waker.armed, 1);
    *fd = module->waker.fd;
    for (c4_channel *channel = module->channels; channel != NULL; channel = channel->next)
        if (channel_ready(channel)) {
            atomic_store(&module->waker.armed, 0);
            return C4_OK;
        }
    return C4_IN_PROGRESS;
}

static void loop_disarm(c4_module *module)
{
    atomic_store(&module->waker.armed, 0);
}

static c4_status loop_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

const c4_transport_ops c4_loop_ops = {
    .struct_size = sizeof c4_loop_ops,
    .abi = C4_TRANSPORT_ABI,
    .name = "loop",
    .probe = loop_probe,
    .open = loop_open,
    .close = loop_close,
    .caps = loop_caps,
    .address = loop_address,
    .add_peer = loop_add_peer,
    .channel_open = loop_channel_open,
    .channel_close = loop_channel_close,
    .send = loop_send,
    .recv = loop_recv,
    .cancel = loop_cancel,
    .progress = loop_progress,
    .peek = loop_peek,
    .consume = loop_consume,
    .reserve = loop_reserve,
    .commit = loop_commit,
    .put = loop_put,
    .mem_alloc = c4_loop_memory_alloc,
    .mem_free = c4_loop_memory_free,
    .mem_export = loop_mem_export,
    .mem_map = loop_mem_map,
    .arm = loop_arm,
    .disarm = loop_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = loop_counters,
    .inject = c4_stub_inject,
    .device = c4_stub_device,
};
