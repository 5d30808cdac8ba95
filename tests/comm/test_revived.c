/* A rank that was stopped for longer than C4_SILENT_MS goes on: the others have given it up. What it had all data for may still end
 * well; then every call says what became of it, soon, and it may come back by joining. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

enum { NRANKS = 3, BEFORE = 5, MANY = 1000, AGREE_MS = 20000 };

typedef struct revival {
    const char *transports;
    int victim;
    bool leave;  /* the others are gone when it goes on */
    bool rejoin; /* they wait for it to join anew */
    int id_pipe[2], join_pipe[2];
    _Atomic int given_up; /* ranks whose operation has ended */
} revival;

static void pass_id(const int *pipes, int receivers, bool sends, c4_unique_id *id)
{
    if (!sends)
        CU_ASSERT_FATAL(read(pipes[0], id, sizeof *id) == (ssize_t)sizeof *id);
    for (int i = 0; sends && i < receivers; i++)
        CU_ASSERT_FATAL(write(pipes[1], id, sizeof *id) == (ssize_t)sizeof *id);
}

/* The sum of ones, over all. */
static c4_status count(c4_comm *comm, int expected)
{
    int32_t ones[2] = {1, 1};
    c4_status status = c4_all_reduce(ones, ones, 2, C4_INT32, C4_SUM, comm, NULL);
    if (status == C4_OK) {
        C4TEST_INT(ones[0], expected);
        C4TEST_INT(ones[1], expected);
    }
    return status;
}

static void check_prompt(const char *what, uint64_t start_ns)
{
    double took_ms = (double)(c4_now_ns() - start_ns) * 1e-6;
    if (took_ms > 1000 * c4test_seconds(1))
        world_fail("%s took %.0f ms", what, took_ms);
}

/* ---- the one that was away ---- */

static void check_later_calls(c4_comm *comm)
{
    c4_comm *other = NULL;
    uint64_t all, start_ns = c4_now_ns();
    C4TEST_INT(c4_comm_status(comm), C4_ERR_EXCLUDED);
    C4TEST_INT(count(comm, NRANKS), C4_ERR_EXCLUDED);
    C4TEST_INT(c4_barrier(comm, NULL), C4_ERR_EXCLUDED);
    C4TEST_INT(c4_comm_split(comm, 0, 0, NULL, NULL, &other), C4_ERR_EXCLUDED);
    C4TEST_INT(c4_comm_agree(comm, 1, AGREE_MS, &all, NULL, NULL), C4_ERR_EXCLUDED);
    C4TEST_INT(c4_comm_shrink(comm, NULL, 0, NULL, NULL, &other), C4_ERR_EXCLUDED);
    C4TEST_CONTAINS(c4_last_error(NULL), "the other ranks gave this one up and go on without it: rank ");
    CU_ASSERT(other == NULL);
    check_prompt("six calls after it", start_ns);
}

static void victim_rank(revival *r, c4_comm *comm)
{
    raise(SIGSTOP);
    uint64_t start_ns = c4_now_ns();
    c4_status status = C4_OK;
    for (int i = 0; i < MANY && status == C4_OK; i++)
        status = count(comm, NRANKS);
    check_prompt("the way to the error", start_ns);
    C4TEST_INT(status, C4_ERR_EXCLUDED);
    C4TEST_CONTAINS(c4_last_error(comm), "the other ranks gave this one up and go on without it: rank ");
    C4TEST_CONTAINS(c4_last_error(comm), " s (C4_SILENT_MS)");
    C4TEST_CONTAINS(c4_last_error(comm), "[C4_ERR_EXCLUDED: destroy the communicator; to come back, join by");
    check_later_calls(comm);
    start_ns = c4_now_ns();
    C4TEST_OK(c4_comm_destroy(comm));
    check_prompt("its end", start_ns);
    if (!r->rejoin)
        return;
    c4_unique_id id;
    pass_id(r->join_pipe, 1, false, &id);
    C4TEST_OK_FATAL(c4_comm_grow(NULL, &id, NRANKS, NRANKS - 1, NULL, NULL, &comm));
    C4TEST_OK(count(comm, NRANKS));
    C4TEST_OK(c4_comm_destroy(comm));
}

/* ---- the others ---- */

static void take_back(revival *r, c4_comm *comm)
{
    c4_unique_id id;
    c4_comm *smaller = NULL, *larger = NULL;
    int rank;
    C4TEST_OK_FATAL(c4_comm_shrink(comm, NULL, 0, NULL, NULL, &smaller));
    C4TEST_OK(c4_comm_destroy(comm));
    C4TEST_OK(c4_comm_rank(smaller, &rank));
    C4TEST_OK(count(smaller, NRANKS - 1));
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_comm_grow_id(smaller, &id));
        pass_id(r->join_pipe, 1, true, &id);
    }
    C4TEST_OK_FATAL(c4_comm_grow(smaller, rank == 0 ? &id : NULL, NRANKS, 0, NULL, NULL, &larger));
    C4TEST_OK(c4_comm_destroy(smaller));
    C4TEST_OK(count(larger, NRANKS));
    C4TEST_OK(c4_comm_destroy(larger));
}

static void other_rank(revival *r, c4_comm *comm)
{
    C4TEST_INT(count(comm, NRANKS), C4_ERR_PEER_SILENT);
    if (r->leave)
        C4TEST_OK(c4_comm_destroy(comm));
    r->given_up++;
    if (r->rejoin)
        take_back(r, comm);
    else if (!r->leave)
        pause(); /* with the communicator, until it is killed */
}

static void revival_rank(int rank, void *arg)
{
    revival *r = arg;
    c4_unique_id id;
    c4_comm *comm = NULL;
    setenv("C4_LOG", getenv("C4_TEST_VERBOSE") ? "info" : "none", 1);
    setenv("C4_TRANSPORTS", r->transports, 1);
    setenv("C4_HEARTBEAT_MS", "400", 1);
    setenv("C4_SILENT_MS", "1500", 1);
    if (rank == 0)
        C4TEST_OK_FATAL(c4_unique_id_create(&id));
    pass_id(r->id_pipe, NRANKS - 1, rank == 0, &id);
    C4TEST_OK_FATAL(c4_comm_create(&id, NRANKS, rank, NULL, NULL, &comm));
    for (int i = 0; i < BEFORE; i++)
        C4TEST_OK_FATAL(count(comm, NRANKS));
    if (rank == r->victim)
        victim_rank(r, comm);
    else
        other_rank(r, comm);
    C4TEST_INT(world_failures(), 0);
}

static void run(const revival *wanted)
{
    revival *r = c4test_shared(sizeof *r);
    int statuses[NRANKS];
    siginfo_t info;
    *r = *wanted;
    C4TEST_INT_FATAL(pipe(r->id_pipe), 0);
    C4TEST_INT_FATAL(pipe(r->join_pipe), 0);
    c4test_team *team = c4test_team_start(NRANKS, revival_rank, r);
    pid_t victim = c4test_team_pid(team, r->victim);
    CU_ASSERT_EQUAL(waitid(P_PID, (id_t)victim, &info, WSTOPPED), 0);
    while (r->given_up < NRANKS - 1)
        poll(NULL, 0, 1); /* the case's deadline ends a wait in vain */
    kill(victim, SIGCONT);
    if (!r->leave && !r->rejoin) {
        CU_ASSERT_EQUAL(waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT), 0);
        for (int rank = 0; rank < NRANKS; rank++)
            if (rank != r->victim)
                kill(c4test_team_pid(team, rank), SIGKILL);
    }
    c4test_team_wait(team, 30, statuses);
    for (int rank = 0; rank < NRANKS; rank++)
        CU_ASSERT(statuses[rank] == 0 || (!r->leave && !r->rejoin && rank != r->victim));
}

static const char *const transports[] = {"shm", "tcp"};

static void run_each(revival r)
{
    for (int i = 0; i < 2; i++) {
        r.transports = transports[i];
        run(&r);
    }
}

static void test_others_stay(void)
{
    run_each((revival){.victim = 2});
}

static void test_others_leave(void)
{
    run_each((revival){.victim = 1, .leave = true});
}

/* All met through rank 0, and now do without. */
static void test_root_returns(void)
{
    run_each((revival){.victim = 0});
}

static void test_joins_again(void)
{
    run_each((revival){.victim = 1, .rejoin = true});
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(others_stay, 90), C4TEST_DEADLINE(others_leave, 90),
                                        C4TEST_DEADLINE(root_returns, 90), C4TEST_DEADLINE(joins_again, 90),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
