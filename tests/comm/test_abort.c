/* c4_comm_abort from another thread, in every call that can block: both return within 1 s, the peers hear of it. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"
#include "wire/unique_id.h"

#define LIMIT_S 1.0 /* what the header promises */

static double seconds_since(uint64_t start_ns)
{
    return (double)(c4_now_ns() - start_ns) * 1e-9;
}

static void check_prompt(const char *what, uint64_t start_ns)
{
    double seconds = seconds_since(start_ns);
    if (seconds >= LIMIT_S * c4test_seconds(1))
        world_fail("%s took %.2f s", what, seconds);
}

/* Name servers that never answer. */
static atomic_int look_ups, release_look_ups;
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    (void)node, (void)service, (void)hints, (void)result;
    look_ups++;
    while (!release_look_ups)
        usleep(1000);
    return EAI_AGAIN;
}

/* ---- set-up ---- */

static void abort_setup(const char *what, c4_comm *comm, c4_request *request)
{
    usleep((useconds_t)c4test_rand_below(30000)); /* any moment will do */
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(c4_test(&request), C4_IN_PROGRESS);
    C4TEST_OK(c4_comm_abort(comm));
    C4TEST_OK(c4_comm_abort(comm));
    C4TEST_INT(c4_wait(&request), C4_ERR_ABORTED);
    check_prompt(what, start_ns);
    C4TEST_CONTAINS(c4_last_error(comm), "abort");
    C4TEST_OK(c4_comm_destroy(comm));
    C4TEST_INT(world_failures(), 0);
}

/* Rank 0's address in `id` becomes this one. */
static void redirect(c4_unique_id *id, const c4_net_address *address)
{
    c4_unique_id_fields fields;
    C4TEST_OK_FATAL(c4_unique_id_unpack(id, &fields));
    fields.addresses[0] = *address;
    fields.naddresses = 1;
    c4_unique_id_pack(&fields, id);
}

static void abort_rank_1(const char *what, const c4_net_address *address)
{
    c4_unique_id id;
    c4_comm *comm;
    c4_request *request;
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    redirect(&id, address);
    C4TEST_OK_FATAL(c4_comm_create(&id, 2, 1, NULL, &request, &comm));
    abort_setup(what, comm, request);
}

/* Somebody listens and never says a word. */
static void test_mute_listener(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof name;
    c4_net_address address;
    setenv("C4_LOG", "none", 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&name, bytes) == 0 && listen(fd, 5) == 0);
    CU_ASSERT_FATAL(getsockname(fd, (struct sockaddr *)&name, &bytes) == 0);
    CU_ASSERT_FATAL(c4_net_address_from_sockaddr((struct sockaddr *)&name, &address));
    abort_rank_1("mute listener", &address);
    close(fd);
    abort_rank_1("nobody listens", &address);
    c4_net_address hole = {.family = 4, .port = 9, .bytes = {192, 0, 2, 1}}; /* RFC 5737: leads nowhere */
    abort_rank_1("black hole", &hole);
}

static void test_nobody_comes(void)
{
    c4_unique_id id;
    c4_comm *comm;
    c4_request *request;
    setenv("C4_LOG", "none", 1);
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 2, 0, NULL, &request, &comm));
    abort_setup("rank 0 alone", comm, request);
}

static void test_name_servers_do_not_answer(void)
{
    c4_comm *comm;
    c4_request *request;
    setenv("C4_LOG", "none", 1);
    setenv("C4_RANK", "1", 1);
    setenv("C4_NRANKS", "2", 1);
    setenv("C4_RENDEZVOUS", "rank0.example:29400", 1);
    C4TEST_OK_FATAL(c4_comm_create_from_env(NULL, &request, &comm));
    while (!look_ups)
        sched_yield();
    abort_setup("name servers", comm, request);
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = 200};
    C4TEST_INT(c4_comm_create_from_env(&config, NULL, &comm), C4_ERR_TIMEOUT);
    C4TEST_CONTAINS(c4_last_error(NULL), "name servers");
    release_look_ups = 1; /* what was left behind ends by itself */
}

/* The other ranks are stopped at some moment of the set-up; this one is aborted. */
static void stopped_rank(int rank, void *arg)
{
    const c4_unique_id *id = arg;
    c4_comm *comm = NULL;
    setenv("C4_LOG", "none", 1);
    c4_comm_create(id, 3, rank + 1, NULL, NULL, &comm);
    pause(); /* until it is killed */
}

static void test_peers_are_stopped(void)
{
    for (int i = 0; i < c4test_samples(16); i++) {
        c4_unique_id *id = c4test_shared(sizeof *id);
        c4_comm *comm;
        c4_request *request;
        int statuses[2];
        setenv("C4_LOG", "none", 1);
        C4TEST_OK_FATAL(c4_unique_id_create(id));
        c4test_team *team = c4test_team_start(2, stopped_rank, id);
        C4TEST_OK_FATAL(c4_comm_create(id, 3, 0, NULL, &request, &comm));
        usleep((useconds_t)c4test_rand_below(40000));
        for (int rank = 0; rank < 2; rank++)
            kill(c4test_team_pid(team, rank), SIGSTOP);
        uint64_t start_ns = c4_now_ns();
        C4TEST_OK(c4_comm_abort(comm));
        c4_status status = c4_wait(&request);
        check_prompt("set-up with stopped peers", start_ns);
        if (status == C4_OK) /* it was faster */
            status = c4_comm_status(comm);
        C4TEST_INT(status, C4_ERR_ABORTED);
        for (int rank = 0; rank < 2; rank++)
            kill(c4test_team_pid(team, rank), SIGKILL);
        c4test_team_wait(team, 10, statuses);
        C4TEST_OK(c4_comm_destroy(comm));
    }
    C4TEST_INT(world_failures(), 0);
}

/* ---- calls on a communicator of two, of which the other does not come ---- */

typedef struct blocked {
    c4_comm *comm, *child;
    c4_request *request;
    const struct blocking *how;
    c4_status status;
    atomic_int entered;
} blocked;

typedef struct blocking {
    const char *name;
    c4_status (*call)(blocked *b);
    bool by_child;      /* the request variant: the new communicator is aborted */
    c4_status expected; /* of rank 1, which then makes the same call; C4_OK: it does not */
} blocking;

static c4_status call_barrier(blocked *b)
{
    return c4_barrier(b->comm, NULL);
}

static c4_status call_receive(blocked *b)
{
    int value;
    return c4_recv(&value, 1, C4_INT32, 1, b->comm, NULL);
}

static c4_status call_wait(blocked *b)
{
    static float values[1 << 20];
    c4_request *request = NULL;
    c4_status status = c4_all_reduce(values, values, 1 << 20, C4_FLOAT32, C4_SUM, b->comm, &request);
    return status < 0 ? status : c4_wait(&request);
}

static c4_status call_group(blocked *b)
{
    c4_group_start();
    c4_status status = call_barrier(b), end = c4_group_end();
    return status < 0 ? status : end;
}

static c4_status call_split(blocked *b)
{
    return c4_comm_split(b->comm, 0, 0, NULL, NULL, &b->child);
}

static c4_status call_pending(blocked *b)
{
    int waiting;
    return c4_comm_pending(b->comm, &waiting) < 0 ? c4_comm_status(b->comm) : call_barrier(b);
}

static c4_status call_agree(blocked *b)
{
    uint64_t all;
    return c4_comm_agree(b->comm, 1, 60000, &all, NULL, NULL);
}

static c4_status call_shrink(blocked *b)
{
    return c4_comm_shrink(b->comm, NULL, 0, NULL, NULL, &b->child);
}

static c4_status call_shrink_later(blocked *b)
{
    return c4_comm_shrink(b->comm, NULL, 0, NULL, &b->request, &b->child);
}

static c4_status call_grow(blocked *b)
{
    c4_unique_id id;
    int rank = 0;
    c4_comm_rank(b->comm, &rank);
    if (rank == 0)
        WORLD_OK(c4_comm_grow_id(b->comm, &id));
    return c4_comm_grow(b->comm, rank == 0 ? &id : NULL, 3, -1, NULL, NULL, &b->child);
}

static const blocking ways[] = {
    {"barrier", call_barrier, false, C4_ERR_ABORTED},
    {"receive", call_receive, false, C4_OK},
    {"wait", call_wait, false, C4_ERR_ABORTED},
    {"group", call_group, false, C4_ERR_ABORTED},
    {"split", call_split, false, C4_ERR_ABORTED},
    {"pending", call_pending, false, C4_ERR_ABORTED},
    {"agree", call_agree, false, C4_OK},
    {"shrink", call_shrink, false, C4_ERR_PEER_ERROR},
    {"shrink later", call_shrink_later, true, C4_ERR_PEER_ERROR},
    {"grow", call_grow, false, C4_ERR_ABORTED},
};

static void *blocked_main(void *arg)
{
    blocked *b = arg;
    b->entered = 1;
    b->status = b->how->call(b);
    return NULL;
}

static void abort_blocked(blocked *b)
{
    pthread_t thread;
    if (b->how->by_child) {
        WORLD_OK(b->how->call(b));
    } else {
        WORLD_TRUE(pthread_create(&thread, NULL, blocked_main, b) == 0);
        while (!b->entered)
            sched_yield();
    }
    usleep((useconds_t)c4test_rand_below(50000));
    uint64_t start_ns = c4_now_ns();
    WORLD_OK(c4_comm_abort(b->how->by_child ? b->child : b->comm));
    check_prompt("c4_comm_abort", start_ns);
    if (b->how->by_child)
        b->status = c4_wait(&b->request);
    else
        pthread_join(thread, NULL);
    check_prompt(b->how->name, start_ns);
    if (b->status != C4_ERR_ABORTED)
        world_fail("%s ended with %s", b->how->name, c4_status_name(b->status));
    if (b->how->by_child)
        WORLD_OK(c4_comm_destroy(b->child));
}

typedef struct two {
    const blocking *how;
    atomic_int aborted, seen;
} two;

static void two_rank(c4_comm **comm, int rank, void *arg)
{
    two *t = arg;
    blocked b = {.comm = *comm, .how = t->how};
    c4_status met = c4_barrier(*comm, NULL);
    if (met != C4_OK && (rank == 0 || met != C4_ERR_ABORTED)) /* rank 0 may be through it, and quicker */
        world_fail("rank %d: barrier: %s", rank, c4_last_error(NULL));
    if (rank == 0) {
        abort_blocked(&b);
        t->aborted = 1;
        while (!t->seen)
            sched_yield();
        return;
    }
    while (!t->aborted)
        sched_yield();
    uint64_t start_ns = c4_now_ns();
    if (t->how->expected != C4_OK) {
        c4_status status = C4_OK;
        while (status ==
               C4_OK) { /* a barrier may still succeed: rank 0 had sent its part, and the news are on their way */
            status = t->how->call(&b);
            if (status == C4_OK && b.request)
                status = c4_wait(&b.request);
        }
        if (status != t->how->expected)
            world_fail("rank 1 in %s: %s, not %s: %s", t->how->name, c4_status_name(status),
                       c4_status_name(t->how->expected), c4_last_error(NULL));
        check_prompt("the peer", start_ns);
        if (!strstr(c4_last_error(NULL), "rank 0"))
            world_fail("%s: who aborted is not in \"%s\"", t->how->name, c4_last_error(NULL));
        if (b.child)
            WORLD_OK(c4_comm_destroy(b.child));
    }
    t->seen = 1;
}

static void run_ways(const char *options)
{
    setenv("C4_LOG", "none", 1);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        two *t = c4test_shared(sizeof *t);
        t->how = &ways[i];
        if (getenv("C4_TEST_VERBOSE"))
            fprintf(stderr, "%s: %s\n", options, ways[i].name);
        world_run(&(world_spec){.nranks = 2, .options = options}, two_rank, t);
    }
}

static void test_shm(void)
{
    run_ways("C4_TRANSPORTS=shm");
}

static void test_tcp(void)
{
    run_ways("C4_TRANSPORTS=tcp");
}

static void test_ucx(void)
{
    if (!world_has_transport("ucx"))
        C4TEST_SKIP("no UCX here: `c4info transports` says why");
    run_ways("C4_TRANSPORTS=ucx");
}

static void test_progress_thread(void)
{
    run_ways("C4_TRANSPORTS=shm C4_PROGRESS=thread");
}

/* ---- grow: everybody but the new rank is there ---- */

static void no_new_rank(c4_comm **comm, int rank, void *arg)
{
    const bool *later = arg;
    c4_unique_id id;
    blocked b = {.comm = *comm};
    if (rank == 0)
        WORLD_OK(c4_comm_grow_id(*comm, &id));
    if (rank == 0 && !*later) {
        b.how = &(blocking){"grow", call_grow, false, C4_OK};
        abort_blocked(&b);
        return;
    }
    c4_request *request = NULL;
    WORLD_OK(c4_comm_grow(*comm, rank == 0 ? &id : NULL, 3, -1, NULL, &request, &b.child));
    uint64_t start_ns = c4_now_ns();
    if (rank == 0) {
        usleep((useconds_t)c4test_rand_below(50000));
        start_ns = c4_now_ns();
        WORLD_OK(c4_comm_abort(b.child));
    }
    c4_status status = c4_wait(&request);
    WORLD_TRUE(rank == 0 ? status == C4_ERR_ABORTED : status < 0);
    if (rank == 0)
        check_prompt("growth", start_ns);
    WORLD_OK(c4_comm_destroy(b.child));
    if (*later) /* the old one has not suffered */
        WORLD_OK(c4_barrier(*comm, NULL));
}

static void test_new_rank_does_not_come(void)
{
    bool *later = c4test_shared(sizeof *later);
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, no_new_rank, later);
    *later = true;
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, no_new_rank, later);
}

/* ---- many threads ---- */

static void *abort_often(void *arg)
{
    for (int i = 0; i < 200; i++)
        WORLD_OK(c4_comm_abort(arg));
    return NULL;
}

static void crowd_rank(c4_comm **comm, int rank, void *arg)
{
    pthread_t threads[8];
    (void)arg;
    (void)rank;
    for (int i = 0; i < 8; i++)
        WORLD_TRUE(pthread_create(&threads[i], NULL, abort_often, *comm) == 0);
    c4_status status = C4_OK;
    while (status == C4_OK)
        status = c4_barrier(*comm, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    WORLD_TRUE(status == C4_ERR_ABORTED);
    WORLD_STATUS(c4_comm_status(*comm), C4_ERR_ABORTED);
}

static void test_crowd(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, crowd_rank, NULL);
    C4TEST_INT(c4_comm_abort(NULL), C4_ERR_NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(mute_listener),
                                        C4TEST(nobody_comes),
                                        C4TEST(name_servers_do_not_answer),
                                        C4TEST_DEADLINE(peers_are_stopped, 60),
                                        C4TEST_DEADLINE(shm, 60),
                                        C4TEST_DEADLINE(tcp, 60),
                                        C4TEST_DEADLINE(ucx, 60),
                                        C4TEST_DEADLINE(progress_thread, 60),
                                        C4TEST(new_rank_does_not_come),
                                        C4TEST(crowd),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
