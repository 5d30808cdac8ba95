#include "tools/c4run/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
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

static bool is_running(const c4run_job *job, int i)
{
    return i < job->nchildren && job->children[i].running;
}

int c4run_list_running(const c4run_job *job, char *text, size_t bytes)
{
    int count = 0;
    for (int i = 0; i < job->nchildren; i++)
        count += is_running(job, i);
    bool hosts = job->options->hosts != NULL;
    snprintf(text, bytes, "%s%s", hosts ? "host" : "rank", count == 1 ? " " : "s ");
    bool first = true;
    for (int i = 0; i < job->nchildren; i++) {
        if (!is_running(job, i))
            continue;
        int last = i;
        while (!hosts && is_running(job, last + 1))
            last++;
        append(text, bytes, "%s", first ? "" : ", ");
        first = false;
        if (hosts)
            append(text, bytes, "%s", job->children[i].host);
        else if (last > i + 1)
            append(text, bytes, "%d-%d", job->children[i].rank, job->children[last].rank);
        else
            append(text, bytes, "%d", job->children[last = i].rank);
        i = last;
    }
    return count;
}
