/* c4run over several hosts, started by hand or through ssh, for which a script stands in. */
#include "tests/c4test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/tools/test_c4run_job.h"

static int free_port(void)
{
    C4TEST_INT_FATAL(c4run_run("-n 1 sh -c 'echo ${C4_RENDEZVOUS##*:}'"), 0);
    char *text = c4run_content("out");
    int port = atoi(text);
    free(text);
    return port;
}

static void test_nodes_by_hand(void)
{
    int port = free_port();
    C4TEST_INT(c4run_run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1:%d true", port), 1);
    c4run_assert_said("err", "needs a key that they share");
    setenv("C4_KEY_FILE", "somewhere", 1);
    C4TEST_INT(
        c4run_run("-n 3 --nnodes 2 --node-rank 1 --master 127.0.0.1:%d --tag sh -c "
                  "'echo $C4_NRANKS $C4_LOCAL_RANK/$C4_LOCAL_NRANKS $C4_RENDEZVOUS ${C4_KEY-none} ${C4_JOB_ID-none}'",
                  port),
        0);
    char expected[128];
    snprintf(expected, sizeof expected, "[2] 3 0/1 127.0.0.1:%d none none\n", port);
    c4run_assert_is("out", expected);
    C4TEST_INT(c4run_run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1:%d sh -c "
                         "'[ $C4_RANK = 1 ] || readlink /proc/self/fd/$C4_RENDEZVOUS_FD'",
                         port),
               0);
    c4run_assert_said("out", "socket:[");
    C4TEST_INT(c4run_run("-n 3 --nnodes 2 --node-rank 0 --master 192.0.2.77:%d true", port), 1);
    c4run_assert_said("err", "not an address of this host");
    C4TEST_INT(c4run_run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1 true"), 1);
    c4run_assert_said("err", "all hosts must know the port");
}

/* Stands in for ssh: HOST COMMAND, run here; what was on its command line is kept. */
static const char stand_in[] = "#!/bin/sh\nhost=$1; shift\necho \"$*\" > ssh.$host\necho Welcome\n"
                               "SSH_CONNECTION='127.0.0.1 1 127.0.0.1 22' HOST=$host exec sh -c \"$*\"\n";

static void test_hosts(void)
{
    c4run_write_script("ssh", stand_in);
    setenv("C4_LOG", "warn", 1);
    C4TEST_INT(c4run_run("-n 5 --hosts left,right --ssh ./ssh --tag sh -c 'echo $HOST $C4_LOCAL_RANK/$C4_LOCAL_NRANKS "
                         "$C4_NRANKS ${#C4_KEY} $C4_LOG \"$1\"; echo $C4_RENDEZVOUS $C4_KEY $C4_JOB_ID > job.$C4_RANK' "
                         "sh \"it's  one\""),
               0);
    c4run_assert_said("out", "[0] left 0/3 5 64 warn it's  one\n");
    c4run_assert_said("out", "[2] left 2/3 5 64 warn it's  one\n");
    c4run_assert_said("out", "[3] right 0/2 5 64 warn it's  one\n");
    char *first = c4run_content("job.0"), *last = c4run_content("job.4"), *left = c4run_content("ssh.left"),
         *right = c4run_content("ssh.right");
    C4TEST_STRING(first, last);
    char key[65] = "";
    CU_ASSERT_EQUAL_FATAL(sscanf(first, "%*s %64s", key), 1);
    C4TEST_INT((long long)strlen(key), 64);
    CU_ASSERT(strstr(left, key) == NULL && strstr(right, key) == NULL);
    free(first);
    free(last);
    free(left);
    free(right);
}

static void test_hosts_fail_together(void)
{
    c4run_write_script("ssh", stand_in);
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(c4run_run("-n 4 --hosts left,right --ssh ./ssh sh -c 'echo $$ > pid.$C4_RANK; "
                         "[ $C4_RANK != 3 ] || kill -KILL $$; " C4RUN_WAIT_FOREVER "'"),
               128 + SIGKILL);
    CU_ASSERT(c4run_seconds_since(start_ns) < c4test_seconds(5));
    c4run_assert_said("err", "rank 3 (pid ");
    c4run_assert_gone(c4run_pid_in("pid.0"));
    C4TEST_INT(c4run_run("-n 2 --hosts left,right --ssh false true"), 1);
    c4run_assert_said("err", "host left: c4run did not start there");
}

static void test_lost_launcher_ends_hosts(void)
{
    c4run_write_script("ssh", stand_in);
    pid_t pid = c4run_start(
        "-n 2 --hosts left,right --ssh 'setsid --wait ./ssh' sh -c 'echo $$ > pid.$C4_RANK; " C4RUN_WAIT_FOREVER "'");
    pid_t ranks[] = {c4run_pid_in("pid.0"), c4run_pid_in("pid.1")};
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    C4TEST_INT(c4run_finish(pid), 1000 + SIGKILL);
    c4run_assert_gone(ranks[0]);
    c4run_assert_gone(ranks[1]);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(nodes_by_hand), C4TEST(hosts), C4TEST(hosts_fail_together), C4TEST(lost_launcher_ends_hosts), C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
