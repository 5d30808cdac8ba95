/* c4run as a user meets it: what ranks are told, how the job ends, what it says, and that nothing is left behind. */
#include "tests/c4test.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/topology.h"
#include "tests/tools/test_c4train_text.h"

/* Job that waits for a signal; a rank that is ready leaves a file. */
#define WAIT_FOREVER "while :; do sleep 0.02; done"

/* ---- helpers ---- */

static const char *c4run(void)
{
    static char path[PATH_MAX];
    char name[4096];
    snprintf(name, sizeof name, "%s/tools/c4run/c4run", c4test_build_root());
    if (!realpath(name, path))
        C4TEST_SKIP("%s is not built", name);
    return path;
}

/* The shell line "cd DIR; c4run ARGUMENTS", with output in the files out and err there. */
static void make_line(char *line, size_t bytes, const char *format, va_list arguments)
{
    char words[6000];
    vsnprintf(words, sizeof words, format, arguments);
    snprintf(line, bytes, "cd '%s' && exec '%s' %s >out 2>err", c4test_dir(), c4run(), words);
}

/* c4run's exit status. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char line[12000];
    va_list arguments;
    va_start(arguments, format);
    make_line(line, sizeof line, format, arguments);
    va_end(arguments);
    int status = system(line);
    CU_ASSERT_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Starts c4run without waiting; its pid. */
static pid_t start(const char *format, ...) __attribute__((format(printf, 1, 2)));
static pid_t start(const char *format, ...)
{
    char line[12000];
    va_list arguments;
    va_start(arguments, format);
    make_line(line, sizeof line, format, arguments);
    va_end(arguments);
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

static char *content(const char *name)
{
    return c4_text_read(c4test_path(name), NULL);
}

static void assert_said(const char *name, const char *part)
{
    char *text = content(name);
    C4TEST_CONTAINS(text, part);
    free(text);
}

static void assert_is(const char *name, const char *expected)
{
    char *text = content(name);
    C4TEST_STRING(text, expected);
    free(text);
}

static void assert_not_said(const char *name, const char *part)
{
    char *text = content(name);
    if (strstr(text, part))
        fprintf(stderr, "%s must not contain \"%s\": %s\n", name, part, text);
    CU_ASSERT(strstr(text, part) == NULL);
    free(text);
}

static void write_script(const char *name, const char *text)
{
    c4_text_write(c4test_path(name), text, strlen(text));
    CU_ASSERT_EQUAL(chmod(c4test_path(name), 0755), 0);
}

/* Until the file is there and not empty; the case's deadline ends a vain wait. */
static void await_file(const char *name)
{
    struct stat info;
    while (stat(c4test_path(name), &info) < 0 || info.st_size == 0)
        usleep(2000);
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(c4_now_ns() - start_ns) * 1e-9;
}

/* ---- what ranks are told ---- */

static void test_environment(void)
{
    C4TEST_INT(run("-n 3 sh -c 'env | grep ^C4_ | sort > env.$C4_RANK; ls -l /proc/self/fd/ > fd.$C4_RANK; "
                   "tr \"\\0\" \" \" < /proc/$PPID/cmdline > cmd'"),
               0);
    for (int rank = 0; rank < 3; rank++) {
        char name[16], expected[64];
        snprintf(name, sizeof name, "env.%d", rank);
        snprintf(expected, sizeof expected, "C4_RANK=%d\n", rank);
        assert_said(name, expected);
        snprintf(expected, sizeof expected, "C4_LOCAL_RANK=%d\n", rank);
        assert_said(name, expected);
        assert_said(name, "C4_NRANKS=3\n");
        assert_said(name, "C4_LOCAL_NRANKS=3\n");
        assert_said(name, "C4_RENDEZVOUS=127.0.0.1:");
        assert_said(name, "C4_JOB_ID=");
    }
    assert_said("env.0", "C4_RENDEZVOUS_FD=");
    assert_not_said("env.1", "C4_RENDEZVOUS_FD=");
    char *first = content("env.0"), *second = content("env.1"), *command = content("cmd");
    char *key = strstr(first, "C4_KEY=");
    CU_ASSERT_FATAL(key != NULL);
    key[strcspn(key, "\n")] = '\0';
    C4TEST_INT((long long)strlen(key), 7 + 64);
    CU_ASSERT(strstr(second, key) != NULL);
    CU_ASSERT(strstr(command, key + 7) == NULL); /* never on a command line */
    free(first);
    free(second);
    free(command);
}

/* The port is rank 0's already: it can connect to itself without having listened. */
static void test_rendezvous_listens(void)
{
    C4TEST_INT(run("-n 2 bash -c 'a=$C4_RENDEZVOUS; [ $C4_RANK = 1 ] || exec 9<>/dev/tcp/${a%%%%:*}/${a##*:}; "
                   "[ $C4_RANK = 1 ] || readlink /proc/self/fd/$C4_RENDEZVOUS_FD'"),
               0);
    assert_said("out", "socket:[");
}

static void test_keys_differ(void)
{
    C4TEST_INT(run("-n 1 sh -c 'echo $C4_KEY $C4_JOB_ID'"), 0);
    char *first = content("out");
    C4TEST_INT(run("-n 1 sh -c 'echo $C4_KEY $C4_JOB_ID'"), 0);
    char *second = content("out");
    CU_ASSERT(strcmp(first, second) != 0 && strlen(first) == strlen(second));
    free(first);
    free(second);
}

static void test_port_range(void)
{
    C4TEST_INT(run("-n 1 env C4_PORT_RANGE= sh -c :"), 0);
    setenv("C4_PORT_RANGE", "29870-29899", 1);
    C4TEST_INT(run("-n 1 sh -c 'echo ${C4_RENDEZVOUS##*:}'"), 0);
    char *text = content("out");
    int port = atoi(text);
    CU_ASSERT(port >= 29870 && port <= 29899);
    free(text);
}

static void test_arguments_and_input(void)
{
    C4TEST_INT(run("-n 1 -- printf '%%s|' 'a b' '' -n '$x' \"it's\""), 0);
    assert_is("out", "a b||-n|$x|it's|");
    c4_text_write(c4test_path("in"), "hello\n", 6);
    C4TEST_INT(run("-n 3 cat <in"), 0);
    assert_is("out", "hello\n");
}

static void test_wrap(void)
{
    C4TEST_INT(run("-n 2 --tag --wrap 'env WRAPPED=\"r %%r/%%r\"' sh -c 'echo $WRAPPED \"$1\"' sh 'x  y'"), 0);
    assert_said("out", "[0] r 0/0 x  y\n");
    assert_said("out", "[1] r 1/1 x  y\n");
}

static void test_binding(void)
{
    c4_topology topology, told;
    C4TEST_OK_FATAL(c4_topology_init(&topology));
    C4TEST_INT(run("-n 1 --bind none sh -c 'grep Cpus_allowed: /proc/self/status'"), 0);
    char *all = content("out");
    C4TEST_INT(run("-n %zu sh -c 'grep Cpus_allowed: /proc/self/status > mask.$C4_RANK; echo $C4_TOPOLOGY > topology'",
                   topology.ncores),
               0);
    char *line = content("topology");
    line[strcspn(line, "\n")] = '\0';
    C4TEST_OK_FATAL(c4_topology_parse(line, &told));
    C4TEST_INT((long long)told.ncores, (long long)topology.ncores);
    char *first = content("mask.0");
    if (topology.ncores > 1)
        CU_ASSERT(strcmp(first, all) != 0); /* a core of its own */
    C4TEST_INT(run("-n %zu sh -c 'grep Cpus_allowed: /proc/self/status > mask.$C4_RANK'", topology.ncores + 1), 0);
    char *shared = content("mask.0");
    C4TEST_STRING(shared, all); /* more ranks than cores: not bound */
    C4TEST_INT(
        run("-n %zu --bind core sh -c 'grep Cpus_allowed: /proc/self/status > mask.$C4_RANK'", topology.ncores + 1), 0);
    char *again = content("mask.0");
    C4TEST_STRING(again, first); /* round robin, when asked for */
    free(all);
    free(line);
    free(first);
    free(shared);
    free(again);
    c4_topology_fini(&topology);
    c4_topology_fini(&told);
}

/* ---- output ---- */

static void test_tag(void)
{
    int counts[3] = {0};
    /* Lines in pieces, long ones, and a last one without an end. */
    C4TEST_INT(run("-n 3 --tag bash -c 'for i in {1..300}; do printf %%s x$C4_RANK; printf \"%%01000d\\n\" 0; "
                   "echo e$C4_RANK >&2; done; printf end$C4_RANK'"),
               0);
    char *out = content("out"), *err = content("err"), *save = NULL;
    for (char *line = strtok_r(out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int rank = -1, inner = -1, used = 0;
        bool whole = sscanf(line, "[%d] x%1d%n", &rank, &inner, &used) == 2 && rank == inner && rank >= 0 && rank < 3;
        bool last = sscanf(line, "[%d] end%d", &rank, &inner) == 2 && rank == inner;
        CU_ASSERT_FATAL((whole && strlen(line) >= 1000) || last);
        counts[rank]++;
    }
    for (int rank = 0; rank < 3; rank++)
        C4TEST_INT(counts[rank], 301);
    C4TEST_CONTAINS(err, "[2] e2\n");
    CU_ASSERT(strstr(err, "x0") == NULL);
    free(out);
    free(err);
}

static void test_reader_goes_away(void)
{
    CU_ASSERT(run("-n 2 --tag yes 2>err.c4run | head -1") == 0);
    assert_said("out", "y\n");
}

static void test_much_output_into_a_slow_pipe(void)
{
    C4TEST_INT(run("-n 4 --tag sh -c 'yes 0123456789 | head -20000' | { read x; sort | uniq -c | sort -n; } | tail -4"),
               0);
    assert_said("out", "20000 [3] 0123456789");
}

/* ---- how the job ends ---- */

static void test_exit_status(void)
{
    C4TEST_INT(run("-n 3 true"), 0);
    assert_is("err", "");
    C4TEST_INT(run("-n 3 sh -c '[ $C4_RANK != 1 ] || exit 7'"), 7);
    assert_said("err", "rank 1 (pid ");
    assert_said("err", "ended with exit status 7 after ");
    C4TEST_INT(run("-n 2 sh -c '[ $C4_RANK != 1 ] || kill -SEGV $$'"), 128 + SIGSEGV);
    assert_said("err", "was killed by SIGSEGV (Segmentation fault)");
    C4TEST_INT(run("-n 2 ./missing"), 127);
    assert_said("err", "cannot run ./missing: No such file or directory");
    c4_text_write(c4test_path("plain"), "x", 1);
    C4TEST_INT(run("-n 2 ./plain"), 126);
    assert_said("err", "cannot run ./plain: Permission denied");
}

static void test_death_ends_the_job(void)
{
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(run("-n 4 sh -c 'echo $$ > pid.$C4_RANK; [ $C4_RANK != 2 ] || kill -KILL $$; " WAIT_FOREVER "'"),
               128 + SIGKILL);
    CU_ASSERT(seconds_since(start_ns) < c4test_seconds(3));
    assert_said("err", "rank 2 (pid ");
    assert_said("err", "was killed by SIGKILL (Killed)");
    assert_said("err", "ending ranks 0, 1, 3");
    assert_not_said("err", "rank 1 (pid"); /* ended by c4run: not news */
}

static void test_stubborn_rank_is_killed(void)
{
    uint64_t start_ns = c4_now_ns();
    /* Rank 0 is deaf before rank 1 fails. */
    C4TEST_INT(run("-n 2 --grace 0.3 sh -c 'if [ $C4_RANK = 1 ]; then while [ ! -e deaf ]; do sleep 0.01; done; "
                   "exit 3; fi; trap \"\" TERM; echo x > deaf; " WAIT_FOREVER "'"),
               3);
    CU_ASSERT(seconds_since(start_ns) < c4test_seconds(5));
    assert_said("err", "rank 0 still there 0.3 s after SIGTERM: killing");
}

static void test_keep_going(void)
{
    /* Rank 0 goes on until c4run has reported rank 1's death, and then ends in its own way. */
    C4TEST_INT(run("-n 2 --keep-going sh -c '[ $C4_RANK = 0 ] || exit 9; trap \"echo ended > sorrow\" TERM; "
                   "until grep -q \"rank 1\" err; do sleep 0.01; done; sleep 0.2; echo survived > joy'"),
               9);
    assert_said("joy", "survived");
    CU_ASSERT(access(c4test_path("sorrow"), F_OK) != 0);
    assert_not_said("err", "ending");
}

static void test_timeout(void)
{
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(run("-n 3 --timeout 0.4 sh -c '[ $C4_RANK = 1 ] || " WAIT_FOREVER "'"), 124);
    CU_ASSERT(seconds_since(start_ns) >= 0.4);
    CU_ASSERT(seconds_since(start_ns) < c4test_seconds(4));
    assert_said("err", "timeout after 0.4 s; still running: ranks 0, 2");
    C4TEST_INT(run("-n 2 --timeout 1m true"), 0);
}

/* ---- signals ---- */

static void await_ranks(int nranks)
{
    for (int rank = 0; rank < nranks; rank++) {
        char name[32];
        snprintf(name, sizeof name, "ready.%d", rank);
        await_file(name);
    }
}

static void test_signals_are_passed_on(void)
{
    static const struct {
        int number;
        const char *name;
    } signals[] = {{SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGINT, "INT"}, {SIGTERM, "TERM"}, {SIGHUP, "HUP"}};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        C4TEST_INT(system("cd \"$TMPDIR\" && rm -f ready.* got.*"), 0);
        pid_t pid =
            start("-n 2 sh -c 'trap \"echo x > got.$C4_RANK; exit 0\" %s; echo x > ready.$C4_RANK; " WAIT_FOREVER "'",
                  signals[i].name);
        await_ranks(2);
        CU_ASSERT_EQUAL(kill(pid, signals[i].number), 0);
        C4TEST_INT(finish(pid), 0);
        assert_said("got.0", "x");
        assert_said("got.1", "x");
    }
}

static void test_second_interrupt_kills(void)
{
    pid_t pid = start("-n 2 sh -c 'trap \"echo x > got.$C4_RANK\" INT; echo x > ready.$C4_RANK; " WAIT_FOREVER "'");
    await_ranks(2);
    CU_ASSERT_EQUAL(kill(pid, SIGINT), 0);
    await_file("got.0");
    await_file("got.1");
    CU_ASSERT_EQUAL(kill(pid, SIGINT), 0);
    C4TEST_INT(finish(pid), 128 + SIGKILL);
    assert_said("err", "SIGINT again: killing ranks 0, 1");
}

static void test_interrupt_is_no_failure(void)
{
    pid_t pid = start("-n 2 sh -c 'echo x > ready.$C4_RANK; " WAIT_FOREVER "'");
    await_ranks(2);
    CU_ASSERT_EQUAL(kill(pid, SIGTERM), 0);
    C4TEST_INT(finish(pid), 128 + SIGTERM);
    assert_not_said("err", "was killed by");
}

/* ---- nothing is left behind ---- */

static pid_t pid_in(const char *name)
{
    await_file(name);
    char *text = content(name);
    pid_t pid = (pid_t)atoi(text);
    free(text);
    CU_ASSERT_FATAL(pid > 1);
    return pid;
}

/* A zombie that its new parent has not collected yet is gone too. */
static bool is_gone(pid_t pid)
{
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state == 'Z' || state == 'X';
}

static void assert_gone(pid_t pid)
{
    uint64_t start_ns = c4_now_ns();
    while (!is_gone(pid) && seconds_since(start_ns) < c4test_seconds(5))
        usleep(2000);
    CU_ASSERT(is_gone(pid));
}

static void test_sigkill_leaves_no_orphans(void)
{
    /* The wrapper stays between c4run and the program, so the kernel's parent-death signal does not reach that. */
    write_script("wrapper", "#!/bin/sh\necho $$ > wrapper.$C4_RANK\n\"$@\"\nexit $?\n");
    pid_t pid = start("-n 2 --wrap ./wrapper sh -c 'echo $$ > program.$C4_RANK; " WAIT_FOREVER "'");
    pid_t pids[] = {pid_in("wrapper.0"), pid_in("wrapper.1"), pid_in("program.0"), pid_in("program.1")};
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    C4TEST_INT(finish(pid), 1000 + SIGKILL);
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++)
        assert_gone(pids[i]);
}

static void test_children_of_ranks_end(void)
{
    C4TEST_INT(run("-n 1 sh -c 'sh -c \"" WAIT_FOREVER "\" & echo $! > child'"), 0);
    assert_gone(pid_in("child"));
}

/* ---- several hosts ---- */

static int free_port(void)
{
    C4TEST_INT_FATAL(run("-n 1 sh -c 'echo ${C4_RENDEZVOUS##*:}'"), 0);
    char *text = content("out");
    int port = atoi(text);
    free(text);
    return port;
}

static void test_nodes_by_hand(void)
{
    int port = free_port();
    C4TEST_INT(run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1:%d true", port), 1);
    assert_said("err", "needs a key that they share");
    setenv("C4_KEY_FILE", "somewhere", 1);
    C4TEST_INT(run("-n 3 --nnodes 2 --node-rank 1 --master 127.0.0.1:%d --tag sh -c "
                   "'echo $C4_NRANKS $C4_LOCAL_RANK/$C4_LOCAL_NRANKS $C4_RENDEZVOUS ${C4_KEY-none} ${C4_JOB_ID-none}'",
                   port),
               0);
    char expected[128];
    snprintf(expected, sizeof expected, "[2] 3 0/1 127.0.0.1:%d none none\n", port);
    assert_is("out", expected);
    C4TEST_INT(run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1:%d sh -c "
                   "'[ $C4_RANK = 1 ] || readlink /proc/self/fd/$C4_RENDEZVOUS_FD'",
                   port),
               0);
    assert_said("out", "socket:[");
    C4TEST_INT(run("-n 3 --nnodes 2 --node-rank 0 --master 192.0.2.77:%d true", port), 1);
    assert_said("err", "not an address of this host");
    C4TEST_INT(run("-n 3 --nnodes 2 --node-rank 0 --master 127.0.0.1 true"), 1);
    assert_said("err", "all hosts must know the port");
}

/* Stands in for ssh: HOST COMMAND, run here; what was on its command line is kept. */
static const char stand_in[] = "#!/bin/sh\nhost=$1; shift\necho \"$*\" > ssh.$host\necho Welcome\n"
                               "SSH_CONNECTION='127.0.0.1 1 127.0.0.1 22' HOST=$host exec sh -c \"$*\"\n";

static void test_hosts(void)
{
    write_script("ssh", stand_in);
    setenv("C4_LOG", "warn", 1);
    C4TEST_INT(run("-n 5 --hosts left,right --ssh ./ssh --tag sh -c 'echo $HOST $C4_LOCAL_RANK/$C4_LOCAL_NRANKS "
                   "$C4_NRANKS ${#C4_KEY} $C4_LOG \"$1\"; echo $C4_RENDEZVOUS $C4_KEY $C4_JOB_ID > job.$C4_RANK' "
                   "sh \"it's  one\""),
               0);
    assert_said("out", "[0] left 0/3 5 64 warn it's  one\n");
    assert_said("out", "[2] left 2/3 5 64 warn it's  one\n");
    assert_said("out", "[3] right 0/2 5 64 warn it's  one\n");
    char *first = content("job.0"), *last = content("job.4"), *left = content("ssh.left"),
         *right = content("ssh.right");
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
    write_script("ssh", stand_in);
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(run("-n 4 --hosts left,right --ssh ./ssh sh -c 'echo $$ > pid.$C4_RANK; "
                   "[ $C4_RANK != 3 ] || kill -KILL $$; " WAIT_FOREVER "'"),
               128 + SIGKILL);
    CU_ASSERT(seconds_since(start_ns) < c4test_seconds(5));
    assert_said("err", "rank 3 (pid ");
    assert_gone(pid_in("pid.0"));
    C4TEST_INT(run("-n 2 --hosts left,right --ssh false true"), 1);
    assert_said("err", "host left: c4run did not start there");
}

static void test_lost_launcher_ends_hosts(void)
{
    write_script("ssh", stand_in);
    pid_t pid =
        start("-n 2 --hosts left,right --ssh 'setsid --wait ./ssh' sh -c 'echo $$ > pid.$C4_RANK; " WAIT_FOREVER "'");
    pid_t ranks[] = {pid_in("pid.0"), pid_in("pid.1")};
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    C4TEST_INT(finish(pid), 1000 + SIGKILL);
    assert_gone(ranks[0]);
    assert_gone(ranks[1]);
}

/* ---- the command line ---- */

static void test_usage(void)
{
    static const struct {
        const char *arguments, *message;
    } cases[] = {
        {"", "how many ranks?"},
        {"-n 2", "which program?"},
        {"-n 0 true", "-n '0': expected a whole number in 1.."},
        {"-n two true", "-n 'two': expected a whole number"},
        {"-n", "-n needs a value"},
        {"--timeout", "--timeout needs a value"},
        {"--tga -n 2 true", "unknown option --tga; did you mean --tag?"},
        {"--keep-goin=3 -n 2 true", "takes no value"},
        {"-n 2 --zzzzzzzzz true", "unknown option --zzzzzzzzz (c4run --help)"},
        {"-q -n 2 true", "unknown option -q"},
        {"-n 2 --tag=yes true", "takes no value: --tag=yes"},
        {"-n 2 --timeout soon true", "--timeout 'soon': expected seconds"},
        {"-n 2 --timeout -1 true", "not negative"},
        {"-n 2 --bind socket true", "--bind 'socket': expected core or none"},
        {"-n 2 --nnodes 2 true", "--nnodes needs --node-rank"},
        {"-n 2 --node-rank 1 true", "--node-rank needs --nnodes"},
        {"-n 2 --nnodes 2 --node-rank 2 true", "at most --nnodes minus 1"},
        {"-n 2 --nnodes 3 --node-rank 1 true", "every host needs a rank"},
        {"-n 2 --nnodes 2 --node-rank 1 true", "--nnodes needs --master"},
        {"-n 2 --hosts a,b --nnodes 2 true", "leave out --nnodes"},
        {"-n 2 --hosts a,b,c true", "3 hosts for 2 ranks"},
        {"-n 2 --hosts a,,b true", "--hosts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        C4TEST_INT(run("%s", cases[i].arguments), 2);
        assert_said("err", cases[i].message);
        assert_is("out", "");
    }
}

static void test_help_and_page(void)
{
    char page[4096];
    snprintf(page, sizeof page, "%s/tools/man/c4run.1", c4test_source_root());
    char *manual = c4_text_read(page, NULL);
    C4TEST_INT(run("--help"), 0);
    char *help = content("out");
    static const char *const options[] = {"ranks",     "tag",    "timeout", "keep-going", "grace",
                                          "bind",      "wrap",   "quiet",   "hosts",      "nnodes",
                                          "node-rank", "master", "ssh",     "help",       "version"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "--%s", options[i]);
        C4TEST_CONTAINS(help, text);
        char escaped[64] = "\\-\\-"; /* as the page writes it */
        for (const char *at = options[i]; *at; at++)
            snprintf(escaped + strlen(escaped), sizeof escaped - strlen(escaped), *at == '-' ? "\\-" : "%c", *at);
        C4TEST_CONTAINS(manual, escaped);
    }
    C4TEST_INT(run("--version"), 0);
    assert_said("out", "0.");
    free(manual);
    free(help);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(environment),
        C4TEST(rendezvous_listens),
        C4TEST(keys_differ),
        C4TEST(port_range),
        C4TEST(arguments_and_input),
        C4TEST(wrap),
        C4TEST(binding),
        C4TEST(tag),
        C4TEST(reader_goes_away),
        C4TEST_DEADLINE(much_output_into_a_slow_pipe, 30),
        C4TEST(exit_status),
        C4TEST(death_ends_the_job),
        C4TEST(stubborn_rank_is_killed),
        C4TEST(keep_going),
        C4TEST(timeout),
        C4TEST(signals_are_passed_on),
        C4TEST(second_interrupt_kills),
        C4TEST(interrupt_is_no_failure),
        C4TEST(sigkill_leaves_no_orphans),
        C4TEST(children_of_ranks_end),
        C4TEST(nodes_by_hand),
        C4TEST(hosts),
        C4TEST(hosts_fail_together),
        C4TEST(lost_launcher_ends_hosts),
        C4TEST(usage),
        C4TEST(help_and_page),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
