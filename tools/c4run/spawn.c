#include "tools/c4run/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "host/topology.h"
#include "tools/c4run/guard.h"

/* ---- of every child ---- */

int c4run_child_open_streams(c4run_job *job, c4run_child *child, const char *prefix, int out[2], int err[2])
{
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        c4run_say(job, "cannot make a pipe: %s%s", strerror(errno), errno == EMFILE ? "; raise `ulimit -n`" : "");
        return 1;
    }
    child->out = (c4run_stream){.fd = out[0], .to = &job->out};
    child->err = (c4run_stream){.fd = err[0], .to = &job->err};
    snprintf(child->out.prefix, sizeof child->out.prefix, "%s", prefix);
    snprintf(child->err.prefix, sizeof child->err.prefix, "%s", prefix);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    return 0;
}

void c4run_child_enter(const c4run_job *job, pid_t parent, const int out[2], const int err[2])
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* died before the line above */
        _exit(1);
    signal(SIGPIPE, SIG_DFL);
    setrlimit(RLIMIT_NOFILE, &job->old_files);
    sigprocmask(SIG_SETMASK, &job->old_mask, NULL);
    if (out[1] >= 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
    }
}

_Noreturn void c4run_child_exec(const c4run_job *job, char **words)
{
    execvp(words[0], words);
    int error = errno;
    ssize_t told = write(job->exec_fds[1], &error, sizeof error);
    _exit(told == sizeof error && error != ENOENT ? 126 : 127);
}

void c4run_child_started(c4run_job *job, c4run_child *child, pid_t pid)
{
    setpgid(pid, pid); /* whoever is first, parent or child */
    c4run_guard_add(job->guard_fd, pid);
    child->pid = pid;
    child->running = true;
    child->started_ns = c4_now_ns();
}

/* ---- ranks ---- */

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

static void set_or_unset(const char *name, const char *value)
{
    if (value && *value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* In the child. What an outer c4run has set for c4run itself must not remain. */
static void set_environment(const c4run_job *job, const c4run_child *child)
{
    const c4run_options *options = job->options;
    bool listens = child->rank == 0 && job->listen_fd >= 0;
    set_number("C4_RANK", child->rank);
    set_number("C4_NRANKS", job->total_ranks);
    set_number("C4_LOCAL_RANK", child->rank - job->first_rank);
    set_number("C4_LOCAL_NRANKS", job->nchildren);
    set_number("C4_NODE_RANK", options->node_rank);
    set_number("C4_NNODES", options->nnodes);
    setenv("C4_LAUNCHER", "c4run", 1);
    set_or_unset("C4_RENDEZVOUS", job->rendezvous);
    set_or_unset("C4_TOPOLOGY", job->topology);
    set_or_unset("C4_RUN_SOCKET", job->socket_name);
    set_or_unset("C4_UNIQUE_ID", job->unique_id);
    if (job->key[0])
        setenv("C4_KEY", job->key, 1);
    if (job->id[0])
        setenv("C4_JOB_ID", job->id, 1);
    unsetenv("C4_RENDEZVOUS_FD");
    if (listens) {
        fcntl(job->listen_fd, F_SETFD, 0);
        set_number("C4_RENDEZVOUS_FD", job->listen_fd);
    }
}

/* Not being allowed to is no reason to stop. */
static void bind_to_core(const c4run_job *job, int local_rank)
{
    const c4_topology *topology = job->cores;
    if (!job->core_of)
        return;
    const c4_topology_core *core = &topology->cores[job->core_of[local_rank]];
    int last = 0;
    for (size_t i = 0; i < core->ncpus; i++)
        last = topology->cpus[core->first_cpu + i] > last ? topology->cpus[core->first_cpu + i] : last;
    cpu_set_t *set = CPU_ALLOC(last + 1);
    size_t bytes = CPU_ALLOC_SIZE(last + 1);
    if (!set)
        return;
    CPU_ZERO_S(bytes, set);
    for (size_t i = 0; i < core->ncpus; i++)
        CPU_SET_S((size_t)topology->cpus[core->first_cpu + i], bytes, set);
    sched_setaffinity(0, bytes, set);
    CPU_FREE(set);
}

/* Rank 0 reads c4run's standard input, unless that is a terminal (whose foreground group the ranks are not) or c4run's
 * orders; the others read nothing. */
static void set_stdin(const c4run_job *job, int rank)
{
    if (rank == 0 && !job->options->remote && !isatty(STDIN_FILENO))
        return;
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && null != STDIN_FILENO) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
}

/* "exec ip netns exec ns3 "$@"" for --wrap 'ip netns exec ns%r'. */
static char *wrap_line(const char *wrap, int rank)
{
    char *line = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&line, &bytes);
    if (!stream)
        return NULL;
    fputs("exec ", stream);
    for (const char *at = wrap; *at; at++) {
        if (at[0] == '%' && at[1] == 'r') {
            fprintf(stream, "%d", rank);
            at++;
        } else {
            fputc(*at, stream);
        }
    }
    fputs(" \"$@\"", stream);
    return fclose(stream) == 0 ? line : NULL;
}

static _Noreturn void exec_rank(const c4run_job *job, int rank)
{
    char **program = job->options->program;
    if (!job->options->wrap)
        c4run_child_exec(job, program);
    size_t count = 0;
    while (program[count])
        count++;
    char **words = calloc(count + 5, sizeof *words);
    char *line = wrap_line(job->options->wrap, rank);
    if (!words || !line)
        _exit(126);
    words[0] = (char[]){"sh"};
    words[1] = (char[]){"-c"};
    words[2] = line;
    words[3] = (char[]){"c4run --wrap"};
    memcpy(words + 4, program, count * sizeof *words);
    c4run_child_exec(job, words);
}

static int spawn_rank(c4run_job *job, c4run_child *child)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    char prefix[16];
    pid_t self = getpid();
    snprintf(prefix, sizeof prefix, "[%d] ", child->rank);
    if (job->options->tag && c4run_child_open_streams(job, child, prefix, out, err))
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        c4run_child_enter(job, self, out, err);
        set_stdin(job, child->rank);
        set_environment(job, child);
        bind_to_core(job, child->rank - job->first_rank);
        exec_rank(job, child->rank);
    }
    int error = errno;
    if (out[1] >= 0) {
        close(out[1]);
        close(err[1]);
    }
    if (pid < 0) {
        c4run_say(job, "cannot start rank %d: %s%s", child->rank, strerror(error),
                  error == EAGAIN ? "; raise `ulimit -u` or the container's limit of processes" : "");
        return 1;
    }
    c4run_child_started(job, child, pid);
    return 0;
}

int c4run_spawn_ranks(c4run_job *job)
{
    for (int i = 0; i < job->nchildren; i++)
        if (spawn_rank(job, &job->children[i]))
            return 1;
    /* Rank 0 has it now. Kept open here, it would accept connections to a dead rank 0. */
    if (job->listen_fd >= 0)
        close(job->listen_fd);
    job->listen_fd = -1;
    return 0;
}
