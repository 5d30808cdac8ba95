/* c4run: starts the ranks of a job and watches over them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "host/topology.h"
#include "tools/c4run/binding.h"
#include "tools/c4run/guard.h"
#include "tools/c4run/hosts.h"
#include "tools/c4run/job.h"
#include "tools/c4run/join.h"
#include "tools/c4run/rendezvous.h"
#include "tools/c4run/report.h"
#include "tools/c4run/spawn.h"
#include "tools/c4run/supervise.h"

int c4run_first_rank(int nranks, int nnodes, int node)
{
    int each = nranks / nnodes, more = nranks % nnodes;
    return node * each + (node < more ? node : more);
}

static int fail_errno(c4run_job *job, const char *what)
{
    c4run_say(job, "%s: %s", what, strerror(errno));
    return 1;
}

/* Signals are read, not handled: nothing runs between two lines of this program. */
static int open_signals(c4run_job *job)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(&set, numbers[i]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* an ignored SIGCHLD, inherited, would lose exit statuses */
    sigprocmask(SIG_BLOCK, &set, &job->old_mask);
    job->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return job->signal_fd < 0 ? fail_errno(job, "signalfd") : 0;
}

/* Two pipes per rank with --tag; the ranks get the old limit back. */
static int open_files(c4run_job *job)
{
    struct rlimit all;
    getrlimit(RLIMIT_NOFILE, &job->old_files);
    all = job->old_files;
    all.rlim_cur = all.rlim_max;
    setrlimit(RLIMIT_NOFILE, &all);
    if (pipe2(job->exec_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return fail_errno(job, "pipe");
    return 0;
}

static int make_ranks(c4run_job *job)
{
    const c4run_options *options = job->options;
    job->first_rank = c4run_first_rank(options->nranks, options->nnodes, options->node_rank);
    job->nchildren = c4run_first_rank(options->nranks, options->nnodes, options->node_rank + 1) - job->first_rank;
    job->children = calloc((size_t)job->nchildren, sizeof *job->children);
    if (!job->children)
        return fail_errno(job, "ranks");
    for (int i = 0; i < job->nchildren; i++)
        job->children[i] = (c4run_child){.rank = job->first_rank + i, .orders = -1, .out.fd = -1, .err.fd = -1};
    return 0;
}

/* A user who has named a file may look for it in vain. HOST:PORT may be an outer c4run's word. */
static void mention_file(c4run_job *job)
{
    const char *asked = c4_env_get("C4_RENDEZVOUS");
    if (asked && strncmp(asked, "file:", 5) == 0)
        c4run_say(job, "C4_RENDEZVOUS=%s is not used: c4run tells its ranks itself where rank 0 is", asked);
}

/* What comes before the first child. 0, or the exit status with the message printed. */
static int prepare(c4run_job *job, c4_topology *topology)
{
    const c4run_options *options = job->options;
    int status = 0;
    gethostname(job->host, sizeof job->host - 1);
    job->oom_kills = c4run_oom_kills();
    mention_file(job);
    if (open_signals(job) || open_files(job))
        return 1;
    status = options->hosts ? c4run_hosts_parse(job) : make_ranks(job);
    if (!status && !options->hosts)
        status = c4run_binding_choose(job, topology);
    job->total_ranks = options->nranks;
    if (!status && options->join_pid)
        status = c4run_join_wait(job);
    else if (!status)
        status = options->remote ? c4run_orders_start(job) : c4run_rendezvous_open(job);
    if (!status)
        c4run_join_open(job);
    if (!status) {
        errno = c4run_guard_start(job->nchildren, job->listen_fd, &job->guard_fd, &job->guard_pid);
        status = errno ? fail_errno(job, "cannot start the guard process") : 0;
    }
    return status;
}

static int run(c4run_job *job)
{
    job->started_ns = c4_now_ns();
    if (job->options->hosts ? c4run_hosts_start(job) : c4run_spawn_ranks(job)) {
        job->exit_status = 1;
        job->failed = true;
        c4run_end(job);
    }
    int status = c4run_supervise(job);
    c4run_join_close(job);
    c4run_guard_stop(job->guard_fd, job->guard_pid);
    return status;
}

int main(int argc, char **argv)
{
    c4run_options options;
    c4_topology topology = {.ncores = 0};
    int status = c4run_options_parse(argc, argv, &options);
    if (status >= 0)
        return status;
    c4run_job job = {.options = &options,
                     .listen_fd = -1,
                     .join_fd = -1,
                     .guard_fd = -1,
                     .out = {.fd = STDOUT_FILENO},
                     .err = {.fd = STDERR_FILENO}};
    status = prepare(&job, &topology);
    if (!status)
        status = run(&job);
    c4run_output_fini(&job.out);
    c4run_output_fini(&job.err);
    c4_topology_fini(&topology);
    free(job.topology);
    free(job.core_of);
    free(job.host_names);
    free(job.children);
    return status;
}
