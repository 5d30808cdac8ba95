#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "transports/stubs.h"
#include "transports/tcp/link.h"

static void fill_caps(c4_transport_caps *caps)
{
    *caps = (c4_transport_caps){
        .struct_size = sizeof *caps,
        .flags = C4_CAP_FUSED_REDUCE,
        .latency_s = 6e-6,
        .seconds_per_byte = 0.4e-9,
        .inline_bytes = 0,
        .max_frame_bytes = C4_TCP_MAX_FRAME_BYTES,
        .zero_copy_bytes = SIZE_MAX,
        .max_readers = 1,
    };
}

/* ---- opening and closing ---- */

static void module_free(c4_module *module)
{
    c4_tlink_hub_close(&module->hub);
    free(module->bounce);
    free(module);
}

static c4_status module_fill(c4_module *module, const c4_transport_host *host)
{
    module->bounce = aligned_alloc(4096, C4_TCP_BOUNCE_BYTES);
    if (module->bounce == NULL)
        return c4_fail(C4_ERR_MEMORY, "tcp: module for %d ranks", host->nranks);
    module->copy_bytes = (size_t)host->option_int(host->context, "C4_TCP_COPY_BYTES");
    module->buffer_bytes = (size_t)host->option_int(host->context, "C4_TCP_BUFFER_BYTES");
    return c4_tlink_hub_open(&module->hub, host, &c4_tcp_link_ops);
}

static c4_status tcp_open(const c4_transport_host *host, c4_module **out)
{
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "tcp: module");
    c4_status status = module_fill(module, host);
    if (status < 0) {
        module_free(module);
        return status;
    }
    *out = module;
    return C4_OK;
}

static c4_status tcp_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    C4_TRY(c4_tlink_hub_probe(host, reason, reason_bytes));
    fill_caps(caps);
    return C4_OK;
}

static void tcp_close(c4_module *module)
{
    c4_tchannels_close(&module->hub);
    module->hub.closing = true;
    c4_tcp_flush_all(module);
    module_free(module);
}

/* ---- what links do ---- */

static c4_status tcp_caps(c4_module *module, c4_transport_caps *caps)
{
    (void)module;
    fill_caps(caps);
    return C4_OK;
}

static c4_status tcp_address(c4_module *module, void *address, size_t *bytes)
{
    return c4_tlink_hub_address(&module->hub, address, bytes);
}

static c4_status tcp_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                              size_t reason_bytes)
{
    return c4_tlink_hub_add_peer(&module->hub, peer, address, bytes, reason, reason_bytes);
}

static c4_status tcp_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel)
{
    return c4_tchannel_open(&module->hub, spec, channel);
}

static c4_status tcp_progress(c4_module *module, int *peer)
{
    return c4_tlink_hub_progress(&module->hub, peer);
}

static c4_status tcp_arm(c4_module *module, int *fd)
{
    return c4_tlink_hub_arm(&module->hub, fd);
}

static void tcp_disarm(c4_module *module)
{
    c4_tlink_hub_disarm(&module->hub);
}

/* ---- faults ---- */

/* As a failing network does it: what is under way in either direction is lost. */
static void reset_sockets(const c4_tlink_hub *hub)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (c4_tlink *link = c4_tlink_next(hub, NULL); link != NULL; link = c4_tlink_next(hub, link)) {
        if (link->state != C4_TLINK_UP)
            continue;
        setsockopt(link->stream.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        c4_tlink_lost(link, ECONNRESET);
    }
}

static void send_garbage(const c4_tlink_hub *hub)
{
    unsigned char garbage[C4_TCP_HEADER_BYTES];
    memset(garbage, 0xee, sizeof garbage);
    for (c4_tlink *link = c4_tlink_next(hub, NULL); link != NULL; link = c4_tlink_next(hub, link))
        if (link->state == C4_TLINK_UP)
            (void)!send(link->stream.fd, garbage, sizeof garbage, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static c4_status tcp_inject(c4_module *module, const char *fault)
{
    if (strcmp(fault, "close_socket") == 0)
        reset_sockets(&module->hub);
    else if (strcmp(fault, "truncate") == 0)
        module->truncate = true;
    else if (strcmp(fault, "garbage") == 0)
        send_garbage(&module->hub);
    else
        return C4_ERR_UNSUPPORTED;
    return C4_OK;
}

const c4_transport_ops c4_tcp_ops = {
    .struct_size = sizeof c4_tcp_ops,
    .abi = C4_TRANSPORT_ABI,
    .name = "tcp",
    .probe = tcp_probe,
    .open = tcp_open,
    .close = tcp_close,
    .caps = tcp_caps,
    .address = tcp_address,
    .add_peer = tcp_add_peer,
    .channel_open = tcp_channel_open,
    .channel_close = c4_tchannel_close,
    .send = c4_tchannel_send,
    .recv = c4_tchannel_recv,
    .cancel = c4_tchannel_cancel,
    .progress = tcp_progress,
    C4_STUB_WINDOWS,
    C4_STUB_MEMORY,
    .arm = tcp_arm,
    .disarm = tcp_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = c4_tchannel_counters,
    .inject = tcp_inject,
    .device = c4_stub_device,
};
