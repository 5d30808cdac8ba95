#include "tools/c4info/reach.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "wire/handshake.h"

#define DOCTOR_JOB    0x4334446f63746f72u /* "C4Doctor" */
#define DOCTOR_RANKS  2u
#define SERVER_RANK   0u
#define CLIENT_RANK   1u
#define PORT_ATTEMPTS 64

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- sockets ---- */

socklen_t c4info_netif_sockaddr(const c4_netif *netif, int port, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    if (netif->family == 6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)port),
                                   .sin6_scope_id = netif->link_local ? netif->scope : 0};
        memcpy(&in6.sin6_addr, netif->ip, 16);
        memcpy(address, &in6, sizeof in6);
        return sizeof in6;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    memcpy(&in.sin_addr, netif->ip, 4);
    memcpy(address, &in, sizeof in);
    return sizeof in;
}

static int listen_on(const c4_netif *netif, int port)
{
    struct sockaddr_storage address;
    socklen_t bytes = c4info_netif_sockaddr(netif, port, &address);
    const int one = 1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&address, bytes) == 0 && listen(fd, 16) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &bytes) != 0)
        return 0;
    const struct sockaddr_in *in = (const void *)&address;
    const struct sockaddr_in6 *in6 = (const void *)&address;
    return ntohs(address.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

int c4info_listen_at(const c4_netif *netif, int lo, int hi, int *port)
{
    uint64_t random = 0;
    int span = hi - lo + 1, fd = -1;
    c4_random_bytes(&random, sizeof random);
    int attempts = span < PORT_ATTEMPTS ? span : PORT_ATTEMPTS;
    int first = (int)(random % (unsigned)span);
    for (int i = 0; i < attempts && fd < 0; i++) {
        fd = listen_on(netif, lo + (first + i) % span);
        if (fd < 0 && errno != EADDRINUSE && errno != EACCES)
            return -1;
    }
    if (fd >= 0)
        *port = port_of(fd);
    return fd;
}

/* 0, or an errno. */
static int wait_for(int fd, short events, double deadline_ms)
{
    struct pollfd poller = {.fd = fd, .events = events};
    for (;;) {
        double left = deadline_ms - now_ms();
        if (left <= 0)
            return ETIMEDOUT;
        int ready = poll(&poller, 1, (int)left + 1);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return errno;
    }
}

int c4info_connect(const struct sockaddr_storage *address, int timeout_ms)
{
    socklen_t bytes = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int error = connect(fd, (const struct sockaddr *)address, bytes) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        socklen_t length = sizeof error;
        error = wait_for(fd, POLLOUT, now_ms() + timeout_ms);
        if (error == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
            error = errno;
    }
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}

/* 0, an errno, or ECONNRESET when the peer closed. */
static int send_all(int fd, const void *data, size_t bytes, double deadline_ms)
{
    for (const char *at = data; bytes > 0;) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            bytes -= (size_t)sent;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        int error = wait_for(fd, POLLOUT, deadline_ms);
        if (error)
            return error;
    }
    return 0;
}

static int receive_some(int fd, void *data, size_t room, size_t *got, double deadline_ms)
{
    for (;;) {
        ssize_t bytes = recv(fd, data, room, 0);
        if (bytes > 0) {
            *got = (size_t)bytes;
            return 0;
        }
        if (bytes == 0)
            return ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        int error = wait_for(fd, POLLIN, deadline_ms);
        if (error)
            return error;
    }
}

/* ---- the conversation ---- */

static void fail(c4info_reach *result, int error, const char *reason)
{
    result->error = error;
    snprintf(result->reason, sizeof result->reason, "%s", error ? strerror(error) : reason);
}

static bool shake(int fd, const unsigned char *key, bool client, double deadline_ms, c4info_reach *result)
{
    const c4_handshake_identity identity = {.key = key,
                                            .job_id = DOCTOR_JOB,
                                            .rank = client ? CLIENT_RANK : SERVER_RANK,
                                            .peer_rank = client ? SERVER_RANK : CLIENT_RANK,
                                            .nranks = DOCTOR_RANKS,
                                            .role = C4_HANDSHAKE_CONTROL,
                                            .transport = "doctor"};
    c4_handshake handshake;
    const unsigned char *out;
    unsigned char in[C4_HANDSHAKE_MESSAGE_BYTES];
    size_t got, consumed;
    int error = 0;
    result->stage = C4INFO_REACH_HANDSHAKE;
    if (c4_handshake_init(&handshake, &identity, client) < 0) {
        fail(result, 0, "no random bytes, or no libcrypto for the key");
        return false;
    }
    for (;;) {
        size_t pending = c4_handshake_output(&handshake, &out);
        if (pending > 0 && (error = send_all(fd, out, pending, deadline_ms)) == 0)
            c4_handshake_sent(&handshake, pending);
        if (error || c4_handshake_status(&handshake) != C4_IN_PROGRESS)
            break;
        if ((error = receive_some(fd, in, sizeof in, &got, deadline_ms)) != 0)
            break;
        c4_handshake_input(&handshake, in, got, &consumed);
    }
    bool agreed = !error && c4_handshake_status(&handshake) == C4_OK;
    result->refused = !error && !agreed;
    if (!agreed)
        fail(result, error, handshake.reason);
    explicit_bzero(&handshake, sizeof handshake);
    return agreed;
}

static int send_bulk(int fd, double deadline_ms)
{
    static const unsigned char data[16384];
    int error = 0;
    for (size_t sent = 0; sent < C4INFO_REACH_BYTES && !error; sent += sizeof data)
        error = send_all(fd, data, sizeof data, deadline_ms);
    return error;
}

static int receive_bulk(int fd, double deadline_ms)
{
    unsigned char data[16384];
    size_t total = 0, got = 0;
    int error = 0;
    while (total < C4INFO_REACH_BYTES && !error) {
        size_t left = C4INFO_REACH_BYTES - total;
        error = receive_some(fd, data, left < sizeof data ? left : sizeof data, &got, deadline_ms);
        total += error ? 0 : got;
    }
    return error;
}

void c4info_reach_serve(int fd, const unsigned char *key, int timeout_ms, c4info_reach *result)
{
    double start = now_ms(), deadline = start + timeout_ms;
    *result = (c4info_reach){.stage = C4INFO_REACH_CONNECT};
    if (!shake(fd, key, false, deadline, result))
        return;
    result->stage = C4INFO_REACH_DATA;
    int error = receive_bulk(fd, deadline);
    if (!error)
        error = send_bulk(fd, deadline);
    if (error) {
        fail(result, error, "");
        return;
    }
    result->data_ms = now_ms() - start;
    result->stage = C4INFO_REACH_DONE;
}

void c4info_reach_run(const struct sockaddr_storage *address, const unsigned char *key, int timeout_ms,
                      c4info_reach *result)
{
    struct sockaddr_storage local;
    socklen_t bytes = sizeof local;
    double start = now_ms();
    *result = (c4info_reach){.stage = C4INFO_REACH_CONNECT};
    int fd = c4info_connect(address, timeout_ms);
    if (fd < 0) {
        fail(result, errno, "");
        return;
    }
    result->connect_ms = now_ms() - start;
    if (getsockname(fd, (struct sockaddr *)&local, &bytes) == 0)
        getnameinfo((const struct sockaddr *)&local, bytes, result->local, sizeof result->local, NULL, 0,
                    NI_NUMERICHOST);
    double deadline = now_ms() + timeout_ms;
    if (shake(fd, key, true, deadline, result)) {
        double begin = now_ms();
        result->stage = C4INFO_REACH_DATA;
        int error = send_bulk(fd, deadline);
        if (!error)
            error = receive_bulk(fd, deadline);
        if (error)
            fail(result, error, "");
        else
            result->stage = C4INFO_REACH_DONE;
        result->data_ms = now_ms() - begin;
    }
    close(fd);
}
