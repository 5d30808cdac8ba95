/* c4run as a user meets it: what ranks are told, how the job ends, what it says, and that nothing is left behind. */
#include "tests/c4test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/topology.h"
#include "tests/tools/test_c4run_job.h"
#include "tests/tools/test_c4train_text.h"

/* ---- what ranks are told ---- */

static void test_environment(void)
{
    C4TEST_INT(c4run_run("-n 3 sh -c 'env | grep ^C4_ | sort > env.$C4_RANK; ls -l /proc/self/fd/ > fd.$C4_RANK; "
                         "tr \"\\0\" \" \" < /proc/$PPID/cmdline > cmd'"),
               0);
    for (int rank = 0; rank < 3; rank++) {
        char name[16], expected[64];
        snprintf(name, sizeof name, "env.%d", rank);
        snprintf(expected, sizeof expected, "C4_RANK=%d\n", rank);
        c4run_assert_said(name, expected);
        snprintf(expected, sizeof expected, "C4_LOCAL_RANK=%d\n", rank);
        c4run_assert_said(name, expected);
        c4run_assert_said(name, "C4_NRANKS=3\n");
        c4run_assert_said(name, "C4_LOCAL_NRANKS=3\n");
        c4run_assert_said(name, "C4_RENDEZVOUS=127.0.0.1:");
        c4run_assert_said(name, "C4_JOB_ID=");
    }
    c4run_assert_said("env.0", "C4_RENDEZVOUS_FD=");
    c4run_assert_not_said("env.1", "C4_RENDEZVOUS_FD=");
    char *first = c4run_content("env.0"), *second = c4run_content("env.1"), *command = c4run_content("cmd");
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
    C4TEST_INT(c4run_run("-n 2 bash -c 'a=$C4_RENDEZVOUS; [ $C4_RANK = 1 ] || exec 9<>/dev/tcp/${a%%%%:*}/${a##*:}; "
                         "[ $C4_RANK = 1 ] || readlink /proc/self/fd/$C4_RENDEZVOUS_FD'"),
               0);
    c4run_assert_said("out", "socket:[");
}

/* A file for the rendezvous is for other launchers; nobody shall wait for one that is never written. */
static void test_file_unused(void)
{
    setenv("C4_RENDEZVOUS", "file:/tmp/c4-never-written", 1);
    C4TEST_INT(c4run_run("-n 1 sh -c 'echo $C4_RENDEZVOUS'"), 0);
    c4run_assert_said("err", "C4_RENDEZVOUS=file:/tmp/c4-never-written is not used: c4run tells its ranks itself");
    c4run_assert_said("out", "127.0.0.1:");
    setenv("C4_RENDEZVOUS", "127.0.0.1:4711", 1); /* of an outer one */
    C4TEST_INT(c4run_run("-n 1 true"), 0);
    c4run_assert_not_said("err", "is not used");
}

static void test_keys_differ(void)
{
    C4TEST_INT(c4run_run("-n 1 sh -c 'echo $C4_KEY $C4_JOB_ID'"), 0);
    char *first = c4run_content("out");
    C4TEST_INT(c4run_run("-n 1 sh -c 'echo $C4_KEY $C4_JOB_ID'"), 0);
    char *second = c4run_content("out");
    CU_ASSERT(strcmp(first, second) != 0 && strlen(first) == strlen(second));
    free(first);
    free(second);
}

static void test_port_range(void)
{
    C4TEST_INT(c4run_run("-n 1 env C4_PORT_RANGE= sh -c :"), 0);
    setenv("C4_PORT_RANGE", "29870-29899", 1);
    C4TEST_INT(c4run_run("-n 1 sh -c 'echo ${C4_RENDEZVOUS##*:}'"), 0);
    char *text = c4run_content("out");
    int port = atoi(text);
    CU_ASSERT(port >= 29870 && port <= 29899);
    free(text);
}

static void test_arguments_and_input(void)
{
    C4TEST_INT(c4run_run("-n 1 -- printf '%%s|' 'a b' '' -n '$x' \"it's\""), 0);
    c4run_assert_is("out", "a b||-n|$x|it's|");
    c4_text_write(c4test_path("in"), "hello\n", 6);
    C4TEST_INT(c4run_run("-n 3 cat <in"), 0);
    c4run_assert_is("out", "hello\n");
    C4TEST_INT(c4run_run("-n 2 sh -c 'readlink /proc/self/fd/0 > stdin.$C4_RANK' <in"), 0);
    c4run_assert_said("stdin.0", "/in");
    c4run_assert_is("stdin.1", "/dev/null\n");
}

static void test_wrap(void)
{
    C4TEST_INT(c4run_run("-n 2 --tag --wrap 'env WRAPPED=\"r %%r/%%r\"' sh -c 'echo $WRAPPED \"$1\"' sh 'x  y'"), 0);
    c4run_assert_said("out", "[0] r 0/0 x  y\n");
    c4run_assert_said("out", "[1] r 1/1 x  y\n");
}

#define SHOW_MASK "sh -c 'grep Cpus_allowed: /proc/self/status > mask.$C4_RANK; echo $C4_TOPOLOGY > topology'"

/* The mask of rank 0 of a job of `nranks`; the caller frees. */
static char *mask_of(const char *options, size_t nranks)
{
    C4TEST_INT(c4run_run("-n %zu %s " SHOW_MASK, nranks, options), 0);
    return c4run_content("mask.0");
}

static void test_binding(void)
{
    c4_topology topology, told;
    C4TEST_OK_FATAL(c4_topology_init(&topology));
    char *all = mask_of("--bind none", 1);
    char *first = mask_of("--bind core", topology.ncores);
    char *crowded = mask_of("", topology.ncores + 1);
    char *robin = mask_of("--bind core", topology.ncores + 1);
    if (topology.ncores > 1)
        CU_ASSERT(strcmp(first, all) != 0); /* a core of its own */
    C4TEST_STRING(crowded, all);            /* more ranks than cores: not bound */
    C4TEST_STRING(robin, first);            /* round robin, when asked for */
    char *line = c4run_content("topology");
    line[strcspn(line, "\n")] = '\0';
    C4TEST_OK_FATAL(c4_topology_parse(line, &told));
    C4TEST_INT((long long)told.ncores, (long long)topology.ncores);
    free(all);
    free(first);
    free(crowded);
    free(robin);
    free(line);
    c4_topology_fini(&topology);
    c4_topology_fini(&told);
}

/* While one job has all cores, another is not bound to them as well. */
static void test_binding_beside_another_job(void)
{
    c4_topology topology;
    C4TEST_OK_FATAL(c4_topology_init(&topology));
    char *all = mask_of("--bind none", 1);
    pid_t pid =
        c4run_start("-n %zu --bind core sh -c 'echo x > ready.$C4_RANK; " C4RUN_WAIT_FOREVER "'", topology.ncores);
    c4run_await_file("ready.0");
    char *beside = mask_of("", topology.ncores);
    C4TEST_STRING(beside, all);
    CU_ASSERT_EQUAL(kill(pid, SIGTERM), 0);
    C4TEST_INT(c4run_finish(pid), 128 + SIGTERM);
    free(all);
    free(beside);
    c4_topology_fini(&topology);
}

/* ---- output ---- */

static void test_tag(void)
{
    int counts[3] = {0};
    /* Lines in pieces, long ones, and a last one without an end. */
    C4TEST_INT(c4run_run("-n 3 --tag bash -c 'for i in {1..300}; do printf %%s x$C4_RANK; printf \"%%01000d\\n\" 0; "
                         "echo e$C4_RANK >&2; done; printf end$C4_RANK'"),
               0);
    char *out = c4run_content("out"), *err = c4run_content("err"), *save = NULL;
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
    CU_ASSERT(c4run_run("-n 2 --tag yes 2>err.c4run | head -1") == 0);
    c4run_assert_said("out", "y\n");
}

/* More than the pipes and c4run's own memory hold, before anybody reads. */
static void test_much_output_into_a_slow_pipe(void)
{
    C4TEST_INT(c4run_run("-n 4 --tag sh -c 'yes 0123456789 | head -60000' | { sleep 0.2; sort | uniq -c; }"), 0);
    for (int rank = 0; rank < 4; rank++) {
        char line[64];
        snprintf(line, sizeof line, "60000 [%d] 0123456789\n", rank);
        c4run_assert_said("out", line);
    }
}

/* A reader that does not read must not stop the clock. */
static void test_clock_with_a_stopped_reader(void)
{
    C4TEST_INT(c4run_run("-n 2 --tag --timeout 0.3 yes 2>said | { until grep -q timeout said; do sleep 0.01; done; "
                         "cat > /dev/null; }"),
               0);
    c4run_assert_said("said", "timeout after 0.3 s; still running: ranks 0, 1");
}

/* ---- how the job ends ---- */

static void test_exit_status(void)
{
    C4TEST_INT(c4run_run("-n 3 true"), 0);
    c4run_assert_is("err", "");
    C4TEST_INT(c4run_run("-n 3 sh -c '[ $C4_RANK != 1 ] || exit 7'"), 7);
    c4run_assert_said("err", "rank 1 (pid ");
    c4run_assert_said("err", "ended with exit status 7 after ");
    C4TEST_INT(c4run_run("-n 2 sh -c '[ $C4_RANK != 1 ] || kill -SEGV $$'"), 128 + SIGSEGV);
    c4run_assert_said("err", "was killed by SIGSEGV (Segmentation fault)");
    C4TEST_INT(c4run_run("-n 2 ./missing"), 127);
    c4run_assert_said("err", "cannot run ./missing: No such file or directory");
    c4_text_write(c4test_path("plain"), "x", 1);
    C4TEST_INT(c4run_run("-n 2 ./plain"), 126);
    c4run_assert_said("err", "cannot run ./plain: Permission denied");
}

static void test_death_ends_the_job(void)
{
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(
        c4run_run("-n 4 sh -c 'echo $$ > pid.$C4_RANK; [ $C4_RANK != 2 ] || kill -KILL $$; " C4RUN_WAIT_FOREVER "'"),
        128 + SIGKILL);
    CU_ASSERT(c4run_seconds_since(start_ns) < c4test_seconds(3));
    c4run_assert_said("err", "rank 2 (pid ");
    c4run_assert_said("err", "was killed by SIGKILL (Killed)");
    c4run_assert_said("err", "ending ranks 0, 1, 3");
    c4run_assert_not_said("err", "rank 1 (pid"); /* ended by c4run: not news */
}

static void test_stubborn_rank_is_killed(void)
{
    uint64_t start_ns = c4_now_ns();
    /* Rank 0 is deaf before rank 1 fails. */
    C4TEST_INT(c4run_run("-n 2 --grace 0.3 sh -c 'if [ $C4_RANK = 1 ]; then while [ ! -e deaf ]; do sleep 0.01; done; "
                         "exit 3; fi; trap \"\" TERM; echo x > deaf; " C4RUN_WAIT_FOREVER "'"),
               3);
    CU_ASSERT(c4run_seconds_since(start_ns) < c4test_seconds(5));
    c4run_assert_said("err", "rank 0 still there 0.3 s after SIGTERM: killing");
}

static void test_keep_going(void)
{
    /* Rank 0 goes on until c4run has reported rank 1's death, and then ends in its own way. */
    C4TEST_INT(c4run_run("-n 2 --keep-going sh -c '[ $C4_RANK = 0 ] || exit 9; trap \"echo ended > sorrow\" TERM; "
                         "until grep -q \"rank 1\" err; do sleep 0.01; done; sleep 0.2; echo survived > joy'"),
               9);
    c4run_assert_said("joy", "survived");
    CU_ASSERT(access(c4test_path("sorrow"), F_OK) != 0);
    c4run_assert_not_said("err", "ending");
}

static void test_timeout(void)
{
    uint64_t start_ns = c4_now_ns();
    C4TEST_INT(c4run_run("-n 3 --timeout 0.4 sh -c '[ $C4_RANK = 1 ] || " C4RUN_WAIT_FOREVER "'"), 124);
    CU_ASSERT(c4run_seconds_since(start_ns) >= 0.4);
    CU_ASSERT(c4run_seconds_since(start_ns) < c4test_seconds(4));
    c4run_assert_said("err", "timeout after 0.4 s; still running: ranks 0, 2");
    C4TEST_INT(c4run_run("-n 2 --timeout 1m true"), 0);
}

/* ---- signals ---- */

static void await_ranks(int nranks)
{
    for (int rank = 0; rank < nranks; rank++) {
        char name[32];
        snprintf(name, sizeof name, "ready.%d", rank);
        c4run_await_file(name);
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
        pid_t pid = c4run_start(
            "-n 2 sh -c 'trap \"echo x > got.$C4_RANK; exit 0\" %s; echo x > ready.$C4_RANK; " C4RUN_WAIT_FOREVER "'",
            signals[i].name);
        await_ranks(2);
        CU_ASSERT_EQUAL(kill(pid, signals[i].number), 0);
        C4TEST_INT(c4run_finish(pid), 0);
        c4run_assert_said("got.0", "x");
        c4run_assert_said("got.1", "x");
    }
}

static void test_second_interrupt_kills(void)
{
    pid_t pid =
        c4run_start("-n 2 sh -c 'trap \"echo x > got.$C4_RANK\" INT; echo x > ready.$C4_RANK; " C4RUN_WAIT_FOREVER "'");
    await_ranks(2);
    CU_ASSERT_EQUAL(kill(pid, SIGINT), 0);
    c4run_await_file("got.0");
    c4run_await_file("got.1");
    CU_ASSERT_EQUAL(kill(pid, SIGINT), 0);
    C4TEST_INT(c4run_finish(pid), 128 + SIGKILL);
    c4run_assert_said("err", "SIGINT again: killing ranks 0, 1");
}

static void test_interrupt_is_no_failure(void)
{
    pid_t pid = c4run_start("-n 2 sh -c 'echo x > ready.$C4_RANK; " C4RUN_WAIT_FOREVER "'");
    await_ranks(2);
    CU_ASSERT_EQUAL(kill(pid, SIGTERM), 0);
    C4TEST_INT(c4run_finish(pid), 128 + SIGTERM);
    c4run_assert_not_said("err", "was killed by");
}

/* ---- nothing is left behind ---- */

static void test_sigkill_leaves_no_orphans(void)
{
    /* The wrapper stays between c4run and the program, so the kernel's parent-death signal does not reach that. */
    c4run_write_script("wrapper", "#!/bin/sh\necho $$ > wrapper.$C4_RANK\n\"$@\"\nexit $?\n");
    pid_t pid = c4run_start("-n 2 --wrap ./wrapper sh -c 'echo $$ > program.$C4_RANK; " C4RUN_WAIT_FOREVER "'");
    pid_t pids[] = {c4run_pid_in("wrapper.0"), c4run_pid_in("wrapper.1"), c4run_pid_in("program.0"),
                    c4run_pid_in("program.1")};
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    C4TEST_INT(c4run_finish(pid), 1000 + SIGKILL);
    for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++)
        c4run_assert_gone(pids[i]);
}

static void test_children_of_ranks_end(void)
{
    C4TEST_INT(c4run_run("-n 1 sh -c 'sh -c \"" C4RUN_WAIT_FOREVER "\" & echo $! > child'"), 0);
    c4run_assert_gone(c4run_pid_in("child"));
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
        C4TEST_INT(c4run_run("%s", cases[i].arguments), 2);
        c4run_assert_said("err", cases[i].message);
        c4run_assert_is("out", "");
    }
}

static void test_help_and_page(void)
{
    char page[4096];
    snprintf(page, sizeof page, "%s/tools/man/c4run.1", c4test_source_root());
    char *manual = c4_text_read(page, NULL);
    C4TEST_INT(c4run_run("--help"), 0);
    char *help = c4run_content("out");
    static const char *const options[] = {"ranks", "tag",   "timeout", "keep-going", "grace",     "bind",
                                          "wrap",  "quiet", "hosts",   "nnodes",     "node-rank", "master",
                                          "ssh",   "join",  "help",    "version"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "--%s", options[i]);
        C4TEST_CONTAINS(help, text);
        char escaped[64] = "\\-\\-"; /* as the page writes it */
        for (const char *at = options[i]; *at; at++)
            snprintf(escaped + strlen(escaped), sizeof escaped - strlen(escaped), *at == '-' ? "\\-" : "%c", *at);
        C4TEST_CONTAINS(manual, escaped);
    }
    C4TEST_INT(c4run_run("--version"), 0);
    c4run_assert_said("out", "0.");
    free(manual);
    free(help);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(environment),
        C4TEST(rendezvous_listens),
        C4TEST(file_unused),
        C4TEST(keys_differ),
        C4TEST(port_range),
        C4TEST(arguments_and_input),
        C4TEST(wrap),
        C4TEST(binding),
        C4TEST(binding_beside_another_job),
        C4TEST(clock_with_a_stopped_reader),
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
        C4TEST(usage),
        C4TEST(help_and_page),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
