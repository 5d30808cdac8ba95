/* The neighbours' links: their graph, the address table, and days on which not everybody can reach everybody. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/process.h"
#include "tests/c4test.h"

static const unsigned char key[C4_KEY_BYTES] = "a key of thirty-two bytes......";
static const c4_net_address any_loopback = {.family = 4, .bytes = {127, 0, 0, 1}};

/* ---- graph ---- */

static bool lists(const int *neighbours, int count, int rank)
{
    for (int i = 0; i < count; i++)
        if (neighbours[i] == rank)
            return true;
    return false;
}

static void check_graph(int nranks)
{
    for (int rank = 0; rank < nranks; rank++) {
        int neighbours[C4_OVERLAY_MAX_NEIGHBOURS];
        int count = c4_overlay_neighbours(nranks, rank, neighbours);
        int edges = 0;
        for (int other = 0; other < nranks; other++)
            edges += other != rank && c4_overlay_is_edge(nranks, rank, other);
        C4TEST_INT(count, edges);
        for (int step = 1; step < nranks; step *= 2)
            CU_ASSERT(lists(neighbours, count, (rank + step) % nranks) &&
                      lists(neighbours, count, (rank - step + nranks) % nranks));
        for (int i = 0; i < count; i++) {
            int other = neighbours[i];
            int owner = c4_overlay_owner(nranks, rank, other);
            CU_ASSERT(i == 0 || neighbours[i - 1] < other);
            CU_ASSERT((owner == rank || owner == other) && owner != 0);
            C4TEST_INT(c4_overlay_owner(nranks, other, rank), owner);
        }
    }
}

static void test_graph(void)
{
    int neighbours[C4_OVERLAY_MAX_NEIGHBOURS];
    for (int nranks = 1; nranks <= 70; nranks++)
        check_graph(nranks);
    check_graph(300);
    check_graph(512);
    for (int nranks = 2; nranks <= C4_OVERLAY_FULL_RANKS; nranks++) /* everybody with everybody */
        C4TEST_INT(c4_overlay_neighbours(nranks, 1, neighbours), nranks - 1);
    C4TEST_INT(c4_overlay_neighbours(65536, 65535, neighbours), 31);
    C4TEST_INT(c4_overlay_neighbours(65535, 7, neighbours), 32);
}

/* ---- table ---- */

static void table_rank(const void *context, size_t rank, c4_table_rank *entry)
{
    (void)context;
    memset(entry, 0, sizeof *entry);
    entry->pid = 1000 + (uint32_t)rank;
    snprintf(entry->host, sizeof entry->host, "node%zu", rank / 8);
    entry->endpoint.tag = rank % 4 == 0 ? 77 + (uint32_t)rank : 0;
    entry->endpoint.naddresses = (uint8_t)(rank % 4);
    for (size_t i = 0; i < rank % 4; i++) {
        c4_net_address *address = &entry->endpoint.addresses[i];
        *address = (c4_net_address){.family = i == 1 ? 6 : 4, .port = (uint16_t)(4000 + rank)};
        memset(address->bytes, (int)(rank + i), address->family == 4 ? 4 : 16);
    }
}

static void test_table(void)
{
    enum { NRANKS = 100 };
    unsigned char *table = malloc(c4_address_table_max_bytes(NRANKS));
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    size_t bytes = c4_address_table_pack(NRANKS, table_rank, NULL, table);
    CU_ASSERT(bytes <= c4_address_table_max_bytes(NRANKS));
    C4TEST_OK_FATAL(c4_address_table_check(table, bytes, NRANKS));
    for (size_t rank = 0; rank < NRANKS; rank++) {
        c4_table_rank expected, found;
        table_rank(NULL, rank, &expected);
        memset(&found, 0xff, sizeof found);
        c4_address_table_find(table, bytes, rank, &found);
        C4TEST_INT(found.pid, expected.pid);
        C4TEST_STRING(found.host, expected.host);
        unsigned char theirs[C4_ENDPOINT_MAX_BYTES], mine[C4_ENDPOINT_MAX_BYTES];
        size_t size = c4_endpoint_pack(&expected.endpoint, mine);
        C4TEST_INT_FATAL(c4_endpoint_pack(&found.endpoint, theirs), size);
        CU_ASSERT_EQUAL(memcmp(theirs, mine, size), 0);
    }
    for (size_t cut = 0; cut < bytes; cut++) {
        unsigned char *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read past the end */
        CU_ASSERT_PTR_NOT_NULL_FATAL(exact);
        memcpy(exact, table, cut);
        C4TEST_INT(c4_address_table_check(exact, cut, NRANKS), C4_ERR_PROTOCOL);
        free(exact);
    }
    C4TEST_INT(c4_address_table_check(table, bytes, NRANKS - 1), C4_ERR_PROTOCOL);
    C4TEST_INT(c4_address_table_check(table, bytes, NRANKS + 1), C4_ERR_PROTOCOL);
    table[3] = 0x1b; /* in a host name */
    C4TEST_INT(c4_address_table_check(table, bytes, NRANKS), C4_ERR_PROTOCOL);
    free(table);
}

/* ---- jobs ---- */

typedef struct test_job {
    int nranks;
    c4_net_address address, closed; /* of rank 0; nobody listens there */
    int listen_fd;
    int timeout_ms;
    int bad_rank, other_bad_rank;
    c4_status expect;
    const char *text, *more;
    bool keyless;
    atomic_int *flag;
} test_job;

static test_job make_job(int nranks)
{
    test_job job = {.nranks = nranks, .timeout_ms = c4test_seconds(15) * 1000, .bad_rank = -1, .other_bad_rank = -1};
    c4_listen_spec listen = {.bind = any_loopback};
    int fd = -1;
    C4TEST_OK_FATAL(c4_listener_open(&listen, &job.listen_fd, &job.address));
    C4TEST_OK_FATAL(c4_listener_open(&listen, &fd, &job.closed));
    close(fd);
    job.flag = c4test_shared(sizeof *job.flag);
    return job;
}

static c4_bootstrap_spec spec_of(const test_job *job, int rank)
{
    bool blocked = rank == job->bad_rank || rank == job->other_bad_rank;
    if (rank != 0)
        close(job->listen_fd); /* inherited by the fork; rank 0's alone */
    return (c4_bootstrap_spec){.rank = rank,
                               .nranks = job->nranks,
                               .job_id = 4711,
                               .key = job->keyless ? NULL : key,
                               .addresses = &job->address,
                               .naddresses = 1,
                               .listen_fd = rank == 0 ? job->listen_fd : -1,
                               .advertise = &job->closed,
                               .nadvertise = blocked ? 1 : 0,
                               .timeout_ms = job->timeout_ms};
}

/* The parent must not keep the socket open, or nobody would be refused after rank 0's end. */
static void run(test_job *job, c4test_rank_fn fn, int deadline_s)
{
    c4test_team *team = c4test_team_start(job->nranks, fn, job);
    close(job->listen_fd);
    int *statuses = calloc((size_t)job->nranks, sizeof *statuses);
    CU_ASSERT_PTR_NOT_NULL_FATAL(statuses);
    c4test_team_wait(team, deadline_s, statuses);
    for (int rank = 0; rank < job->nranks; rank++)
        if (!(rank == job->bad_rank && WIFSIGNALED(statuses[rank])))
            C4TEST_INT(statuses[rank], 0);
    free(statuses);
}

static void expect_failure(c4_status status, const test_job *job)
{
    C4TEST_INT(status, job->expect);
    C4TEST_CONTAINS(c4_fail_text(), job->text);
    if (job->more)
        C4TEST_CONTAINS(c4_fail_text(), job->more);
}

static void check_gather(c4_bootstrap *bootstrap, int rank, int nranks)
{
    uint64_t in = 1000u + (unsigned)rank;
    uint64_t out[64];
    C4TEST_OK_FATAL(c4_bootstrap_all_gather(bootstrap, &in, sizeof in, out));
    for (int i = 0; i < nranks; i++)
        C4TEST_INT(out[i], 1000 + i);
}

/* ---- what is handed over ---- */

static void hand_over_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = spec_of(job, rank);
    c4_bootstrap_times times;
    c4_net_address address;
    int fds[64], listeners[C4_ENDPOINT_ADDRESSES];
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    check_gather(bootstrap, rank, job->nranks);
    c4_bootstrap_get_times(bootstrap, &times);
    CU_ASSERT(times.check_in_ns > 0 && times.links_ns > 0 && times.exchange_ns > 0);
    C4TEST_INT(times.exchanges, 1);
    for (int other = 0; other < job->nranks; other++) {
        CU_ASSERT(c4_bootstrap_address(bootstrap, other, 0, &address) && address.family == 4 && address.port > 0);
        CU_ASSERT(!c4_bootstrap_address(bootstrap, other, 1, &address));
    }
    CU_ASSERT(!c4_bootstrap_address(bootstrap, job->nranks, 0, &address));
    CU_ASSERT_FATAL(c4_bootstrap_address(bootstrap, rank, 0, &address));
    C4TEST_INT_FATAL(c4_bootstrap_take_listeners(bootstrap, listeners), 1);
    struct sockaddr_storage name;
    c4_net_address bound;
    CU_ASSERT_FATAL(getsockname(listeners[0], (struct sockaddr *)&name, &(socklen_t){sizeof name}) == 0);
    CU_ASSERT_FATAL(c4_net_address_from_sockaddr((struct sockaddr *)&name, &bound));
    CU_ASSERT(bound.family == address.family && bound.port == address.port);
    CU_ASSERT_EQUAL(memcmp(bound.bytes, address.bytes, sizeof bound.bytes), 0);
    c4_bootstrap_take_connections(bootstrap, fds);
    c4_bootstrap_close(bootstrap);
    for (int other = 0; other < job->nranks; other++)
        C4TEST_INT(fds[other] >= 0, other != rank && c4_overlay_is_edge(job->nranks, rank, other));
    for (int other = 0; other < job->nranks; other++) { /* each link leads to the right one, and both ways */
        uint32_t mine = (uint32_t)rank, theirs = 99;
        if (fds[other] < 0)
            continue;
        C4TEST_INT(send(fds[other], &mine, sizeof mine, MSG_NOSIGNAL), sizeof mine);
        poll(&(struct pollfd){.fd = fds[other], .events = POLLIN}, 1, c4test_seconds(10) * 1000);
        C4TEST_INT(recv(fds[other], &theirs, sizeof theirs, MSG_DONTWAIT), sizeof theirs);
        C4TEST_INT(theirs, other);
    }
}

static void test_hand_over(void)
{
    test_job job = make_job(11);
    run(&job, hand_over_rank, 30);
}

/* ---- not reachable ---- */

static void blocked_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = spec_of(job, rank);
    c4_net_address told;
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    CU_ASSERT_FATAL(c4_bootstrap_address(bootstrap, job->bad_rank, 0, &told));
    C4TEST_INT(told.port, job->closed.port);
    check_gather(bootstrap, rank, job->nranks);
    check_gather(bootstrap, rank, job->nranks);
    c4_bootstrap_close(bootstrap);
}

/* Ranks 1 and 2 cannot reach rank 3, which must come to them. */
static void test_one_way(void)
{
    test_job job = make_job(6);
    job.bad_rank = 3;
    run(&job, blocked_rank, 30);
}

static void unreachable_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = spec_of(job, rank);
    expect_failure(c4_bootstrap_open(&spec, &bootstrap), job);
    CU_ASSERT_PTR_NULL(bootstrap);
}

/* Neither reaches the other: found long before the deadline, told to all, with both addresses and what to do. */
static void test_no_way(void)
{
    test_job job = make_job(7);
    char text[160];
    snprintf(text, sizeof text, "at 127.0.0.1:%u (Connection refused), nor that rank to this one at 127.0.0.1:%u",
             job.closed.port, job.closed.port);
    job.bad_rank = 1;
    job.other_bad_rank = 3;
    job.timeout_ms = c4test_seconds(60) * 1000;
    job.expect = C4_ERR_UNREACHABLE;
    job.text = text;
    job.more = "C4_PORT_RANGE";
    run(&job, unreachable_rank, 30);
}

/* ---- a rank that stops in the middle ---- */

/* Checks in as `bad_rank` by hand, up to the table. */
static int check_in(const test_job *job, c4_link *link)
{
    c4_bootstrap self = {.spec = spec_of(job, job->bad_rank), .deadline_ns = UINT64_MAX};
    c4_handshake handshake;
    c4_handshake_identity identity = c4_bootstrap_identity(&self, 0);
    unsigned char payload[C4_PROCESS_BYTES + C4_ENDPOINT_MAX_BYTES];
    unsigned char answer[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_endpoint endpoint = {.naddresses = 1, .addresses = {job->closed}};
    c4_process process;
    int fd = -1;
    c4_status status = C4_IN_PROGRESS;
    int error = c4_bootstrap_dial(&self, &job->address, 0, &fd);
    CU_ASSERT_FATAL(fd >= 0 && (error == 0 || error == EINPROGRESS));
    C4TEST_OK_FATAL(c4_bootstrap_wait(&self, fd, POLLOUT));
    C4TEST_OK_FATAL(c4_handshake_init(&handshake, &identity, true));
    while ((status = c4_handshake_step(&handshake, fd)) == C4_IN_PROGRESS)
        C4TEST_OK_FATAL(c4_bootstrap_wait(&self, fd, POLLIN));
    C4TEST_OK_FATAL(status);
    c4_link_init(link, fd);
    c4_process_self(&process);
    c4_process_pack(&process, payload);
    c4_control_header header = {C4_CONTROL_JOIN, 0, (uint32_t)job->bad_rank, (uint32_t)job->nranks};
    header.bytes = (uint32_t)(C4_PROCESS_BYTES + c4_endpoint_pack(&endpoint, payload + C4_PROCESS_BYTES));
    C4TEST_OK_FATAL(c4_link_send(link, &header, payload));
    while ((status = c4_link_receive_header(link, (uint32_t)job->nranks)) == C4_IN_PROGRESS)
        C4TEST_OK_FATAL(c4_bootstrap_wait(&self, fd, POLLIN));
    C4TEST_INT_FATAL(link->header.kind, C4_CONTROL_WELCOME);
    C4TEST_OK_FATAL(c4_link_receive_payload(link, answer));
    while ((status = c4_link_receive_header(link, (uint32_t)job->nranks)) == C4_IN_PROGRESS)
        C4TEST_OK_FATAL(c4_bootstrap_wait(&self, fd, POLLIN));
    C4TEST_INT_FATAL(link->header.kind, C4_CONTROL_TABLE);
    return fd;
}

/* Garbage, half hellos and silence at the door of a rank that waits for its neighbours. */
static void disturb(const c4_net_address *address)
{
    struct sockaddr_storage name;
    unsigned char bytes[300];
    socklen_t size = c4_net_address_to_sockaddr(address, &name);
    for (int i = 0; i < 150; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT_FATAL(fd >= 0 && connect(fd, (struct sockaddr *)&name, size) == 0);
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (unsigned char)c4test_rand();
        if (i % 3)
            send(fd, i % 3 == 1 ? (const void *)bytes : "SH4C\1", i % 3 == 1 ? sizeof bytes : 5, MSG_NOSIGNAL);
    } /* left open */
}

static void half_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_link link;
    if (rank != job->bad_rank) {
        c4_bootstrap_spec spec = spec_of(job, rank);
        c4_status status = c4_bootstrap_open(&spec, &bootstrap);
        atomic_fetch_add(job->flag, 1);
        expect_failure(status, job);
        return;
    }
    int fd = check_in(job, &link);
    unsigned char *table = malloc(link.header.bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    size_t bytes = link.header.bytes;
    c4_status status;
    while ((status = c4_link_receive_payload(&link, table)) == C4_IN_PROGRESS)
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1000);
    C4TEST_OK_FATAL(status);
    C4TEST_OK_FATAL(c4_address_table_check(table, bytes, (size_t)job->nranks));
    for (int other = 1; other < job->nranks; other++) {
        c4_table_rank entry;
        c4_address_table_find(table, bytes, (size_t)other, &entry);
        if (other != rank)
            disturb(&entry.endpoint.addresses[0]);
    }
    free(table);
    if (job->expect == C4_ERR_PEER_DEAD)
        raise(SIGKILL);
    while (atomic_load(job->flag) < job->nranks - 1)
        poll(NULL, 0, 5);
}

static void test_death_while_linking(void)
{
    test_job job = make_job(6);
    job.bad_rank = 4;
    job.expect = C4_ERR_PEER_DEAD;
    job.text = "rank 4 (pid ";
    run(&job, half_rank, 30);
}

/* It has checked in and does nothing more: an owner of an edge to it says so, with its address. */
static void test_never_links(void)
{
    test_job job = make_job(6);
    job.bad_rank = 4;
    job.timeout_ms = 1000;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 4 (pid ";
    job.more = "1000 ms (C4_SETUP_TIMEOUT_MS)";
    run(&job, half_rank, 30);
}

/* All but one are in an exchange: whoever waits for it directly names it, and all others hear that. */
static void late_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = spec_of(job, rank);
    uint64_t out[64];
    spec.nadvertise = 0;
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    check_gather(bootstrap, rank, job->nranks);
    if (rank == job->bad_rank) {
        while (atomic_load(job->flag) < job->nranks - 1)
            poll(NULL, 0, 5);
    } else {
        c4_status status = c4_bootstrap_all_gather(bootstrap, &(uint64_t){7}, 8, out);
        atomic_fetch_add(job->flag, 1);
        expect_failure(status, job);
    }
    /* It learns at its next exchange what the others have said. */
    expect_failure(c4_bootstrap_all_gather(bootstrap, &(uint64_t){7}, 8, out), job);
    c4_bootstrap_close(bootstrap);
}

static void test_late_for_exchange(void)
{
    test_job job = make_job(9);
    job.bad_rank = 5;
    job.timeout_ms = 1500;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 5 has not reached set-up exchange 2 after 1500 ms";
    run(&job, late_rank, 30);
}

/* ---- the caller's all-gather ---- */

typedef struct board {
    atomic_int arrived;
    unsigned char blobs[8][256];
} board;

typedef struct gatherer {
    board *shared;
    int rank, nranks;
    int fails;
} gatherer;

static int gather_by_board(void *context, const void *in, size_t bytes, void *out)
{
    const gatherer *g = context;
    CU_ASSERT_FATAL(bytes <= sizeof g->shared->blobs[0]);
    memcpy(g->shared->blobs[g->rank], in, bytes);
    atomic_fetch_add(&g->shared->arrived, 1);
    while (atomic_load(&g->shared->arrived) < g->nranks)
        poll(NULL, 0, 1);
    for (int i = 0; i < g->nranks; i++)
        memcpy((unsigned char *)out + (size_t)i * bytes, g->shared->blobs[i], bytes);
    return g->fails;
}

typedef struct invited_job {
    board *shared;
    int nranks, fails;
    c4_net_address listen;
    c4_status root, others;
} invited_job;

static void invited_rank(int rank, void *arg)
{
    const invited_job *job = arg;
    gatherer g = {.shared = job->shared, .rank = rank, .nranks = job->nranks, .fails = job->fails};
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = {.rank = rank,
                              .nranks = job->nranks,
                              .listen_fd = -1,
                              .listen = rank == 0 ? &job->listen : &any_loopback,
                              .nlisten = 1,
                              .all_gather = gather_by_board,
                              .all_gather_context = &g,
                              .timeout_ms = c4test_seconds(15) * 1000};
    c4_status expected = rank == 0 ? job->root : job->others;
    C4TEST_INT_FATAL(c4_bootstrap_open(&spec, &bootstrap), expected);
    if (expected < 0)
        return;
    CU_ASSERT_PTR_NOT_NULL(c4_bootstrap_key(bootstrap));
    CU_ASSERT_NOT_EQUAL(c4_bootstrap_job_id(bootstrap), 0);
    check_gather(bootstrap, rank, job->nranks);
    c4_bootstrap_close(bootstrap);
}

static void run_invited(c4_net_address listen, int fails, c4_status root, c4_status others)
{
    invited_job job = {
        .shared = c4test_shared(sizeof(board)), .nranks = 6, .fails = fails, .listen = listen, .root = root};
    job.others = others;
    c4test_ranks(job.nranks, invited_rank, &job, 30);
}

static void test_all_gather_callback(void)
{
    c4_net_address foreign = {.family = 4, .bytes = {192, 0, 2, 1}}; /* TEST-NET-1: nobody's */
    run_invited(any_loopback, 0, C4_OK, C4_OK);
    run_invited(any_loopback, 3, C4_ERR_PEER_ERROR, C4_ERR_PEER_ERROR);
    run_invited(foreign, 0, C4_ERR_INTERFACE, C4_ERR_PEER_ERROR);
}

/* ---- two runs of one job ---- */

/* A rank 1 with the ties of one run knocks at a rank 0 with those of a run. */
static c4_status knock_as_rank_1(const c4_ties *from, const c4_ties *at)
{
    int fds[2];
    c4_ties client = *from, server = *at;
    c4_handshake one, other;
    client.rank = 1;
    server.rank = 0;
    c4_handshake_identity mine = c4_ties_identity(&client, 0);
    c4_handshake_identity theirs = c4_ties_identity(&server, C4_HANDSHAKE_ANY_RANK);
    CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    C4TEST_OK_FATAL(c4_handshake_init(&one, &mine, true));
    C4TEST_OK_FATAL(c4_handshake_init(&other, &theirs, false));
    c4_status status = C4_IN_PROGRESS;
    for (int i = 0; i < 8 && status == C4_IN_PROGRESS; i++) {
        c4_handshake_step(&one, fds[0]);
        status = c4_handshake_step(&other, fds[1]);
    }
    close(fds[0]);
    close(fds[1]);
    return status;
}

static void run_twice(int rank, void *arg)
{
    test_job *job = arg;
    c4_ties ties[2];
    for (int run = 0; run < 2; run++) {
        c4_bootstrap *bootstrap = NULL;
        c4_bootstrap_spec spec = spec_of(job, rank);
        job->listen_fd = -1; /* the second time rank 0 listens anew */
        C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
        c4_bootstrap_get_ties(bootstrap, &ties[run]);
        uint64_t ids[3] = {0};
        uint64_t id = c4_bootstrap_job_id(bootstrap);
        C4TEST_OK_FATAL(c4_bootstrap_all_gather(bootstrap, &id, sizeof id, ids));
        CU_ASSERT(ids[0] == ids[1] && ids[0] == ids[2]);
        c4_bootstrap_close(bootstrap);
    }
    CU_ASSERT(ties[0].job_id != ties[1].job_id);
    CU_ASSERT(memcmp(ties[0].key, ties[1].key, C4_KEY_BYTES) != 0);
    C4TEST_OK(knock_as_rank_1(&ties[0], &ties[0]));
    C4TEST_OK(knock_as_rank_1(&ties[1], &ties[1]));
    C4TEST_INT(knock_as_rank_1(&ties[0], &ties[1]), C4_ERR_AUTH);
    C4TEST_INT(knock_as_rank_1(&ties[1], &ties[0]), C4_ERR_AUTH);
    ties[0].job_id = ties[1].job_id; /* the key alone keeps the other run out */
    C4TEST_INT(knock_as_rank_1(&ties[0], &ties[1]), C4_ERR_AUTH);
}

static void test_two_runs_differ(void)
{
    test_job job = make_job(3);
    run(&job, run_twice, 30);
}

static void test_two_runs_differ_without_a_key(void)
{
    test_job job = make_job(3);
    job.keyless = true;
    run(&job, run_twice, 30);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(graph),
                                        C4TEST(table),
                                        C4TEST_DEADLINE(hand_over, 40),
                                        C4TEST_DEADLINE(one_way, 40),
                                        C4TEST_DEADLINE(no_way, 40),
                                        C4TEST_DEADLINE(death_while_linking, 40),
                                        C4TEST_DEADLINE(never_links, 40),
                                        C4TEST_DEADLINE(late_for_exchange, 40),
                                        C4TEST_DEADLINE(all_gather_callback, 60),
                                        C4TEST_DEADLINE(two_runs_differ, 40),
                                        C4TEST_DEADLINE(two_runs_differ_without_a_key, 40),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
