/* The job's port: who is let through to whom, strangers, and what becomes of those for whom there is no room. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/port.h"
#include "tests/c4test.h"

static const c4_net_address loopback = {.family = 4, .bytes = {127, 0, 0, 1}};

typedef struct test_port {
    c4_port *port;
    c4_net_address at;
    pthread_t thread;
    atomic_int stop;
} test_port;

/* As the control thread does it. */
static void *serve(void *argument)
{
    test_port *t = argument;
    while (!atomic_load(&t->stop)) {
        uint64_t next_ns = c4_port_serve(t->port), now_ns = c4_now_ns();
        struct pollfd watch = {.fd = c4_port_fd(t->port), .events = POLLIN};
        uint64_t wait_ms = next_ns > now_ns ? (next_ns - now_ns) / 1000000u + 1 : 0;
        poll(&watch, 1, wait_ms < 20 ? (int)wait_ms : 20);
    }
    return NULL;
}

static void start(test_port *t)
{
    *t = (test_port){.at = loopback};
    C4TEST_OK_FATAL(c4_port_create(0, 0, &t->port));
    C4TEST_OK_FATAL(c4_port_listen(t->port, &t->at, 0));
    C4TEST_INT_FATAL(pthread_create(&t->thread, NULL, serve, t), 0);
}

static void stop(test_port *t)
{
    atomic_store(&t->stop, 1);
    pthread_join(t->thread, NULL);
    c4_port_destroy(t->port);
}

static int open_inbox(const test_port *t, uint64_t job, c4_handshake_role role, const char *transport,
                      unsigned capacity)
{
    c4_handshake_hello who = {.job_id = job, .role = role};
    int fd = -1;
    strncpy(who.transport, transport, sizeof who.transport - 1);
    C4TEST_OK_FATAL(c4_port_open_inbox(t->port, &who, capacity, &fd));
    return fd;
}

static int dial(const test_port *t)
{
    struct sockaddr_storage name;
    socklen_t bytes = c4_net_address_to_sockaddr(&t->at, &name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    C4TEST_INT_FATAL(connect(fd, (struct sockaddr *)&name, bytes), 0);
    return fd;
}

static c4_handshake client(uint64_t job, c4_handshake_role role, const char *transport)
{
    c4_handshake made;
    c4_handshake_identity identity = {
        .job_id = job, .rank = 1, .peer_rank = 0, .nranks = 2, .role = role, .transport = transport};
    C4TEST_OK_FATAL(c4_handshake_init(&made, &identity, true));
    return made;
}

static int await(const test_port *t, int inbox)
{
    struct pollfd watch = {.fd = inbox, .events = POLLIN};
    C4TEST_INT_FATAL(poll(&watch, 1, 10000), 1);
    int fd = c4_port_take(t->port, inbox);
    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static void expect_end(int fd)
{
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    char byte;
    C4TEST_INT(poll(&watch, 1, 10000), 1);
    CU_ASSERT(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

/* Both sides of a handshake over a connection that has come through the port. */
static void shake(int near, int far, c4_handshake *mine, uint64_t job, c4_handshake_role role, const char *transport)
{
    c4_handshake theirs;
    c4_handshake_identity identity = {.job_id = job,
                                      .rank = 0,
                                      .peer_rank = C4_HANDSHAKE_ANY_RANK,
                                      .nranks = 2,
                                      .role = role,
                                      .transport = transport};
    c4_status here = C4_IN_PROGRESS, there = C4_IN_PROGRESS;
    C4TEST_OK_FATAL(c4_handshake_init(&theirs, &identity, false));
    while (here == C4_IN_PROGRESS || there == C4_IN_PROGRESS) {
        here = c4_handshake_step(mine, near);
        there = c4_handshake_step(&theirs, far);
    }
    C4TEST_OK(here);
    C4TEST_OK(there);
    C4TEST_INT(theirs.peer_rank, 1);
}

/* ---- cases ---- */

static void test_each_to_its_own(void)
{
    static const struct {
        uint64_t job;
        c4_handshake_role role;
        const char *transport;
    } kinds[] = {{7, C4_HANDSHAKE_CONTROL, "control"},
                 {7, C4_HANDSHAKE_DATA, "tcp"},
                 {8, C4_HANDSHAKE_DATA, "tcp"},
                 {8, C4_HANDSHAKE_DATA, "longname"}};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    test_port t;
    int inboxes[KINDS];
    start(&t);
    for (int i = 0; i < KINDS; i++)
        inboxes[i] = open_inbox(&t, kinds[i].job, kinds[i].role, kinds[i].transport, 4);
    for (int i = KINDS - 1; i >= 0; i--) {
        c4_handshake mine = client(kinds[i].job, kinds[i].role, kinds[i].transport);
        int near = dial(&t);
        C4TEST_INT(c4_handshake_step(&mine, near), C4_IN_PROGRESS);
        int far = await(&t, inboxes[i]);
        shake(near, far, &mine, kinds[i].job, kinds[i].role, kinds[i].transport);
        close(near);
        close(far);
        C4TEST_INT(c4_port_take(t.port, inboxes[i]), -1);
    }
    C4TEST_INT(c4_port_refused(t.port), 0);
    stop(&t);
}

static void test_hello_in_pieces(void)
{
    test_port t;
    const unsigned char *bytes;
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", 4);
    c4_handshake mine = client(7, C4_HANDSHAKE_DATA, "tcp");
    int near = dial(&t);
    size_t total = c4_handshake_output(&mine, &bytes);
    for (size_t i = 0; i < total; i++)
        C4TEST_INT(send(near, bytes + i, 1, MSG_NOSIGNAL), 1);
    c4_handshake_sent(&mine, total);
    int far = await(&t, inbox);
    shake(near, far, &mine, 7, C4_HANDSHAKE_DATA, "tcp");
    close(near);
    close(far);
    stop(&t);
}

static void test_strangers(void)
{
    test_port t;
    char garbage[300];
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", 4);
    memset(garbage, 'x', sizeof garbage);
    int loud = dial(&t), other = dial(&t), brief = dial(&t);
    CU_ASSERT(send(loud, garbage, sizeof garbage, MSG_NOSIGNAL) == sizeof garbage);
    CU_ASSERT(send(brief, garbage, 3, MSG_NOSIGNAL) == 3);
    close(brief);
    c4_handshake mine = client(9, C4_HANDSHAKE_DATA, "tcp");
    c4_handshake_step(&mine, other);
    expect_end(loud);
    expect_end(other);
    C4TEST_INT(c4_port_take(t.port, inbox), -1);
    stop(&t);
}

/* More half-open connections than places: one that speaks comes through, with at most the places' descriptors in use. */
static void test_crowd(void)
{
    enum { CROWD = 300 };
    test_port t;
    int fds[CROWD];
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", 4);
    for (int i = 0; i < CROWD; i++)
        fds[i] = dial(&t);
    c4_handshake mine = client(7, C4_HANDSHAKE_DATA, "tcp");
    int near = dial(&t);
    C4TEST_INT(c4_handshake_step(&mine, near), C4_IN_PROGRESS);
    int far = await(&t, inbox);
    shake(near, far, &mine, 7, C4_HANDSHAKE_DATA, "tcp");
    CU_ASSERT(c4_port_refused(t.port) >= CROWD - C4_PORT_PLACES);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    close(near);
    close(far);
    stop(&t);
}

static int knock_at(const test_port *t, c4_handshake *mine)
{
    int fd = dial(t);
    *mine = client(7, C4_HANDSHAKE_DATA, "tcp");
    c4_handshake_step(mine, fd); /* fails where the port is quicker to turn it away */
    return fd;
}

/* The port has closed one of `n` within `wait_ms`: which? -1: none. */
static int closed_one(const int *fds, int n, int wait_ms)
{
    struct pollfd watch[8];
    for (int i = 0; i < n; i++)
        watch[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    int found = poll(watch, (nfds_t)n, wait_ms) > 0 ? n - 1 : -1;
    while (found > 0 && !watch[found].revents)
        found--;
    return found;
}

static void take_out(int *fds, int n, int which)
{
    expect_end(fds[which]);
    memmove(&fds[which], &fds[which + 1], (size_t)(n - which - 1) * sizeof *fds);
}

/* Mostly the last one: a hello may overtake an earlier one on its way. */
static void expect_one_refused(int *fds, int n)
{
    int refused = closed_one(fds, n, 10000);
    CU_ASSERT_FATAL(refused >= 0);
    take_out(fds, n, refused);
}

static void test_full_inbox(void)
{
    enum { ROOM = 3 };
    test_port t;
    c4_handshake mine;
    int near[ROOM + 1];
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", ROOM);
    for (int i = 0; i <= ROOM; i++)
        near[i] = knock_at(&t, &mine);
    expect_one_refused(near, ROOM + 1);
    for (int i = 0; i < ROOM; i++)
        close(await(&t, inbox));
    for (int i = 0; i < ROOM; i++)
        close(near[i]);
    /* Nobody takes any more: what has waited is closed. */
    int late = knock_at(&t, &mine);
    struct pollfd watch = {.fd = inbox, .events = POLLIN};
    C4TEST_INT(poll(&watch, 1, 10000), 1);
    c4_port_close_inbox(t.port, inbox);
    expect_end(late);
    C4TEST_INT(c4_port_refused(t.port), 1);
    stop(&t);
}

/* Nobody takes, and those who fill the inbox have gone: their places are free at once. */
static void test_gone_from_inbox(void)
{
    enum { ROOM = 3 };
    test_port t;
    c4_handshake mine;
    int near[ROOM + 1];
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", ROOM);
    for (int i = 0; i <= ROOM; i++)
        near[i] = knock_at(&t, &mine);
    expect_one_refused(near, ROOM + 1); /* the port has seen the others by then */
    shutdown(near[0], SHUT_WR);
    shutdown(near[2], SHUT_WR);
    int late = knock_at(&t, &mine);
    expect_end(near[0]);
    expect_end(near[2]);
    int first = await(&t, inbox), second = await(&t, inbox);
    shake(late, second, &mine, 7, C4_HANDSHAKE_DATA, "tcp");
    C4TEST_INT(c4_port_refused(t.port), 1);
    close(first);
    close(second);
    close(late);
    close(near[1]);
    stop(&t);
}

/* Nobody takes, and those who fill the inbox stay: whoever has waited longest makes room in the end. */
static void test_kept_full(void)
{
    enum { ROOM = 3 };
    test_port t;
    c4_handshake mine;
    int near[ROOM + 1], late = -1;
    start(&t);
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", ROOM);
    uint64_t before_ns = c4_now_ns();
    for (int i = 0; i < ROOM; i++)
        near[i] = knock_at(&t, &mine);
    int victim = -1; /* mostly the first: see above */
    for (uint64_t end_ns = c4_now_ns() + 20000000000u; c4_now_ns() < end_ns && victim < 0;) {
        if (late >= 0)
            close(late);
        late = near[ROOM] = knock_at(&t, &mine);
        int closed = closed_one(near, ROOM + 1, 10000); /* this one is turned away, or the oldest */
        CU_ASSERT_FATAL(closed >= 0);
        victim = closed < ROOM ? closed : -1;
    }
    CU_ASSERT_FATAL(victim >= 0);
    CU_ASSERT(c4_now_ns() - before_ns >= 2000000000u); /* it has been given that time */
    take_out(near, ROOM, victim);
    for (int i = 1; i < ROOM; i++)
        close(await(&t, inbox));
    int far = await(&t, inbox);
    shake(late, far, &mine, 7, C4_HANDSHAKE_DATA, "tcp");
    close(far);
    close(late);
    for (int i = 0; i < ROOM - 1; i++)
        close(near[i]);
    stop(&t);
}

/* Without descriptors nobody comes in and the thread sleeps; afterwards all is well. */
static void test_out_of_descriptors(void)
{
    test_port t = {.at = loopback};
    struct rlimit old;
    C4TEST_OK_FATAL(c4_port_create(0, 0, &t.port));
    C4TEST_OK_FATAL(c4_port_listen(t.port, &t.at, 0));
    int inbox = open_inbox(&t, 7, C4_HANDSHAKE_DATA, "tcp", 4);
    int near = dial(&t);
    c4_handshake mine = client(7, C4_HANDSHAKE_DATA, "tcp");
    C4TEST_INT(c4_handshake_step(&mine, near), C4_IN_PROGRESS);
    struct pollfd watch = {.fd = c4_port_fd(t.port), .events = POLLIN};
    C4TEST_INT(poll(&watch, 1, 10000), 1);
    C4TEST_INT_FATAL(getrlimit(RLIMIT_NOFILE, &old), 0);
    C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, old.rlim_max}), 0);
    uint64_t again_ns = c4_port_serve(t.port);
    C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &old), 0);
    CU_ASSERT(again_ns < c4_now_ns() + 1000000000u);
    C4TEST_INT(poll(&watch, 1, 0), 0);
    C4TEST_INT(c4_port_take(t.port, inbox), -1);
    while (c4_now_ns() < again_ns)
        poll(NULL, 0, 1);
    c4_port_serve(t.port);
    int far = await(&t, inbox);
    shake(near, far, &mine, 7, C4_HANDSHAKE_DATA, "tcp");
    close(far);
    close(near);
    c4_port_destroy(t.port);
}

static void test_one_number_everywhere(void)
{
    c4_port *port = NULL;
    c4_net_address first = loopback, again = loopback, other = loopback, six = {.family = 6}, found;
    uint32_t scope;
    C4TEST_OK_FATAL(c4_port_create(0, 0, &port));
    C4TEST_OK(c4_port_listen(port, &first, 0));
    C4TEST_OK(c4_port_listen(port, &again, 0));
    C4TEST_INT(again.port, first.port);
    other.bytes[3] = 2;
    C4TEST_OK(c4_port_listen(port, &other, 0));
    C4TEST_INT(other.port, first.port);
    six.bytes[15] = 1;
    if (c4_port_listen(port, &six, 0) == C4_OK)
        C4TEST_INT(six.port, first.port);
    CU_ASSERT(c4_port_address(port, 0, &found, &scope));
    CU_ASSERT(c4_port_address(port, 1, &found, &scope));
    C4TEST_INT(found.bytes[3], 2);
    CU_ASSERT(!c4_port_address(port, 3, &found, &scope));
    c4_port_destroy(port);
}

/* A socket that stands for all addresses does for each. */
static void test_adopted(void)
{
    c4_port *port = NULL;
    c4_listen_spec spec = {.bind = {.family = 4}};
    c4_net_address bound, address = loopback, found;
    uint32_t scope;
    int fd = -1;
    C4TEST_OK_FATAL(c4_port_create(0, 0, &port));
    C4TEST_OK_FATAL(c4_listener_open(&spec, &fd, &bound));
    C4TEST_OK(c4_port_adopt(port, fd));
    C4TEST_OK(c4_port_listen(port, &address, 0));
    C4TEST_INT(address.port, bound.port);
    CU_ASSERT(!c4_port_address(port, 0, &found, &scope));
    c4_port_destroy(port);
    c4_port_destroy(NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(each_to_its_own),
                                        C4TEST(hello_in_pieces),
                                        C4TEST(strangers),
                                        C4TEST(crowd),
                                        C4TEST(full_inbox),
                                        C4TEST(gone_from_inbox),
                                        C4TEST(kept_full),
                                        C4TEST(out_of_descriptors),
                                        C4TEST(one_number_everywhere),
                                        C4TEST(adopted),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
