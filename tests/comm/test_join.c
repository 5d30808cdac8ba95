/* c4run --join: a running job takes in ranks that a second c4run starts. */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/tools/test_c4run_job.h"

/* Absolute path of a program of the build. */
static void find(const char *name, char path[PATH_MAX])
{
    char relative[PATH_MAX];
    snprintf(relative, sizeof relative, "%s/%s", c4test_build_root(), name);
    if (!realpath(relative, path))
        C4TEST_SKIP("%s is not built", relative);
}

/* In the place of its shell, so that its process number is c4run's: output in NAME.out and NAME.err. */
static pid_t start(const char *name, const char *arguments)
{
    char line[PATH_MAX * 3], c4run[PATH_MAX], program[PATH_MAX];
    find("tools/c4run/c4run", c4run);
    find("tests/comm/joining_ranks", program);
    snprintf(line, sizeof line, "cd '%s' && exec '%s' %s '%s' 3 >%s.out 2>%s.err", c4test_dir(), c4run, arguments,
             program, name, name);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", line, NULL);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0);
    return pid;
}

static int finish(pid_t pid)
{
    int status = 0;
    CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The job listens once c4run has prepared it. */
static void await_job(pid_t job)
{
    char name[64], line[256];
    bool found = false;
    snprintf(name, sizeof name, "@c4run/%u/%d", (unsigned)geteuid(), (int)job);
    while (!found && kill(job, 0) == 0) {
        FILE *sockets = fopen("/proc/net/unix", "re");
        CU_ASSERT_FATAL(sockets != NULL);
        while (!found && fgets(line, sizeof line, sockets))
            found = strstr(line, name) != NULL;
        fclose(sockets);
        usleep(2000);
    }
}

static void test_two_become_three(void)
{
    char arguments[64];
    pid_t job = start("job", "-n 2");
    await_job(job);
    snprintf(arguments, sizeof arguments, "--join %d -n 1", (int)job);
    pid_t joining = start("new", arguments);
    C4TEST_INT(finish(joining), 0);
    C4TEST_INT(finish(job), 0);
    c4run_assert_said("job.out", "3 0 6\n");
    c4run_assert_said("job.out", "3 1 6\n");
    c4run_assert_is("new.out", "3 2 6\n");
    c4run_assert_said("new.err", "joining as rank");
    c4run_assert_said("job.err", "1 rank waits to join the job");
}

/* One after the other: the second group waits until the first is in. */
static void test_two_groups(void)
{
    char arguments[64];
    pid_t job = start("job", "-n 1");
    await_job(job);
    snprintf(arguments, sizeof arguments, "--quiet --join %d -n 1", (int)job);
    pid_t first = start("first", arguments), second = start("second", arguments);
    C4TEST_INT(finish(first), 0);
    C4TEST_INT(finish(second), 0);
    C4TEST_INT(finish(job), 0);
    c4run_assert_is("job.out", "3 0 6\n");
}

static void test_refusals(void)
{
    char arguments[64];
    snprintf(arguments, sizeof arguments, "--join %d -n 1", (int)getpid());
    C4TEST_INT(finish(start("nobody", arguments)), 1);
    c4run_assert_said("nobody.err", "no c4run of yours");
    C4TEST_INT(finish(start("wrong", "--join x -n 1")), 2);
    C4TEST_INT(finish(start("both", "--join 7 -n 1 --hosts a,b")), 2);
    c4run_assert_said("both.err", "leave out --hosts");
}

/* A job that takes nobody in: the timeout says why, a signal ends the waiting, the job goes on. */
static void test_never_taken_in(void)
{
    char arguments[64];
    int status;
    pid_t job = start("job", "-n 1 sh -c 'sleep 30' --");
    await_job(job);
    snprintf(arguments, sizeof arguments, "--timeout 0.5 --join %d -n 2", (int)job);
    C4TEST_INT(finish(start("late", arguments)), 124);
    c4run_assert_said("late.err", "c4_comm_pending");
    snprintf(arguments, sizeof arguments, "--join %d -n 2", (int)job);
    pid_t waiting = start("waiting", arguments);
    c4run_await_file("waiting.err");
    C4TEST_INT(kill(waiting, SIGTERM), 0);
    C4TEST_INT(finish(waiting), 128 + SIGTERM);
    C4TEST_INT(waitpid(job, &status, WNOHANG), 0);
    C4TEST_INT(kill(job, SIGTERM), 0);
    C4TEST_INT(finish(job), 128 + SIGTERM);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(two_become_three, 60), C4TEST_DEADLINE(two_groups, 60),
                                        C4TEST(refusals), C4TEST_DEADLINE(never_taken_in, 30), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
