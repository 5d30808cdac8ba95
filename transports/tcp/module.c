#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host/netif.h"
#include "transports/stubs.h"
#include "transports/tcp/attempt.h"
#include "transports/tcp/channel.h"
#include "transports/tcp/link.h"
#include "transports/tcp/progress.h"
#include "transports/tcp/tx.h"

#define MAX_INTERFACES    128
#define EXPLANATION_BYTES 480 /* with its prefix within what a host may log */
/* How often progress looks for new connections while its own links work. */
#define SETUP_PERIOD_US 200

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

/* ---- opening ---- */

static c4_status check_tls(const c4_transport_host *host, bool *on)
{
    *on = host->option_int(host->context, "C4_TLS") != 0;
    if (*on && host->key == NULL)
        return c4_fail(C4_ERR_OPTION,
                       "tcp: C4_TLS=on needs a job key and this job has none: start it with c4run, share a unique id, "
                       "set C4_KEY_FILE (mode 0600) on all ranks, or set C4_TLS=off on all ranks");
    return C4_OK;
}

static c4_status open_tls(c4_module *module)
{
    bool on;
    C4_TRY(check_tls(&module->host, &on));
    return on ? c4_tcp_tls_open(&module->tls) : C4_OK;
}

/* Where all ranks are on this host any of its addresses leads to this one: so that of the port, if there is one. */
static const c4_netif *already_listening(const c4_transport_port *port, const c4_netif *const *list, size_t count)
{
    c4_transport_address address;
    for (unsigned index = 0; port != NULL && port->known(port->context, index, &address); index++)
        for (size_t i = 0; i < count; i++)
            if (list[i]->family == address.family && list[i]->scope == address.scope &&
                memcmp(list[i]->ip, address.ip, sizeof address.ip) == 0)
                return list[i];
    return NULL;
}

static void fill_contact(const c4_netif *const *chosen, size_t count, c4_tcp_contact *contact)
{
    *contact = (c4_tcp_contact){.host = c4_tcp_host_number(), .count = (unsigned)count};
    for (size_t i = 0; i < count; i++) {
        c4_tcp_address *address = &contact->at[i];
        *address =
            (c4_tcp_address){.family = chosen[i]->family, .loopback = chosen[i]->loopback, .scope = chosen[i]->scope};
        memcpy(address->ip, chosen[i]->ip, sizeof address->ip);
    }
}

/* Where this rank can listen, without ports; and why there, for the log: "" where the job's port decides. */
static c4_status choose_addresses(const c4_transport_host *host, c4_tcp_contact *contact, char text[EXPLANATION_BYTES])
{
    c4_netif list[MAX_INTERFACES];
    size_t there = MAX_INTERFACES, count;
    const c4_netif *best, *candidates[MAX_INTERFACES];
    const int families[] = {0, 4, 6};
    const int64_t family = host->option_int(host->context, "C4_SOCKET_FAMILY");
    const c4_netif_wish wish = {
        .spec = host->option_string(host->context, "C4_SOCKET_IFNAME"),
        .family = families[family > 0 && family < 3 ? family : 0],
        .all_local = host->local_nranks >= host->nranks,
    };
    C4_TRY(c4_netif_list(list, &there));
    C4_TRY(c4_netif_choose(list, there, &wish, &best));
    count = c4_netif_candidates(list, there, &wish, candidates, MAX_INTERFACES);
    const c4_netif *listening = wish.all_local ? already_listening(host->port, candidates, count) : NULL;
    text[0] = '\0';
    if (listening != NULL) {
        fill_contact(&listening, 1, contact);
        return C4_OK;
    }
    c4_netif_keep_likely(&wish, candidates, &count, C4_TCP_MAX_ADDRESSES);
    fill_contact(candidates, count, contact);
    c4_netif_explain(list, there, &wish, candidates, count, text, EXPLANATION_BYTES);
    return C4_OK;
}

static c4_status open_own_listeners(c4_module *module)
{
    c4_port_range range;
    C4_TRY(c4_port_range_parse(module->host.option_string(module->host.context, "C4_PORT_RANGE"), &range));
    for (unsigned i = 0; i < module->contact.count; i++) {
        C4_TRY(c4_tcp_listen(&module->contact.at[i], range, &module->rng, &module->listen_fds[i]));
        module->nlisten_fds++;
    }
    return C4_OK;
}

/* The host listens, for this module and others. Where it cannot, as on an IPv6 address that is not usable yet, the host
 * has said so, and another address does. */
static c4_status listen_on_port(const c4_transport_port *port, c4_tcp_contact *contact)
{
    c4_status status = C4_OK;
    unsigned kept = 0;
    for (unsigned i = 0; i < contact->count; i++) {
        c4_tcp_address own = contact->at[i];
        c4_transport_address address = {.family = own.family, .scope = own.scope};
        memcpy(address.ip, own.ip, sizeof address.ip);
        status = port->listen(port->context, &address);
        own.port = address.port;
        if (status == C4_OK)
            contact->at[kept++] = own;
    }
    contact->count = kept;
    return kept > 0 ? C4_OK : status;
}

static c4_status open_inbox(c4_module *module)
{
    const c4_transport_port *port = module->host.port;
    C4_TRY(listen_on_port(port, &module->contact));
    unsigned capacity = (unsigned)module->host.nranks * module->nsockets + C4_TCP_SPARE_CALLERS;
    C4_TRY(port->open(port->context, c4_tcp_ops.name, capacity, &module->listen_fds[0]));
    module->port = port;
    module->nlisten_fds = 1;
    return C4_OK;
}

static c4_status open_listeners(c4_module *module)
{
    char text[EXPLANATION_BYTES];
    C4_TRY(choose_addresses(&module->host, &module->contact, text));
    if (text[0] != '\0' && c4_netif_is_news(text))
        C4_TCP_LOG(module, C4_TLOG_INFO, "interfaces: %s", text);
    module->contact.tls = module->tls != NULL;
    return module->host.port != NULL ? open_inbox(module) : open_own_listeners(module);
}

static bool add_listeners(c4_module *module)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    for (unsigned i = 0; i < module->nlisten_fds; i++)
        if (epoll_ctl(module->setup_fd, EPOLL_CTL_ADD, module->listen_fds[i], &event) != 0)
            return false;
    return true;
}

static c4_status open_waiters(c4_module *module)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    module->setup_fd = epoll_create1(EPOLL_CLOEXEC);
    module->idle_fd = epoll_create1(EPOLL_CLOEXEC);
    module->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (module->setup_fd < 0 || module->idle_fd < 0 || module->timer_fd < 0 || !add_listeners(module) ||
        epoll_ctl(module->idle_fd, EPOLL_CTL_ADD, module->setup_fd, &event) != 0 ||
        epoll_ctl(module->idle_fd, EPOLL_CTL_ADD, module->timer_fd, &event) != 0) {
        int error = errno;
        return c4_fail_errno(c4_status_from_errno(error), error, "tcp: epoll");
    }
    module->listening = true;
    return C4_OK;
}

static void read_options(c4_module *module)
{
    const c4_transport_host *host = &module->host;
    int64_t sockets = host->option_int(host->context, "C4_TCP_SOCKETS");
    module->nsockets = sockets >= 1 && sockets <= 16 ? (unsigned)sockets : 1;
    module->copy_bytes = (size_t)host->option_int(host->context, "C4_TCP_COPY_BYTES");
    module->buffer_bytes = (size_t)host->option_int(host->context, "C4_TCP_BUFFER_BYTES");
    module->retry_ns = (uint64_t)host->option_int(host->context, "C4_TCP_RETRY_MS") * 1000000u;
}

static void module_free(c4_module *module)
{
    const int fds[] = {module->setup_fd, module->idle_fd, module->timer_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (module->port != NULL)
        module->port->close(module->port->context, module->listen_fds[0]);
    for (unsigned i = 0; i < module->nlisten_fds && module->port == NULL; i++)
        close(module->listen_fds[i]);
    c4_tcp_pool_fini(&module->pool);
    c4_tcp_tls_close(module->tls);
    free(module->bounce);
    free(module->active);
    free(module->peers);
    free(module);
}

static c4_status module_fill(c4_module *module)
{
    uint64_t seed;
    module->peers = calloc((size_t)module->host.nranks, sizeof *module->peers);
    module->bounce = aligned_alloc(4096, C4_TCP_BOUNCE_BYTES);
    if (module->peers == NULL || module->bounce == NULL)
        return c4_fail(C4_ERR_MEMORY, "tcp: module for %d ranks", module->host.nranks);
    C4_TRY(c4_random_bytes(&seed, sizeof seed));
    module->rng.state = seed;
    module->setup_period_tsc = c4_tsc_hz() / 1000000u * SETUP_PERIOD_US;
    module->setup_poll_tsc = c4_tsc();
    read_options(module);
    C4_TRY(open_tls(module));
    C4_TRY(open_listeners(module));
    return open_waiters(module);
}

static c4_status tcp_open(const c4_transport_host *host, c4_module **out)
{
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "tcp: module");
    module->host = *host;
    module->setup_fd = module->idle_fd = module->timer_fd = -1;
    c4_status status = module_fill(module);
    if (status < 0) {
        module_free(module);
        return status;
    }
    char text[C4_TCP_ADDRESS_TEXT];
    for (unsigned i = 0; i < module->contact.count; i++)
        C4_TCP_LOG(module, C4_TLOG_DEBUG, "tcp: listening on %s", c4_tcp_address_text(&module->contact.at[i], text));
    *out = module;
    return C4_OK;
}

static c4_status tcp_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    c4_tcp_contact contact;
    char text[EXPLANATION_BYTES];
    /* Whether there is a key for C4_TLS=on shows at open: who asks about the machine alone has none. */
    c4_status status = choose_addresses(host, &contact, text);
    if (status < 0) {
        snprintf(reason, reason_bytes, "%s", c4_fail_text());
        return status;
    }
    fill_caps(caps);
    return C4_OK;
}

/* ---- closing ---- */

static void close_channels(c4_module *module)
{
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++)
            while (links[i].channels != NULL)
                c4_tcp_channel_close(links[i].channels);
    }
}

static void tcp_close(c4_module *module)
{
    close_channels(module);
    module->closing = true;
    c4_tcp_flush_all(module);
    while (module->attempts != NULL)
        c4_tcp_attempt_drop(module->attempts);
    for (int peer = 0; peer < module->host.nranks; peer++)
        c4_tcp_links_free(module, peer);
    module_free(module);
}

/* ---- addresses ---- */

static c4_status tcp_caps(c4_module *module, c4_transport_caps *caps)
{
    (void)module;
    fill_caps(caps);
    return C4_OK;
}

static c4_status tcp_address(c4_module *module, void *address, size_t *bytes)
{
    unsigned char wire[C4_TCP_CONTACT_BYTES];
    size_t used = c4_tcp_contact_pack(&module->contact, wire);
    if (*bytes < used)
        return C4_ERR_COUNT;
    memcpy(address, wire, used);
    *bytes = used;
    return C4_OK;
}

/* Addresses that cannot lead to the peer from here are struck off. NULL, or why none is left. */
static const char *strike_unreachable(const c4_module *module, int peer, c4_tcp_contact *contact)
{
    unsigned kept = 0;
    if (peer == module->host.rank)
        return "tcp does not carry a rank's messages to itself";
    if (contact->tls != module->contact.tls)
        return "one side has C4_TLS=on and the other has not: set it alike on all ranks";
    bool same_host = contact->host == module->contact.host;
    if (!same_host && module->contact.at[0].loopback)
        return "this rank listens on loopback and the peer is on another host or network namespace: set "
               "C4_SOCKET_IFNAME on all ranks";
    for (unsigned i = 0; i < contact->count; i++)
        if (same_host || !contact->at[i].loopback)
            contact->at[kept++] = contact->at[i];
    contact->count = kept;
    if (kept == 0)
        return "the peer listens on loopback of another host or network namespace: set C4_SOCKET_IFNAME on all ranks";
    return NULL;
}

static c4_status tcp_add_peer(c4_module *module, int peer, const void *bytes, size_t nbytes, char *reason,
                              size_t reason_bytes)
{
    c4_tcp_contact contact;
    if (peer < 0 || peer >= module->host.nranks)
        return c4_fail(C4_ERR_ROOT, "tcp: peer %d of %d ranks", peer, module->host.nranks);
    const char *wrong = c4_tcp_contact_unpack(bytes, nbytes, &contact);
    if (wrong == NULL)
        wrong = strike_unreachable(module, peer, &contact);
    if (wrong != NULL) {
        snprintf(reason, reason_bytes, "%s", wrong);
        return C4_ERR_UNREACHABLE;
    }
    module->peers[peer].contact = contact;
    module->peers[peer].known = true;
    return C4_OK;
}

/* ---- faults ---- */

/* As a failing network does it: what is under way in either direction is lost. */
static void reset_sockets(c4_module *module)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++) {
            if (links[i].state != C4_TCP_UP)
                continue;
            setsockopt(links[i].stream.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            c4_tcp_link_lost(&links[i], ECONNRESET);
            if (c4_tcp_link_busy(&links[i]))
                c4_tcp_link_activate(&links[i]);
        }
    }
}

static void send_garbage(c4_module *module)
{
    unsigned char garbage[C4_TCP_HEADER_BYTES];
    memset(garbage, 0xee, sizeof garbage);
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++)
            if (links[i].state == C4_TCP_UP)
                (void)!send(links[i].stream.fd, garbage, sizeof garbage, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static c4_status tcp_inject(c4_module *module, const char *fault)
{
    if (strcmp(fault, "close_socket") == 0)
        reset_sockets(module);
    else if (strcmp(fault, "truncate") == 0)
        module->truncate = true;
    else if (strcmp(fault, "garbage") == 0)
        send_garbage(module);
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
    .channel_open = c4_tcp_channel_open,
    .channel_close = c4_tcp_channel_close,
    .send = c4_tcp_channel_send,
    .recv = c4_tcp_channel_recv,
    .cancel = c4_tcp_channel_cancel,
    .progress = c4_tcp_progress,
    C4_STUB_WINDOWS,
    C4_STUB_MEMORY,
    .arm = c4_tcp_arm,
    .disarm = c4_tcp_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = c4_tcp_channel_counters,
    .inject = tcp_inject,
};
