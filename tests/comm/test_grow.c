/* Growth: members keep their ranks, new ones come behind them, the old communicator goes on. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

/* Processes 0 .. old-1 form a communicator; the others join it. */
typedef struct growing {
    const char *options;
    int old, total;
    bool with_request, by_create; /* new ranks call c4_comm_create */
    bool late;                    /* a last one never comes */
    int ids[2];                   /* pipe: the first id to members, later ones to new ranks */
    int late_ids[2];
} growing;

static void send_id(int fd, const c4_unique_id *id, int times)
{
    for (int i = 0; i < times; i++)
        CU_ASSERT_FATAL(write(fd, id, sizeof *id) == (ssize_t)sizeof *id);
}

static void get_id(int fd, c4_unique_id *id)
{
    CU_ASSERT_FATAL(read(fd, id, sizeof *id) == (ssize_t)sizeof *id);
}

static void check_sum(c4_comm *comm, int nranks, int rank)
{
    int size = 0, own = -1;
    double value = rank + 1, sum = 0;
    C4TEST_OK(c4_comm_size(comm, &size));
    C4TEST_OK(c4_comm_rank(comm, &own));
    C4TEST_INT(size, nranks);
    C4TEST_INT(own, rank);
    C4TEST_OK(c4_all_reduce(&value, &sum, 1, C4_FLOAT64, C4_SUM, comm, NULL));
    C4TEST_INT((int)sum, nranks * (nranks + 1) / 2);
}

static c4_comm *create_old(const growing *g, int rank)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(g->options)};
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_unique_id_create(&id));
        send_id(g->ids[1], &id, g->old - 1);
    } else {
        get_id(g->ids[0], &id);
    }
    C4TEST_OK_FATAL(c4_comm_create(&id, g->old, rank, &config, NULL, &comm));
    return comm;
}

static c4_comm *join_new(const growing *g, int rank, c4_status expected)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {
        .struct_size = sizeof config, .options = world_options(g->options), .timeout_ms = g->late ? 1500 : 0};
    get_id(g->late_ids[0], &id);
    c4_status status = g->by_create ? c4_comm_create(&id, g->total, rank, &config, NULL, &comm)
                                    : c4_comm_grow(NULL, &id, g->total, rank, &config, NULL, &comm);
    C4TEST_INT(status, expected);
    return comm;
}

static c4_comm *grow_old(const growing *g, c4_comm *comm, int rank, int new_ranks, c4_status expected)
{
    c4_unique_id id;
    c4_comm *bigger = NULL;
    c4_request *request = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = g->late ? 1500 : 0};
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_comm_grow_id(comm, &id));
        send_id(g->late_ids[1], &id, new_ranks);
    }
    c4_status status =
        c4_comm_grow(comm, rank == 0 ? &id : NULL, g->total, -1, &config, g->with_request ? &request : NULL, &bigger);
    if (request) {
        C4TEST_OK(status);
        status = c4_wait(&request);
    }
    C4TEST_INT(status, expected);
    return bigger;
}

static void growing_rank(int rank, void *arg)
{
    const growing *g = arg;
    setenv("C4_LOG", "error", 1);
    if (rank >= g->old) {
        c4_comm *joined = join_new(g, rank, C4_OK);
        check_sum(joined, g->total, rank);
        C4TEST_OK(c4_barrier(joined, NULL));
        C4TEST_OK(c4_comm_destroy(joined));
        return;
    }
    c4_comm *comm = create_old(g, rank);
    check_sum(comm, g->old, rank);
    c4_comm *bigger = grow_old(g, comm, rank, g->total - g->old, C4_OK);
    check_sum(bigger, g->total, rank);
    check_sum(comm, g->old, rank); /* the old one goes on */
    C4TEST_OK(c4_barrier(bigger, NULL));
    C4TEST_OK(c4_comm_destroy(comm));
    C4TEST_OK(c4_comm_destroy(bigger));
}

static void run(growing g)
{
    growing *shared = c4test_shared(sizeof *shared);
    *shared = g;
    C4TEST_INT_FATAL(pipe(shared->ids), 0);
    C4TEST_INT_FATAL(pipe(shared->late_ids), 0);
    c4test_ranks(g.total - g.late, growing_rank, shared, 60);
    for (int i = 0; i < 2; i++) {
        close(shared->ids[i]);
        close(shared->late_ids[i]);
    }
}

static void test_shm(void)
{
    run((growing){.options = "C4_TRANSPORTS=shm", .old = 2, .total = 3});
    run((growing){.options = "C4_TRANSPORTS=shm", .old = 1, .total = 2, .by_create = true});
    run((growing){.options = "C4_TRANSPORTS=shm C4_PROGRESS=thread", .old = 3, .total = 8, .with_request = true});
}

static void test_tcp(void)
{
    run((growing){.options = "C4_TRANSPORTS=tcp", .old = 2, .total = 3, .by_create = true});
    run((growing){.options = "C4_TRANSPORTS=tcp", .old = 2, .total = 5, .with_request = true});
}

/* ---- somebody does not come ---- */

static void late_rank(int rank, void *arg)
{
    const growing *g = arg;
    setenv("C4_LOG", "none", 1);
    if (rank >= g->old) {
        join_new(g, rank, C4_ERR_TIMEOUT);
        return;
    }
    c4_comm *comm = create_old(g, rank);
    grow_old(g, comm, rank, g->total - g->old - 1, C4_ERR_TIMEOUT);
    char missing[32];
    snprintf(missing, sizeof missing, "rank %d", g->total - 1);
    C4TEST_CONTAINS(c4_last_error(NULL), missing);
    C4TEST_CONTAINS(c4_last_error(comm), missing);
    check_sum(comm, g->old, rank);
    C4TEST_OK(c4_comm_destroy(comm));
}

static void test_new_rank_does_not_come(void)
{
    growing *g = c4test_shared(sizeof *g);
    *g = (growing){.options = "C4_TRANSPORTS=shm", .old = 2, .total = 4, .late = true};
    C4TEST_INT_FATAL(pipe(g->ids), 0);
    C4TEST_INT_FATAL(pipe(g->late_ids), 0);
    c4test_ranks(3, late_rank, g, 30);
}

/* ---- wrong calls ---- */

static void wrong_rank(c4_comm **comm, int rank, void *arg)
{
    c4_unique_id id;
    c4_comm *bigger = NULL;
    (void)arg;
    WORLD_STATUS(c4_comm_grow_id(NULL, &id), C4_ERR_NULL);
    WORLD_STATUS(c4_comm_grow_id(*comm, NULL), C4_ERR_NULL);
    if (rank != 0)
        WORLD_STATUS(c4_comm_grow_id(*comm, &id), C4_ERR_ROOT);
    else
        WORLD_OK(c4_comm_grow_id(*comm, &id));
    /* What only one rank knows to be wrong ends the call on all. */
    WORLD_STATUS(c4_comm_grow(*comm, rank == 0 ? &id : NULL, 2, -1, NULL, NULL, &bigger),
                 rank == 0 ? C4_ERR_COUNT : C4_ERR_COUNT);
    WORLD_STATUS(c4_comm_grow(*comm, rank == 0 ? &id : NULL, 3 + rank, -1, NULL, NULL, &bigger), C4_ERR_MISMATCH);
    WORLD_STATUS(c4_comm_grow(*comm, NULL, 3, -1, NULL, NULL, &bigger), rank == 0 ? C4_ERR_NULL : C4_ERR_PEER_ERROR);
    if (rank == 1)
        WORLD_TRUE(strstr(c4_last_error(NULL), "rank 0") != NULL);
    WORLD_TRUE(bigger == NULL);
    WORLD_STATUS(c4_comm_grow(*comm, NULL, 3, -1, NULL, NULL, NULL), C4_ERR_NULL);
    WORLD_OK(c4_group_start());
    WORLD_STATUS(c4_comm_grow(*comm, NULL, 3, -1, NULL, NULL, &bigger), C4_ERR_GROUP);
    WORLD_OK(c4_group_end());
    int waiting = -1;
    WORLD_OK(c4_comm_pending(*comm, &waiting));
    WORLD_TRUE(waiting == 0);
    WORLD_OK(c4_barrier(*comm, NULL));
}

static void test_wrong_calls(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, wrong_rank, NULL);
}

/* ---- the program's own all-gather in place of an id ---- */

typedef struct meeting {
    _Atomic int arrived[64]; /* ranks, by call */
    unsigned char data[64][4][4096];
    int calls[4]; /* by rank */
} meeting;

static int gather_by_memory(void *context, const void *send, size_t bytes, void *recv)
{
    struct {
        meeting *m;
        int rank;
    } *own = context;
    int call = own->m->calls[own->rank]++;
    memcpy(own->m->data[call][own->rank], send, bytes);
    own->m->arrived[call]++;
    while (own->m->arrived[call] < 4)
        sched_yield();
    for (int i = 0; i < 4; i++)
        memcpy((char *)recv + (size_t)i * bytes, own->m->data[call][i], bytes);
    return 0;
}

static void gathering_rank(int rank, void *arg)
{
    struct {
        meeting *m;
        int rank;
    } own = {arg, rank};
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .all_gather = gather_by_memory, .all_gather_context = &own};
    setenv("C4_LOG", "error", 1);
    C4TEST_OK_FATAL(c4_comm_create(NULL, 4, rank, &config, NULL, &comm));
    check_sum(comm, 4, rank);
    C4TEST_OK(c4_barrier(comm, NULL));
    C4TEST_OK(c4_comm_destroy(comm));
    setenv("C4_LOG", "none", 1);
    C4TEST_INT(c4_comm_create(NULL, 4, rank, NULL, NULL, &comm), C4_ERR_NULL);
}

static void test_own_all_gather(void)
{
    c4test_ranks(4, gathering_rank, c4test_shared(sizeof(meeting)), 30);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(shm, 90),
                                        C4TEST_DEADLINE(tcp, 90),
                                        C4TEST_DEADLINE(new_rank_does_not_come, 60),
                                        C4TEST_DEADLINE(wrong_calls, 30),
                                        C4TEST_DEADLINE(own_all_gather, 30),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
