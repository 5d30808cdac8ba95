#include "rendezvous/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fork_lock.h"
#include "base/rng.h"
#include "base/status.h"
#include "wire/unique_id.h"

/* Every rank of the job may knock before rank 0 looks; the system caps this at net.core.somaxconn. */
#define BACKLOG     4096
#define MAX_WAITING 64

/* Unique ids made here whose communicator has not been created yet. */
static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        uint64_t job_id;
        int fd;
    } items[MAX_WAITING];
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- TCP ---- */

static int bind_and_listen(int fd, c4_net_address *address, uint32_t scope)
{
    struct sockaddr_storage name;
    socklen_t bytes = c4_net_address_to_sockaddr(address, &name);
    int on = 1;
    if (address->family == 6)
        ((struct sockaddr_in6 *)&name)->sin6_scope_id = scope;
    if (address->port && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return errno;
    if (address->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
        return errno;
    if (bind(fd, (struct sockaddr *)&name, bytes) < 0 || listen(fd, BACKLOG) < 0)
        return errno;
    /* Only now for a port of the system's choice, which shall be a free one: a later communicator may listen here again,
     * over connections of this one in TIME_WAIT, when these have it, too. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return errno;
    bytes = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &bytes) < 0)
        return errno;
    return c4_net_address_from_sockaddr((struct sockaddr *)&name, address) ? 0 : EAFNOSUPPORT;
}

/* A port that fails to bind leaves its socket usable, but not one that fails to listen: hence one socket per try. */
static int try_port(c4_net_address *address, uint32_t scope, int *fd)
{
    int made = socket(address->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0)
        return errno;
    int error = bind_and_listen(made, address, scope);
    if (error)
        close(made);
    else
        *fd = made;
    return error;
}

static const char *explain_missing(const c4_listen_spec *spec)
{
    if (spec->told)
        return "not an address of this host; rank 0 must run where the rendezvous address is";
    if (spec->bind.family == 6)
        return "not an address of this host, or not usable yet (`ip -6 addr` shows it as tentative)";
    return "not an address of this host";
}

c4_status c4_listener_fail(int error, const c4_listen_spec *spec)
{
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    c4_net_address_format(&spec->bind, text);
    if (error == EADDRINUSE && spec->port_lo)
        return c4_fail(C4_ERR_PORTS, "cannot listen on %s: all ports of %s=%u-%u are in use", text,
                       spec->range ? spec->range : "C4_PORT_RANGE", spec->port_lo, spec->port_hi);
    if (error == EADDRINUSE)
        return c4_fail(C4_ERR_PORTS, "cannot listen on %s: the port is in use", text);
    if (error == EADDRNOTAVAIL)
        return c4_fail(C4_ERR_INTERFACE, "cannot listen on %s: %s", text, explain_missing(spec));
    if (error == EACCES)
        return c4_fail(C4_ERR_PORTS, "cannot listen on %s: ports below 1024 need a privilege; choose another", text);
    return c4_fail_errno(c4_status_from_errno(error), error, "cannot listen on %s", text);
}

static bool try_preferred(const c4_listen_spec *spec, int *fd, c4_net_address *bound)
{
    bool allowed = !spec->port_lo || (spec->prefer >= spec->port_lo && spec->prefer <= spec->port_hi);
    c4_net_address address = spec->bind;
    address.port = spec->prefer;
    if (!spec->prefer || !allowed || try_port(&address, spec->scope, fd) != 0)
        return false;
    *bound = address;
    return true;
}

int c4_listener_try(const c4_listen_spec *spec, int *fd, c4_net_address *bound)
{
    c4_net_address address = spec->bind;
    int error = EADDRINUSE;
    if (try_preferred(spec, fd, bound))
        return 0;
    if (!spec->port_lo) {
        error = try_port(&address, spec->scope, fd);
    } else {
        /* Start anywhere in the range, so that jobs started together do not all fight for its first port. */
        uint32_t width = (uint32_t)spec->port_hi - spec->port_lo + 1;
        uint32_t first = 0;
        if (c4_random_bytes(&first, sizeof first) < 0)
            return EIO;
        for (uint32_t i = 0; i < width && error == EADDRINUSE; i++) {
            address.port = (uint16_t)(spec->port_lo + (first % width + i) % width);
            error = try_port(&address, spec->scope, fd);
        }
    }
    if (!error)
        *bound = address;
    return error;
}

c4_status c4_listener_open(const c4_listen_spec *spec, int *fd, c4_net_address *bound)
{
    int error = c4_listener_try(spec, fd, bound);
    return error ? c4_listener_fail(error, spec) : C4_OK;
}

/* ---- AF_UNIX ---- */

socklen_t c4_local_name(uint64_t job_id, uint32_t number, struct sockaddr_storage *name)
{
    struct sockaddr_un *local = (struct sockaddr_un *)name;
    memset(name, 0, sizeof *name);
    local->sun_family = AF_UNIX;
    int length = snprintf(local->sun_path + 1, sizeof local->sun_path - 1, "c4-rendezvous/%u/%016llx/%u",
                          (unsigned)geteuid(), (unsigned long long)job_id, number);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

c4_status c4_listener_open_local(uint64_t job_id, uint32_t number, int *fd)
{
    struct sockaddr_storage name;
    socklen_t bytes = c4_local_name(job_id, number, &name);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "same-user rendezvous socket");
    if (bind(made, (struct sockaddr *)&name, bytes) < 0 || listen(made, BACKLOG) < 0) {
        int error = errno;
        close(made);
        return c4_fail_errno(c4_status_from_errno(error), error,
                             "same-user rendezvous number %u: another job of this user may use it", number);
    }
    *fd = made;
    return C4_OK;
}

/* ---- unique ids ---- */

static c4_status keep(uint64_t job_id, int fd)
{
    c4_status status = C4_ERR_FILES;
    c4_fork_lock(&waiting.lock);
    if (waiting.count < MAX_WAITING) {
        waiting.items[waiting.count].job_id = job_id;
        waiting.items[waiting.count].fd = fd;
        waiting.count++;
        status = C4_OK;
    }
    pthread_mutex_unlock(&waiting.lock);
    return status;
}

c4_status c4_unique_id_listen(const c4_listen_spec *spec, c4_unique_id *id)
{
    c4_unique_id_fields fields = {.naddresses = 1};
    int fd = -1;
    C4_TRY(c4_random_bytes(fields.key, sizeof fields.key));
    C4_TRY(c4_random_bytes(&fields.job_id, sizeof fields.job_id));
    C4_TRY(c4_listener_open(spec, &fd, &fields.addresses[0]));
    if (keep(fields.job_id, fd) < 0) {
        close(fd);
        return c4_fail(C4_ERR_FILES,
                       "%d unique ids were created in this process and not used; create communicators "
                       "from them",
                       MAX_WAITING);
    }
    c4_unique_id_pack(&fields, id);
    return C4_OK;
}

int c4_listener_take(uint64_t job_id)
{
    int fd = -1;
    c4_fork_lock(&waiting.lock);
    for (size_t i = 0; fd < 0 && i < waiting.count; i++) {
        if (waiting.items[i].job_id != job_id)
            continue;
        fd = waiting.items[i].fd;
        waiting.items[i] = waiting.items[--waiting.count];
    }
    pthread_mutex_unlock(&waiting.lock);
    return fd;
}
