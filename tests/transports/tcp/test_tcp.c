/* What is particular to tcp: system calls, lost sockets, retained frames, pausing. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/transports/tcp/pair.h"
#include "transports/tcp/deliver.h"

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
    c4_tcp_link *link = (c4_tcp_link *)in->link;
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
    c4_tcp_link link = {.base.hub = &module.hub};
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
            CU_ASSERT(c4_tcp_ops.send(out[rank], &first[rank]) == C4_IN_PROGRESS); /* nothing is connected yet */
            p.modules[rank]->hub.setup_period_tsc = 0; /* look for connections in every call */
        }
        while (out[0]->link->state != C4_TLINK_UP || out[1]->link->state != C4_TLINK_UP)
            for (int rank = 2; rank-- > 0;)
                CU_ASSERT(c4_tcp_ops.progress(p.modules[rank], &peer) >= 0);
        C4TEST_INT(out[0]->link->generation, 1);
        C4TEST_INT(out[1]->link->generation, 1);
        CU_ASSERT(local_port(out[0]->link->stream.fd) != p.modules[0]->hub.contact.at[0].port);
        C4TEST_INT(local_port(out[1]->link->stream.fd), p.modules[1]->hub.contact.at[0].port);
        pair_close(&p);
    }
}

/* A small send is complete once the kernel has it; the socket dies before the peer has read it. */
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
        c4_status sent = c4_tcp_ops.send(out[0], &send);
        if (sent == C4_IN_PROGRESS) { /* the connection is being made again, with a reader that helps */
            CU_ASSERT(c4_tcp_ops.recv(in[1], &receive) >= 0);
            pair_wait(&p, &send);
        }
        C4TEST_OK(send.state);
        memset(value, 0xff, sizeof value);
        C4TEST_OK(c4_tcp_ops.inject(p.modules[i % 2], "close_socket"));
        if (sent == C4_OK)
            CU_ASSERT(c4_tcp_ops.recv(in[1], &receive) >= 0);
        pair_wait(&p, &receive);
        CU_ASSERT(got[0] == i && got[1] == 1 && got[2] == 2);
    }
    pair_close(&p);
}

/* As a kill does: sockets end without a word, and nobody listens. Returns the module, for closing it at last. */
static c4_module *kill_rank(pair *p, int rank)
{
    c4_module *dead = p->modules[rank];
    C4TEST_OK(c4_tcp_ops.inject(dead, "close_socket"));
    close(dead->hub.listen_fds[0]);
    dead->hub.listen_fds[0] = -1;
    p->modules[rank] = NULL;
    return dead;
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
    c4_module *dead = kill_rank(&p, 1);
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

/* Closing waits for what peers have yet to receive, but for no dead ones, however many. */
static void test_close_does_not_wait_for_the_dead(void)
{
    static unsigned char memory[100000];
    pair p;
    c4_channel *out[3], *in[3];
    c4_xfer unsent[3];
    pair_open(&p, 3, "");
    for (int peer = 1; peer < 3; peer++) {
        out[peer] = pair_channel(&p, 0, 1, 0, peer);
        in[peer] = pair_channel(&p, peer, 1, 0, peer);
        c4_xfer send = {.pointer = memory, .bytes = 8}, receive = send;
        CU_ASSERT(c4_tcp_ops.recv(in[peer], &receive) >= 0);
        CU_ASSERT(c4_tcp_ops.send(out[peer], &send) >= 0);
        pair_wait(&p, &receive);
    }
    c4_module *dead[] = {kill_rank(&p, 1), kill_rank(&p, 2)};
    for (int peer = 1; peer < 3; peer++) {
        unsent[peer] = (c4_xfer){.pointer = memory, .bytes = sizeof memory};
        CU_ASSERT(c4_tcp_ops.send(out[peer], &unsent[peer]) >= 0);
    }
    uint64_t start_ns = c4_now_ns();
    pair_close(&p);
    double seconds = (double)(c4_now_ns() - start_ns) * 1e-9;
    fprintf(stderr, "closed in %.3f s\n", seconds);
    CU_ASSERT(seconds < 0.4 * c4test_seconds(1));
    for (int i = 0; i < 2; i++)
        c4_tcp_ops.close(dead[i]);
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
    CU_ASSERT(most > (1 << 20) && most < C4_TCHANNEL_DEPTH_BYTES + (4 << 20));
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
        size_t retained = ((c4_tcp_link *)out->link)->tx.retained_bytes;
        most = retained > most ? retained : most;
    }
    CU_ASSERT(most <= C4_TCP_RETAIN_BYTES + 65536 + 4096);
    pair_close(&p);
}

/* One who waits for nothing over TCP (but for a peer on its host, say) lets in who has something for it all the same. */
static void test_idle_side_accepts(void)
{
    static unsigned char memory[3000];
    pair p;
    pair_open(&p, 2, NULL);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1);
    c4_xfer send = {.pointer = memory, .bytes = sizeof memory};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    while (out->link->state != C4_TLINK_UP) /* the deadline of the case ends it */
        pair_progress(&p);
    pair_close(&p);
    pair_open(&p, 2, NULL);
    out = pair_channel(&p, 0, 1, 0, 1);
    send = (c4_xfer){.pointer = memory, .bytes = sizeof memory};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    for (int fd = -1, peer; out->link->state != C4_TLINK_UP;) { /* the same, when it sleeps between two looks */
        c4_tcp_ops.progress(p.modules[0], &peer);
        if (c4_tcp_ops.arm(p.modules[1], &fd) == C4_IN_PROGRESS)
            poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1);
        c4_tcp_ops.disarm(p.modules[1]);
        c4_tcp_ops.progress(p.modules[1], &peer);
    }
    pair_close(&p);
    pair_open(&p, 2, NULL);
    out = pair_channel(&p, 0, 1, 0, 1);
    send = (c4_xfer){.pointer = memory, .bytes = sizeof memory};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    for (int i = 0, peer; i < 4000 && out->link->state != C4_TLINK_UP;
         i++) { /* and when it is polled once in a while */
        c4_tcp_ops.progress(p.modules[0], &peer);
        c4_tcp_ops.progress(p.modules[1], &peer);
        poll(NULL, 0, 1);
    }
    C4TEST_INT(out->link->state, C4_TLINK_UP);
    pair_close(&p);
}

static void test_headers(void)
{
    const c4_tcp_header header = {.kind = C4_TCP_DATA,
                                  .flags = C4_TCP_WANT_ACK,
                                  .tag = 0xabcdef,
                                  .comm = 0x12345678,
                                  .ack = 0x1122334455667788,
                                  .frame = {1, 2, 3, 4, 5, 6, 7, 8, 9}};
    c4_tcp_header got;
    unsigned char wire[C4_TCP_HEADER_BYTES];
    c4_tcp_header_pack(&header, wire);
    CU_ASSERT_PTR_NULL(c4_tcp_header_unpack(wire, &got));
    CU_ASSERT(got.kind == header.kind && got.flags == header.flags && got.tag == header.tag && got.comm == header.comm);
    CU_ASSERT(got.ack == header.ack && memcmp(&got.frame, &header.frame, sizeof got.frame) == 0);
    wire[0] = 0;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "unknown frame kind");
    wire[0] = C4_TCP_DATA | 0x80;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "unknown frame flags");
    wire[0] = C4_TCP_ACK;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "control frame with payload");
    wire[0] = C4_TCP_DATA;
    wire[16 + 23] = 0xff;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "oversized frame");
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
        C4TEST(close_does_not_wait_for_the_dead),
        C4TEST(unread_channel_is_paused),
        C4TEST(retained_copies_are_bounded),
        C4TEST(idle_side_accepts),
        C4TEST(headers),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
