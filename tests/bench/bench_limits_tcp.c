/* Loopback stream limit: two threads exchange bytes over nonblocking sockets, never sleeping. */
#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_sync.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPETITIONS     7
#define CONNECTIONS_MAX 4

struct tcp_side {
    struct tcp_pair *pair;
    int index;
    int sockets[CONNECTIONS_MAX];
    char *send;
    char *recv;
    double times_ns[REPETITIONS];
    int failed;
    unsigned sink;
};

struct tcp_pair {
    struct tcp_side sides[2];
    size_t bytes;
    int nconnections;
    int both_ways;
    double ns_per_tick;
    _Alignas(128) _Atomic unsigned arrived;
};

static void pair_barrier(struct tcp_pair *pair)
{
    unsigned target = (atomic_fetch_add(&pair->arrived, 1) / 2 + 1) * 2;
    while (atomic_load(&pair->arrived) < target) {
    }
}

static int connection_open(int sockets[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets[1] = -1;
    if (listener >= 0 && sockets[0] >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
        connect(sockets[0], (struct sockaddr *)&address, length) == 0) {
        sockets[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
    if (listener >= 0) {
        close(listener);
    }
    for (int i = 0; i < 2 && sockets[1] >= 0; i++) {
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(sockets[i], F_SETFL, fcntl(sockets[i], F_GETFL) | O_NONBLOCK);
    }
    return sockets[1] >= 0 ? 0 : -1;
}

/* Moves what can be moved now; -1 on an error other than "try again". */
static int span_move(int fd, char *base, size_t end, size_t *at, int sending)
{
    if (*at == end) {
        return 0;
    }
    ssize_t moved = sending ? send(fd, base + *at, end - *at, MSG_NOSIGNAL) : recv(fd, base + *at, end - *at, 0);
    if (moved > 0) {
        *at += (size_t)moved;
        return 0;
    }
    return moved < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int exchange(struct tcp_side *side)
{
    const struct tcp_pair *pair = side->pair;
    size_t n = (size_t)pair->nconnections;
    size_t sent[CONNECTIONS_MAX];
    size_t received[CONNECTIONS_MAX];
    size_t ends[CONNECTIONS_MAX];
    int sends = pair->both_ways || side->index == 0;
    int receives = pair->both_ways || side->index == 1;
    size_t open = 0;
    for (size_t i = 0; i < n; i++) {
        ends[i] = pair->bytes * (i + 1) / n;
        sent[i] = sends ? pair->bytes * i / n : ends[i];
        received[i] = receives ? pair->bytes * i / n : ends[i];
    }
    do {
        open = 0;
        for (size_t i = 0; i < n; i++) {
            if (span_move(side->sockets[i], side->send, ends[i], &sent[i], 1) != 0 ||
                span_move(side->sockets[i], side->recv, ends[i], &received[i], 0) != 0) {
                return -1;
            }
            open += sent[i] != ends[i] || received[i] != ends[i];
        }
    } while (open != 0);
    return 0;
}

static void *side_run(void *argument)
{
    struct tcp_side *side = argument;
    struct tcp_pair *pair = side->pair;
    bench_pin(side->index);
    for (int repetition = -1; repetition < REPETITIONS; repetition++) {
        memset(side->send, repetition + 2, pair->bytes);
        for (size_t i = 0; i < pair->bytes; i += 64) {
            side->sink += (unsigned char)side->recv[i];
        }
        pair_barrier(pair);
        uint64_t begin = bench_ticks();
        side->failed |= exchange(side) != 0;
        uint64_t end = bench_ticks();
        if (repetition >= 0) {
            side->times_ns[repetition] = (double)(end - begin) * pair->ns_per_tick;
        }
        pair_barrier(pair);
    }
    return NULL;
}

static int pair_init(struct tcp_pair *pair)
{
    for (int side = 0; side < 2; side++) {
        pair->sides[side].pair = pair;
        pair->sides[side].index = side;
        pair->sides[side].send = calloc(1, pair->bytes);
        pair->sides[side].recv = calloc(1, pair->bytes);
        if (pair->sides[side].send == NULL || pair->sides[side].recv == NULL) {
            return -1;
        }
    }
    for (int i = 0; i < pair->nconnections; i++) {
        int sockets[2];
        int failed = connection_open(sockets);
        pair->sides[0].sockets[i] = sockets[0];
        pair->sides[1].sockets[i] = sockets[1];
        if (failed) {
            return -1;
        }
    }
    return 0;
}

static void pair_fini(struct tcp_pair *pair)
{
    for (int side = 0; side < 2; side++) {
        free(pair->sides[side].send);
        free(pair->sides[side].recv);
        for (int i = 0; i < CONNECTIONS_MAX; i++) {
            if (pair->sides[side].sockets[i] > 0) {
                close(pair->sides[side].sockets[i]);
            }
        }
    }
}

static int exchange_measure(size_t bytes, int both_ways, int nconnections, double ns_per_tick, double *time_ns)
{
    struct tcp_pair pair = {
        .bytes = bytes, .both_ways = both_ways, .nconnections = nconnections, .ns_per_tick = ns_per_tick};
    double slower[REPETITIONS];
    pthread_t thread;
    int failed = pair_init(&pair) != 0 || pthread_create(&thread, NULL, side_run, &pair.sides[1]) != 0;
    if (!failed) {
        side_run(&pair.sides[0]);
        pthread_join(thread, NULL);
        for (int i = 0; i < REPETITIONS; i++) {
            double first = pair.sides[0].times_ns[i];
            double second = pair.sides[1].times_ns[i];
            slower[i] = first > second ? first : second;
        }
        *time_ns = limits_median(slower, REPETITIONS);
        failed = pair.sides[0].failed || pair.sides[1].failed;
    }
    pair_fini(&pair);
    return failed ? -1 : 0;
}

int limits_tcp(size_t bytes, int both_ways, double ns_per_tick, double *time_ns)
{
    double best = 0.0;
    for (int nconnections = 1; nconnections <= CONNECTIONS_MAX; nconnections *= 2) {
        double one = 0.0;
        if (exchange_measure(bytes, both_ways, nconnections, ns_per_tick, &one) != 0) {
            return -1;
        }
        best = best == 0.0 || one < best ? one : best;
    }
    *time_ns = best;
    return 0;
}
