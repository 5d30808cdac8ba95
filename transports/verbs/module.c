#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/export.h"
#include "transports/stubs.h"
#include "transports/verbs/channel.h"
#include "transports/verbs/device.h"
#include "transports/verbs/link.h"
#include "transports/verbs/pair.h"
#include "transports/verbs/progress.h"

/* How often progress asks for events of ports and for memory that was taken back. */
#define EVENTS_PERIOD_US 1000
#define REASON_BYTES     320

static void fill_caps(c4_transport_caps *caps)
{
    *caps = (c4_transport_caps){
        .struct_size = sizeof *caps,
        .flags = C4_CAP_FUSED_REDUCE,
        .latency_s = 2e-6,
        .seconds_per_byte = 0.1e-9,
        .inline_bytes = C4_VERBS_INLINE_BYTES - C4_VERBS_HEADER_BYTES,
        .max_frame_bytes = C4_VERBS_MAX_FRAME_BYTES,
        .zero_copy_bytes = 64 << 10,
        .max_readers = 1,
    };
}

/* ---- can it be used? ---- */

static c4_status read_gid(const c4_verbs_rail *rail, int index, int family, c4_verbs_gid *gid)
{
    char reason[REASON_BYTES];
    c4_status status = c4_verbs_gid_read(rail->context, rail->port.number, index, family, gid, reason, sizeof reason);
    return status < 0 ? c4_fail(status, "verbs: %s: %s", rail->port.device, reason) : C4_OK;
}

/* Has it the address that it is to have, and queue pairs? A limit on locked memory shows only when memory is registered. */
static c4_status try_port(const c4_transport_host *host, const c4_verbs_port *port)
{
    c4_verbs_rail rail;
    c4_verbs_gid gid;
    c4_verbs_region *region;
    C4_TRY(c4_verbs_rail_open(&rail, 0, port));
    c4_verbs_memory memory = {.rails = &rail, .nrails = 1};
    int index = (int)host->option_int(host->context, "C4_VERBS_GID_INDEX");
    c4_status status = read_gid(&rail, index, c4_verbs_device_family(host), &gid);
    if (status == C4_OK)
        status = c4_verbs_memory_make(&memory, 256 << 10, &region);
    if (status == C4_OK)
        status = c4_verbs_pair_try(&rail);
    c4_verbs_rail_close_queues(&rail);
    c4_verbs_memory_fini(&memory);
    c4_verbs_rail_close(&rail);
    return status;
}

static c4_status verbs_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    c4_fail_tell(host->fail);
    c4_verbs_port ports[C4_VERBS_MAX_PORTS];
    size_t there, count = 0;
    reason[0] = '\0';
    c4_fail_hush(true); /* the reason is the caller's to tell */
    c4_status status = c4_verbs_device_choose(host, ports, &there, &count, reason, reason_bytes);
    for (size_t i = 0; i < count && status == C4_OK; i++)
        status = try_port(host, &ports[i]);
    if (status == C4_OK)
        status = c4_tlink_hub_probe(host, reason, reason_bytes);
    c4_fail_hush(false);
    if (status < 0) {
        if (reason[0] == '\0')
            snprintf(reason, reason_bytes, "%s", c4_fail_text());
        return status;
    }
    fill_caps(caps);
    return C4_OK;
}

/* ---- opening ---- */

static uint8_t small_option(const c4_transport_host *host, const char *name)
{
    return (uint8_t)host->option_int(host->context, name);
}

static void read_options(c4_module *module, const c4_transport_host *host)
{
    module->family = c4_verbs_device_family(host);
    module->eager_bytes = (size_t)host->option_int(host->context, "C4_VERBS_EAGER_BYTES");
    module->window = (unsigned)host->option_int(host->context, "C4_VERBS_CREDITS");
    module->gid_index = (int)host->option_int(host->context, "C4_VERBS_GID_INDEX");
    module->traffic_class = small_option(host, "C4_VERBS_TRAFFIC_CLASS");
    module->service_level = small_option(host, "C4_VERBS_SERVICE_LEVEL");
    module->timeout = small_option(host, "C4_VERBS_TIMEOUT");
    module->retries = small_option(host, "C4_VERBS_RETRY_COUNT");
    module->flow_label = (uint32_t)host->option_int(host->context, "C4_VERBS_FLOW_LABEL");
    module->retry_ns = (uint64_t)host->option_int(host->context, "C4_VERBS_RETRY_MS") * 1000000u;
    module->events_tsc = c4_tsc();
    module->events_period_tsc = c4_tsc_hz() / 1000000u * EVENTS_PERIOD_US;
}

static c4_status open_rails(c4_module *module, const c4_transport_host *host)
{
    c4_verbs_port ports[C4_VERBS_MAX_PORTS];
    size_t there, count;
    char reason[REASON_BYTES];
    c4_status status = c4_verbs_device_choose(host, ports, &there, &count, reason, sizeof reason);
    if (status < 0)
        return c4_fail(status, "verbs: %s", reason);
    for (size_t i = 0; i < count; i++) {
        C4_TRY(c4_verbs_rail_open(&module->rails[i], (unsigned)i, &ports[i]));
        module->software |= module->rails[module->nrails].port.software;
        module->nrails++;
    }
    return C4_OK;
}

/* What peers must know to say whether they can reach this rank; addresses may change until a queue pair is made. */
static c4_status fill_card(c4_module *module, const c4_transport_host *host)
{
    c4_verbs_card card = {.nrails = (uint8_t)module->nrails, .eager_bytes = (uint32_t)module->eager_bytes};
    for (unsigned i = 0; i < module->nrails; i++) {
        const c4_verbs_rail *rail = &module->rails[i];
        char text[C4_VERBS_GID_TEXT];
        c4_verbs_gid gid;
        C4_TRY(read_gid(rail, module->gid_index, module->family, &gid));
        card.rails[i] = c4_verbs_rail_card_of(rail->port.ethernet, &gid);
        host->log(host->context, C4_TLOG_INFO, "verbs: rail %u is %s:%u, %s, MTU %u, %.0f Gbit/s", i, rail->port.device,
                  rail->port.number, c4_verbs_gid_text(&gid, text), rail->port.mtu, rail->port.rate_bps * 1e-9);
    }
    c4_verbs_card_pack(&card, module->hub.extra);
    return C4_OK;
}

static bool watch(c4_module *module, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return epoll_ctl(module->hub.idle_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static c4_status open_waiters(c4_module *module)
{
    for (unsigned i = 0; i < module->nrails; i++)
        if (!watch(module, module->rails[i].wake->fd) || !watch(module, module->rails[i].context->async_fd))
            return c4_fail_errno(c4_status_from_errno(errno), errno, "verbs: epoll");
    return C4_OK;
}

/* In reverse: queue pairs before the queues they use, memory before its protection domain. */
static void module_free(c4_module *module)
{
    for (unsigned i = 0; i < module->nrails; i++)
        c4_verbs_rail_close_queues(&module->rails[i]);
    c4_verbs_memory_fini(&module->memory);
    c4_verbs_slots_fini(&module->slots);
    for (unsigned i = 0; i < module->nrails; i++)
        c4_verbs_rail_close(&module->rails[i]);
    free(module);
}

static c4_status verbs_open(const c4_transport_host *host, c4_module **out)
{
    c4_fail_tell(host->fail);
    c4_status status;
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "verbs: module");
    read_options(module, host);
    module->memory.rails = module->rails;
    C4_TRY_GOTO(open_rails(module, host), failed);
    module->memory.nrails = module->nrails;
    c4_verbs_slots_init(&module->slots, &module->memory, module->eager_bytes, C4_VERBS_MAX_FRAME_BYTES);
    C4_TRY_GOTO(c4_tlink_hub_open(&module->hub, host, &c4_verbs_tlink_ops), failed);
    status = fill_card(module, host);
    if (status == C4_OK)
        status = open_waiters(module);
    if (status < 0) {
        c4_tlink_hub_close(&module->hub);
        goto failed;
    }
    *out = module;
    return C4_OK;
failed:
    module_free(module);
    return status;
}

static void verbs_close(c4_module *module)
{
    module->hub.closing = true;
    c4_verbs_flush_all(module);
    c4_tlink_hub_close(&module->hub);
    module_free(module);
}

static c4_status verbs_caps(c4_module *module, c4_transport_caps *caps)
{
    (void)module;
    fill_caps(caps);
    return C4_OK;
}

/* ---- addresses ---- */

static c4_status verbs_address(c4_module *module, void *address, size_t *bytes)
{
    return c4_tlink_hub_address(&module->hub, address, bytes);
}

static c4_status verbs_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                                size_t reason_bytes)
{
    c4_verbs_card own, card;
    C4_TRY(c4_tlink_hub_add_peer(&module->hub, peer, address, bytes, reason, reason_bytes));
    c4_verbs_card_unpack(module->hub.extra, &own);
    const char *wrong = c4_verbs_card_unpack(module->hub.peers[peer].extra, &card)
                            ? c4_verbs_card_mismatch(&own, &card)
                            : "its RDMA address is malformed, or of another version";
    if (wrong == NULL)
        return C4_OK;
    module->hub.peers[peer].known = false;
    snprintf(reason, reason_bytes, "%s", wrong);
    return C4_ERR_UNREACHABLE;
}

/* ---- faults ---- */

static c4_status verbs_inject(c4_module *module, const char *fault)
{
    struct ibv_qp_attr broken = {.qp_state = IBV_QPS_ERR};
    bool pair = strcmp(fault, "truncate") == 0; /* wherever the frames that are under way have got to */
    if (!pair && strcmp(fault, "close_socket") != 0)
        return C4_ERR_UNSUPPORTED;
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base)) {
        c4_verbs_link *link = c4_verbs_link_of(base);
        if (base->state != C4_TLINK_UP)
            continue;
        if (pair)
            c4_verbs_calls_in_use->modify_qp(link->qp, &broken,
                                             IBV_QP_STATE); /* as a fault of the NIC: it shows in time */
        else
            c4_tlink_lost(base, ECONNRESET);
    }
    return C4_OK;
}

C4_API const c4_transport_ops c4_verbs_ops = {
    .struct_size = sizeof c4_verbs_ops,
    .abi = C4_TRANSPORT_ABI,
    .name = "verbs",
    .probe = verbs_probe,
    .open = verbs_open,
    .close = verbs_close,
    .caps = verbs_caps,
    .address = verbs_address,
    .add_peer = verbs_add_peer,
    .channel_open = c4_verbs_channel_open,
    .channel_close = c4_verbs_channel_close,
    .send = c4_verbs_channel_send,
    .recv = c4_verbs_channel_recv,
    .cancel = c4_verbs_channel_cancel,
    .progress = c4_verbs_progress,
    C4_STUB_WINDOWS,
    C4_STUB_MEMORY,
    .arm = c4_verbs_arm,
    .disarm = c4_verbs_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = c4_verbs_channel_counters,
    .inject = verbs_inject,
    .device = c4_verbs_device,
};
