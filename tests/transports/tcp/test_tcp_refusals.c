/* What tcp refuses: strangers, peers that send rubbish or leave early, and what the system does not give. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/transports/tcp/pair.h"
#include "transports/link/socket.h"

/* ---- strangers ---- */

static int stranger_connect(const c4_module *module)
{
    int fd = c4_tlink_socket_connect(&module->hub.contact.at[0], &module->hub.contact);
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
    while ((got = recv(fd, sink, sizeof sink, MSG_DONTWAIT)) > 0 || (got < 0 && errno == EAGAIN))
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
        while (send(fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0 && (errno == EAGAIN || errno == ENOTCONN))
            pair_progress(&p);
        wait_closed(&p, fd, in[0]);
        close(fd);
    }
    C4TEST_INT(p.hosts[0].warnings_logged, 1);
    C4TEST_CONTAINS(p.hosts[0].last_warning, "refused a connection from 127.0.0.1:");
    C4TEST_CONTAINS(p.hosts[0].last_warning, "these are not the bytes of a C4 handshake (0 others");
    p.modules[0]->hub.refused_logged_ns -= C4_TLINK_REFUSED_LOG_NS; /* time passes */
    int fd = stranger_connect(p.modules[0]);
    while (send(fd, garbage, sizeof garbage, MSG_NOSIGNAL) < 0 && (errno == EAGAIN || errno == ENOTCONN))
        pair_progress(&p);
    wait_closed(&p, fd, in[0]);
    close(fd);
    C4TEST_INT(p.hosts[0].warnings_logged, 2);
    C4TEST_CONTAINS(p.hosts[0].last_warning, "(4 others since the last such line");
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
    CU_ASSERT(p.modules[1]->hub.nstrangers <= C4_TLINK_MAX_STRANGERS);
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
    p.modules[2]->hub.host.key = other_key;
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
    CU_ASSERT(send(out[1]->link->stream.fd, wire, C4_TCP_HEADER_BYTES, 0) == C4_TCP_HEADER_BYTES);
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
    unsigned port = first->hub.contact.at[0].port;
    c4_tcp_ops.close(first);
    snprintf(overrides, sizeof overrides, "C4_PORT_RANGE=%u-%u", port, port);
    C4TEST_OK_FATAL(open_with(overrides, &first));
    C4TEST_INT(first->hub.contact.at[0].port, port);
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
    unsigned char wire[C4_TLINK_CONTACT_BYTES];
    pair_open(&p, 2, "");
    c4_tlink_contact contact = p.modules[1]->hub.contact;
    contact.host++;
    size_t bytes = c4_tlink_contact_pack(&contact, wire);
    C4TEST_INT(c4_tcp_ops.add_peer(p.modules[0], 1, wire, bytes, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "set C4_SOCKET_IFNAME");
    pair_close(&p);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
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
