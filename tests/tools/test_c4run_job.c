#include "tests/tools/test_c4run_job.h"

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc_stat.h"
#include "tests/c4test.h"
#include "tests/tools/test_c4train_text.h"

static const char *c4run_path(void)
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
    snprintf(line, bytes, "cd '%s' && exec '%s' %s >out 2>err", c4test_dir(), c4run_path(), words);
}

int c4run_run(const char *format, ...)
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

pid_t c4run_start(const char *format, ...)
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

int c4run_finish(pid_t pid)
{
    int status = 0;
    CU_ASSERT_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

char *c4run_content(const char *name)
{
    return c4_text_read(c4test_path(name), NULL);
}

void c4run_assert_said(const char *name, const char *part)
{
    char *text = c4run_content(name);
    C4TEST_CONTAINS(text, part);
    free(text);
}

void c4run_assert_is(const char *name, const char *expected)
{
    char *text = c4run_content(name);
    C4TEST_STRING(text, expected);
    free(text);
}

void c4run_assert_not_said(const char *name, const char *part)
{
    char *text = c4run_content(name);
    if (strstr(text, part))
        fprintf(stderr, "%s must not contain \"%s\": %s\n", name, part, text);
    CU_ASSERT(strstr(text, part) == NULL);
    free(text);
}

void c4run_write_script(const char *name, const char *text)
{
    c4_text_write(c4test_path(name), text, strlen(text));
    CU_ASSERT_EQUAL(chmod(c4test_path(name), 0755), 0);
}

void c4run_await_file(const char *name)
{
    struct stat info;
    while (stat(c4test_path(name), &info) < 0 || info.st_size == 0)
        usleep(2000);
}

double c4run_seconds_since(uint64_t start_ns)
{
    return (double)(c4_now_ns() - start_ns) * 1e-9;
}

pid_t c4run_pid_in(const char *name)
{
    c4run_await_file(name);
    char *text = c4run_content(name);
    pid_t pid = (pid_t)atoi(text);
    free(text);
    CU_ASSERT_FATAL(pid > 1);
    return pid;
}

/* A zombie that its new parent has not collected yet is gone too. */
static bool is_gone(pid_t pid)
{
    c4_proc_stat stat;
    return !c4_proc_stat_read(pid, &stat) || c4_proc_stat_has_ended(&stat);
}

void c4run_assert_gone(pid_t pid)
{
    uint64_t start_ns = c4_now_ns();
    while (!is_gone(pid) && c4run_seconds_since(start_ns) < c4test_seconds(5))
        usleep(2000);
    CU_ASSERT(is_gone(pid));
}
