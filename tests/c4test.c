#include "tests/c4test.h"

#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIPPED = 77, LEFTOVER_GRACE_MS = 2000 };

struct c4test_team {
    int nranks;
    pid_t pids[];
};

typedef struct tally {
    int passed, failed, skipped;
} tally;

/* What the harness knows, and each forked case and rank inherits. */
static struct {
    const char *program;
    uint64_t seed;
    int slowdown;
    FILE *results;
    const c4test_case *current;
    uint64_t rand_state;
    char dir[256];
    int verdict_pipe[2]; /* a case writes "done" or "skip REASON": exit(0) in mid-test is not a pass */
    int rank;            /* -1 outside c4test_ranks */
    unsigned failures_before_rank;
} harness = {.slowdown = 1, .rank = -1};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "c4test: %s: %s\n", what, strerror(errno));
    exit(EXIT_USAGE);
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- random numbers: splitmix64 (Steele, Lea, Flood 2014) ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t c4test_rand(void)
{
    harness.rand_state += 0x9e3779b97f4a7c15u;
    return mix(harness.rand_state);
}

uint64_t c4test_rand_below(uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)c4test_rand() * limit) >> 64);
}

/* Every case, and every rank in it, has a stream of its own, so that it repeats when run alone. */
static void seed_stream(const char *name, int rank)
{
    uint64_t hash = harness.seed;
    for (const char *c = name; *c; c++)
        hash = mix(hash * 31 + (unsigned char)*c);
    harness.rand_state = mix(hash + (uint64_t)(rank + 1));
}

/* ---- what a case can ask ---- */

const void *c4test_arg(void)
{
    return harness.current->arg;
}

const char *c4test_dir(void)
{
    return harness.dir;
}

const char *c4test_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", harness.dir, name);
    return path;
}

int c4test_count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return count;
}

const char *c4test_source_root(void)
{
    const char *root = getenv("C4_TEST_SOURCE_ROOT");
    return root ? root : ".";
}

const char *c4test_build_root(void)
{
    const char *root = getenv("C4_TEST_BUILD_ROOT");
    return root ? root : ".";
}

int c4test_seconds(int seconds)
{
    return seconds * harness.slowdown;
}

int c4test_samples(int samples)
{
    const char *quick = getenv("C4_TEST_QUICK");
    return quick && strcmp(quick, "1") == 0 ? (samples + 3) / 4 : samples;
}

void *c4test_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap of shared memory");
    return memory;
}

static void say(const char *verdict, const char *reason)
{
    char line[600];
    int length = snprintf(line, sizeof line, "%s %s\n", verdict, reason);
    if (length >= (int)sizeof line)
        length = (int)sizeof line - 1;
    if (write(harness.verdict_pipe[1], line, (size_t)length) != length)
        die("verdict pipe");
}

void c4test_skip(const char *format, ...)
{
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    say("skip", reason);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

static void fail_at(const char *text, const char *file, unsigned line, int fatal)
{
    fflush(stdout);
    CU_assertImplementation(CU_FALSE, line, text, file, "", fatal ? CU_TRUE : CU_FALSE);
}

void c4test_check_int(long long actual, long long expected, const char *what, const char *file, unsigned line,
                      int fatal)
{
    if (actual == expected) {
        CU_assertImplementation(CU_TRUE, line, what, file, "", CU_FALSE);
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "%s is %lld, expected %lld", what, actual, expected);
    fail_at(text, file, line, fatal);
}

void c4test_check_string(const char *actual, const char *expected, const char *what, const char *file, unsigned line)
{
    if (actual && expected && strcmp(actual, expected) == 0) {
        CU_assertImplementation(CU_TRUE, line, what, file, "", CU_FALSE);
        return;
    }
    char text[1024];
    snprintf(text, sizeof text, "%s is \"%s\", expected \"%s\"", what, actual ? actual : "(null)",
             expected ? expected : "(null)");
    fail_at(text, file, line, 0);
}

void c4test_check_contains(const char *text, const char *part, const char *what, const char *file, unsigned line)
{
    if (text && strstr(text, part)) {
        CU_assertImplementation(CU_TRUE, line, what, file, "", CU_FALSE);
        return;
    }
    char message[1024];
    snprintf(message, sizeof message, "%s is \"%s\", which does not contain \"%s\"", what, text ? text : "(null)",
             part);
    fail_at(message, file, line, 0);
}

/* ---- processes ---- */

/* True when `pid` ended before `deadline_ms` of the monotonic clock; its status is left for waitpid. */
static bool ended_by(pid_t pid, int64_t deadline_ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        die("pidfd_open (Linux 5.3 or newer is needed)");
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    int ready = 0;
    do {
        int64_t left = deadline_ms - now_ms();
        ready = poll(&watch, 1, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    close(fd);
    return ready > 0;
}

static int reap(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            die("waitpid");
    }
    return status;
}

static const char *status_text(int status, char *text, size_t size)
{
    if (status == C4TEST_TIMED_OUT)
        snprintf(text, size, "deadline passed");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == EXIT_FAILED)
        snprintf(text, size, "failed assertions or exit 1");
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(status));
    return text;
}

/* Prints the failure records after the first `skip` ones; returns how many those are. */
static unsigned print_failures(unsigned skip)
{
    unsigned seen = 0;
    char who[32] = "";
    if (harness.rank >= 0)
        snprintf(who, sizeof who, "rank %d: ", harness.rank);
    for (CU_pFailureRecord record = CU_get_failure_list(); record; record = record->pNext) {
        if (seen++ >= skip)
            fprintf(stderr, "    %s%s:%u: %s\n", who, record->strFileName, record->uiLineNumber, record->strCondition);
    }
    return seen > skip ? seen - skip : 0;
}

static _Noreturn void rank_end(void)
{
    unsigned failures = print_failures(harness.failures_before_rank);
    exit(failures ? EXIT_FAILED : 0);
}

c4test_team *c4test_team_start(int nranks, c4test_rank_fn fn, void *arg)
{
    c4test_team *team = calloc(1, sizeof *team + (size_t)nranks * sizeof team->pids[0]);
    if (!team)
        die("calloc");
    team->nranks = nranks;
    fflush(NULL);
    pid_t parent = getpid();
    for (int rank = 0; rank < nranks; rank++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork of a rank");
        if (pid > 0) {
            team->pids[rank] = pid;
            continue;
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILED);
        free(team);
        harness.rank = rank;
        harness.failures_before_rank = CU_get_number_of_failure_records();
        seed_stream(harness.current->name, rank);
        fn(rank, arg);
        rank_end();
    }
    return team;
}

pid_t c4test_team_pid(const c4test_team *team, int rank)
{
    return team->pids[rank];
}

void c4test_team_wait(c4test_team *team, int deadline_s, int *statuses)
{
    int64_t deadline_ms = now_ms() + (int64_t)c4test_seconds(deadline_s) * 1000;
    bool skipped = false;
    for (int rank = 0; rank < team->nranks; rank++) {
        bool in_time = ended_by(team->pids[rank], deadline_ms);
        if (!in_time)
            kill(team->pids[rank], SIGKILL);
        int status = reap(team->pids[rank]);
        statuses[rank] = in_time ? status : C4TEST_TIMED_OUT;
        skipped |= in_time && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED;
    }
    free(team);
    if (skipped) {
        fflush(NULL);
        _exit(EXIT_SKIPPED);
    }
}

int c4test_ranks(int nranks, c4test_rank_fn fn, void *arg, int deadline_s)
{
    int *statuses = calloc((size_t)nranks, sizeof *statuses);
    if (!statuses)
        die("calloc");
    c4test_team_wait(c4test_team_start(nranks, fn, arg), deadline_s, statuses);
    int failed = 0;
    for (int rank = 0; rank < nranks; rank++) {
        char text[128];
        if (statuses[rank] == 0)
            continue;
        failed++;
        fprintf(stderr, "    rank %d of %d: %s\n", rank, nranks, status_text(statuses[rank], text, sizeof text));
    }
    free(statuses);
    C4TEST_INT(failed, 0);
    return failed;
}

/* ---- one case ---- */

static void clear_c4_environment(void)
{
    extern char **environ;
    if (getenv("C4_TEST_KEEP_ENV"))
        return;
    for (char **entry = environ; *entry;) {
        size_t length = strcspn(*entry, "=");
        char name[256];
        bool ours = strncmp(*entry, "C4_", 3) == 0 && strncmp(*entry, "C4_TEST_", 8) != 0 && length < sizeof name;
        if (!ours) {
            entry++;
            continue;
        }
        memcpy(name, *entry, length);
        name[length] = '\0';
        unsetenv(name);
    }
}

/* Test programs have the library's archives in them, and the build's modules are not beside them. */
static void find_modules(void)
{
    char root[PATH_MAX], path[2 * PATH_MAX + 64];
    if (realpath(c4test_build_root(), root) == NULL)
        return;
    snprintf(path, sizeof path, "%s/transports/ucx/.libs:%s/transports/verbs/.libs", root, root);
    setenv("C4_MODULE_PATH", path, 0);
}

static _Noreturn void case_process(const c4test_case *test)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    clear_c4_environment();
    find_modules();
    setenv("TMPDIR", harness.dir, 1);
    seed_stream(test->name, -1);
    if (harness.results)
        fclose(harness.results);
    CU_pSuite suite = NULL;
    if (CU_initialize_registry() == CUE_SUCCESS)
        suite = CU_add_suite("c4", NULL, NULL);
    if (!suite || !CU_add_test(suite, test->name, test->run))
        die("CUnit registry");
    CU_run_all_tests();
    if (harness.rank >= 0) /* a fatal assertion in a rank jumps here, out of c4test_team_start */
        rank_end();
    unsigned failures = print_failures(0);
    CU_cleanup_registry();
    if (!failures)
        say("done", "");
    exit(failures ? EXIT_FAILED : 0);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void make_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(harness.dir, sizeof harness.dir, "%s/c4test.XXXXXX", base && strlen(base) < 200 ? base : "/tmp");
    if (!mkdtemp(harness.dir))
        die(harness.dir);
}

/* The harness is a subreaper: whatever a case leaves running becomes its child. Processes that are on their way out
 * get a grace period; others are killed and counted. */
static int end_leftovers(pid_t group)
{
    int64_t deadline_ms = now_ms() + LEFTOVER_GRACE_MS * harness.slowdown;
    int killed = 0;
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) < 0)
            return killed; /* ECHILD: none left */
        if (info.si_pid > 0) {
            reap(info.si_pid);
            continue;
        }
        if (now_ms() < deadline_ms) {
            poll(NULL, 0, 5);
            continue;
        }
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *children = fopen(path, "re");
        int pid = 0;
        while (children && fscanf(children, "%d", &pid) == 1)
            killed += kill(pid, SIGKILL) == 0;
        if (children)
            fclose(children);
        else if (kill(-group, SIGKILL) == 0)
            killed++;
        deadline_ms = now_ms() + LEFTOVER_GRACE_MS;
    }
}

static void read_verdict(char *verdict, size_t size)
{
    ssize_t length = read(harness.verdict_pipe[0], verdict, size - 1);
    verdict[length > 0 ? length : 0] = '\0';
    verdict[strcspn(verdict, "\n")] = '\0';
    close(harness.verdict_pipe[0]);
    close(harness.verdict_pipe[1]);
}

/* Returns "PASS", "FAIL" or "SKIP"; `why` is empty for a pass. */
static const char *judge(int status, const char *verdict, int leftovers, char *why, size_t size)
{
    bool skipped = strncmp(verdict, "skip ", 5) == 0;
    if (status == C4TEST_TIMED_OUT || WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && !skipped)) {
        status_text(status, why, size);
        return "FAIL";
    }
    if (leftovers) {
        snprintf(why, size, "left %d processes running", leftovers);
        return "FAIL";
    }
    if (skipped) {
        snprintf(why, size, "%s", verdict + 5);
        return "SKIP";
    }
    if (strncmp(verdict, "done", 4) != 0) {
        snprintf(why, size, "exit(0) in mid-test");
        return "FAIL";
    }
    why[0] = '\0';
    return "PASS";
}

static void run_case(const c4test_case *test, tally *totals)
{
    harness.current = test;
    make_dir();
    if (pipe2(harness.verdict_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        die("pipe2");
    int64_t start_ms = now_ms();
    printf("RUN  %s\n", test->name);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        case_process(test);
    setpgid(pid, pid); /* in both processes: whichever comes first */
    bool in_time = ended_by(pid, start_ms + (int64_t)c4test_seconds(test->deadline_s) * 1000);
    if (!in_time)
        kill(-pid, SIGKILL);
    int status = reap(pid);
    int leftovers = end_leftovers(pid);
    char verdict[600];
    char why[640];
    read_verdict(verdict, sizeof verdict);
    const char *result = judge(in_time ? status : C4TEST_TIMED_OUT, verdict, leftovers, why, sizeof why);
    nftw(harness.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

    printf("%s %s (%lld ms)%s%s\n", result, test->name, (long long)(now_ms() - start_ms), *why ? ": " : "", why);
    if (harness.results) {
        fprintf(harness.results, "%s %s%s%s\n", result, test->name, *why ? ": " : "", why);
        fflush(harness.results);
    }
    totals->passed += *result == 'P';
    totals->failed += *result == 'F';
    totals->skipped += *result == 'S';
}

/* ---- the program ---- */

static bool selected(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return argc < 2;
}

static const c4test_case *find_case(const c4test_case *cases, const char *name)
{
    for (const c4test_case *test = cases; test->name; test++) {
        if (strcmp(test->name, name) == 0)
            return test;
    }
    return NULL;
}

static void read_environment(void)
{
    const char *seed = getenv("C4_TEST_SEED");
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    harness.seed = seed ? strtoull(seed, NULL, 0) : mix((uint64_t)ts.tv_sec * 1000000007u + (uint64_t)ts.tv_nsec) >> 32;
    const char *slowdown = getenv("C4_TEST_SLOWDOWN");
    if (slowdown && atoi(slowdown) > 0)
        harness.slowdown = atoi(slowdown);
    const char *results = getenv("C4_TEST_RESULTS");
    if (results && !(harness.results = fopen(results, "we")))
        die(results);
    unsetenv("C4_TEST_RESULTS"); /* a test program started by a test must not write there */
}

int c4test_main(int argc, char **argv, const c4test_case *cases)
{
    const char *slash = strrchr(argv[0], '/');
    harness.program = slash ? slash + 1 : argv[0];
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const c4test_case *test = cases; test->name; test++)
            puts(test->name);
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        if (!find_case(cases, argv[i])) {
            fprintf(stderr, "%s: no case \"%s\"; --list prints them\n", harness.program, argv[i]);
            return EXIT_USAGE;
        }
    }
    read_environment();
    setvbuf(stdout, NULL, _IOLBF, 0); /* in order with stderr, in one log */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    printf("%s: seed %llu (repeat with C4_TEST_SEED=%llu)\n", harness.program, (unsigned long long)harness.seed,
           (unsigned long long)harness.seed);
    tally totals = {0};
    for (const c4test_case *test = cases; test->name; test++) {
        if (selected(test->name, argc, argv))
            run_case(test, &totals);
    }
    printf("%s: %d passed, %d failed, %d skipped\n", harness.program, totals.passed, totals.failed, totals.skipped);
    if (harness.results)
        fclose(harness.results);
    return totals.failed ? EXIT_FAILED : 0;
}
