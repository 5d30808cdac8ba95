#include "tools/c4run/supervise.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/c4run/guard.h"
#include "tools/c4run/hosts.h"
#include "tools/c4run/join.h"
#include "tools/c4run/report.h"
#include "tools/c4run/waiting.h"

#define NS_PER_MS      1000000u
#define HOST_GRACE_MS  2000 /* a host's c4run needs its own grace period, and then this to report */
#define TIMEOUT_STATUS 124
#define RUNNING_BYTES  512

/* ---- signals ---- */

void c4run_signal_all(c4run_job *job, int number)
{
    for (int i = 0; i < job->nchildren; i++) {
        c4run_child *child = &job->children[i];
        if (!child->running)
            continue;
        if (child->host && number != SIGKILL) {
            c4run_order_signal(child, number);
            continue;
        }
        kill(-child->pid, number);
    }
}

void c4run_end(c4run_job *job)
{
    if (job->ending)
        return;
    job->ending = true;
    c4run_report_waiting(job);
    int64_t grace_ms = job->options->grace_ms + (job->options->hosts ? HOST_GRACE_MS : 0);
    job->kill_ns = c4_now_ns() + (uint64_t)grace_ms * NS_PER_MS;
    if (job->options->hosts) {
        c4run_order_end(job);
        return;
    }
    c4run_signal_all(job, SIGTERM);
    c4run_signal_all(job, SIGCONT); /* a stopped rank would not see it */
}

static void kill_late(c4run_job *job)
{
    char running[RUNNING_BYTES];
    c4run_list_running(job, running, sizeof running);
    c4run_say(job, "%s still there %.1f s after SIGTERM: killing", running, (double)job->options->grace_ms / 1000);
    job->kill_ns = 0;
    c4run_signal_all(job, SIGKILL);
}

static bool any_alive(const c4run_job *job)
{
    for (int i = 0; i < job->nchildren; i++)
        if (job->children[i].running)
            return true;
    return false;
}

static void interrupt(c4run_job *job, int number)
{
    char running[RUNNING_BYTES];
    if (!any_alive(job)) { /* only the rest of the output is left, and nobody reads it */
        c4run_output_drop(&job->out);
        c4run_output_drop(&job->err);
        return;
    }
    if (job->interrupted) {
        c4run_list_running(job, running, sizeof running);
        c4run_say(job, "SIG%s again: killing %s", sigabbrev_np(number), running);
        c4run_signal_all(job, SIGKILL);
        return;
    }
    job->interrupted = true;
    if (!job->options->quiet && !job->options->remote)
        c4run_say(job, "SIG%s: passed on to the ranks; once more kills them", sigabbrev_np(number));
    if (!job->options->quiet)
        c4run_report_waiting(job);
    c4run_signal_all(job, number);
}

static void handle_signal(c4run_job *job, int number)
{
    switch (number) {
    case SIGINT:
    case SIGTERM:
    case SIGHUP:
        interrupt(job, number);
        break;
    case SIGTSTP:
        c4run_signal_all(job, SIGSTOP);
        kill(getpid(), SIGSTOP);
        break;
    case SIGUSR1:
    case SIGUSR2:
    case SIGCONT:
        c4run_signal_all(job, number);
        break;
    default: /* SIGCHLD: the caller looks for the dead in any case */
        break;
    }
}

static void read_signals(c4run_job *job)
{
    struct signalfd_siginfo info;
    while (read(job->signal_fd, &info, sizeof info) == sizeof info)
        handle_signal(job, (int)info.ssi_signo);
}

/* ---- deaths ---- */

static c4run_child *find_child(c4run_job *job, pid_t pid)
{
    for (int i = 0; i < job->nchildren; i++)
        if (job->children[i].running && job->children[i].pid == pid)
            return &job->children[i];
    return NULL;
}

static void bury(c4run_job *job, c4run_child *child)
{
    kill(-child->pid, SIGKILL); /* what it left behind in its group */
    c4run_guard_remove(job->guard_fd, child->pid);
    waitpid(child->pid, &child->status, 0);
    child->ended_ns = c4_now_ns();
    child->running = false;
    child->fresh = true;
    if (child->out.fd >= 0)
        c4run_stream_close(&child->out);
    if (child->err.fd >= 0)
        c4run_stream_close(&child->err);
    if (child->orders >= 0)
        close(child->orders);
    child->orders = -1;
}

/* Several may have died before c4run looked. A signal is the likelier cause: the others often fail because of it. */
static c4run_child *first_failure(c4run_job *job)
{
    c4run_child *found = NULL;
    for (int i = 0; i < job->nchildren; i++) {
        c4run_child *child = &job->children[i];
        if (child->fresh && child->status != 0 &&
            (!found || (WIFSIGNALED(child->status) && !WIFSIGNALED(found->status))))
            found = child;
    }
    return found;
}

static bool is_wanted(const c4run_job *job, const c4run_child *child)
{
    int code = c4run_exit_status(child->status);
    return job->interrupted &&
           (code == 128 + SIGINT || code == 128 + SIGTERM || code == 128 + SIGHUP || code == 128 + SIGKILL);
}

static void judge(c4run_job *job, const c4run_child *child)
{
    char running[RUNNING_BYTES];
    bool first = !job->failed;
    if (first && !(job->ending && job->exit_status))
        job->exit_status = c4run_exit_status(child->status);
    job->failed = true;
    if (job->ending || is_wanted(job, child) || (!first && !job->options->keep_going))
        return;
    c4run_report_death(job, child);
    if (job->options->keep_going || job->interrupted)
        return;
    if (c4run_list_running(job, running, sizeof running) > 0 && !job->options->quiet)
        c4run_say(job, "ending %s (--keep-going would leave them running)", running);
    c4run_end(job);
}

static void reap(c4run_job *job)
{
    siginfo_t info = {.si_pid = 0};
    /* The dead stay zombies until their group is known to be gone: else its number could be somebody else's. */
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        c4run_child *child = find_child(job, info.si_pid);
        if (child)
            bury(job, child);
        else
            waitpid(info.si_pid, NULL, 0);
        info.si_pid = 0;
    }
    for (c4run_child *child = first_failure(job); child; child = first_failure(job)) {
        child->fresh = false;
        judge(job, child);
    }
}

/* ---- the loop ---- */

static void check_clock(c4run_job *job)
{
    char running[RUNNING_BYTES];
    uint64_t now = c4_now_ns();
    int64_t timeout_ms = job->options->timeout_ms;
    if (timeout_ms && !job->ending && now - job->started_ns >= (uint64_t)timeout_ms * NS_PER_MS) {
        c4run_list_running(job, running, sizeof running);
        c4run_say(job, "timeout after %.1f s; still running: %s", (double)timeout_ms / 1000, running);
        if (!job->failed)
            job->exit_status = TIMEOUT_STATUS;
        c4run_end(job);
    }
    if (job->kill_ns && now >= job->kill_ns)
        kill_late(job);
}

/* Milliseconds until check_clock has something to do; -1: never. */
static int next_tick(const c4run_job *job)
{
    uint64_t now = c4_now_ns(), next = job->kill_ns;
    if (job->options->timeout_ms && !job->ending)
        next = job->started_ns + (uint64_t)job->options->timeout_ms * NS_PER_MS;
    if (!next)
        return -1;
    uint64_t ms = next > now ? (next - now) / NS_PER_MS + 1 : 0;
    return ms > 1000000 ? 1000000 : (int)ms;
}

enum { SLOT_SIGNAL, SLOT_ORDERS, SLOT_OUT, SLOT_ERR, SLOT_JOIN, NSLOTS = SLOT_JOIN + C4RUN_JOIN_SLOTS };

static void fill(const c4run_job *job, struct pollfd *fds)
{
    bool wait = c4run_output_is_full(&job->out) || c4run_output_is_full(&job->err);
    fds[SLOT_SIGNAL] = (struct pollfd){.fd = job->signal_fd, .events = POLLIN};
    fds[SLOT_ORDERS] =
        (struct pollfd){.fd = job->options->remote && !job->ending ? STDIN_FILENO : -1, .events = POLLIN};
    fds[SLOT_OUT] = (struct pollfd){.fd = c4run_output_pending(&job->out) ? job->out.fd : -1, .events = POLLOUT};
    fds[SLOT_ERR] = (struct pollfd){.fd = c4run_output_pending(&job->err) ? job->err.fd : -1, .events = POLLOUT};
    c4run_join_fill(job, fds + SLOT_JOIN);
    for (int i = 0; i < job->nchildren; i++) {
        fds[NSLOTS + 2 * i] = (struct pollfd){.fd = wait ? -1 : job->children[i].out.fd, .events = POLLIN};
        fds[NSLOTS + 2 * i + 1] = (struct pollfd){.fd = wait ? -1 : job->children[i].err.fd, .events = POLLIN};
    }
}

static void serve(c4run_job *job, const struct pollfd *fds)
{
    for (int i = 0; i < job->nchildren; i++) {
        if (fds[NSLOTS + 2 * i].revents)
            c4run_stream_read(&job->children[i].out);
        if (fds[NSLOTS + 2 * i + 1].revents)
            c4run_stream_read(&job->children[i].err);
    }
    c4run_output_write(&job->out);
    c4run_output_write(&job->err);
    c4run_join_serve(job, fds + SLOT_JOIN);
    if (fds[SLOT_ORDERS].revents)
        c4run_orders_read(job);
}

int c4run_supervise(c4run_job *job)
{
    size_t nfds = NSLOTS + 2 * (size_t)job->nchildren;
    struct pollfd *fds = calloc(nfds, sizeof *fds);
    if (!fds) {
        c4run_say(job, "out of memory");
        c4run_signal_all(job, SIGKILL);
        return 1;
    }
    while (any_alive(job) || c4run_output_pending(&job->out) || c4run_output_pending(&job->err)) {
        fill(job, fds);
        if (poll(fds, nfds, any_alive(job) ? next_tick(job) : -1) < 0 && errno != EINTR)
            break;
        read_signals(job);
        serve(job, fds);
        reap(job);
        if (any_alive(job))
            check_clock(job);
    }
    free(fds);
    return job->exit_status;
}
