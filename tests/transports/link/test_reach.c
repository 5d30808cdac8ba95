/* How a link gets to a peer, under tcp: several addresses, some of which lead nowhere or to somebody else; a peer that is busy; a peer
 * that cannot be reached but can reach us. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/transports/tcp/pair.h"
#include "transports/link/attempt.h"
#include "transports/link/socket.h"

/* A socket on loopback that listens and never accepts: the system lets others in. */
static int black_hole(c4_tlink_address *address)
{
    c4_rng rng = {.state = 1};
    int fd = -1;
    *address = (c4_tlink_address){.family = 4, .loopback = true, .ip = {127, 0, 0, 1}};
    C4TEST_OK_FATAL(c4_tlink_socket_listen("tcp", address, (c4_port_range){0, 0}, &rng, &fd));
    return fd;
}

/* Rank `from` believes that rank `to` may also be at `other`, and tries that first. */
static void put_before(pair *p, int from, int to, const c4_tlink_address *other)
{
    c4_tlink_contact *contact = &p->modules[from]->hub.peers[to].contact;
    contact->at[contact->count++] = contact->at[0];
    contact->at[0] = *other;
}

static void carry(pair *p, c4_channel *out, c4_channel *in)
{
    unsigned char sent[8] = "payload", got[8] = "";
    c4_xfer send = {.pointer = sent, .bytes = 8}, receive = {.pointer = got, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) >= 0);
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    pair_wait(p, &receive);
    pair_wait(p, &send);
    C4TEST_INT(receive.state, C4_OK);
    CU_ASSERT_EQUAL(memcmp(sent, got, sizeof got), 0);
}

/* The first address refuses: the second is taken, the log says so, and from then on it comes first. */
static void test_second_address(void)
{
    pair p;
    c4_tlink_address nobody;
    char text[C4_TLINK_ADDRESS_TEXT], line[256];
    close(black_hole(&nobody));
    pair_open(&p, 2, "C4_TCP_SOCKETS=2");
    put_before(&p, 0, 1, &nobody);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    carry(&p, out, in);
    const c4_tlink_peer *peer = &p.modules[0]->hub.peers[1];
    C4TEST_INT(peer->best, 1);
    C4TEST_INT(peer->failures[0], ECONNREFUSED);
    snprintf(line, sizeof line, "tcp: rank 1 is reached at %s (address 2 of 2: ",
             c4_tlink_address_text(&p.modules[1]->hub.contact.at[0], text));
    C4TEST_CONTAINS(p.hosts[0].last_info, line);
    snprintf(line, sizeof line, "%s (Connection refused)", c4_tlink_address_text(&nobody, text));
    C4TEST_CONTAINS(p.hosts[0].last_info, line);
    /* Lost and made again: by the same way, with one attempt. */
    int fd = black_hole(&nobody);
    p.modules[0]->hub.peers[1].contact.at[0] = nobody;
    p.hosts[0].last_info[0] = '\0';
    for (int rank = 0; rank < 2; rank++)
        C4TEST_OK(c4_tcp_ops.inject(p.modules[rank], "close_socket"));
    carry(&p, out, in);
    CU_ASSERT(accept4(fd, NULL, NULL, SOCK_NONBLOCK) < 0 && errno == EAGAIN);
    CU_ASSERT_PTR_NULL(strstr(p.hosts[0].last_info, "is reached"));
    close(fd);
    C4TEST_INT(p.errors[0], C4_OK);
    pair_close(&p);
}

/* The first address swallows what is sent there: the second is tried beside it, soon. */
static void test_silent_address(void)
{
    pair p;
    c4_tlink_address nobody;
    int fd = black_hole(&nobody);
    pair_open(&p, 2, "");
    put_before(&p, 0, 1, &nobody);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    uint64_t start = c4_now_ns();
    carry(&p, out, in);
    CU_ASSERT(c4_now_ns() - start >= C4_TLINK_NEXT_ADDRESS_NS);
    C4TEST_INT(p.modules[0]->hub.peers[1].best, 1);
    C4TEST_INT(out->link->nattempts, 0);
    CU_ASSERT_PTR_NULL(p.modules[0]->hub.attempts);
    close(fd);
    pair_close(&p);
}

/* At the first address listens another rank: it refuses, and that is no error while the peer is elsewhere. */
static void test_address_of_another(void)
{
    pair p;
    pair_open(&p, 3, "");
    put_before(&p, 0, 1, &p.modules[2]->hub.contact.at[0]);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    c4_channel *idle = pair_channel(&p, 2, 9, 0, 2); /* a waiting rank looks for connections */
    unsigned char memory[8];
    c4_xfer receive = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(idle, &receive) == C4_IN_PROGRESS);
    carry(&p, out, in);
    C4TEST_INT(p.errors[0], C4_OK);
    C4TEST_INT(p.modules[0]->hub.peers[1].best, 1);
    C4TEST_CONTAINS(p.hosts[0].last_info, "(is somebody else)");
    c4_tcp_ops.cancel(idle, &receive);
    pair_close(&p);
}

/* All addresses lead to somebody else: that is an error, and it says what is wrong. */
static void test_all_of_another(void)
{
    pair p;
    unsigned char memory[16];
    pair_open(&p, 3, "");
    p.modules[0]->hub.peers[1].contact.at[0] = p.modules[2]->hub.contact.at[0];
    put_before(&p, 0, 1, &p.modules[2]->hub.contact.at[0]);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *idle = pair_channel(&p, 2, 9, 0, 2);
    c4_xfer receive = {.pointer = memory, .bytes = 8}, send = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(idle, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    while (p.errors[0] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[0], C4_ERR_AUTH);
    C4TEST_INT(p.named[0], 1);
    C4TEST_CONTAINS(c4_fail_text(), "the connection was meant for another rank");
    c4_tcp_ops.cancel(idle, &receive);
    pair_close(&p);
}

/* No address answers: the error names each of them with its reason. */
static void test_no_address(void)
{
    pair p;
    c4_tlink_address nobody[2];
    char text[C4_TLINK_ADDRESS_TEXT], line[128];
    unsigned char memory[8];
    for (int i = 0; i < 2; i++)
        close(black_hole(&nobody[i]));
    pair_open(&p, 2, "C4_TCP_RETRY_MS=100");
    p.modules[0]->hub.peers[1].contact.at[0] = nobody[0];
    put_before(&p, 0, 1, &nobody[1]);
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1);
    c4_xfer send = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    while (p.errors[0] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[0], C4_ERR_LINK);
    C4TEST_INT(p.named[0], 1);
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "%s (Connection refused)", c4_tlink_address_text(&nobody[i], text));
        C4TEST_CONTAINS(c4_fail_text(), line);
    }
    pair_close(&p);
}

/* A machine with two networks: both ranks have two addresses, and a broken one costs nothing. */
static void test_two_interfaces(void)
{
    pair p;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        C4TEST_SKIP("no network namespaces here: sysctl kernel.unprivileged_userns_clone=1, or run as root");
    if (system("ip link set lo up && ip link add one type veth peer name two && ip addr add 10.77.0.1/24 dev one && "
               "ip addr add 10.78.0.1/24 dev two && ip link set one up && ip link set two up") != 0)
        C4TEST_SKIP("cannot make interfaces: apt-get install iproute2");
    pair_open(&p, 2, "C4_SOCKET_FAMILY=ipv4 C4_SOCKET_IFNAME=two,one");
    C4TEST_INT(p.modules[1]->hub.contact.count, 2);
    C4TEST_INT(p.modules[0]->hub.peers[1].contact.count, 2);
    CU_ASSERT(p.modules[1]->hub.contact.at[0].ip[1] != p.modules[1]->hub.contact.at[1].ip[1]);
    c4_channel *out[2], *in[2];
    open_both(&p, out, in);
    carry(&p, out[0], in[1]);
    C4TEST_INT(p.modules[0]->hub.peers[1].best, 0);
    C4TEST_CONTAINS(p.hosts[0].last_info, "(address 1 of 2: ");
    close(p.modules[1]->hub.listen_fds[0]); /* as when a firewall closes this network */
    p.modules[1]->hub.listen_fds[0] = -1;
    C4TEST_OK(c4_tcp_ops.inject(p.modules[0], "close_socket"));
    carry(&p, out[0], in[1]);
    C4TEST_INT(p.modules[0]->hub.peers[1].best, 1);
    C4TEST_CONTAINS(p.hosts[0].last_info, "(address 2 of 2: ");
    pair_close(&p);
}

/* The peer does nothing but compute for a long time: its system accepts, it does not, and that is no fault. */
static void test_busy_peer(void)
{
    pair p;
    unsigned char memory[16];
    int peer;
    pair_open(&p, 2, "C4_TCP_RETRY_MS=100");
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    c4_xfer send = {.pointer = memory, .bytes = 8}, receive = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    while (p.modules[0]->hub.attempts == NULL || p.modules[0]->hub.attempts->stage != C4_TLINK_HANDSHAKING)
        C4TEST_INT_FATAL(c4_tcp_ops.progress(p.modules[0], &peer) < 0, 0);
    for (int hour = 0; hour < 3; hour++) {
        p.modules[0]->hub.attempts->began_ns -= UINT64_C(3600000000000);
        out->link->down_since_ns -= UINT64_C(3600000000000);
        for (uint64_t end = c4_now_ns() + 50000000; c4_now_ns() < end;)
            C4TEST_INT_FATAL(c4_tcp_ops.progress(p.modules[0], &peer) < 0, 0);
    }
    C4TEST_CONTAINS(p.hosts[0].last_info, "the host of rank 1 has accepted a connection at 127.0.0.1:");
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    pair_wait(&p, &receive);
    C4TEST_INT(receive.state, C4_OK);
    C4TEST_INT(out->link->generation, 1);
    C4TEST_INT(out->link->last_errno,
               0); /* by the connection that has waited: it was not too old when it was answered */
    pair_close(&p);
}

/* Rank 0 has greeted rank 1, which has not looked yet. */
static c4_tlink_attempt *greet(pair *p)
{
    int peer;
    c4_module **modules = p->modules;
    while (modules[0]->hub.attempts == NULL || modules[0]->hub.attempts->stage != C4_TLINK_GREETING) {
        c4_tcp_ops.progress(modules[1], &peer);
        c4_tcp_ops.progress(modules[0], &peer);
    }
    return modules[0]->hub.attempts;
}

/* The peer, which is at both addresses, lets us in and then takes its time to answer the greeting: no second connection,
 * which would go on with a byte that is already on its way by the first. */
static void test_late_welcome(void)
{
    pair p;
    static unsigned char memory[3 << 20];
    c4_channel *out[2], *in[2];
    c4_xfer send = {.pointer = memory, .bytes = 8};
    int peer;
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    put_before(&p, 0, 1, &p.modules[1]->hub.contact.at[0]);
    open_both(&p, out, in);
    c4_channel *first = pair_channel(&p, 0, 2, 0, 1), *last = pair_channel(&p, 1, 2, 0, 1);
    CU_ASSERT(c4_tcp_ops.send(first, &send) >= 0);
    greet(&p);
    for (uint64_t end = c4_now_ns() + 2 * (uint64_t)C4_TLINK_NEXT_ADDRESS_NS; c4_now_ns() < end;)
        c4_tcp_ops.progress(p.modules[0], &peer);
    C4TEST_INT(out[0]->link->nattempts, 1);
    c4_xfer receive = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(last, &receive) >= 0);
    for (int i = 0; i < 50; i++)
        exchange(&p, out, in, 1 << 20, memory);
    pair_wait(&p, &receive);
    C4TEST_INT(out[0]->link->generation, 1);
    C4TEST_INT(p.errors[0], C4_OK);
    C4TEST_INT(p.errors[1], C4_OK);
    pair_close(&p);
}

/* A greeting that was overtaken: the link has been up and is down again. Its count of received bytes is an old one. */
static void test_stale_greeting(void)
{
    pair p;
    unsigned char memory[8];
    c4_xfer send = {.pointer = memory, .bytes = 8};
    int peer;
    pair_open(&p, 2, "C4_TCP_SOCKETS=1");
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    c4_channel *first = pair_channel(&p, 0, 9, 0, 1);
    CU_ASSERT(c4_tcp_ops.send(first, &send) >= 0);
    c4_tlink_attempt *attempt = greet(&p);
    in->link->generation = out->link->generation = 1; /* meanwhile, by another connection */
    c4_tlink_attempt_drop(attempt);
    out->link->retry_at_ns = C4_TLINK_NEVER_NS;
    while (p.modules[1]->hub.nstrangers > 0)
        c4_tcp_ops.progress(p.modules[1], &peer);
    C4TEST_INT(in->link->state, C4_TLINK_DOWN);
    C4TEST_INT(in->link->generation, 1);
    out->link->retry_at_ns = c4_now_ns();
    carry(&p, out, in);
    C4TEST_INT(out->link->generation, 2);
    pair_close(&p);
}

/* Rank 0 has something to send and cannot reach rank 1 (a firewall, address translation); rank 1 can reach rank 0. */
static void test_the_other_way(void)
{
    pair p;
    c4_tlink_address nobody;
    close(black_hole(&nobody));
    pair_open(&p, 2, "");
    p.modules[0]->hub.peers[1].contact.at[0] = nobody;
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    uint64_t start = c4_now_ns();
    carry(&p, out, in);
    CU_ASSERT(c4_now_ns() - start >= C4_TLINK_COURTESY_NS);
    C4TEST_INT(p.errors[0], C4_OK);
    C4TEST_INT(p.errors[1], C4_OK);
    pair_close(&p);
}

/* The same when rank 0's connection ends in something that lets it in and says nothing. */
static void test_the_other_way_from_a_black_hole(void)
{
    pair p;
    c4_tlink_address nobody;
    int fd = black_hole(&nobody);
    pair_open(&p, 2, "");
    p.modules[0]->hub.peers[1].contact.at[0] = nobody;
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    carry(&p, out, in);
    C4TEST_INT(out->link->nattempts, 0);
    close(fd);
    pair_close(&p);
}

/* Who only waits never fails because it cannot connect: it tries less and less often, and sleeps until then. */
static void test_courtesy_fails_quietly(void)
{
    pair p;
    c4_tlink_address nobody;
    unsigned char memory[8];
    int peer, fd;
    close(black_hole(&nobody));
    pair_open(&p, 2, "C4_TCP_RETRY_MS=1");
    p.modules[1]->hub.peers[0].contact.at[0] = nobody;
    c4_channel *in = pair_channel(&p, 1, 1, 0, 1);
    c4_tlink *link = in->link;
    c4_xfer receive = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    uint64_t pause = 0;
    for (int i = 0; i < 10; i++) {
        while (link->courtesy_at_ns == 0)
            c4_tcp_ops.progress(p.modules[1], &peer);
        C4TEST_INT(c4_tcp_ops.arm(p.modules[1], &fd), C4_IN_PROGRESS);
        c4_tcp_ops.disarm(p.modules[1]);
        CU_ASSERT(link->courtesy_pause_ns >= pause && link->courtesy_pause_ns <= 2 * C4_TLINK_LONGEST_COURTESY_NS);
        CU_ASSERT(link->courtesy_at_ns > c4_now_ns());
        pause = link->courtesy_pause_ns;
        link->courtesy_at_ns = 1; /* time passes */
        while (link->courtesy_at_ns == 1)
            C4TEST_INT_FATAL(c4_tcp_ops.progress(p.modules[1], &peer) < 0, 0);
    }
    CU_ASSERT(pause > 32 * UINT64_C(1000000000));
    C4TEST_INT(p.modules[1]->hub.peers[0].failures[0], ECONNREFUSED); /* it did try */
    C4TEST_INT(receive.state, C4_IN_PROGRESS);
    c4_tcp_ops.cancel(in, &receive);
    pair_close(&p);
}

/* A job's port that is crowded closes connections before the peer has seen them: that is not held against the peer, but when
 * nobody listens there any more, it is. */
static void test_turned_away(void)
{
    static const c4_transport_port crowded = {0};
    pair p;
    c4_tlink_address there;
    unsigned char memory[8];
    int fd = black_hole(&there);
    pair_open(&p, 2, "C4_TCP_RETRY_MS=100");
    p.modules[0]->hub.peers[1].contact.at[0] = there;
    p.modules[0]->hub.port = &crowded; /* nobody comes to this rank: nothing of it is called */
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1);
    c4_xfer send = {.pointer = memory, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    for (uint64_t end = c4_now_ns() + 600000000; c4_now_ns() < end && p.errors[0] == C4_OK;) {
        int caller = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (caller >= 0)
            close(caller);
        pair_progress(&p);
    }
    C4TEST_INT_FATAL(p.errors[0], C4_OK);
    CU_ASSERT(out->link->tries > 3);
    close(fd);
    while (p.errors[0] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[0], C4_ERR_LINK);
    C4TEST_CONTAINS(c4_fail_text(), "Connection refused");
    p.modules[0]->hub.port = NULL;
    pair_close(&p);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(second_address),
        C4TEST(silent_address),
        C4TEST(address_of_another),
        C4TEST(all_of_another),
        C4TEST(no_address),
        C4TEST(two_interfaces),
        C4TEST(busy_peer),
        C4TEST(late_welcome),
        C4TEST(stale_greeting),
        C4TEST(the_other_way),
        C4TEST(the_other_way_from_a_black_hole),
        C4TEST(courtesy_fails_quietly),
        C4TEST(turned_away),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
