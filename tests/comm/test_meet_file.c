/* c4_comm_create_from_env with C4_RENDEZVOUS=file:/PATH: jobs of several sizes, one after the other through one file, with and
 * without a key, beside one another, and after a job that was killed while it met. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

static void set_rank(int rank, int nranks)
{
    char text[16];
    snprintf(text, sizeof text, "%d", rank);
    setenv("C4_RANK", text, 1);
    snprintf(text, sizeof text, "%d", nranks);
    setenv("C4_NRANKS", text, 1);
}

static void set_file(const char *name)
{
    char text[600];
    snprintf(text, sizeof text, "file:%s", c4test_path(name));
    setenv("C4_RENDEZVOUS", text, 1);
}

/* Twice: the second communicator meets through the same file. */
static void rank_main(int rank, void *arg)
{
    const int *nranks = arg;
    set_rank(rank, *nranks);
    for (int i = 0; i < 2; i++) {
        c4_comm *comm = NULL;
        int32_t sum = 1;
        C4TEST_OK_FATAL(c4_comm_create_from_env(NULL, NULL, &comm));
        C4TEST_OK(c4_all_reduce(&sum, &sum, 1, C4_INT32, C4_SUM, comm, NULL));
        C4TEST_INT(sum, *nranks);
        C4TEST_OK(c4_comm_destroy(comm));
    }
}

static void test_jobs(void)
{
    static const int sizes[] = {1, 2, 3, 6};
    set_file("meet");
    for (int keyed = 0; keyed < 2; keyed++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            c4test_ranks(sizes[i], rank_main, (void *)&sizes[i], 30);
        setenv("C4_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1);
    }
    CU_ASSERT_NOT_EQUAL(access(c4test_path("meet"), F_OK), 0);
}

static void side_by_side_rank(int rank, void *arg)
{
    set_file(rank % 2 ? "odd" : "even");
    rank_main(rank / 2, arg);
}

static void test_side_by_side(void)
{
    c4test_ranks(6, side_by_side_rank, &(int){3}, 30);
}

static void lonely_rank(int rank, void *arg)
{
    c4_comm *comm;
    (void)arg;
    set_rank(rank, 2);
    c4_comm_create_from_env(NULL, NULL, &comm);
}

/* Rank 0 dies while it waits. Its file stays; the next job replaces it. */
static void test_after_a_death(void)
{
    int status;
    set_file("meet");
    c4test_team *team = c4test_team_start(1, lonely_rank, NULL);
    while (access(c4test_path("meet"), F_OK) != 0)
        sched_yield();
    kill(c4test_team_pid(team, 0), SIGKILL);
    c4test_team_wait(team, 10, &status);
    CU_ASSERT(WIFSIGNALED(status));
    CU_ASSERT_EQUAL(access(c4test_path("meet"), F_OK), 0);
    c4test_ranks(3, rank_main, &(int){3}, 30);
    CU_ASSERT_NOT_EQUAL(access(c4test_path("meet"), F_OK), 0);
}

static void nowhere_rank(int rank, void *arg)
{
    c4_comm *comm = NULL;
    (void)arg;
    set_rank(rank, 2);
    setenv("C4_RENDEZVOUS", "file:/proc/no/such/place", 1);
    setenv("C4_SETUP_TIMEOUT_MS", "300ms", 1);
    c4_status status = c4_comm_create_from_env(NULL, NULL, &comm);
    C4TEST_INT(status, rank ? C4_ERR_TIMEOUT : C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_last_error(NULL),
                    rank ? "no rank 0 through the file /proc/no/such/place within 300 ms"
                         : "C4_RENDEZVOUS=file:/proc/no/such/place cannot be written; name a file in "
                           "a directory that all hosts share");
}

static void test_nowhere(void)
{
    setenv("C4_LOG", "none", 1);
    c4test_ranks(2, nowhere_rank, NULL, 20);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(jobs, 120), C4TEST_DEADLINE(side_by_side, 40),
                                        C4TEST_DEADLINE(after_a_death, 40), C4TEST(nowhere), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
