/* The test harness: CUnit assertions, one process per test case, a deadline on each.
 *
 *     #include "tests/c4test.h"
 *     #include "base/options.h"
 *
 *     static void test_parse_bytes(void)
 *     {
 *         size_t bytes = 0;
 *         C4TEST_OK(c4_options_parse_bytes("64K", &bytes));    // prints the status when it is not C4_OK
 *         CU_ASSERT_EQUAL(bytes, 65536);                        // every CUnit assertion works
 *     }
 *
 *     static void rank_main(int rank, void *arg) { CU_ASSERT(rank < *(int *)arg); }
 *     static void test_two_ranks(void) { c4test_ranks(2, rank_main, &(int){2}, 10); }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const c4test_case cases[] = {C4TEST(parse_bytes), C4TEST_DEADLINE(two_ranks, 30), C4TEST_END};
 *         return c4test_main(argc, argv, cases);
 *     }
 *
 * To add it to `make check`, one line in the folder's local.mk: `check_PROGRAMS += tests/base/test_options`.
 *
 * What a case may rely on
 * - It runs in a process and a process group of its own, single-threaded at its start, with C4_* taken out of the
 *   environment (C4_TEST_* stay). Assert in that process's first thread only: CUnit is not thread-safe.
 * - It fails on a failed assertion, a signal, a sanitizer's report, a call of exit, or when its deadline passes;
 *   then its whole group is killed. A process that it leaves behind fails it too.
 * - c4test_dir() is a fresh directory (also TMPDIR), removed with its contents afterwards.
 * - c4test_rand() repeats with C4_TEST_SEED, whether all cases or this one alone is run.
 *
 * Command line: names of cases to run (none: all), or --list. Environment: C4_TEST_SEED; C4_TEST_SLOWDOWN=N multiplies
 * every deadline (sanitizers, valgrind); C4_TEST_QUICK=1 takes fewer samples where a case draws many;
 * C4_TEST_KEEP_ENV=1 leaves C4_* in place; C4_TEST_RESULTS=FILE receives one line "PASS|FAIL|SKIP case" for each case,
 * which the test driver turns into totals. */
#ifndef C4_TESTS_C4TEST_H
#define C4_TESTS_C4TEST_H

#include <CUnit/CUnit.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define C4TEST_DEFAULT_DEADLINE_S 20

typedef struct c4test_case {
    const char *name;
    void (*run)(void);
    int deadline_s;
    const void *arg; /* c4test_arg() inside the case */
} c4test_case;

/* clang-format off */
#define C4TEST(name) {#name, test_##name, C4TEST_DEFAULT_DEADLINE_S, NULL}
#define C4TEST_DEADLINE(name, deadline_s) {#name, test_##name, (deadline_s), NULL}
#define C4TEST_WITH(label, run, deadline_s, arg) {(label), (run), (deadline_s), (arg)}
#define C4TEST_END {NULL, NULL, 0, NULL}
/* clang-format on */

/* A sanitizer has address space, mappings and an allocator of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define C4TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define C4TEST_SANITIZED 1
#endif
#endif
#ifndef C4TEST_SANITIZED
#define C4TEST_SANITIZED 0
#endif

/* Runs the cases and returns main's exit status: 0 when none failed, 1 otherwise, 2 on a wrong command line. */
int c4test_main(int argc, char **argv, const c4test_case *cases);

/* Ends the case (from a rank: the whole case) as skipped. Say what is missing and how to provide it. */
#define C4TEST_SKIP(...) c4test_skip(__VA_ARGS__)
_Noreturn void c4test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Assertions that print the values, not only the expression. The _FATAL form leaves the case (or rank). */
#define C4TEST_INT(actual, expected)       c4test_check_int((actual), (expected), #actual, __FILE__, __LINE__, 0)
#define C4TEST_INT_FATAL(actual, expected) c4test_check_int((actual), (expected), #actual, __FILE__, __LINE__, 1)
#define C4TEST_OK(call)                    C4TEST_INT((call), 0)
#define C4TEST_OK_FATAL(call)              C4TEST_INT_FATAL((call), 0)
#define C4TEST_STRING(actual, expected)    c4test_check_string((actual), (expected), #actual, __FILE__, __LINE__)
/* `part` must occur in `text`: for messages. */
#define C4TEST_CONTAINS(text, part) c4test_check_contains((text), (part), #text, __FILE__, __LINE__)
void c4test_check_int(long long actual, long long expected, const char *what, const char *file, unsigned line,
                      int fatal);
void c4test_check_string(const char *actual, const char *expected, const char *what, const char *file, unsigned line);
void c4test_check_contains(const char *text, const char *part, const char *what, const char *file, unsigned line);

const void *c4test_arg(void);
const char *c4test_dir(void);
/* Directory of the sources' root and of the build's root, for files and programs that a test needs. */
const char *c4test_source_root(void);
const char *c4test_build_root(void);
/* PATH under c4test_dir(); valid until the fourth next call. */
const char *c4test_path(const char *name);
/* Names in a directory, as /proc/self/fd, but "." and ".."; 0: it cannot be read. */
int c4test_count_entries(const char *path);
uint64_t c4test_rand(void);
/* Uniform in 0 .. limit-1; limit > 0. */
uint64_t c4test_rand_below(uint64_t limit);
/* Seconds times C4_TEST_SLOWDOWN, for deadlines of a test's own. */
int c4test_seconds(int seconds);
/* How many random samples to try: all of them, or with C4_TEST_QUICK=1 a quarter, at least one. */
int c4test_samples(int samples);
/* Zeroed memory shared with ranks forked later; freed with the process. */
void *c4test_shared(size_t bytes);

/* ---- several ranks on this machine, as forked children of the case ---- */

typedef void (*c4test_rank_fn)(int rank, void *arg);
#define C4TEST_TIMED_OUT (-1)

/* Runs fn(rank, arg) in `nranks` processes and asserts that each returned, with no failed assertion, within
 * `deadline_s` (times C4_TEST_SLOWDOWN); those that did not are killed and named. Returns how many failed. */
int c4test_ranks(int nranks, c4test_rank_fn fn, void *arg, int deadline_s);

/* The same in two halves, for tests that kill ranks: nothing is asserted. `statuses[rank]` is waitpid's status, or
 * C4TEST_TIMED_OUT for a rank that had to be killed at the deadline. wait frees the team. */
typedef struct c4test_team c4test_team;
c4test_team *c4test_team_start(int nranks, c4test_rank_fn fn, void *arg);
pid_t c4test_team_pid(const c4test_team *team, int rank);
void c4test_team_wait(c4test_team *team, int deadline_s, int *statuses);

#endif
