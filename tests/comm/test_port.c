/* One listening port per process: what sockets listen while communicators live, and jobs whose firewall leaves them just one
 * port a rank. */
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

enum { MAX_FDS = 1024 };

/* Ports on which this process listens; *sockets: how many sockets do. */
static int count_ports(int *sockets)
{
    uint16_t ports[MAX_FDS];
    int nports = 0;
    *sockets = 0;
    for (int fd = 0; fd < MAX_FDS; fd++) {
        struct sockaddr_in6 name;
        socklen_t bytes = sizeof name, size = sizeof(int);
        int listens = 0, known = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens ||
            getsockname(fd, (struct sockaddr *)&name, &bytes) != 0 ||
            (name.sin6_family != AF_INET && name.sin6_family != AF_INET6))
            continue;
        ++*sockets;
        for (int i = 0; i < nports; i++)
            known |= ports[i] == name.sin6_port; /* at one place in both families */
        if (!known)
            ports[nports++] = name.sin6_port;
    }
    return nports;
}

static void check_sum(c4_comm *comm, int nranks)
{
    double one = 1, sum = 0;
    static double big[70000], total[70000];
    WORLD_OK(c4_all_reduce(&one, &sum, 1, C4_FLOAT64, C4_SUM, comm, NULL));
    WORLD_TRUE((int)sum == nranks);
    WORLD_OK(c4_all_reduce(big, total, sizeof big / sizeof big[0], C4_FLOAT64, C4_SUM, comm, NULL));
}

static void check_one_port(int nranks, c4_comm *comm)
{
    int sockets = 0;
    check_sum(comm, nranks);
    int ports = count_ports(&sockets);
    if (ports != 1 || sockets != 1)
        world_fail("%d sockets listen on %d ports; one is due", sockets, ports);
}

static void one_port(c4_comm **comm, int rank, void *arg)
{
    int nranks = *(const int *)arg;
    c4_comm *half = NULL;
    check_one_port(nranks, *comm);
    WORLD_OK(c4_comm_split(*comm, rank % 2, 0, NULL, NULL, &half));
    check_sum(half, (nranks + 1 - rank % 2) / 2);
    check_one_port(nranks, *comm); /* the parts use it too */
    WORLD_OK(c4_comm_destroy(half));
    check_one_port(nranks, *comm);
}

static void test_two_ranks(void)
{
    int nranks = 2;
    world_run(&(world_spec){.nranks = nranks, .options = "C4_TRANSPORTS=tcp"}, one_port, &nranks);
}

static void test_five_ranks(void)
{
    int nranks = 5;
    world_run(&(world_spec){.nranks = nranks, .options = "C4_TRANSPORTS=tcp"}, one_port, &nranks);
}

static void test_with_tls(void)
{
    int nranks = 2;
    world_run(&(world_spec){.nranks = nranks, .options = "C4_TRANSPORTS=tcp C4_TLS=1"}, one_port, &nranks);
}

static void test_data_goes_another_way(void)
{
    int nranks = 2;
    world_run(&(world_spec){.nranks = nranks, .options = "C4_TRANSPORTS=shm"}, one_port, &nranks);
}

/* ---- a firewall ---- */

static int is_free(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int free = bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && listen(fd, 1) == 0;
    close(fd);
    return free;
}

/* "C4_PORT_RANGE" of exactly so many ports, all free and none that the system hands out. */
static void open_firewall(int nports)
{
    for (int tries = 0; tries < 1000; tries++) {
        unsigned lo = 10000 + (unsigned)(c4test_rand() % 20000);
        char text[32];
        int free = 1;
        for (int i = 0; i < nports && free; i++)
            free = is_free((uint16_t)(lo + (unsigned)i));
        if (!free)
            continue;
        snprintf(text, sizeof text, "%u-%u", lo, lo + (unsigned)nports - 1);
        setenv("C4_PORT_RANGE", text, 1);
        return;
    }
    C4TEST_SKIP("no %d free ports in a row below 30000", nports);
}

static void as_many_ports(int nranks)
{
    open_firewall(nranks);
    world_run(&(world_spec){.nranks = nranks, .options = "C4_TRANSPORTS=tcp"}, one_port, &nranks);
}

static void test_as_many_ports_as_two_ranks(void)
{
    as_many_ports(2);
}

static void test_as_many_ports_as_four_ranks(void)
{
    as_many_ports(4);
}

/* ---- without a key ---- */

typedef struct keyless {
    int nranks;
    uint16_t port;
} keyless;

static void keyless_rank(int rank, void *arg)
{
    const keyless *job = arg;
    c4_comm *comm = NULL;
    char text[16];
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_TRANSPORTS=tcp"};
    snprintf(text, sizeof text, "%d", rank);
    setenv("RANK", text, 1);
    setenv("LOCAL_RANK", text, 1);
    snprintf(text, sizeof text, "%d", job->nranks);
    setenv("WORLD_SIZE", text, 1);
    setenv("LOCAL_WORLD_SIZE", text, 1);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    snprintf(text, sizeof text, "%u", job->port);
    setenv("MASTER_PORT", text, 1);
    setenv("TORCHELASTIC_RUN_ID", "one-port", 1);
    WORLD_OK(c4_comm_create_from_env(&config, NULL, &comm));
    if (comm)
        check_one_port(job->nranks, comm);
    WORLD_OK(c4_comm_destroy(comm));
    C4TEST_INT(world_failures(), 0);
}

static void test_same_user_without_a_key(void)
{
    keyless job = {3, 0};
    for (job.port = (uint16_t)(10000 + c4test_rand() % 20000); !is_free(job.port);)
        job.port++;
    c4test_ranks(job.nranks, keyless_rank, &job, 30);
}

/* ---- several communicators of one environment ---- */

/* MEET_WRAPPED: inherited, and held by the wrapper that started rank 0, too. */
enum { MEET_TCP, MEET_INHERITED, MEET_WRAPPED, MEET_LOCALLY, MEET_TORCHRUN };

typedef struct meeting {
    int nranks, how, listener;
    uint16_t port;
} meeting;

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

static void describe_meeting(const meeting *job, int rank)
{
    char text[32];
    const char *key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    if (job->how == MEET_TORCHRUN) {
        setenv("TORCHELASTIC_RUN_ID", "several", 1);
        setenv("MASTER_ADDR", "127.0.0.1", 1);
        set_number("MASTER_PORT", job->port);
        set_number("WORLD_SIZE", job->nranks);
        set_number("LOCAL_WORLD_SIZE", job->nranks);
        set_number("RANK", rank);
        set_number("LOCAL_RANK", rank);
        return;
    }
    snprintf(text, sizeof text, "127.0.0.1:%u", job->port);
    setenv("C4_RENDEZVOUS", text, 1);
    set_number("C4_NRANKS", job->nranks);
    set_number("C4_RANK", rank);
    if (job->how != MEET_LOCALLY)
        setenv("C4_KEY", key, 1);
    if (job->listener >= 0 && rank == 0)
        set_number("C4_RENDEZVOUS_FD", job->listener);
    else if (job->listener >= 0)
        close(job->listener);
}

/* Three live at once; one follows others while rank 0 still has the last one. */
static void meet_often(int rank, void *arg)
{
    const meeting *job = arg;
    c4_comm *comms[3] = {NULL, NULL, NULL}, *next = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_TRANSPORTS=tcp"};
    describe_meeting(job, rank);
    for (int i = 0; i < 3; i++) {
        C4TEST_OK_FATAL(c4_comm_create_from_env(&config, NULL, &comms[i]));
        check_sum(comms[i], job->nranks);
    }
    C4TEST_OK(c4_comm_destroy(comms[1]));
    check_sum(comms[0], job->nranks);
    check_sum(comms[2], job->nranks);
    if (rank != 0)
        C4TEST_OK(c4_comm_destroy(comms[2]));
    C4TEST_OK_FATAL(c4_comm_create_from_env(&config, NULL, &next));
    check_sum(next, job->nranks);
    if (rank == 0)
        C4TEST_OK(c4_comm_destroy(comms[2]));
    C4TEST_OK(c4_comm_destroy(comms[0]));
    check_sum(next, job->nranks);
    C4TEST_OK(c4_comm_destroy(next));
    C4TEST_INT(world_failures(), 0);
}

static void run_meeting(int how)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof name;
    meeting job = {.nranks = 3, .how = how, .listener = socket(AF_INET, SOCK_STREAM, 0)};
    int on = 1;
    setsockopt(job.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    CU_ASSERT_FATAL(bind(job.listener, (struct sockaddr *)&name, sizeof name) == 0);
    CU_ASSERT_FATAL(getsockname(job.listener, (struct sockaddr *)&name, &bytes) == 0);
    job.port = ntohs(name.sin_port);
    if (how == MEET_INHERITED || how == MEET_WRAPPED) {
        CU_ASSERT_FATAL(listen(job.listener, 64) == 0);
    } else {
        close(job.listener);
        job.listener = -1;
    }
    c4test_team *team = c4test_team_start(job.nranks, meet_often, &job);
    int statuses[3] = {-1, -1, -1};
    if (how == MEET_INHERITED)
        close(job.listener);
    c4test_team_wait(team, c4test_seconds(40), statuses);
    if (how == MEET_WRAPPED)
        close(job.listener);
    for (int rank = 0; rank < job.nranks; rank++)
        C4TEST_INT(statuses[rank], 0);
}

static void test_several_at_one_address(void)
{
    run_meeting(MEET_TCP);
}

static void test_several_at_an_inherited_socket(void)
{
    run_meeting(MEET_INHERITED);
}

static void test_several_at_a_wrappers_socket(void)
{
    run_meeting(MEET_WRAPPED);
}

static void test_several_at_one_address_without_a_key(void)
{
    run_meeting(MEET_LOCALLY);
}

static void test_several_under_torchrun(void)
{
    run_meeting(MEET_TORCHRUN);
}

/* ---- a rendezvous that cannot be left ---- */

static void meet_once(int rank, void *arg)
{
    const meeting *job = arg;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_TRANSPORTS=tcp"};
    describe_meeting(job, rank);
    C4TEST_OK_FATAL(c4_comm_create_from_env(&config, NULL, &comm));
    check_sum(comm, job->nranks);
    C4TEST_OK(c4_comm_destroy(comm));
    C4TEST_INT(world_failures(), 0);
}

/* The firewall leaves a port for each rank, and rank 0's is the one that the next communicator's ranks will look for. */
static void test_no_port_to_spare(void)
{
    char text[2048] = "", stays[96];
    meeting job = {.nranks = 2, .how = MEET_TCP, .listener = -1};
    open_firewall(job.nranks);
    job.port = (uint16_t)atoi(getenv("C4_PORT_RANGE"));
    setenv("C4_LOG", "warn", 1);
    setenv("C4_LOG_FILE", c4test_path("log"), 1);
    c4test_ranks(job.nranks, meet_once, &job, 30);
    FILE *log = fopen(c4test_path("log"), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    snprintf(stays, sizeof stays,
             "this communicator stays at 127.0.0.1:%u, since all ports of C4_PORT_RANGE=", job.port);
    C4TEST_CONTAINS(text, stays);
    C4TEST_CONTAINS(text, "let the range have a port more");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(two_ranks),
                                        C4TEST(five_ranks),
                                        C4TEST(with_tls),
                                        C4TEST(data_goes_another_way),
                                        C4TEST(as_many_ports_as_two_ranks),
                                        C4TEST(as_many_ports_as_four_ranks),
                                        C4TEST(same_user_without_a_key),
                                        C4TEST(several_at_one_address),
                                        C4TEST(several_at_an_inherited_socket),
                                        C4TEST(several_at_a_wrappers_socket),
                                        C4TEST(several_at_one_address_without_a_key),
                                        C4TEST(several_under_torchrun),
                                        C4TEST(no_port_to_spare),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
