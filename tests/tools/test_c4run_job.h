/* Running c4run from tests: in the case's directory, with its output in the files out and err there. */
#ifndef C4_TESTS_TOOLS_TEST_C4RUN_JOB_H
#define C4_TESTS_TOOLS_TEST_C4RUN_JOB_H

#include <stdint.h>
#include <sys/types.h>

/* Shell words of a job that waits for a signal. */
#define C4RUN_WAIT_FOREVER "while :; do sleep 0.02; done"

/* Runs "c4run ARGUMENTS" through the shell; its exit status. */
int c4run_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same without waiting: its pid. */
pid_t c4run_start(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Exit status, or 1000 plus the signal that killed it. */
int c4run_finish(pid_t pid);

/* Content of a file of the case's directory; the caller frees. */
char *c4run_content(const char *name);
void c4run_assert_said(const char *name, const char *part);
void c4run_assert_is(const char *name, const char *expected);
void c4run_assert_not_said(const char *name, const char *part);
void c4run_write_script(const char *name, const char *text);
/* Until the file is there and not empty; the case's deadline ends a vain wait. */
void c4run_await_file(const char *name);
/* The process whose number the file holds, once it does. */
pid_t c4run_pid_in(const char *name);
/* The process ends within 5 s. */
void c4run_assert_gone(pid_t pid);
double c4run_seconds_since(uint64_t start_ns);

#endif
