/* What is particular to tcp: lost sockets, retained frames, pausing, refused peers, system calls, the system's limits. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/transports/tcp/pair.h"
#include "transports/tcp/deliver.h"
#include "transports/tcp/socket.h"

/* ---- system calls of the data path, counted (linked with --wrap) ---- */

static unsigned sends, receives, empty_receives;

ssize_t __real_send(int fd, const void *buffer, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void *buffer, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void *buffer, size_t bytes, int flags)
{
    sends++;
    return __real_send(fd, buffer, bytes, flags);
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sends++;
    return __real_sendmsg(fd, message, flags);
}

static ssize_t count_receive(ssize_t got)
{
    receives += got > 0;
    empty_receives += got <= 0;
    return got;
}

ssize_t __real_recv(int fd, void *buffer, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t bytes, int flags)
{
    return count_receive(__real_recv(fd, buffer, bytes, flags));
}

ssize_t __real_readv(int fd, const struct iovec *iov, int n);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int n);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int n)
{
    return count_receive(__real_readv(fd, iov, n));
}

/* One exchange: both sides send `bytes` and receive as much. */
static void exchange(pair *p, c4_channel *out[2], c4_channel *in[2], size_t bytes, unsigned char *memory)
{
    c4_xfer send[2], receive[2];
    for (int rank = 0; rank < 2; rank++) {
        send[rank] = (c4_xfer){.pointer = memory, .bytes = bytes};
        receive[rank] = (c4_xfer){.pointer = memory + (size_t)(rank + 1) * bytes, .bytes = bytes};
        CU_ASSERT(c4_tcp_ops.recv(in[rank], &receive[rank]) >= 0);
        CU_ASSERT(c4_tcp_ops.send(out[rank], &send[rank]) >= 0);
    }
    for (int rank = 0; rank < 2; rank++) {
        pair_wait(p, &receive[rank]);
        pair_wait(p, &send[rank]);
        C4TEST_INT(receive[rank].state, C4_OK);
    }
}

static void open_both(pair *p, c4_channel *out[2], c4_channel *in[2])
{
    for (int rank = 0; rank < 2; rank++) {
        out[rank] = pair_channel(p, rank, 1, rank, 1 - rank);
        in[rank] = pair_channel(p, rank, 1, 1 - rank, rank);
    }
}

/* A message up to 64 KiB costs each rank one system call to send and one to receive, acknowledgements included. */
static void test_system_calls(void)
{
    const size_t sizes[] = {0, 8, 600, 4096, 20000, 65536};
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char *memory = calloc(3, 65536);
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        exchange(&p, out, in, sizes[i], memory);
        exchange(&p, out, in, 8, memory);
        sends = receives = 0;
        for (int round = 0; round < 20; round++)
            exchange(&p, out, in, sizes[i], memory);
        /* The setup poll may take a peek at the listener: that is no send and no receive. Loopback may hand 64 KiB over
         * in two parts. */
        C4TEST_INT(sends, 40);
        CU_ASSERT(receives >= 40 && receives <= (sizes[i] <= 4096 ? 40 : 80));
    }
    pair_close(&p);
    free(memory);
}

static void test_silence_reads_nothing(void)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64];
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    sends = receives = empty_receives = 0;
    for (int i = 0; i < 1000; i++)
        pair_progress(&p);
    C4TEST_INT(sends + receives + empty_receives, 0);
    pair_close(&p);
}

/* ---- lost sockets ---- */

static void add_u32(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    uint32_t *d = dst;
    const uint32_t *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] + y[i];
}

/* Sockets die all the time while a frame is reduced in place: nothing is added twice, nothing is missing. */
static void test_lost_while_reducing(void)
{
    const c4_reduction sum = {add_u32, 4};
    const size_t count = 2 << 20;
    uint32_t *source = malloc(count * 4), *result = malloc(count * 4);
    pair p;
    c4_edge_counters counters = {0, 0, 0};
    pair_open(&p, 2, "");
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    for (size_t i = 0; i < count; i++) {
        source[i] = (uint32_t)i;
        result[i] = 7;
    }
    c4_xfer send = {.pointer = source, .bytes = count * 4};
    c4_xfer receive = {.pointer = result, .operand = result, .reduce = &sum, .bytes = count * 4};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(out, &send) == C4_IN_PROGRESS);
    unsigned lost = 0;
    c4_tcp_link *link = in->link;
    for (size_t seen = 0; receive.state == C4_IN_PROGRESS;) {
        pair_progress(&p);
        if (link->rx.done < seen + (500 << 10))
            continue;
        seen = link->rx.done;
        C4TEST_OK(c4_tcp_ops.inject(p.modules[lost % 2], "close_socket"));
        lost++;
    }
    pair_wait(&p, &send);
    CU_ASSERT(lost >= 5);
    C4TEST_INT(receive.state, C4_OK);
    for (size_t i = 0; i < count; i++)
        if (result[i] != (uint32_t)i + 7) {
            C4TEST_INT(result[i], i + 7);
            break;
        }
    C4TEST_OK(c4_tcp_ops.counters(out, &counters));
    CU_ASSERT(counters.resends >= 1);
    C4TEST_INT(counters.messages, 1);
    pair_close(&p);
    free(source);
    free(result);
}

/* The network cuts where it likes, in the middle of elements too. */
static void test_reduce_in_odd_pieces(void)
{
    enum { COUNT = 100000 };
    static uint32_t incoming[COUNT], result[COUNT];
    const c4_reduction sum = {add_u32, 4};
    c4_xfer xfer = {.pointer = result, .operand = result, .reduce = &sum, .bytes = sizeof result};
    c4_module module = {.bounce = malloc(C4_TCP_BOUNCE_BYTES)};
    c4_tcp_link link = {.module = &module};
    for (uint32_t i = 0; i < COUNT; i++) {
        incoming[i] = i * 2654435761u;
        result[i] = i;
    }
    link.rx = (c4_tcp_rx){.mode = C4_TCP_RX_REDUCE, .frame.bytes = sizeof incoming, .xfer = &xfer};
    while (link.rx.done < sizeof incoming) {
        const unsigned char *from = (const unsigned char *)incoming + link.rx.done;
        struct iovec iov;
        size_t space = c4_tcp_deliver_space(&link, &iov);
        size_t part = 1 + (size_t)c4test_rand_below(c4test_rand_below(4) == 0 ? space : space < 50 ? space : 50);
        if (c4test_rand_below(2) == 0) {
            c4_tcp_deliver_copy(&link, from, part);
        } else {
            memcpy(iov.iov_base, from, part);
            c4_tcp_deliver_read(&link, part);
        }
    }
    C4TEST_INT(link.rx.carry_bytes, 0);
    for (uint32_t i = 0; i < COUNT; i++)
        if (result[i] != i + incoming[i]) {
            C4TEST_INT(result[i], i + incoming[i]);
            break;
        }
    free(module.bounce);
}

static unsigned local_port(int fd)
{
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    CU_ASSERT(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    return ntohs(name.sin_port);
}

/* Both sides connect at the same moment: the lower rank's connection stays, although the higher was a little faster. */
static void test_crossing_connections(void)
{
    for (int i = 0; i < 20; i++) {
        pair p;
        c4_channel *out[2], *in[2];
        unsigned char memory[64];
        c4_xfer first[2];
        int peer;
        pair_open(&p, 2, "");
        open_both(&p, out, in);
        for (int rank = 0; rank < 2; rank++) {
            first[rank] = (c4_xfer){.pointer = memory, .bytes = 8};
            C4TEST_OK(c4_tcp_ops.send(out[rank], &first[rank]));
            p.modules[rank]->setup_period_tsc = 0; /* look for connections in every call */
        }
        while (out[0]->link->state != C4_TCP_UP || out[1]->link->state != C4_TCP_UP)
            for (int rank = 2; rank-- > 0;)
                CU_ASSERT(c4_tcp_ops.progress(p.modules[rank], &peer) >= 0);
        C4TEST_INT(out[0]->link->generation, 1);
        C4TEST_INT(out[1]->link->generation, 1);
        CU_ASSERT(local_port(out[0]->link->fd) != p.modules[0]->address.port);
        C4TEST_INT(local_port(out[1]->link->fd), p.modules[1]->address.port);
        pair_close(&p);
    }
}

/* A small send is complete at once; the socket dies before the peer has read it. */
static void test_lost_after_small_send(void)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64] = {0}, got[8];
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    for (int i = 0; i < 20; i++) {
        unsigned char value[8] = {(unsigned char)i, 1, 2};
        c4_xfer send = {.pointer = value, .bytes = 8};
        c4_xfer receive = {.pointer = got, .bytes = 8};
        C4TEST_OK(c4_tcp_ops.send(out[0], &send));
        memset(value, 0xff, sizeof value);
        C4TEST_OK(c4_tcp_ops.inject(p.modules[i % 2], "close_socket"));
        CU_ASSERT(c4_tcp_ops.recv(in[1], &receive) >= 0);
        pair_wait(&p, &receive);
        CU_ASSERT(got[0] == i && got[1] == 1 && got[2] == 2);
    }
    pair_close(&p);
}

/* The peer's process is gone for good. */
static void test_dead_peer_is_named(void)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64];
    pair_open(&p, 2, "C4_TCP_RETRY_MS=300ms");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    c4_xfer receive = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in[0], &receive) == C4_IN_PROGRESS);
    /* As a kill does: sockets end without a word. */
    C4TEST_OK(c4_tcp_ops.inject(p.modules[1], "close_socket"));
    close(p.modules[1]->listen_fd);
    p.modules[1]->listen_fd = -1;
    c4_module *dead = p.modules[1];
    p.modules[1] = NULL;
    pair_wait(&p, &receive);
    C4TEST_INT(receive.state, C4_ERR_LINK);
    while (p.errors[0] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[0], C4_ERR_LINK);
    C4TEST_INT(p.named[0], 1);
    C4TEST_CONTAINS(c4_fail_text(), "rank 1 at 127.0.0.1:");
    C4TEST_CONTAINS(c4_fail_text(), "Connection refused");
    C4TEST_INT(c4_tcp_ops.recv(in[0], &receive), C4_ERR_LINK);
    pair_close(&p);
    c4_tcp_ops.close(dead);
}

/* ---- memory ---- */

/* Frames that nobody asks for are kept up to a limit; then the writer is paused. */
static void test_unread_channel_is_paused(void)
{
    enum { COUNT = 400, BYTES = 100000 };
    pair p;
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    c4_channel *full = pair_channel(&p, 0, 1, 0, 1), *unread = pair_channel(&p, 1, 1, 0, 1);
    c4_channel *live = pair_channel(&p, 0, 2, 0, 1), *read = pair_channel(&p, 1, 2, 0, 1);
    unsigned char *memory = calloc(1, BYTES);
    c4_xfer *xfers = calloc(2 * COUNT, sizeof *xfers);
    size_t most = 0;
    for (int i = 0; i < COUNT; i++) {
        unsigned char small[8];
        c4_xfer send = {.pointer = memory, .bytes = 8}, receive = {.pointer = small, .bytes = 8};
        xfers[i] = (c4_xfer){.pointer = memory, .bytes = BYTES};
        CU_ASSERT(c4_tcp_ops.send(full, &xfers[i]) >= 0);
        CU_ASSERT(c4_tcp_ops.send(live, &send) >= 0);
        CU_ASSERT(c4_tcp_ops.recv(read, &receive) >= 0);
        pair_wait(&p, &receive);
        most = unread->in_bytes > most ? unread->in_bytes : most;
    }
    CU_ASSERT(most > (1 << 20) && most < C4_TCP_DEPTH_BYTES + (4 << 20));
    for (int i = 0; i < COUNT; i++) {
        xfers[COUNT + i] = (c4_xfer){.pointer = memory, .bytes = BYTES};
        CU_ASSERT(c4_tcp_ops.recv(unread, &xfers[COUNT + i]) >= 0);
        pair_wait(&p, &xfers[COUNT + i]);
        C4TEST_INT(xfers[COUNT + i].state, C4_OK);
    }
    pair_close(&p);
    free(xfers);
    free(memory);
}

/* One side only sends: acknowledgements keep what it retains within bounds. */
static void test_retained_copies_are_bounded(void)
{
    pair p;
    pair_open(&p, 2, "");
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    static unsigned char memory[30000];
    size_t most = 0;
    for (int i = 0; i < 1000; i++) {
        c4_xfer send = {.pointer = memory, .bytes = sizeof memory}, receive = send;
        CU_ASSERT(c4_tcp_ops.recv(in, &receive) >= 0);
        CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
        pair_wait(&p, &receive);
        pair_wait(&p, &send);
        most = out->link->tx.retained_bytes > most ? out->link->tx.retained_bytes : most;
    }
    CU_ASSERT(most <= C4_TCP_RETAIN_BYTES + 65536 + 4096);
    pair_close(&p);
}

/* ---- strangers ---- */

static int stranger_connect(const c4_module *module)
{
    int fd = c4_tcp_connect(&module->address, &module->address);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* Progresses until the module has closed the connection. */
static void wait_closed(pair *p, int fd, c4_channel *pending)
{
    static unsigned char sink[4096];
    c4_xfer receive = {.pointer = sink, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(pending, &receive) == C4_IN_PROGRESS); /* a waiting rank looks for connections */
    ssize_t got;
    while ((got = __real_recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0 || (got < 0 && errno == EAGAIN))
        pair_progress(p);
    c4_tcp_ops.cancel(pending, &receive);
}

static void test_garbage_is_refused_once_logged(void)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64], garbage[300];
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    memset(garbage, 0xee, sizeof garbage);
    for (int i = 0; i < 5; i++) {
        int fd = stranger_connect(p.modules[0]);
        while (__real_send(fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0 && (errno == EAGAIN || errno == ENOTCONN))
            pair_progress(&p);
        wait_closed(&p, fd, in[0]);
        close(fd);
    }
    C4TEST_INT(p.hosts[0].warnings_logged, 1);
    C4TEST_CONTAINS(p.hosts[0].last_warning, "refused a connection");
    exchange(&p, out, in, 16, memory);
    pair_close(&p);
}

/* Silent strangers take all places; they lose them in time and the job goes on. */
static void test_half_open_connections(void)
{
    enum { STRANGERS = 40 };
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64];
    int fds[STRANGERS];
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    for (int i = 0; i < STRANGERS; i++)
        fds[i] = stranger_connect(p.modules[1]);
    c4_xfer receive = {.pointer = memory, .bytes = 8}, send = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in[1], &receive) == C4_IN_PROGRESS);
    for (int i = 0; i < 3000; i++)
        pair_progress(&p);
    CU_ASSERT(p.modules[1]->nstrangers <= C4_TCP_MAX_STRANGERS);
    CU_ASSERT(c4_tcp_ops.send(out[0], &send) >= 0);
    pair_wait(&p, &receive);
    C4TEST_INT(receive.state, C4_OK);
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    pair_close(&p);
}

/* Rank 2 has another key: nobody talks to it, the others go on. */
static void test_wrong_key(void)
{
    static const unsigned char other_key[32] = "not the key of this job";
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64];
    pair_open(&p, 3, "");
    p.modules[2]->host.key = other_key;
    open_both(&p, out, in);
    c4_channel *bad = pair_channel(&p, 2, 5, 2, 0);
    c4_channel *waiting = pair_channel(&p, 0, 5, 2, 0);
    c4_xfer receive = {.pointer = memory, .bytes = 8}, send = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(waiting, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(bad, &send) >= 0);
    while (p.errors[2] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[2], C4_ERR_AUTH);
    C4TEST_INT(p.named[2], 0);
    C4TEST_INT(p.errors[0], C4_OK);
    C4TEST_INT(receive.state, C4_IN_PROGRESS);
    exchange(&p, out, in, 16, memory);
    C4TEST_INT(p.errors[0], C4_OK);
    c4_tcp_ops.cancel(waiting, &receive);
    pair_close(&p);
}

/* An authenticated peer sends rubbish: the link fails with a name, not the process. */
static void bad_frame(const unsigned char *wire, const char *text)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64];
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    c4_xfer receive = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in[0], &receive) == C4_IN_PROGRESS);
    CU_ASSERT(__real_send(out[1]->link->fd, wire, C4_TCP_HEADER_BYTES, 0) == C4_TCP_HEADER_BYTES);
    while (p.errors[0] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[0], C4_ERR_PROTOCOL);
    C4TEST_INT(p.named[0], 1);
    C4TEST_INT(receive.state, C4_ERR_PROTOCOL);
    C4TEST_CONTAINS(c4_fail_text(), text);
    pair_close(&p);
}

static void test_bad_frames(void)
{
    c4_tcp_header header = {.kind = C4_TCP_DATA, .tag = 1, .comm = 1, .frame.bytes = 8};
    unsigned char wire[C4_TCP_HEADER_BYTES];
    memset(wire, 0xee, sizeof wire);
    bad_frame(wire, "unknown frame kind from rank 1");
    header.frame.bytes = (uint32_t)C4_TCP_MAX_FRAME_BYTES + 1;
    c4_tcp_header_pack(&header, wire);
    bad_frame(wire, "oversized frame from rank 1");
    header.frame.bytes = 8;
    header.ack = 1u << 20;
    c4_tcp_header_pack(&header, wire);
    bad_frame(wire, "never sent from rank 1");
}

/* The peer closes its module in good order: no error unless something is missed. */
static void test_orderly_close(void)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64], got[8];
    pair_open(&p, 2, "");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    for (int i = 0; i < 10; i++) {
        c4_xfer send = {.pointer = memory, .bytes = 8};
        C4TEST_OK(c4_tcp_ops.send(out[1], &send));
    }
    c4_tcp_ops.close(p.modules[1]);
    p.modules[1] = NULL;
    for (int i = 0; i < 10; i++) {
        c4_xfer receive = {.pointer = got, .bytes = 8};
        CU_ASSERT(c4_tcp_ops.recv(in[0], &receive) >= 0);
        pair_wait(&p, &receive);
        C4TEST_INT(receive.state, C4_OK);
    }
    C4TEST_INT(p.errors[0], C4_OK);
    c4_xfer missed = {.pointer = got, .bytes = 8};
    c4_status status = c4_tcp_ops.recv(in[0], &missed);
    if (status == C4_IN_PROGRESS)
        pair_wait(&p, &missed);
    C4TEST_INT(missed.state, C4_ERR_LINK);
    pair_close(&p);
}

/* ---- the system's limits ---- */

static c4_status open_with(const char *overrides, c4_module **module)
{
    static c4_test_host host;
    c4_test_host_init(&host, &c4_tcp_option_table, overrides, 1, 0, 2);
    return c4_tcp_ops.open(&host.host, module);
}

static void test_port_range(void)
{
    c4_module *first = NULL, *second = NULL;
    char overrides[64];
    C4TEST_OK_FATAL(open_with("", &first)); /* finds a free port for us */
    unsigned port = first->address.port;
    c4_tcp_ops.close(first);
    snprintf(overrides, sizeof overrides, "C4_PORT_RANGE=%u-%u", port, port);
    C4TEST_OK_FATAL(open_with(overrides, &first));
    C4TEST_INT(first->address.port, port);
    C4TEST_INT(open_with(overrides, &second), C4_ERR_PORTS);
    C4TEST_CONTAINS(c4_fail_text(), overrides);
    C4TEST_CONTAINS(c4_fail_text(), "is free on 127.0.0.1");
    c4_tcp_ops.close(first);
    C4TEST_INT(open_with("C4_PORT_RANGE=70000", &second), C4_ERR_OPTION);
    C4TEST_INT(open_with("C4_PORT_RANGE=10-5", &second), C4_ERR_OPTION);
    C4TEST_INT(open_with("C4_PORT_RANGE=5000-", &second), C4_ERR_OPTION);
    C4TEST_INT(open_with("C4_PORT_RANGE=x", &second), C4_ERR_OPTION);
}

static void test_file_limit(void)
{
    struct rlimit limit;
    c4_module *module = NULL;
    getrlimit(RLIMIT_NOFILE, &limit);
    int lowest = dup(0);
    close(lowest);
    /* Each number of descriptors that open gets by with before it fails. */
    for (int spare = 0; spare < 4; spare++) {
        struct rlimit low = {(rlim_t)(lowest + spare), limit.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        c4_status status = open_with("", &module);
        setrlimit(RLIMIT_NOFILE, &limit);
        C4TEST_INT(status, C4_ERR_FILES);
        int again = dup(0);
        C4TEST_INT(again, lowest); /* nothing leaked */
        close(again);
    }
}

static void test_no_interface(void)
{
    c4_module *module = NULL;
    C4TEST_INT(open_with("C4_SOCKET_IFNAME=nosuch0", &module), C4_ERR_INTERFACE);
    C4TEST_CONTAINS(c4_fail_text(), "matches C4_SOCKET_IFNAME=nosuch0; there are: ");
    C4TEST_CONTAINS(c4_fail_text(), "lo 127.0.0.1");
}

static void test_ipv6(void)
{
    c4_module *module = NULL;
    if (open_with("C4_SOCKET_FAMILY=ipv6 C4_SOCKET_IFNAME=::1", &module) != C4_OK)
        C4TEST_SKIP("no IPv6 loopback address on this machine: sysctl net.ipv6.conf.lo.disable_ipv6=0");
    c4_tcp_ops.close(module);
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char *memory = calloc(3, 1 << 20);
    pair_open(&p, 2, "C4_SOCKET_FAMILY=ipv6 C4_SOCKET_IFNAME=::1");
    open_both(&p, out, in);
    exchange(&p, out, in, 1 << 20, memory);
    pair_close(&p);
    free(memory);
}

/* Loopback of another network namespace is no way to the peer: said before anything is sent. */
static void test_foreign_loopback(void)
{
    pair p;
    char reason[256] = "";
    unsigned char wire[C4_TCP_ADDRESS_BYTES];
    pair_open(&p, 2, "");
    c4_tcp_address address = p.modules[1]->address;
    address.host++;
    c4_tcp_address_pack(&address, wire);
    C4TEST_INT(c4_tcp_ops.add_peer(p.modules[0], 1, wire, sizeof wire, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "set C4_SOCKET_IFNAME");
    pair_close(&p);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(system_calls),
        C4TEST(silence_reads_nothing),
        C4TEST(lost_while_reducing),
        C4TEST(reduce_in_odd_pieces),
        C4TEST(crossing_connections),
        C4TEST(lost_after_small_send),
        C4TEST(dead_peer_is_named),
        C4TEST(unread_channel_is_paused),
        C4TEST(retained_copies_are_bounded),
        C4TEST(garbage_is_refused_once_logged),
        C4TEST_DEADLINE(half_open_connections, 40),
        C4TEST(wrong_key),
        C4TEST(bad_frames),
        C4TEST(orderly_close),
        C4TEST(port_range),
        C4TEST(file_limit),
        C4TEST(no_interface),
        C4TEST(ipv6),
        C4TEST(foreign_loopback),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
