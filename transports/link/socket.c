#include "transports/link/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/options.h"
#include "base/status.h"
#include "host/netif.h"

/* Enough for every rank of a large job to connect at once; the kernel lowers it to somaxconn. */
#define LISTEN_BACKLOG 4096

static socklen_t address_to_sockaddr(const c4_tlink_address *address, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (address->family == 6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        in6->sin6_scope_id = address->scope;
        memcpy(&in6->sin6_addr, address->ip, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, address->ip, 4);
    return sizeof *in;
}

const char *c4_tlink_address_text(const c4_tlink_address *address, char text[C4_TLINK_ADDRESS_TEXT])
{
    char ip[INET6_ADDRSTRLEN];
    c4_netif_ip_text(address->family, address->ip, ip, sizeof ip);
    snprintf(text, C4_TLINK_ADDRESS_TEXT, address->family == 6 ? "[%s]:%u" : "%s:%u", ip, address->port);
    return text;
}

c4_status c4_port_range_parse(const char *text, c4_port_range *range)
{
    if (!c4_parse_port_range(text, &range->lo, &range->hi))
        return c4_fail(C4_ERR_OPTION, "C4_PORT_RANGE=%s is not a range lo-hi of ports 1..65535", text);
    return C4_OK;
}

static c4_status out_of_files(const char *who, int error)
{
    struct rlimit limit = {0, 0};
    if (error != EMFILE && error != ENFILE)
        return c4_fail_errno(c4_status_from_errno(error), error, "%s: socket", who);
    getrlimit(RLIMIT_NOFILE, &limit);
    return c4_fail_errno(C4_ERR_FILES, error, "%s: socket (limit of this process: %llu)", who,
                         (unsigned long long)limit.rlim_cur);
}

static c4_status open_socket(const char *who, const c4_tlink_address *address, int *fd)
{
    int made = socket(address->family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0)
        return out_of_files(who, errno);
    *fd = made;
    return C4_OK;
}

/* 0 or errno. A port that another socket is bound to shows at bind or, with SO_REUSEADDR, at listen. */
static int bind_and_listen(int fd, const c4_tlink_address *address, uint16_t port)
{
    struct sockaddr_storage name;
    socklen_t length = address_to_sockaddr(address, port, &name);
    if (bind(fd, (struct sockaddr *)&name, length) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
        return errno;
    return 0;
}

static c4_status listen_in_range(const char *who, c4_tlink_address *address, c4_port_range range, c4_rng *rng, int *fd)
{
    unsigned nports = (unsigned)(range.hi - range.lo) + 1;
    /* Ranks of one host that start together would all fight for the first port. */
    unsigned start = (unsigned)c4_rng_below(rng, nports);
    int error = 0;
    for (unsigned i = 0; i < nports; i++) {
        uint16_t port = (uint16_t)(range.lo + (start + i) % nports);
        int one = 1;
        C4_TRY(open_socket(who, address, fd));
        setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        error = bind_and_listen(*fd, address, port);
        if (error == 0)
            return C4_OK;
        close(*fd);
        if (error != EADDRINUSE && error != EACCES)
            break;
    }
    char ip[INET6_ADDRSTRLEN];
    c4_netif_ip_text(address->family, address->ip, ip, sizeof ip);
    return c4_fail_errno(c4_status_from_errno(error == EACCES ? EADDRINUSE : error), error,
                         "%s: no port of C4_PORT_RANGE=%u-%u is free on %s (%u tried)", who, range.lo, range.hi, ip,
                         nports);
}

static c4_status listen_anywhere(const char *who, c4_tlink_address *address, int *fd)
{
    C4_TRY(open_socket(who, address, fd));
    int error = bind_and_listen(*fd, address, 0);
    if (error == 0)
        return C4_OK;
    close(*fd);
    char ip[INET6_ADDRSTRLEN];
    return c4_fail_errno(c4_status_from_errno(error), error, "%s: cannot listen on %s", who,
                         c4_netif_ip_text(address->family, address->ip, ip, sizeof ip));
}

c4_status c4_tlink_socket_listen(const char *who, c4_tlink_address *address, c4_port_range range, c4_rng *rng, int *out)
{
    int fd = -1;
    if (range.lo != 0)
        C4_TRY(listen_in_range(who, address, range, rng, &fd));
    else
        C4_TRY(listen_anywhere(who, address, &fd));
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0) {
        int error = errno;
        close(fd);
        return c4_fail_errno(C4_ERR_SYSTEM, error, "%s: getsockname", who);
    }
    address->port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                                     : ((struct sockaddr_in *)&name)->sin_port);
    *out = fd;
    return C4_OK;
}

void c4_tlink_address_from(const struct sockaddr_storage *name, c4_tlink_address *address)
{
    *address = (c4_tlink_address){.family = name->ss_family == AF_INET6 ? 6 : 4};
    if (address->family == 6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)name;
        address->port = ntohs(in6->sin6_port);
        memcpy(address->ip, &in6->sin6_addr, 16);
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)name;
        address->port = ntohs(in->sin_port);
        memcpy(address->ip, &in->sin_addr, 4);
    }
}

/* Ours to connect from; NULL: none or several would do. */
static const c4_tlink_address *only_source(const c4_tlink_address *peer, const c4_tlink_contact *local)
{
    const c4_tlink_address *found = NULL;
    for (unsigned i = 0; i < local->count; i++) {
        const c4_tlink_address *own = &local->at[i];
        if (own->family != peer->family || own->loopback != peer->loopback || (own->scope != 0) != (peer->scope != 0))
            continue;
        if (found != NULL)
            return NULL;
        found = own;
    }
    return found;
}

/* A link-local address is reached through the interface that this process uses, whatever its number at the peer. */
static uint32_t own_scope(const c4_tlink_contact *local)
{
    for (unsigned i = 0; i < local->count; i++)
        if (local->at[i].scope != 0)
            return local->at[i].scope;
    return 0;
}

int c4_tlink_socket_connect(const c4_tlink_address *peer, const c4_tlink_contact *local)
{
    struct sockaddr_storage name;
    c4_tlink_address target = *peer;
    const c4_tlink_address *source = only_source(peer, local);
    int one = 1;
    int fd = socket(peer->family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (target.scope != 0)
        target.scope = own_scope(local);
    socklen_t length;
    if (source != NULL) {
        /* The port is chosen at connect, so that many connections may share it. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        length = address_to_sockaddr(source, 0, &name);
        (void)!bind(fd, (struct sockaddr *)&name, length);
    }
    length = address_to_sockaddr(&target, target.port, &name);
    if (connect(fd, (struct sockaddr *)&name, length) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void c4_tlink_socket_tune(int fd, size_t buffer_bytes)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (buffer_bytes == 0)
        return;
    int bytes = buffer_bytes > 1 << 30 ? 1 << 30 : (int)buffer_bytes;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

uint64_t c4_tlink_host_number(void)
{
    char boot[64] = "";
    struct stat namespace;
    uint64_t hash = C4_HASH_INIT;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        size_t got = fread(boot, 1, sizeof boot, file);
        hash = c4_hash_bytes(hash, boot, got);
        fclose(file);
    }
    if (stat("/proc/self/ns/net", &namespace) == 0)
        hash = c4_hash_bytes(hash, &namespace.st_ino, sizeof namespace.st_ino);
    return hash;
}
