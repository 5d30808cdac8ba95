/* Agreements: the and of all values, who lives, and the last operation that is complete everywhere. */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

static void agree_rank(c4_comm **comm, int rank, void *arg)
{
    uint64_t all = 0, last = 99;
    int live[4] = {-1, -1, -1, -1}, nlive = 0;
    float value = 1;
    (void)arg;
    WORLD_OK(c4_comm_agree(*comm, 0xff0 | 1u << rank, 20000, &all, live, &nlive));
    WORLD_TRUE(all == 0xff0 && nlive == 4);
    for (int i = 0; i < 4; i++)
        WORLD_TRUE(live[i] == i);
    WORLD_OK(c4_comm_last_complete(*comm, 20000, &last));
    WORLD_TRUE(last == 0);
    for (int i = 1; i <= 3; i++) {
        WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_MAX, *comm, NULL));
        WORLD_OK(c4_comm_last_complete(*comm, 20000, &last));
        WORLD_TRUE(last == (uint64_t)i);
    }
    WORLD_STATUS(c4_comm_agree(*comm, 0, 0, &all, NULL, NULL), C4_ERR_ARGUMENT);
    WORLD_STATUS(c4_comm_agree(*comm, 0, 1, NULL, NULL, NULL), C4_ERR_NULL);
    WORLD_STATUS(c4_comm_agree(*comm, 0, 1, &all, live, NULL), C4_ERR_NULL);
    WORLD_STATUS(c4_comm_last_complete(*comm, 1, NULL), C4_ERR_NULL);
    WORLD_OK(c4_comm_agree(*comm, ~0ull, 20000, &all, NULL, NULL));
    WORLD_TRUE(all == ~0ull);
}

static void alone_rank(c4_comm **comm, int rank, void *arg)
{
    uint64_t all = 0, last = 0;
    int live = -1, nlive = 0;
    (void)arg;
    WORLD_OK(c4_barrier(*comm, NULL));
    WORLD_OK(c4_comm_agree(*comm, 7, 100, &all, &live, &nlive));
    WORLD_TRUE(all == 7 && live == rank && nlive == 1);
    WORLD_OK(c4_comm_last_complete(*comm, 100, &last));
    WORLD_TRUE(last == 1);
}

static void test_all_live(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 1}, alone_rank, NULL);
    world_run(&(world_spec){.nranks = 4, .options = "C4_TRANSPORTS=shm"}, agree_rank, NULL);
    world_run(&(world_spec){.nranks = 4, .options = "C4_TRANSPORTS=tcp C4_PROGRESS=thread"}, agree_rank, NULL);
}

/* The timeout names who is missing; the next call finds the round again. */
static void late_rank(c4_comm **comm, int rank, void *arg)
{
    atomic_int *timed_out = arg;
    uint64_t all = 0;
    if (rank == 1)
        while (!*timed_out)
            sched_yield();
    else
        WORLD_STATUS(c4_comm_agree(*comm, 3, 200, &all, NULL, NULL), C4_ERR_TIMEOUT);
    if (rank == 0)
        WORLD_TRUE(strstr(c4_last_error(*comm), "rank 1") != NULL);
    *timed_out = 1;
    WORLD_OK(c4_comm_agree(*comm, rank == 1 ? 6 : 3, 20000, &all, NULL, NULL));
    WORLD_TRUE(all == 2);
}

static void test_timeout(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, late_rank, c4test_shared(sizeof(atomic_int)));
}

/* Rank 0 dies in the middle of its fourth operation: the others agree that all before it are complete. */
typedef struct dying {
    int ids[2];
    _Atomic int in_third;
} dying;

static void dying_rank(int rank, void *arg)
{
    dying *d = arg;
    c4_unique_id id;
    c4_comm *comm;
    uint64_t all = 0, last = 0;
    int live[4], nlive = 0;
    float value = 1;
    setenv("C4_LOG", "none", 1);
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_unique_id_create(&id));
        for (int i = 1; i < 4; i++)
            CU_ASSERT_FATAL(write(d->ids[1], &id, sizeof id) == (ssize_t)sizeof id);
    } else {
        CU_ASSERT_FATAL(read(d->ids[0], &id, sizeof id) == (ssize_t)sizeof id);
    }
    C4TEST_OK_FATAL(c4_comm_create(&id, 4, rank, NULL, NULL, &comm));
    for (int i = 0; i < 3; i++)
        C4TEST_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_MAX, comm, NULL));
    d->in_third++;
    while (d->in_third < 4)
        sched_yield();
    if (rank == 0)
        raise(SIGKILL);
    C4TEST_INT(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_MAX, comm, NULL), C4_ERR_PEER_DEAD);
    C4TEST_OK(c4_comm_last_complete(comm, 20000, &last));
    C4TEST_INT((long long)last, 3);
    C4TEST_OK(c4_comm_agree(comm, 5, 20000, &all, live, &nlive));
    C4TEST_INT(nlive, 3);
    for (int i = 0; i < nlive; i++)
        C4TEST_INT(live[i], i + 1);
    C4TEST_OK(c4_comm_destroy(comm));
}

static void test_after_a_death(void)
{
    int statuses[4];
    dying *d = c4test_shared(sizeof *d);
    C4TEST_INT_FATAL(pipe(d->ids), 0);
    c4test_team *team = c4test_team_start(4, dying_rank, d);
    c4test_team_wait(team, 30, statuses);
    CU_ASSERT(WIFSIGNALED(statuses[0]));
    for (int i = 1; i < 4; i++)
        C4TEST_INT(statuses[i], 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(all_live, 60), C4TEST_DEADLINE(timeout, 60),
                                        C4TEST_DEADLINE(after_a_death, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
