/* Cases that end in every way a case can end. test_harness.c runs them and checks what the harness says. */
#include "tests/c4test.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void test_good(void)
{
    CU_ASSERT(1);
    CU_ASSERT_PTR_NULL(getenv("C4_FROM_OUTSIDE"));
    FILE *file = fopen(c4test_path("a file"), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fclose(file);
    printf("dir %s\nrand %llu\n", c4test_dir(), (unsigned long long)c4test_rand());
}

static void test_bad_value(void)
{
    C4TEST_INT(1 + 1, 3);
    C4TEST_STRING("x", "y");
    C4TEST_CONTAINS("abc", "z");
}

static void test_bad_fatal(void)
{
    CU_ASSERT_FATAL(0);
    puts("not reached");
}

static void test_crash(void)
{
    raise(SIGSEGV);
}

static void test_hang(void)
{
    for (;;)
        pause();
}

static void test_exits(void)
{
    exit(0);
}

static void test_skips(void)
{
    C4TEST_SKIP("no %s here", "unicorn");
}

static void test_leaves_process(void)
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, 0);
        for (;;)
            pause();
    }
}

static void rank_good(int rank, void *arg)
{
    __atomic_fetch_add((int *)arg, rank + 1, __ATOMIC_RELAXED);
}

static void rank_fatal(int rank, void *arg)
{
    (void)arg;
    CU_ASSERT_NOT_EQUAL_FATAL(rank, 1);
}

static void rank_killed(int rank, void *arg)
{
    (void)arg;
    if (rank == 2)
        raise(SIGKILL);
}

static void rank_skips(int rank, void *arg)
{
    (void)arg;
    if (rank == 1)
        C4TEST_SKIP("rank cannot");
}

static void rank_hangs(int rank, void *arg)
{
    (void)arg;
    while (rank == 0)
        pause();
}

static void test_ranks_good(void)
{
    int *sum = c4test_shared(sizeof *sum);
    C4TEST_INT(c4test_ranks(4, rank_good, sum, 10), 0);
    C4TEST_INT(*sum, 10);
}

static void test_ranks_fatal(void)
{
    c4test_ranks(3, rank_fatal, NULL, 10);
}

static void test_ranks_killed(void)
{
    c4test_ranks(3, rank_killed, NULL, 10);
}

static void test_ranks_skip(void)
{
    c4test_ranks(2, rank_skips, NULL, 10);
    CU_ASSERT(0);
}

static void test_ranks_hang(void)
{
    c4test_ranks(2, rank_hangs, NULL, 1);
}

static void test_team_status(void)
{
    int statuses[3];
    c4test_team *team = c4test_team_start(3, rank_hangs, NULL);
    CU_ASSERT(c4test_team_pid(team, 0) > 0);
    kill(c4test_team_pid(team, 0), SIGTERM);
    c4test_team_wait(team, 10, statuses);
    C4TEST_INT(statuses[0], SIGTERM);
    C4TEST_INT(statuses[1], 0);
    C4TEST_INT(statuses[2], 0);
}

int main(int argc, char **argv)
{
    static const int number = 7;
    static const c4test_case cases[] = {
        C4TEST(good),        C4TEST(bad_value),      C4TEST(bad_fatal),
        C4TEST(crash),       C4TEST(exits),          C4TEST_DEADLINE(hang, 1),
        C4TEST(skips),       C4TEST(leaves_process), C4TEST(ranks_good),
        C4TEST(ranks_fatal), C4TEST(ranks_skip),     C4TEST(ranks_killed),
        C4TEST(ranks_hang),  C4TEST(team_status),    C4TEST_WITH("good_with_arg", test_good, 5, &number),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
