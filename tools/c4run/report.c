#include "tools/c4run/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void c4run_say(c4run_job *job, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    size_t length = bytes < 0 ? 0 : (size_t)bytes < sizeof line - 1 ? (size_t)bytes : sizeof line - 2;
    line[length++] = '\n';
    c4run_output_add(&job->err, "c4run: ", line, length);
    c4run_output_write(&job->err);
}

int c4run_exit_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

long c4run_oom_kills(void)
{
    char line[128];
    long kills = -1;
    FILE *file = fopen("/proc/vmstat", "re");
    while (file && kills < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "oom_kill %ld", &kills) != 1)
            kills = -1;
    if (file)
        fclose(file);
    return kills;
}

/* Nobody tells who sent a SIGKILL; the kernel's counter tells whether it may have been the kernel. */
static const char *kill_hint(const c4run_job *job)
{
    long kills = c4run_oom_kills();
    if (kills < 0 || job->oom_kills < 0)
        return "; perhaps out of memory: see `dmesg`";
    if (kills > job->oom_kills)
        return "; the kernel has killed for lack of memory since the job began: see `dmesg`";
    return "; not by the kernel for lack of memory";
}

static void describe(const c4run_child *child, char *text, size_t bytes)
{
    if (!WIFSIGNALED(child->status)) {
        snprintf(text, bytes, "ended with exit status %d", WEXITSTATUS(child->status));
        return;
    }
    int number = WTERMSIG(child->status);
    const char *name = sigabbrev_np(number);
    snprintf(text, bytes, "was killed by %s%s (%s%s)", name ? "SIG" : "signal ", name ? name : "", strsignal(number),
             WCOREDUMP(child->status) ? ", core dumped" : "");
}

void c4run_report_death(c4run_job *job, const c4run_child *child)
{
    char what[256];
    int error;
    double seconds = (double)(child->ended_ns - child->started_ns) * 1e-9;
    if (read(job->exec_fds[0], &error, sizeof error) == sizeof error) {
        const char *program = job->options->wrap ? "sh (for --wrap)" : job->options->program[0];
        c4run_say(job, "cannot run %s: %s", child->host ? "sh (for --ssh)" : program, strerror(error));
        return;
    }
    describe(child, what, sizeof what);
    if (child->host && WIFEXITED(child->status) && WEXITSTATUS(child->status) == 255)
        c4run_say(job, "host %s: no connection, or lost after %.1f s (`%s %s` ended with exit status 255)", child->host,
                  seconds, job->options->ssh, child->host);
    else if (child->host && WIFEXITED(child->status) && WEXITSTATUS(child->status) < 126)
        return; /* its c4run has said more than can be said here */
    else if (child->host)
        c4run_say(job, "host %s: its part of the job %s after %.1f s", child->host, what, seconds);
    else
        c4run_say(job, "rank %d (pid %d on %s) %s after %.1f s%s", child->rank, (int)child->pid, job->host, what,
                  seconds, c4run_exit_status(child->status) == 128 + SIGKILL ? kill_hint(job) : "");
}

static void append(char *text, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t bytes, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, bytes - used, format, arguments);
    va_end(arguments);
}

int c4run_list_ranks(const c4run_job *job, const bool *marks, char *text, size_t bytes)
{
    int count = 0;
    for (int i = 0; i < job->nchildren; i++)
        count += marks[i];
    snprintf(text, bytes, count == 1 ? "rank" : "ranks");
    const char *between = " ";
    for (int i = 0; i < job->nchildren; i++) {
        if (!marks[i])
            continue;
        if (bytes - strlen(text) < 32) {
            append(text, bytes, ", ...");
            break;
        }
        int last = i;
        while (last + 1 < job->nchildren && marks[last + 1])
            last++;
        if (last == i + 1)
            last = i; /* two have a number each */
        append(text, bytes, last > i ? "%s%d-%d" : "%s%d", between, job->children[i].rank, job->children[last].rank);
        between = ", ";
        i = last;
    }
    return count;
}

static int list_hosts(const c4run_job *job, char *text, size_t bytes)
{
    int count = 0;
    for (int i = 0; i < job->nchildren; i++)
        count += job->children[i].running;
    snprintf(text, bytes, count == 1 ? "host" : "hosts");
    const char *between = " ";
    for (int i = 0; i < job->nchildren; i++) {
        if (!job->children[i].running)
            continue;
        append(text, bytes, "%s%s", between, job->children[i].host);
        between = ", ";
    }
    return count;
}

int c4run_list_running(const c4run_job *job, char *text, size_t bytes)
{
    if (job->options->hosts)
        return list_hosts(job, text, bytes);
    bool *marks = calloc((size_t)job->nchildren, sizeof *marks);
    snprintf(text, bytes, "ranks");
    if (!marks)
        return 0;
    for (int i = 0; i < job->nchildren; i++)
        marks[i] = job->children[i].running;
    int count = c4run_list_ranks(job, marks, text, bytes);
    free(marks);
    return count;
}
