#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transports/link/attempt.h"
#include "transports/link/listen.h"

/* How often progress looks for new connections while its own links work. */
#define SETUP_PERIOD_US 200

/* ---- opening ---- */

static c4_status check_tls(const c4_tlink_hub *hub, bool *on)
{
    const c4_transport_host *host = &hub->host;
    *on = host->option_int(host->context, "C4_TLS") != 0;
    if (*on && host->key == NULL)
        return c4_fail(C4_ERR_OPTION,
                       "%s: C4_TLS=on needs a job key and this job has none: start it with c4run, share a unique id, "
                       "set C4_KEY_FILE (mode 0600) on all ranks, or set C4_TLS=off on all ranks",
                       hub->ops->name);
    return C4_OK;
}

static c4_status open_tls(c4_tlink_hub *hub)
{
    bool on;
    C4_TRY(check_tls(hub, &on));
    return on ? c4_tlink_tls_open(hub->ops->name, &hub->tls) : C4_OK;
}

static bool add_listeners(c4_tlink_hub *hub)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    for (unsigned i = 0; i < hub->nlisten_fds; i++)
        if (epoll_ctl(hub->setup_fd, EPOLL_CTL_ADD, hub->listen_fds[i], &event) != 0)
            return false;
    return true;
}

static c4_status open_waiters(c4_tlink_hub *hub)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    hub->setup_fd = epoll_create1(EPOLL_CLOEXEC);
    hub->idle_fd = epoll_create1(EPOLL_CLOEXEC);
    hub->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (hub->setup_fd < 0 || hub->idle_fd < 0 || hub->timer_fd < 0 || !add_listeners(hub) ||
        epoll_ctl(hub->idle_fd, EPOLL_CTL_ADD, hub->setup_fd, &event) != 0 ||
        epoll_ctl(hub->idle_fd, EPOLL_CTL_ADD, hub->timer_fd, &event) != 0) {
        int error = errno;
        return c4_fail_errno(c4_status_from_errno(error), error, "%s: epoll", hub->ops->name);
    }
    hub->listening = true;
    return C4_OK;
}

static void read_options(c4_tlink_hub *hub)
{
    const c4_transport_host *host = &hub->host;
    int64_t links = host->option_int(host->context, hub->ops->links_option);
    hub->nlinks = links >= 1 && links <= 16 ? (unsigned)links : 1;
    hub->retry_ns = (uint64_t)host->option_int(host->context, hub->ops->retry_option) * 1000000u;
}

static c4_status hub_fill(c4_tlink_hub *hub)
{
    uint64_t seed;
    hub->peers = calloc((size_t)hub->host.nranks, sizeof *hub->peers);
    if (hub->peers == NULL)
        return c4_fail(C4_ERR_MEMORY, "%s: module for %d ranks", hub->ops->name, hub->host.nranks);
    C4_TRY(c4_random_bytes(&seed, sizeof seed));
    hub->rng.state = seed;
    hub->setup_period_tsc = c4_tsc_hz() / 1000000u * SETUP_PERIOD_US;
    hub->setup_poll_tsc = c4_tsc();
    read_options(hub);
    C4_TRY(open_tls(hub));
    C4_TRY(c4_tlink_listen(hub));
    return open_waiters(hub);
}

c4_status c4_tlink_hub_open(c4_tlink_hub *hub, const c4_transport_host *host, const c4_tlink_ops *ops)
{
    char text[C4_TLINK_ADDRESS_TEXT];
    hub->ops = ops;
    hub->host = *host;
    hub->setup_fd = hub->idle_fd = hub->timer_fd = -1;
    c4_status status = hub_fill(hub);
    if (status < 0) {
        c4_tlink_hub_close(hub);
        return status;
    }
    for (unsigned i = 0; i < hub->contact.count; i++)
        C4_TLINK_LOG(hub, C4_TLOG_DEBUG, "%s: listening on %s", ops->name,
                     c4_tlink_address_text(&hub->contact.at[i], text));
    return C4_OK;
}

c4_status c4_tlink_hub_probe(const c4_transport_host *host, char *reason, size_t reason_bytes)
{
    c4_tlink_contact contact;
    char text[C4_TLINK_CHOICE_TEXT];
    /* Whether there is a key for C4_TLS=on shows at open: who asks about the machine alone has none. */
    c4_status status = c4_tlink_choose_addresses(host, &contact, text);
    if (status < 0)
        snprintf(reason, reason_bytes, "%s", c4_fail_text());
    return status;
}

/* ---- closing ---- */

void c4_tlink_hub_close(c4_tlink_hub *hub)
{
    const int fds[] = {hub->setup_fd, hub->idle_fd, hub->timer_fd};
    if (hub->ops == NULL)
        return;
    while (hub->attempts != NULL)
        c4_tlink_attempt_drop(hub->attempts);
    for (int peer = 0; hub->peers != NULL && peer < hub->host.nranks; peer++)
        c4_tlinks_free(hub, peer);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    c4_tlink_unlisten(hub);
    c4_tlink_tls_close(hub->tls);
    c4_tlink_pool_fini(&hub->pool);
    free(hub->active);
    free(hub->peers);
    *hub = (c4_tlink_hub){0};
}

/* ---- addresses ---- */

c4_status c4_tlink_hub_address(const c4_tlink_hub *hub, void *address, size_t *bytes)
{
    unsigned char wire[C4_TLINK_CONTACT_BYTES];
    size_t used = c4_tlink_contact_pack(&hub->contact, wire);
    if (*bytes < used + hub->ops->extra_bytes)
        return C4_ERR_COUNT;
    memcpy(address, wire, used);
    memcpy((char *)address + used, hub->extra, hub->ops->extra_bytes);
    *bytes = used + hub->ops->extra_bytes;
    return C4_OK;
}

/* Addresses that cannot lead to the peer from here are struck off. NULL, or why none is left. */
static const char *strike_unreachable(const c4_tlink_hub *hub, c4_tlink_contact *contact)
{
    unsigned kept = 0;
    if (contact->tls != hub->contact.tls)
        return "one side has C4_TLS=on and the other has not: set it alike on all ranks";
    bool same_host = contact->host == hub->contact.host;
    if (!same_host && hub->contact.at[0].loopback)
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

c4_status c4_tlink_hub_add_peer(c4_tlink_hub *hub, int peer, const void *address, size_t bytes, char *reason,
                                size_t reason_bytes)
{
    c4_tlink_contact contact;
    size_t used = 0;
    if (peer < 0 || peer >= hub->host.nranks)
        return c4_fail(C4_ERR_ROOT, "%s: peer %d of %d ranks", hub->ops->name, peer, hub->host.nranks);
    if (peer == hub->host.rank) {
        snprintf(reason, reason_bytes, "%s does not carry a rank's messages to itself", hub->ops->name);
        return C4_ERR_UNREACHABLE;
    }
    const char *wrong = c4_tlink_contact_unpack(address, bytes, &contact, &used);
    if (wrong == NULL && bytes != used + hub->ops->extra_bytes)
        wrong = "malformed address";
    if (wrong == NULL)
        wrong = strike_unreachable(hub, &contact);
    if (wrong != NULL) {
        snprintf(reason, reason_bytes, "%s", wrong);
        return C4_ERR_UNREACHABLE;
    }
    memcpy(hub->peers[peer].extra, (const char *)address + used, hub->ops->extra_bytes);
    hub->peers[peer].contact = contact;
    hub->peers[peer].known = true;
    return C4_OK;
}
