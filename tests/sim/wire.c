#include "tests/sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "transports/loop/loop.h"
#include "transports/stubs.h"

/* One writer's frames on their way to one reader. Lives as long as the simulation: frames may arrive after either has gone. */
struct sim_stream {
    sim_stream *next;
    sim_wire *wire;
    uint64_t job_id;
    uint32_t comm, tag;
    int writer, reader; /* ranks */
    uint64_t arrived, consumed;
};

struct c4_module {
    c4_module *inner;
    sim_host *host;
    c4_channel *channels;
};

struct c4_channel {
    c4_channel *next;
    c4_module *module;
    c4_channel *inner;
    int writer;
    sim_stream *in;   /* of the reading end */
    sim_stream **out; /* [nout] of the writing end: one per reader */
    int nout;
    c4_xfer *first, **tail; /* posted and not done */
};

static sim_wire *wire_of(const c4_module *module)
{
    return module->host->wire;
}

static int node_of(const c4_module *module, int rank)
{
    return module->host->node_of[rank];
}

static sim_stream *stream_get(const c4_module *module, const c4_channel_spec *spec, int reader)
{
    sim_wire *wire = wire_of(module);
    uint64_t job_id = module->host->host.job_id;
    for (sim_stream *s = wire->streams; s; s = s->next)
        if (s->job_id == job_id && s->comm == spec->comm && s->tag == spec->tag && s->writer == spec->writer &&
            s->reader == reader)
            return s;
    sim_stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (sim_stream){.next = wire->streams,
                      .wire = wire,
                      .job_id = job_id,
                      .comm = spec->comm,
                      .tag = spec->tag,
                      .writer = spec->writer,
                      .reader = reader};
    wire->streams = s;
    return s;
}

static void on_arrival(void *context, int node, int other, const void *payload, size_t bytes)
{
    sim_stream *s = context;
    (void)other, (void)payload, (void)bytes;
    s->arrived++;
    s->wire->wake(s->wire->wake_context, node);
}

/* The inner channel took a frame: it will be seen once it has arrived. */
static void announce(const c4_channel *channel)
{
    const c4_module *module = channel->module;
    for (int i = 0; i < channel->nout; i++)
        sim_net_send(wire_of(module)->net, node_of(module, channel->writer), node_of(module, channel->out[i]->reader),
                     on_arrival, channel->out[i], NULL, 0);
}

/* ---- module ---- */

static void fill_caps(const sim_host *host, c4_transport_caps *caps)
{
    c4_loop_ops.probe(&host->host, caps, NULL, 0);
    caps->flags = host->wire->posted ? 0u : (unsigned)C4_CAP_WINDOWS;
    caps->max_readers = host->wire->posted ? 1 : SIM_MAX_NODES;
    caps->latency_s = 20e-6;
    caps->seconds_per_byte = 1e-9;
}

static c4_status sim_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t bytes)
{
    (void)reason, (void)bytes;
    fill_caps(host->context, caps);
    return C4_OK;
}

static c4_status sim_open(const c4_transport_host *host, c4_module **out)
{
    c4_module *module = calloc(1, sizeof *module);
    if (!module)
        return C4_ERR_MEMORY;
    c4_status status = c4_loop_ops.open(host, &module->inner);
    if (status < 0) {
        free(module);
        return status;
    }
    module->host = host->context;
    *out = module;
    return C4_OK;
}

static void sim_channel_close(c4_channel *channel)
{
    c4_channel **at = &channel->module->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    c4_loop_ops.channel_close(channel->inner);
    free(channel->out);
    free(channel);
}

static void sim_close(c4_module *module)
{
    while (module->channels)
        sim_channel_close(module->channels);
    c4_loop_ops.close(module->inner);
    free(module);
}

static c4_status sim_caps(c4_module *module, c4_transport_caps *caps)
{
    fill_caps(module->host, caps);
    return C4_OK;
}

static c4_status sim_address(c4_module *module, void *address, size_t *bytes)
{
    return c4_loop_ops.address(module->inner, address, bytes);
}

static c4_status sim_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason, size_t size)
{
    return c4_loop_ops.add_peer(module->inner, peer, address, bytes, reason, size);
}

/* ---- channels ---- */

static c4_status open_streams(c4_channel *channel, const c4_channel_spec *spec)
{
    c4_module *module = channel->module;
    if (module->host->host.rank != spec->writer) {
        channel->in = stream_get(module, spec, module->host->host.rank);
        return channel->in ? C4_OK : C4_ERR_MEMORY;
    }
    channel->out = calloc((size_t)spec->nreaders, sizeof(void *));
    for (int i = 0; channel->out && i < spec->nreaders; i++) {
        channel->out[i] = stream_get(module, spec, spec->readers[i]);
        if (!channel->out[i])
            return C4_ERR_MEMORY;
        channel->nout++;
    }
    return channel->out ? C4_OK : C4_ERR_MEMORY;
}

static c4_status sim_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return C4_ERR_MEMORY;
    channel->module = module;
    channel->writer = spec->writer;
    channel->tail = &channel->first;
    c4_status status = open_streams(channel, spec);
    if (status == C4_OK)
        status = c4_loop_ops.channel_open(module->inner, spec, &channel->inner);
    if (status < 0) {
        free(channel->out);
        free(channel);
        return status;
    }
    channel->next = module->channels;
    module->channels = channel;
    *out = channel;
    return C4_OK;
}

/* ---- windows ---- */

static c4_status sim_peek(c4_channel *channel, c4_window *window)
{
    if (channel->in->consumed == channel->in->arrived)
        return C4_IN_PROGRESS;
    return c4_loop_ops.peek(channel->inner, window);
}

static void sim_consume(c4_channel *channel)
{
    sim_wire *wire = wire_of(channel->module);
    c4_loop_ops.consume(channel->inner);
    channel->in->consumed++;
    wire->wake(wire->wake_context, node_of(channel->module, channel->writer));
}

static c4_status sim_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    return c4_loop_ops.reserve(channel->inner, bytes, window);
}

static void sim_commit(c4_channel *channel, const c4_frame *frame)
{
    c4_loop_ops.commit(channel->inner, frame);
    announce(channel);
}

static c4_status sim_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    return c4_put_by_window(channel, frame, payload, sim_reserve, sim_commit);
}

/* ---- posted ---- */

static c4_status xfer_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_frame frame = xfer->frame;
    frame.bytes = (uint32_t)xfer->bytes;
    c4_status status = sim_put(channel, &frame, xfer->pointer);
    xfer->handed_over = status == C4_OK;
    return status;
}

static c4_status xfer_recv(c4_channel *channel, c4_xfer *xfer)
{
    c4_window window;
    c4_status status = sim_peek(channel, &window);
    if (status != C4_OK)
        return status;
    xfer->frame = window.frame;
    if (window.bytes != xfer->bytes)
        status = C4_ERR_PROTOCOL;
    else if (xfer->reduce)
        xfer->reduce->reduce(xfer->pointer, xfer->operand, window.pointer, xfer->bytes / xfer->reduce->element_bytes,
                             0);
    else if (xfer->bytes)
        memcpy(xfer->pointer, window.pointer, xfer->bytes);
    sim_consume(channel);
    return status;
}

static c4_status post(c4_channel *channel, c4_xfer *xfer, c4_status (*move)(c4_channel *, c4_xfer *))
{
    xfer->next = NULL;
    xfer->handed_over = 0;
    xfer->state = channel->first ? C4_IN_PROGRESS : move(channel, xfer);
    if (xfer->state == C4_IN_PROGRESS) {
        *channel->tail = xfer;
        channel->tail = &xfer->next;
    }
    return xfer->state;
}

static c4_status sim_send(c4_channel *channel, c4_xfer *xfer)
{
    return post(channel, xfer, xfer_send);
}

static c4_status sim_recv(c4_channel *channel, c4_xfer *xfer)
{
    return post(channel, xfer, xfer_recv);
}

static void sim_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_xfer **at = &channel->first;
    while (*at && *at != xfer)
        at = &(*at)->next;
    if (*at)
        *at = xfer->next;
    channel->tail = &channel->first;
    while (*channel->tail)
        channel->tail = &(*channel->tail)->next;
}

static bool channel_move(c4_channel *channel)
{
    bool moved = false;
    while (channel->first) {
        c4_xfer *xfer = channel->first;
        c4_status status = channel->out ? xfer_send(channel, xfer) : xfer_recv(channel, xfer);
        if (status == C4_IN_PROGRESS)
            break;
        channel->first = xfer->next;
        if (!channel->first)
            channel->tail = &channel->first;
        xfer->state = status;
        moved = true;
    }
    return moved;
}

static c4_status sim_progress(c4_module *module, int *peer)
{
    bool moved = false;
    *peer = -1;
    for (c4_channel *channel = module->channels; channel; channel = channel->next)
        moved |= channel_move(channel);
    return moved ? C4_OK : C4_IN_PROGRESS;
}

/* ---- the rest ---- */

static c4_status sim_arm(c4_module *module, int *fd)
{
    (void)module;
    *fd = -1;
    return C4_OK; /* nobody may sleep in a simulation */
}

static void sim_disarm(c4_module *module)
{
    (void)module;
}

static c4_status sim_counters(c4_channel *channel, c4_edge_counters *counters)
{
    return c4_loop_ops.counters(channel->inner, counters);
}

const c4_transport_ops sim_wire_ops = {
    .struct_size = sizeof sim_wire_ops,
    .abi = C4_TRANSPORT_ABI,
    .name = "sim",
    .probe = sim_probe,
    .open = sim_open,
    .close = sim_close,
    .caps = sim_caps,
    .address = sim_address,
    .add_peer = sim_add_peer,
    .channel_open = sim_channel_open,
    .channel_close = sim_channel_close,
    .send = sim_send,
    .recv = sim_recv,
    .cancel = sim_cancel,
    .progress = sim_progress,
    .peek = sim_peek,
    .consume = sim_consume,
    .reserve = sim_reserve,
    .commit = sim_commit,
    .put = sim_put,
    C4_STUB_MEMORY,
    .arm = sim_arm,
    .disarm = sim_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = sim_counters,
    .inject = c4_stub_inject,
    .device = c4_stub_device,
};

static int64_t no_option_int(void *context, const char *name)
{
    (void)context, (void)name;
    return 0;
}

static const char *no_option_string(void *context, const char *name)
{
    (void)context, (void)name;
    return "";
}

static void no_log(void *context, int level, const char *format, ...)
{
    (void)context, (void)level, (void)format;
}

void sim_host_init(sim_host *host, sim_wire *wire, uint64_t job_id, int rank, const int *nodes, int nranks)
{
    *host = (sim_host){.host = {.struct_size = sizeof host->host,
                                .context = host,
                                .option_int = no_option_int,
                                .option_string = no_option_string,
                                .log = no_log,
                                .job_id = job_id,
                                .rank = rank,
                                .nranks = nranks,
                                .local_rank = rank,
                                .local_nranks = nranks},
                       .wire = wire};
    memcpy(host->node_of, nodes, (size_t)nranks * sizeof *nodes);
}

void sim_wire_fini(sim_wire *wire)
{
    while (wire->streams) {
        sim_stream *next = wire->streams->next;
        free(wire->streams);
        wire->streams = next;
    }
}
