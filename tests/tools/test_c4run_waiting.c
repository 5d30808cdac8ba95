/* What c4run says of the ranks that wait when a job ends badly. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/tools/test_c4run_job.h"

/* c4run OPTIONS waiting_ranks MODE, with a directory of its own for records. */
static int run(const char *options, const char *mode)
{
    static int runs;
    char name[32];
    snprintf(name, sizeof name, "records.%d", runs++);
    setenv("C4_RECORD_DIR", c4test_path(name), 1);
    setenv("C4_LOG", "none", 1);
    return c4run_run("%s '%s/tests/tools/waiting_ranks' %s", options, c4test_build_root(), mode);
}

static void test_for_a_rank_that_does_not_come(void)
{
    C4TEST_INT(run("-n 4 --timeout 3", "absent"), 124);
    c4run_assert_said("err", "timeout after 3.0 s; still running: ranks 0-3");
    c4run_assert_said("err", "c4run: ranks 0, 1, 3: in all_reduce #2 on \"world\" (100 float32) for ");
    c4run_assert_said("err", " s, waiting for rank 2\n");
    c4run_assert_said("err",
                      "c4run: rank 2: in no operation; the last, all_reduce #1 on \"world\" (1000 float32), ended ");
}

static void test_for_a_rank_that_died(void)
{
    C4TEST_INT(run("-n 3", "killed"), 128 + SIGKILL);
    c4run_assert_said("err", "rank 1 (pid ");
    c4run_assert_said("err", "all_reduce #2 on \"world\" (100 float32) for ");
    c4run_assert_said("err", ", waiting for rank 1");
    CU_ASSERT(run("-n 3", "exited") != 0); /* the others may be gone too before c4run looks */
    c4run_assert_said("err", ", waiting for rank 1");
}

static void test_for_a_peer(void)
{
    C4TEST_INT(run("-n 2 --timeout 3", "peer"), 124);
    c4run_assert_said("err", "c4run: rank 0: in recv from rank 1 on \"world\" (1 float32) for ");
    c4run_assert_said("err", " s, waiting for rank 1\n");
}

/* Wrapped, the rank is not the process that c4run started. */
static void test_of_wrapped_ranks(void)
{
    c4run_write_script("wrapper", "#!/bin/sh\n\"$@\"\nexit $?\n");
    C4TEST_INT(run("-n 3 --timeout 3 --wrap ./wrapper", "absent"), 124);
    c4run_assert_said("err", "c4run: ranks 0, 1: in all_reduce #2 on \"world\" (100 float32) for ");
}

static void test_when_interrupted(void)
{
    C4TEST_INT(run("-n 3", "interrupt"), 128 + SIGTERM);
    c4run_assert_said("err", "SIGTERM: passed on to the ranks");
    c4run_assert_said("err", "c4run: ranks 0, 2: in all_reduce #2 on \"world\" (100 float32) for ");
    c4run_assert_said("err", " s, waiting for rank 1\n");
    C4TEST_INT(run("-n 3 --quiet", "interrupt"), 128 + SIGTERM);
    c4run_assert_is("err", "");
}

static void test_without_records(void)
{
    setenv("C4_RECORD", "0", 1);
    C4TEST_INT(run("-n 3 --timeout 1", "absent"), 124);
    c4run_assert_said("err", "timeout after 1.0 s");
    c4run_assert_not_said("err", "rank 2:");
    unsetenv("C4_RECORD");
    C4TEST_INT(run("-n 2", "absent"), 0);
    c4run_assert_is("err", "");
}

/* A rank that dies for reasons of its own: its report is enough. */
static void test_death_outside_of_operations(void)
{
    C4TEST_INT(run("-n 3 --tag", "alone"), 4);
    c4run_assert_said("err", "ended with exit status 4");
    c4run_assert_not_said("err", "in no operation");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(for_a_rank_that_does_not_come),
        C4TEST(for_a_rank_that_died),
        C4TEST(for_a_peer),
        C4TEST(of_wrapped_ranks),
        C4TEST(when_interrupted),
        C4TEST(without_records),
        C4TEST(death_outside_of_operations),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
