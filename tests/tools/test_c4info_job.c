/* c4info jobs and c4info job, on jobs that hang. */
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/tools/test_c4run_job.h"

/* c4info ARGUMENTS, with its output in the files info and why of the case's directory. */
static int info(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int info(const char *format, ...)
{
    char arguments[600], line[9000];
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    snprintf(line, sizeof line, "'%s/tools/c4info/c4info' %s >'%s' 2>'%s'", c4test_build_root(), arguments,
             c4test_path("info"), c4test_path("why"));
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Repeats the command until it says `part`; the case's deadline ends a wait in vain. */
static void await(const char *arguments, const char *part)
{
    for (bool said = false; !said;) {
        info("%s", arguments);
        char *text = c4run_content("info");
        said = strstr(text, part) != NULL;
        free(text);
        usleep(20000);
    }
}

/* A job of which rank 2 never enters the second call. */
static pid_t hang(void)
{
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    setenv("C4_LOG", "none", 1);
    return c4run_start("-n 4 '%s/tests/tools/waiting_ranks' absent", c4test_build_root());
}

static cJSON *answer(const char *arguments)
{
    C4TEST_INT(info("%s", arguments), 0);
    char *text = c4run_content("info");
    cJSON *root = cJSON_Parse(text);
    free(text);
    CU_ASSERT_FATAL(root != NULL);
    C4TEST_INT(cJSON_GetObjectItem(root, "schema_version")->valueint, 1);
    return root;
}

/* The process of that rank, and the job's id. */
static long process_of(int rank, char id[17])
{
    cJSON *root = answer("jobs --json"), *job = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "jobs"), 0);
    const cJSON *one;
    long pid = 0;
    CU_ASSERT_FATAL(job != NULL);
    snprintf(id, 17, "%s", cJSON_GetObjectItem(job, "job")->valuestring);
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(job, "ranks")) if (cJSON_GetObjectItem(one, "rank")->valueint == rank)
        pid = (long)cJSON_GetObjectItem(one, "pid")->valuedouble;
    cJSON_Delete(root);
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

static void test_hang(void)
{
    char id[17];
    pid_t job = hang();
    await("job probe", "ranks 0-1, 3 are in all_reduce #2 of 100 float32 sum since ");
    c4run_assert_said("info", "NOT ENTERED  last: all_reduce #1 of 1000 float32 sum");
    c4run_assert_said(
        "info", ") has not entered all_reduce #2; its last call was all_reduce #1 of 1000 float32 sum, which ended ");
    await("jobs", "WAITS FOR");
    c4run_assert_said("info", ": 4 ranks, 4 of them here; waiting_ranks, up ");
    c4run_assert_said("info", "no operation; last all_reduce #1 of 1000 float32 sum");
    await("job dump", "waits for      rank 2 (pid ");
    c4run_assert_said("info", "under way      all_reduce #2 of 100 float32 sum, for ");
    c4run_assert_said("info", "last complete  all_reduce #1 of 1000 float32 sum, ended ");
    C4TEST_INT(info("job plan"), 0);
    c4run_assert_said("info", "to ranks 1-3\n");
    c4run_assert_said("info", "COLLECTIVE");
    long pid = process_of(1, id);
    cJSON *probe = answer("job probe --json");
    const cJSON *comm = cJSON_GetArrayItem(cJSON_GetObjectItem(probe, "communicators"), 0);
    C4TEST_INT(cJSON_GetArraySize(cJSON_GetObjectItem(comm, "not_entered")), 1);
    C4TEST_INT(cJSON_GetArrayItem(cJSON_GetObjectItem(comm, "not_entered"), 0)->valueint, 2);
    cJSON_Delete(probe);
    C4TEST_INT(info("job abort %ld --reason 'the data set is gone'", pid), 0);
    c4run_assert_said("info", "aborted by operator (uid ");
    c4run_assert_said("info", ") through the admin socket of rank 1: the data set is gone\n");
    CU_ASSERT(c4run_finish(job) != 0);
    C4TEST_INT(info("job probe %.6s", id), 1);
}

/* Its socket, /proc and the others know of a rank that cannot speak for itself. */
static void test_stopped(void)
{
    char id[17];
    pid_t job = hang();
    await("job probe", "ranks 0-1, 3 are in all_reduce #2");
    pid_t stopped = (pid_t)process_of(1, id);
    CU_ASSERT_FATAL(kill(stopped, SIGSTOP) == 0);
    C4TEST_INT(info("jobs"), 0);
    c4run_assert_said("info", "stopped");
    c4run_assert_said("info", "its process is stopped (state T): kill -CONT ");
    C4TEST_INT(info("job probe"), 0);
    c4run_assert_said("info", "its process is stopped (state T): kill -CONT ");
    c4run_assert_said("info", "; its process is stopped by a signal (state T)\n");
    c4run_assert_said("info", "rank 2 (pid ");
    C4TEST_INT(info("job dump %d", stopped), 1);
    c4run_assert_said("why", "c4info: rank 1 (pid ");
    c4run_assert_said("why", "its process is stopped (state T): kill -CONT ");
    CU_ASSERT(kill(stopped, SIGCONT) == 0);
    C4TEST_INT(info("job abort %.8s", id), 0);
    CU_ASSERT(c4run_finish(job) != 0);
}

static void test_wrong_words(void)
{
    static const struct {
        const char *arguments, *message;
        int status;
    } rows[] = {
        {"job", "job what? probe, dump, plan or abort", 2},
        {"job prob", "unknown word after job: prob; did you mean probe?", 2},
        {"job abort", "abort which job?", 2},
        {"job dump 1 2", "one job, not both 1 and 2", 2},
        {"job dump --reason x", "--reason is for `c4info job abort`", 2},
        {"jobs --reason x", "--communicator and --reason are for `c4info job`", 2},
        {"job dump --communicator 'a b'", "--communicator takes a name without blanks or an id", 2},
        {"job dump", "no job of this user runs on this host: no socket in ", 1},
        {"job dump 12345", "no job 12345 of this user on this host: no socket of it in ", 1},
    };
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        C4TEST_INT(info("%s", rows[i].arguments), rows[i].status);
        c4run_assert_said("why", rows[i].message);
    }
    C4TEST_INT(info("jobs"), 0);
    c4run_assert_said("info", "No job of this user runs on this host with its admin socket in ");
}

/* What a job that was killed has left is no job, and goes. */
static void test_clean(void)
{
    char id[17];
    pid_t job = hang();
    await("job probe", "ranks 0-1, 3 are in all_reduce #2");
    process_of(0, id);
    C4TEST_INT(info("clean"), 0);
    c4run_assert_not_said("info", ".sock");
    kill(job, SIGTERM);
    CU_ASSERT(c4run_finish(job) != 0);
    C4TEST_INT(info("jobs"), 0);
    c4run_assert_said("info", "1 dead job has left sockets behind: c4info clean removes them.");
    C4TEST_INT(info("clean --dry-run"), 0);
    c4run_assert_said("info", ".sock");
    C4TEST_INT(info("clean"), 0);
    c4run_assert_said("info", id);
    C4TEST_INT(info("jobs"), 0);
    c4run_assert_not_said("info", "left sockets behind");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(hang, 60), C4TEST_DEADLINE(stopped, 60), C4TEST(wrong_words),
                                        C4TEST_DEADLINE(clean, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
