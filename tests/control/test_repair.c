/* Control links that break while both processes live: they are made anew, nobody is called dead, and what was lost with
 * them is told again. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "rendezvous/listener.h"
#include "rendezvous/ties.h"
#include "tests/control/control_rig.h"

enum { MAX_FDS = 256, COMM = 9 };

static const unsigned char key[C4_KEY_BYTES] = "a key of thirty-two bytes......";

typedef struct repair_rig {
    test_rig rig;
    bool reset;       /* else closed in order */
    atomic_int *step; /* shared counters */
} repair_rig;

/* Of this process, for what it does behind the back of its control thread. */
static struct {
    c4_ties ties;
    c4_endpoint endpoint; /* of rank 1 */
    int spared;           /* not a link; -1: none */
} own = {.spared = -1};

/* As c4_comm_create does it. */
static c4_control *start(const repair_rig *r, int rank, c4_port **port)
{
    const test_rig *rig = &r->rig;
    c4_bootstrap *bootstrap = NULL;
    c4_control *control = NULL;
    int fds[C4_ENDPOINT_ADDRESSES];
    if (rank != 0)
        close(rig->listen_fd);
    c4_bootstrap_spec spec = {.rank = rank,
                              .nranks = rig->nranks,
                              .job_id = 1,
                              .epoch = 3,
                              .key = key,
                              .addresses = &rig->address,
                              .naddresses = 1,
                              .listen_fd = rank ? -1 : rig->listen_fd,
                              .timeout_ms = c4test_seconds(15) * 1000};
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    C4TEST_OK_FATAL(c4_port_create(0, 0, port));
    size_t count = c4_bootstrap_take_listeners(bootstrap, fds);
    C4TEST_INT(count, 1);
    for (size_t i = 0; i < count; i++)
        C4TEST_OK(c4_port_adopt(*port, fds[i]));
    C4TEST_OK_FATAL(c4_control_start_with(bootstrap, &rig->spec, *port, &control));
    c4_bootstrap_get_ties(bootstrap, &own.ties);
    c4_bootstrap_endpoint(bootstrap, 1, &own.endpoint);
    c4_bootstrap_close(bootstrap);
    return control;
}

static bool is_connection(int fd)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    return getpeername(fd, (struct sockaddr *)&name, &bytes) == 0 && name.ss_family == AF_INET;
}

/* All connections of this process: those of the control plane are its only ones. Returns how many there were. */
static int break_links(bool reset)
{
    int broken = 0;
    for (int fd = 3; fd < MAX_FDS; fd++) {
        struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        if (!is_connection(fd) || fd == own.spared)
            continue;
        broken++;
        /* Not by connect(): ThreadSanitizer would take that for the making of another descriptor. */
        C4TEST_INT(reset ? syscall(SYS_connect, fd, &nobody, sizeof nobody) : shutdown(fd, SHUT_RDWR), 0);
    }
    return broken;
}

static int count_links(void)
{
    int count = 0;
    for (int fd = 3; fd < MAX_FDS; fd++)
        count += is_connection(fd);
    return count;
}

static void await_links(int count)
{
    while (count_links() != count) /* the case's deadline ends a wait in vain */
        poll(NULL, 0, 1);
}

static void agree(c4_control_attachment *attachment, int nranks)
{
    unsigned char dead[64] = {0};
    c4_control_agreement agreement = {.dead = dead};
    c4_control_proposal proposal = {.tag = 1, .value = 1, .timeout_ms = c4test_seconds(10) * 1000};
    C4TEST_OK(c4_control_agree(attachment, &proposal, &agreement));
    C4TEST_INT(agreement.nlive, nranks);
}

/* Rank 1's links break, again and again; each time all agree afterwards that all live, and nobody hears of a fault. */
static void broken_rank(int rank, void *arg)
{
    const repair_rig *r = arg;
    news_log news;
    c4_port *port = NULL;
    news_init(&news);
    c4_control *control = start(r, rank, &port);
    c4_control_attachment *attachment = rig_attach(control, &r->rig, COMM, &news);
    int nranks = r->rig.nranks;
    for (int i = 0; i < 5; i++) {
        agree(attachment, nranks);
        rig_meet(&r->step[i], nranks);
        if (rank == 1)
            C4TEST_INT(break_links(r->reset), nranks - 1);
        agree(attachment, nranks);
        await_links(nranks - 1);
    }
    rig_meet(&r->step[5], nranks); /* who leaves closes its links */
    C4TEST_INT(news.count, 0);
    c4_control_detach(attachment);
    c4_control_stop(control);
    c4_port_destroy(port);
}

static repair_rig make(int nranks, bool reset)
{
    repair_rig r = {.rig = rig_make(nranks, -1), .reset = reset};
    r.step = c4test_shared(16 * sizeof *r.step);
    return r;
}

static void run(repair_rig *r, c4test_rank_fn fn, int *statuses)
{
    c4test_team *team = c4test_team_start(r->rig.nranks, fn, r);
    close(r->rig.listen_fd);
    c4test_team_wait(team, 30, statuses);
    for (int rank = 0; rank < r->rig.nranks; rank++)
        if (rank != r->rig.victim)
            C4TEST_INT(statuses[rank], 0);
}

static void test_two_ranks_reset(void)
{
    int statuses[8];
    repair_rig r = make(2, true);
    run(&r, broken_rank, statuses);
}

static void test_two_ranks_closed(void)
{
    int statuses[8];
    repair_rig r = make(2, false);
    run(&r, broken_rank, statuses);
}

static void test_five_ranks(void)
{
    int statuses[8];
    repair_rig r = make(5, true);
    run(&r, broken_rank, statuses);
}

/* What one rank reports, and that it leaves, while the link is lost. */
static void late_words_rank(int rank, void *arg)
{
    const repair_rig *r = arg;
    news_log news;
    c4_port *port = NULL;
    news_init(&news);
    c4_control *control = start(r, rank, &port);
    c4_control_attachment *attachment = rig_attach(control, &r->rig, COMM, &news);
    agree(attachment, 2);
    rig_meet(&r->step[0], 2);
    if (rank == 1) {
        break_links(r->reset);
        c4_control_report(attachment, C4_ERR_MEMORY, "out of memory, said into a broken link");
        c4_control_detach(attachment);
        c4_control_stop(control); /* at once */
    } else {
        news_await(&news, 1);
        C4TEST_INT(news.statuses[0], C4_ERR_MEMORY);
        while (c4_control_member_state(attachment, 1) == C4_CONTROL_ALIVE)
            poll(NULL, 0, 1);
        C4TEST_INT(c4_control_member_state(attachment, 1), C4_CONTROL_LEFT);
        C4TEST_INT(news.count, 1);
        c4_control_detach(attachment);
        c4_control_stop(control);
    }
    c4_port_destroy(port);
}

static void test_last_words(void)
{
    int statuses[8];
    for (int reset = 0; reset < 2; reset++) {
        repair_rig r = make(2, reset);
        run(&r, late_words_rank, statuses);
    }
}

/* One that dies behind a broken link is named as soon as any. */
static void victim_rank(int rank, void *arg)
{
    const repair_rig *r = arg;
    news_log news;
    c4_port *port = NULL;
    news_init(&news);
    c4_control *control = start(r, rank, &port);
    c4_control_attachment *attachment = rig_attach(control, &r->rig, COMM, &news);
    agree(attachment, 3);
    rig_meet(&r->step[0], 3);
    if (rank == r->rig.victim) {
        break_links(true);
        raise(SIGKILL);
    }
    news_await(&news, 1);
    C4TEST_INT(news.members[0], r->rig.victim);
    C4TEST_INT(news.statuses[0], C4_ERR_PEER_DEAD);
    agree(attachment, 2);
    c4_control_detach(attachment);
    c4_control_stop(control);
    c4_port_destroy(port);
}

static void test_death_behind_a_broken_link(void)
{
    int statuses[8];
    repair_rig r = make(3, true);
    r.rig.victim = 2;
    uint64_t start_ns = c4_now_ns();
    run(&r, victim_rank, statuses);
    CU_ASSERT(c4_now_ns() - start_ns < (uint64_t)c4test_seconds(4) * 1000000000u);
}

static bool await(int fd, short events)
{
    struct pollfd watch = {.fd = fd, .events = events};
    return poll(&watch, 1, c4test_seconds(10) * 1000) > 0;
}

/* Connects to rank 1 and says hello, not a word more: a c4_handshake_step would go on at once if the answer came as fast. */
static int say_hello(c4_handshake *handshake)
{
    const unsigned char *hello;
    int fd = -1;
    c4_handshake_identity identity = c4_ties_identity(&own.ties, 1);
    c4_ties_dial(false, own.ties.job_id, &own.endpoint.addresses[0], 0, &fd);
    CU_ASSERT_FATAL(fd >= 0 && await(fd, POLLOUT));
    C4TEST_OK_FATAL(c4_handshake_init(handshake, &identity, true));
    size_t bytes = c4_handshake_output(handshake, &hello);
    CU_ASSERT_FATAL(send(fd, hello, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
    c4_handshake_sent(handshake, bytes);
    return fd;
}

/* A connection of rank 0 that has set out before the link broke, and proves who it is when that has been made anew: it is
 * closed, the link stays. (Rank 1 owns the edge: it would say LINK.) */
static void crossing_rank(int rank, void *arg)
{
    const repair_rig *r = arg;
    news_log news;
    c4_port *port = NULL;
    c4_handshake handshake;
    news_init(&news);
    c4_control *control = start(r, rank, &port);
    c4_control_attachment *attachment = rig_attach(control, &r->rig, COMM, &news);
    agree(attachment, 2);
    if (rank == 0) {
        unsigned char word;
        int fd = say_hello(&handshake);
        CU_ASSERT_FATAL(await(fd, POLLIN)); /* it has been let in */
        own.spared = fd;
        C4TEST_INT(break_links(true), 1);
        agree(attachment, 2);
        c4_status status = C4_IN_PROGRESS;
        while (status == C4_IN_PROGRESS && await(fd, POLLIN))
            status = c4_handshake_step(&handshake, fd);
        if (status == C4_OK)
            CU_ASSERT(await(fd, POLLIN) && recv(fd, &word, 1, 0) <= 0);
        close(fd);
    } else {
        agree(attachment, 2);
    }
    agree(attachment, 2);
    rig_meet(&r->step[0], 2);
    C4TEST_INT(news.count, 0);
    c4_control_detach(attachment);
    c4_control_stop(control);
    c4_port_destroy(port);
}

static void test_crossing_connections(void)
{
    int statuses[8];
    repair_rig r = make(2, true);
    run(&r, crossing_rank, statuses);
}

/* Takes all places, the first for one who goes on when another knocks. */
static c4_status crowd(void)
{
    enum { PLACES = 8 };
    c4_handshake handshake, other;
    int fds[PLACES + 1];
    fds[0] = say_hello(&handshake);
    CU_ASSERT(await(fds[0], POLLIN));
    for (int i = 1; i <= PLACES; i++) {
        fds[i] = say_hello(&other);
        struct pollfd watch = {.fd = fds[i], .events = POLLIN};
        poll(&watch, 1, i < PLACES ? c4test_seconds(10) * 1000 : 100);
    }
    c4_status status = C4_IN_PROGRESS;
    while (status == C4_IN_PROGRESS && await(fds[0], POLLIN))
        status = c4_handshake_step(&handshake, fds[0]);
    for (int i = 0; i <= PLACES; i++)
        close(fds[i]);
    return status;
}

/* Connections that come one after the other and say no more than hello do not put out at once who means it. */
static void crowd_rank(int rank, void *arg)
{
    const repair_rig *r = arg;
    news_log news;
    c4_port *port = NULL;
    news_init(&news);
    c4_control *control = start(r, rank, &port);
    c4_control_attachment *attachment = rig_attach(control, &r->rig, COMM, &news);
    agree(attachment, 2);
    if (rank == 0) {
        c4_status status = C4_ERR_LINK;
        for (int i = 0; i < 10 && status != C4_OK; i++) /* on a busy machine it may take too long */
            status = crowd();
        C4TEST_OK(status);
    }
    agree(attachment, 2);
    rig_meet(&r->step[0], 2);
    C4TEST_INT(news.count, 0);
    c4_control_detach(attachment);
    c4_control_stop(control);
    c4_port_destroy(port);
}

static void test_crowd(void)
{
    int statuses[8];
    repair_rig r = make(2, true);
    run(&r, crowd_rank, statuses);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(two_ranks_reset, 30),
                                        C4TEST_DEADLINE(two_ranks_closed, 30),
                                        C4TEST_DEADLINE(five_ranks, 30),
                                        C4TEST_DEADLINE(last_words, 30),
                                        C4TEST_DEADLINE(death_behind_a_broken_link, 30),
                                        C4TEST_DEADLINE(crossing_connections, 30),
                                        C4TEST_DEADLINE(crowd, 30),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
