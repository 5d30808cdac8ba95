#include "rendezvous/bootstrap.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/process.h"

/* ---- time ---- */

void c4_bootstrap_start_clock(c4_bootstrap *bootstrap, int extra_ms)
{
    bootstrap->deadline_ns = c4_now_ns() + (uint64_t)(bootstrap->spec.timeout_ms + extra_ms) * 1000000u;
}

c4_status c4_bootstrap_check(const c4_bootstrap *bootstrap)
{
    const atomic_int *flag = bootstrap->spec.abort_flag;
    if (flag && atomic_load_explicit(flag, memory_order_acquire))
        return C4_ERR_ABORTED;
    return c4_now_ns() < bootstrap->deadline_ns ? C4_OK : C4_ERR_TIMEOUT;
}

int c4_bootstrap_tick(const c4_bootstrap *bootstrap)
{
    uint64_t now_ns = c4_now_ns();
    if (now_ns >= bootstrap->deadline_ns)
        return 0;
    uint64_t left_ms = (bootstrap->deadline_ns - now_ns) / 1000000u + 1;
    return left_ms < C4_BOOTSTRAP_TICK_MS ? (int)left_ms : C4_BOOTSTRAP_TICK_MS;
}

c4_status c4_bootstrap_wait(const c4_bootstrap *bootstrap, int fd, short events)
{
    struct pollfd watch = {.fd = fd, .events = events};
    for (;;) {
        int ready = poll(&watch, 1, c4_bootstrap_tick(bootstrap));
        if (ready > 0)
            return C4_OK;
        if (ready < 0 && errno != EINTR)
            return C4_ERR_SYSTEM;
        C4_TRY(c4_bootstrap_check(bootstrap));
    }
}

/* ---- who is who ---- */

c4_handshake_identity c4_bootstrap_identity(const c4_bootstrap *bootstrap, uint32_t peer_rank)
{
    return (c4_handshake_identity){.key = bootstrap->spec.key,
                                   .job_id = bootstrap->spec.job_id,
                                   .rank = (uint32_t)bootstrap->spec.rank,
                                   .peer_rank = peer_rank,
                                   .nranks = (uint32_t)bootstrap->spec.nranks,
                                   .epoch = bootstrap->spec.epoch,
                                   .role = C4_HANDSHAKE_CONTROL,
                                   .transport = "control"};
}

c4_handshake_identity c4_bootstrap_run_identity(const c4_bootstrap *bootstrap, uint32_t peer_rank)
{
    c4_handshake_identity identity = c4_bootstrap_identity(bootstrap, peer_rank);
    identity.key = c4_bootstrap_key(bootstrap);
    identity.job_id = bootstrap->job_id;
    return identity;
}

c4_status c4_bootstrap_take_nonce(c4_bootstrap *bootstrap, const unsigned char nonce[C4_JOB_NONCE_BYTES])
{
    static const char label[] = "C4 run";
    memcpy(bootstrap->nonce, nonce, sizeof bootstrap->nonce);
    bootstrap->job_id = c4_hash_bytes(bootstrap->spec.job_id, nonce, C4_JOB_NONCE_BYTES);
    if (!bootstrap->spec.key)
        return C4_OK; /* the key, if any, is of this run already */
    const struct iovec parts[] = {{(void *)label, sizeof label}, {bootstrap->nonce, sizeof bootstrap->nonce}};
    return c4_hmac_sha256(bootstrap->given_key, sizeof bootstrap->given_key, parts, 2, bootstrap->key);
}

/* ---- life cycle ---- */

static c4_status check_spec(const c4_bootstrap_spec *spec)
{
    if (spec->nranks < 1 || spec->nranks > (int)C4_CONTROL_MAX_RANKS)
        return c4_fail(C4_ERR_ARGUMENT, "nranks is %d; it must be 1 .. %u", spec->nranks, C4_CONTROL_MAX_RANKS);
    if (spec->rank < 0 || spec->rank >= spec->nranks)
        return c4_fail(C4_ERR_ROOT, "rank is %d of %d; ranks are 0 .. nranks-1", spec->rank, spec->nranks);
    bool told = !spec->file && !spec->all_gather;
    if (!told && spec->rank == 0 && spec->nlisten == 0)
        return c4_fail(C4_ERR_INTERNAL, "bootstrap without an address to listen on");
    if (told && spec->nranks > 1 && (spec->naddresses < 1 || spec->naddresses > C4_UNIQUE_ID_ADDRESSES))
        return c4_fail(C4_ERR_INTERNAL, "bootstrap with %zu addresses", spec->naddresses);
    if (spec->nlisten > C4_ENDPOINT_ADDRESSES || spec->nadvertise > C4_ENDPOINT_ADDRESSES)
        return c4_fail(C4_ERR_INTERNAL, "bootstrap that listens on %zu and tells %zu addresses", spec->nlisten,
                       spec->nadvertise);
    return C4_OK;
}

static void copy_addresses(const c4_net_address **list, size_t count, c4_net_address *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (*list)[i];
    *list = to;
}

static c4_status allocate(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap)
{
    size_t nranks = (size_t)spec->nranks;
    bool root = spec->rank == 0;
    c4_bootstrap *made = calloc(1, sizeof *made);
    if (made) {
        made->links = calloc(nranks, sizeof *made->links);
        made->processes = root ? calloc(nranks, sizeof *made->processes) : NULL;
        made->endpoints = root ? calloc(nranks, sizeof *made->endpoints) : NULL;
    }
    if (!made || !made->links || (root && (!made->processes || !made->endpoints))) {
        if (made)
            made->spec.listen_fd = -1;
        c4_bootstrap_close(made);
        return c4_fail(C4_ERR_MEMORY, "bootstrap of %d ranks", spec->nranks);
    }
    for (size_t i = 0; i < nranks; i++)
        c4_link_init(&made->links[i], -1);
    made->spec = *spec;
    copy_addresses(&made->spec.addresses, spec->naddresses, made->addresses);
    copy_addresses(&made->spec.listen, spec->nlisten, made->listen);
    copy_addresses(&made->spec.advertise, spec->nadvertise, made->advertise);
    made->job_id = spec->job_id;
    made->has_key = spec->key != NULL;
    if (spec->key) {
        memcpy(made->given_key, spec->key, C4_KEY_BYTES);
        memcpy(made->key, spec->key, C4_KEY_BYTES);
    }
    made->spec.key = spec->key ? made->given_key : NULL;
    made->nneighbours = c4_overlay_neighbours(spec->nranks, spec->rank, made->neighbours);
    made->fault_rank = -1;
    *bootstrap = made;
    return C4_OK;
}

/* A job without a key gets one here, so that data connections are protected against everybody but those who were let
 * in. Without libcrypto there is no use for it. */
static c4_status make_key(c4_bootstrap *bootstrap)
{
    if (bootstrap->has_key || !c4_hmac_available())
        return C4_OK;
    C4_TRY(c4_random_bytes(bootstrap->key, sizeof bootstrap->key));
    bootstrap->has_key = true;
    return C4_OK;
}

static c4_status make_nonce(c4_bootstrap *bootstrap)
{
    unsigned char nonce[C4_JOB_NONCE_BYTES];
    C4_TRY(c4_random_bytes(nonce, sizeof nonce));
    return c4_bootstrap_take_nonce(bootstrap, nonce);
}

static c4_status check_in(c4_bootstrap *bootstrap)
{
    if (!c4_bootstrap_is_root(bootstrap))
        return c4_bootstrap_connect(bootstrap);
    C4_TRY(make_key(bootstrap));
    if (bootstrap->spec.nranks > 1) {
        C4_TRY(make_nonce(bootstrap));
        return c4_bootstrap_admit_all(bootstrap);
    }
    int unused = c4_listener_take(bootstrap->spec.job_id); /* nobody will come */
    if (unused >= 0)
        close(unused);
    return C4_OK;
}

static c4_status meet(c4_bootstrap *bootstrap)
{
    uint64_t start_ns = c4_now_ns();
    c4_bootstrap_start_clock(bootstrap, 0);
    C4_TRY(check_in(bootstrap));
    bootstrap->times.check_in_ns = c4_now_ns() - start_ns;
    if (bootstrap->spec.nranks == 1)
        return C4_OK;
    c4_status status =
        c4_bootstrap_is_root(bootstrap) ? c4_bootstrap_switch(bootstrap) : c4_bootstrap_link_up(bootstrap);
    if (status < 0)
        c4_bootstrap_spread_fault(bootstrap);
    return status;
}

static c4_status open_told(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap)
{
    c4_bootstrap *made = NULL;
    c4_status status = allocate(spec, &made);
    if (status < 0) {
        if (spec->listen_fd >= 0)
            close(spec->listen_fd);
        return status;
    }
    c4_process_self(&made->self);
    status = meet(made);
    if (status < 0) {
        c4_bootstrap_close(made);
        return status;
    }
    *bootstrap = made;
    return C4_OK;
}

static c4_status open_invited(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap)
{
    c4_unique_id_fields fields = {0};
    c4_bootstrap_spec told = *spec;
    c4_status status = c4_bootstrap_invite(spec, &fields, &told.listen_fd);
    if (status < 0) {
        if (told.listen_fd >= 0)
            close(told.listen_fd);
        return status;
    }
    told.job_id = fields.job_id;
    told.key = fields.key;
    told.addresses = fields.addresses;
    told.naddresses = fields.naddresses;
    status = open_told(&told, bootstrap);
    explicit_bzero(&fields, sizeof fields);
    return status;
}

c4_status c4_bootstrap_open(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap)
{
    c4_status status = check_spec(spec);
    if (status == C4_OK && spec->all_gather)
        return open_invited(spec, bootstrap);
    if (status == C4_OK)
        return open_told(spec, bootstrap);
    if (spec->listen_fd >= 0)
        close(spec->listen_fd);
    return status;
}

/* What has come is read first: closing over unread bytes would take back a fault that is still on its way. */
static void close_link(c4_bootstrap *bootstrap, c4_link *link)
{
    unsigned char unread[1024];
    if (link->fd < 0)
        return;
    if (bootstrap->fault.status < 0) {
        shutdown(link->fd, SHUT_WR);
        while (recv(link->fd, unread, sizeof unread, MSG_DONTWAIT) > 0)
            continue;
    }
    c4_link_close(link);
}

/* One line for those who ask why a start takes so long. */
static void tell_times(const c4_bootstrap *bootstrap)
{
    const c4_bootstrap_times *times = &bootstrap->times;
    if (c4_bootstrap_is_root(bootstrap) && bootstrap->spec.nranks > 1 && bootstrap->fault.status == C4_OK)
        c4_log(C4_LOG_INFO, "set-up of %d ranks: all had checked in after %.1f ms, links %.1f ms, %u exchanges %.1f ms",
               bootstrap->spec.nranks, (double)times->check_in_ns / 1e6, (double)times->links_ns / 1e6,
               times->exchanges, (double)times->exchange_ns / 1e6);
}

void c4_bootstrap_close(c4_bootstrap *bootstrap)
{
    if (!bootstrap)
        return;
    if (bootstrap->table)
        tell_times(bootstrap);
    for (int i = 0; bootstrap->links && i < bootstrap->spec.nranks; i++)
        close_link(bootstrap, &bootstrap->links[i]);
    for (size_t i = 0; i < bootstrap->nlisten_fds; i++)
        close(bootstrap->listen_fds[i]);
    if (bootstrap->spec.listen_fd >= 0)
        close(bootstrap->spec.listen_fd);
    explicit_bzero(bootstrap->key, sizeof bootstrap->key);
    explicit_bzero(bootstrap->given_key, sizeof bootstrap->given_key);
    free(bootstrap->links);
    free(bootstrap->processes);
    free(bootstrap->endpoints);
    free(bootstrap->table);
    free(bootstrap);
}

/* ---- asking ---- */

const unsigned char *c4_bootstrap_key(const c4_bootstrap *bootstrap)
{
    return bootstrap->has_key ? bootstrap->key : NULL;
}

int c4_bootstrap_rank(const c4_bootstrap *bootstrap)
{
    return bootstrap->spec.rank;
}

int c4_bootstrap_size(const c4_bootstrap *bootstrap)
{
    return bootstrap->spec.nranks;
}

uint64_t c4_bootstrap_job_id(const c4_bootstrap *bootstrap)
{
    return bootstrap->job_id;
}

bool c4_bootstrap_address(const c4_bootstrap *bootstrap, int rank, size_t index, c4_net_address *address)
{
    c4_table_rank entry;
    if (!bootstrap->table || rank < 0 || rank >= bootstrap->spec.nranks)
        return false;
    c4_address_table_find(bootstrap->table, bootstrap->table_bytes, (size_t)rank, &entry);
    if (index >= entry.endpoint.naddresses)
        return false;
    *address = entry.endpoint.addresses[index];
    return true;
}

void c4_bootstrap_get_times(const c4_bootstrap *bootstrap, c4_bootstrap_times *times)
{
    *times = bootstrap->times;
}

void c4_bootstrap_take_connections(c4_bootstrap *bootstrap, int *fds)
{
    for (int i = 0; i < bootstrap->spec.nranks; i++) {
        fds[i] = bootstrap->links[i].fd;
        bootstrap->links[i].fd = -1;
    }
}

size_t c4_bootstrap_take_listeners(c4_bootstrap *bootstrap, int fds[C4_ENDPOINT_ADDRESSES])
{
    size_t count = bootstrap->nlisten_fds;
    for (size_t i = 0; i < count; i++)
        fds[i] = bootstrap->listen_fds[i];
    bootstrap->nlisten_fds = 0;
    if (bootstrap->spec.listen_fd >= 0 && count < C4_ENDPOINT_ADDRESSES)
        fds[count++] = bootstrap->spec.listen_fd;
    bootstrap->spec.listen_fd = -1;
    return count;
}
