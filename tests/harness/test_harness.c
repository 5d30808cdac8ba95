/* The harness must report each way in which a case can end; sample_cases has one case for each. */
#include "tests/c4test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 16384 };

/* Runs sample_cases for one case; returns its exit status, the text of both its streams in `output`. */
static int run_sample(const char *name, const char *environment, char *output)
{
    char command[1024];
    snprintf(command, sizeof command, "env C4_TEST_RESULTS=%s %s %s/tests/harness/sample_cases %s 2>&1",
             c4test_path("results"), environment, c4test_build_root(), name);
    FILE *pipe = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipe);
    size_t length = fread(output, 1, OUTPUT_BYTES - 1, pipe);
    output[length] = '\0';
    int status = pclose(pipe);
    CU_ASSERT(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *name, int status, const char *verdict, const char *text)
{
    char output[OUTPUT_BYTES];
    char line[256];
    C4TEST_INT(run_sample(name, "C4_FROM_OUTSIDE=1", output), status);
    snprintf(line, sizeof line, "%s %s", verdict, name);
    C4TEST_CONTAINS(output, line);
    C4TEST_CONTAINS(output, text);
    FILE *results = fopen(c4test_path("results"), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(results);
    char result[256] = "";
    CU_ASSERT_PTR_NOT_NULL(fgets(result, sizeof result, results));
    fclose(results);
    C4TEST_CONTAINS(result, line);
}

static void test_pass(void)
{
    expect("good", 0, "PASS", "1 passed, 0 failed, 0 skipped");
    expect("good_with_arg", 0, "PASS", "1 passed, 0 failed, 0 skipped");
    expect("ranks_good", 0, "PASS", "");
    expect("team_status", 0, "PASS", "");
}

static void test_failed_assertions(void)
{
    expect("bad_value", 1, "FAIL", "1 + 1 is 2, expected 3");
    expect("bad_value", 1, "FAIL", "\"x\" is \"x\", expected \"y\"");
    expect("bad_value", 1, "FAIL", "\"abc\", which does not contain \"z\"");
    expect("bad_fatal", 1, "FAIL", "sample_cases.c:");
    char output[OUTPUT_BYTES];
    run_sample("bad_fatal", "", output);
    CU_ASSERT_PTR_NULL(strstr(output, "not reached"));
}

static void test_bad_ends(void)
{
    expect("crash", 1, "FAIL", "signal");
    expect("exits", 1, "FAIL", "exit(0) in mid-test");
    expect("hang", 1, "FAIL", "deadline passed");
    expect("leaves_process", 1, "FAIL", "left 1 processes running");
}

static void test_bad_ranks(void)
{
    expect("ranks_fatal", 1, "FAIL", "rank 1: ");
    expect("ranks_killed", 1, "FAIL", "rank 2 of 3: killed by signal 9");
    expect("ranks_hang", 1, "FAIL", "rank 0 of 2: deadline passed");
}

static void test_skip(void)
{
    expect("skips", 0, "SKIP", "no unicorn here");
    expect("ranks_skip", 0, "SKIP", "rank cannot");
}

static void test_dir_is_removed_and_seed_repeats(void)
{
    char output[2][OUTPUT_BYTES];
    unsigned long long rand[2] = {0, 1};
    for (int i = 0; i < 2; i++) {
        char dir[256] = "";
        struct stat info;
        C4TEST_INT(run_sample("good", "C4_TEST_SEED=5", output[i]), 0);
        const char *line = strstr(output[i], "dir ");
        CU_ASSERT_PTR_NOT_NULL_FATAL(line);
        C4TEST_INT(sscanf(line, "dir %255s\nrand %llu", dir, &rand[i]), 2);
        CU_ASSERT(stat(dir, &info) != 0);
    }
    CU_ASSERT_EQUAL(rand[0], rand[1]);
    C4TEST_CONTAINS(output[0], "seed 5 ");
}

static void test_command_line(void)
{
    char output[OUTPUT_BYTES];
    C4TEST_INT(run_sample("nonsense", "", output), 2);
    C4TEST_CONTAINS(output, "no case \"nonsense\"");
    C4TEST_INT(run_sample("--list", "", output), 0);
    C4TEST_CONTAINS(output, "ranks_hang\n");
}

static void test_count_entries(void)
{
    C4TEST_INT(c4test_count_entries(c4test_dir()), 0);
    C4TEST_INT(mkdir(c4test_path(".hidden"), 0700), 0);
    C4TEST_INT(c4test_count_entries(c4test_dir()), 1);
    C4TEST_INT(c4test_count_entries(c4test_path("absent")), 0);
    int before = c4test_count_entries("/proc/self/fd"), fd = dup(STDERR_FILENO);
    C4TEST_INT(c4test_count_entries("/proc/self/fd"), before + 1);
    close(fd);
    C4TEST_INT(c4test_count_entries("/proc/self/fd"), before); /* and leaves none open */
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(pass), C4TEST_DEADLINE(failed_assertions, 60),  C4TEST(bad_ranks),    C4TEST_DEADLINE(bad_ends, 60),
        C4TEST(skip), C4TEST(dir_is_removed_and_seed_repeats), C4TEST(command_line), C4TEST(count_entries),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
