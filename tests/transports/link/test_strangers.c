/* Thousands of connections that never authenticate, and recordings of those that did, while a job runs
 * over tcp. */
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/transports/tcp/pair.h"
#include "transports/link/socket.h"

static int connect_to(const c4_module *module)
{
    int fd = c4_tlink_socket_connect(&module->hub.contact.at[0], &module->hub.contact);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* ---- crowds ---- */

typedef enum behaviour { SILENT, GARBAGE, HALF_A_HELLO, WHOLE_HELLO, LEAVES, NBEHAVIOURS } behaviour;

typedef struct stranger {
    int fd;
    behaviour how;
    bool spoke;
} stranger;

/* The bytes with which a peer begins: an eavesdropper has them. */
static void make_hello(unsigned char hello[C4_HANDSHAKE_MESSAGE_BYTES], const c4_module *client,
                       const c4_module *server)
{
    const c4_handshake_identity identity = {.key = client->hub.host.key,
                                            .job_id = client->hub.host.job_id,
                                            .rank = (uint32_t)client->hub.host.rank,
                                            .peer_rank = (uint32_t)server->hub.host.rank,
                                            .nranks = (uint32_t)client->hub.host.nranks,
                                            .epoch = client->hub.host.epoch,
                                            .role = C4_HANDSHAKE_DATA,
                                            .transport = "tcp"};
    const unsigned char *bytes;
    c4_handshake h;
    C4TEST_OK_FATAL(c4_handshake_init(&h, &identity, true));
    C4TEST_INT_FATAL(c4_handshake_output(&h, &bytes), C4_HANDSHAKE_MESSAGE_BYTES);
    memcpy(hello, bytes, C4_HANDSHAKE_MESSAGE_BYTES);
}

static void stranger_step(stranger *s, const unsigned char *hello)
{
    static const unsigned char garbage[300] = {0xee};
    const struct {
        const unsigned char *bytes;
        size_t n;
    } says[NBEHAVIOURS] = {
        {NULL, 0}, {garbage, sizeof garbage}, {hello, 50}, {hello, C4_HANDSHAKE_MESSAGE_BYTES}, {NULL, 0}};
    if (s->fd < 0 || s->spoke)
        return;
    if (s->how == LEAVES) {
        close(s->fd);
        s->fd = -1;
    } else if (says[s->how].n > 0) {
        s->spoke = send(s->fd, says[s->how].bytes, says[s->how].n, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
    }
}

static unsigned count_fds(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Both sides send and receive; the places for strangers are counted all the while. */
static void watched_exchange(pair *p, c4_channel *out[2], c4_channel *in[2], unsigned char *memory)
{
    c4_xfer sends[2], receives[2];
    unsigned most = 0;
    for (int rank = 0; rank < 2; rank++) {
        sends[rank] = (c4_xfer){.pointer = memory, .bytes = 8};
        receives[rank] = (c4_xfer){.pointer = memory + 16, .bytes = 8};
        CU_ASSERT(c4_tcp_ops.recv(in[rank], &receives[rank]) >= 0);
        CU_ASSERT(c4_tcp_ops.send(out[rank], &sends[rank]) >= 0);
    }
    while (receives[0].state == C4_IN_PROGRESS || receives[1].state == C4_IN_PROGRESS ||
           sends[0].state == C4_IN_PROGRESS || sends[1].state == C4_IN_PROGRESS) {
        pair_progress(p);
        for (int rank = 0; rank < 2; rank++)
            most = p->modules[rank]->hub.nstrangers > most ? p->modules[rank]->hub.nstrangers : most;
    }
    CU_ASSERT(most <= C4_TLINK_MAX_STRANGERS);
    for (int rank = 0; rank < 2; rank++)
        C4TEST_INT(receives[rank].state, C4_OK);
}

/* A crowd at both ranks' doors, all of one kind; meanwhile the peers lose their connections and make them again. They
 * get through every time, soon; places, descriptors and memory stay within bounds. */
static void crowd(behaviour how, unsigned nstrangers)
{
    pair p;
    c4_channel *out[2], *in[2];
    unsigned char memory[64] = {0}, hellos[2][C4_HANDSHAKE_MESSAGE_BYTES];
    stranger *strangers = calloc(nstrangers, sizeof *strangers);
    uint64_t slowest = 0;
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    open_both(&p, out, in);
    exchange(&p, out, in, 8, memory);
    for (int rank = 0; rank < 2; rank++)
        make_hello(hellos[rank], p.modules[1 - rank], p.modules[rank]);
    unsigned fds = count_fds();
    size_t heap = mallinfo2().uordblks, most = 0;
    for (unsigned i = 0; i < nstrangers; i++)
        strangers[i] = (stranger){connect_to(p.modules[i % 2]), how, false};
    for (int round = 0; round < 20; round++) {
        for (unsigned i = 0; i < nstrangers; i++)
            stranger_step(&strangers[i], hellos[i % 2]);
        for (int rank = 0; rank < 2; rank++)
            C4TEST_OK(c4_tcp_ops.inject(p.modules[rank], "close_socket"));
        uint64_t start = c4_now_ns();
        watched_exchange(&p, out, in, memory);
        uint64_t took = c4_now_ns() - start;
        slowest = took > slowest ? took : slowest;
        size_t now = mallinfo2().uordblks;
        most = now > most ? now : most;
        for (int rank = 0; rank < 2; rank++)
            C4TEST_INT(p.errors[rank], C4_OK);
    }
    printf("%u strangers: slowest reconnection and exchange %.0f ms, heap at most %zu KiB more\n", nstrangers,
           (double)slowest * 1e-6, (most - heap) >> 10);
    CU_ASSERT(slowest < UINT64_C(8000000000));
    CU_ASSERT(most < heap + (512 << 10));
    CU_ASSERT(out[0]->link->generation >= 20);
    unsigned left = 0;
    for (unsigned i = 0; i < nstrangers; i++)
        left += strangers[i].fd >= 0;
    CU_ASSERT(count_fds() <= fds + left + 2 * C4_TLINK_MAX_STRANGERS + 2);
    CU_ASSERT(p.hosts[0].warnings_logged <= 3); /* one in ten seconds */
    for (unsigned i = 0; i < nstrangers; i++)
        if (strangers[i].fd >= 0)
            close(strangers[i].fd);
    free(strangers);
    pair_close(&p);
}

static unsigned crowd_size(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= 4096 ? 3000 : (unsigned)limit.rlim_cur / 2;
}

static void test_silent(void)
{
    crowd(SILENT, crowd_size());
}

static void test_garbage(void)
{
    crowd(GARBAGE, crowd_size());
}

static void test_half_a_hello(void)
{
    crowd(HALF_A_HELLO, crowd_size());
}

/* Those who know what a peer says first are taken for one until a few round trips have gone by: they hold places. */
static void test_whole_hello(void)
{
    crowd(WHOLE_HELLO, 400);
}

static void test_leaving(void)
{
    crowd(LEAVES, crowd_size());
}

/* ---- recordings ---- */

typedef struct tape {
    unsigned char bytes[2][4096]; /* what the client said; what the server said */
    size_t used[2];
} tape;

/* Rank 0 connects to rank 1 through a listener of ours, which keeps what passes. */
static void record(tape *t)
{
    pair p;
    c4_rng rng = {.state = 1};
    unsigned char memory[16] = {0};
    int listen_fd = -1, fds[2] = {-1, -1};
    memset(t, 0, sizeof *t);
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    c4_tlink_address proxy = p.modules[1]->hub.contact.at[0];
    C4TEST_OK_FATAL(c4_tlink_socket_listen("tcp", &proxy, (c4_port_range){0, 0}, &rng, &listen_fd));
    p.modules[0]->hub.peers[1].contact.at[0] = proxy;
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    c4_xfer send_xfer = {.pointer = memory, .bytes = 8}, receive = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(out, &send_xfer) >= 0);
    while (receive.state == C4_IN_PROGRESS) {
        pair_progress(&p);
        if (fds[0] < 0 && (fds[0] = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
            fds[1] = connect_to(p.modules[1]);
        for (int i = 0; i < 2 && fds[1] >= 0; i++) {
            unsigned char *to = t->bytes[i] + t->used[i];
            ssize_t got = recv(fds[i], to, sizeof t->bytes[i] - t->used[i], MSG_DONTWAIT);
            if (got > 0)
                CU_ASSERT_FATAL(send(fds[1 - i], to, (size_t)got, MSG_NOSIGNAL) == got);
            t->used[i] += got > 0 ? (size_t)got : 0;
        }
    }
    CU_ASSERT_FATAL(t->used[0] > 2 * C4_HANDSHAKE_MESSAGE_BYTES);
    CU_ASSERT_FATAL(t->used[1] >= 2 * C4_HANDSHAKE_MESSAGE_BYTES);
    pair_close(&p);
    close(listen_fd);
    close(fds[0]);
    close(fds[1]);
}

/* Sends as much as the other side takes, until it closes. */
static void play(pair *p, int fd, const unsigned char *bytes, size_t n)
{
    unsigned char sink[512];
    size_t sent = 0;
    bool open = true;
    while (open) {
        size_t part = n - sent < C4_HANDSHAKE_MESSAGE_BYTES ? n - sent : C4_HANDSHAKE_MESSAGE_BYTES;
        ssize_t now = part > 0 ? send(fd, bytes + sent, part, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += now > 0 ? (size_t)now : 0;
        for (int i = 0; i < 50; i++) /* one message at a time, as an honest side does */
            pair_progress(p);
        ssize_t got = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        open = got > 0 || (got < 0 && (errno == EAGAIN || errno == ENOTCONN));
    }
}

/* What a client of the same job said before opens no door. */
static void test_replay_to_server(void)
{
    pair p;
    tape t;
    unsigned char memory[8];
    record(&t);
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    c4_channel *in = pair_channel(&p, 1, 1, 0, 1);
    c4_xfer receive = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    int fd = connect_to(p.modules[1]);
    play(&p, fd, t.bytes[0], t.used[0]);
    C4TEST_CONTAINS(p.hosts[1].last_warning, "refused a connection from 127.0.0.1:");
    C4TEST_CONTAINS(p.hosts[1].last_warning, "different keys");
    C4TEST_INT(in->link->generation, 0);
    C4TEST_INT(receive.state, C4_IN_PROGRESS);
    close(fd);
    c4_tcp_ops.cancel(in, &receive);
    pair_close(&p);
}

/* Rank 0 connects to us in place of rank 1, with something to send. */
static int lure(pair *p, int *listen_fd, c4_xfer *send_xfer)
{
    c4_rng rng = {.state = 1};
    int fd = -1;
    pair_open(p, 2, "C4_TCP_SOCKETS=1 C4_TCP_RETRY_MS=100");
    c4_tlink_address trap = p->modules[1]->hub.contact.at[0];
    C4TEST_OK_FATAL(c4_tlink_socket_listen("tcp", &trap, (c4_port_range){0, 0}, &rng, listen_fd));
    p->modules[0]->hub.peers[1].contact.at[0] = trap;
    c4_channel *out = pair_channel(p, 0, 1, 0, 1);
    CU_ASSERT(c4_tcp_ops.send(out, send_xfer) == C4_IN_PROGRESS);
    while ((fd = accept4(*listen_fd, NULL, NULL, SOCK_NONBLOCK)) < 0)
        pair_progress(p);
    return fd;
}

/* What a server of the same job said before is not believed by a client, which sends no byte of payload. */
static void test_replay_to_client(void)
{
    pair p;
    tape t;
    unsigned char memory[8] = {0};
    int listen_fd = -1;
    c4_xfer send_xfer = {.pointer = memory, .bytes = 8};
    record(&t);
    int fd = lure(&p, &listen_fd, &send_xfer);
    play(&p, fd, t.bytes[1], t.used[1]);
    C4TEST_INT(p.errors[0], C4_ERR_AUTH);
    C4TEST_INT(send_xfer.state, C4_ERR_AUTH);
    C4TEST_CONTAINS(c4_fail_text(), "different keys");
    close(fd);
    close(listen_fd);
    pair_close(&p);
}

/* Rank 0's own words come back to it: to its client from ourselves, and to its own listener. */
static void test_reflection(void)
{
    pair p;
    unsigned char memory[16] = {0}, hello[C4_HANDSHAKE_MESSAGE_BYTES];
    int listen_fd = -1;
    size_t used = 0;
    c4_xfer send_xfer = {.pointer = memory, .bytes = 8}, receive = {.pointer = memory + 8, .bytes = 8};
    int fd = lure(&p, &listen_fd, &send_xfer);
    while (used < sizeof hello) {
        ssize_t got = recv(fd, hello + used, sizeof hello - used, MSG_DONTWAIT);
        used += got > 0 ? (size_t)got : 0;
        pair_progress(&p);
    }
    c4_channel *in = pair_channel(&p, 0, 2, 1, 0);
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    int own = connect_to(p.modules[0]);
    play(&p, own, hello, sizeof hello);
    C4TEST_CONTAINS(p.hosts[0].last_warning, "the connection was meant for another rank");
    C4TEST_INT(p.errors[0], C4_OK);
    play(&p, fd, hello, sizeof hello);
    C4TEST_INT(p.errors[0], C4_ERR_PROTOCOL);
    C4TEST_CONTAINS(c4_fail_text(), "handshake message out of order");
    close(own);
    close(fd);
    close(listen_fd);
    pair_close(&p);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST_DEADLINE(silent, 120),
        C4TEST_DEADLINE(garbage, 120),
        C4TEST_DEADLINE(half_a_hello, 120),
        C4TEST_DEADLINE(whole_hello, 120),
        C4TEST_DEADLINE(leaving, 120),
        C4TEST(replay_to_server),
        C4TEST(replay_to_client),
        C4TEST(reflection),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
