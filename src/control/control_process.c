/* Deaths: pidfds, ends of connections, and what can be known of how a process ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/proc_stat.h"
#include "control/control_internal.h"
#include "rendezvous/process.h"

/* linux/pidfd.h of 6.15 (PIDFD_GET_INFO, PIDFD_INFO_EXIT); older headers do not have it, older kernels refuse it. */
typedef struct pidfd_exit_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
} pidfd_exit_info;
#define PIDFD_GET_EXIT  _IOWR(0xff, 11, pidfd_exit_info)
#define PIDFD_EXIT_MASK (1u << 3)

/* Of a zombie that nobody has waited for yet. */
static bool read_zombie_status(const c4_control_peer *peer, int *status)
{
    c4_proc_stat stat;
    if (!c4_proc_stat_read(peer->process.pid, &stat) || stat.state != 'Z' ||
        stat.start_ticks != peer->process.start_ticks) /* a later process with the same pid */
        return false;
    *status = stat.exit_code;
    return true;
}

/* After it has been waited for, newer kernels still tell those who hold a pidfd. */
static bool read_reaped_status(int pidfd, int *status)
{
    pidfd_exit_info info = {.mask = PIDFD_EXIT_MASK};
    if (pidfd < 0 || ioctl(pidfd, PIDFD_GET_EXIT, &info) < 0 || !(info.mask & PIDFD_EXIT_MASK))
        return false;
    *status = info.exit_code;
    return true;
}

void c4_control_describe_end(const c4_control_peer *peer, char *text, size_t bytes)
{
    int status = 0;
    if (!peer->ended)
        snprintf(text, bytes, "its control connection ended without a goodbye");
    else if (!read_zombie_status(peer, &status) && !read_reaped_status(peer->pidfd, &status))
        snprintf(text, bytes, "its process ended");
    else if (WIFSIGNALED(status))
        snprintf(text, bytes, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, bytes, "exited with status %d without leaving the job", WEXITSTATUS(status));
}

void c4_control_describe_silence(const c4_control *control, const c4_control_peer *peer, char *text, size_t bytes)
{
    c4_proc_stat stat;
    const char *why = NULL;
    text[0] = '\0';
    if (!c4_process_same_kernel(&control->peers[control->rank].process, &peer->process) ||
        !c4_process_is_alive(&peer->process))
        return;
    if (!c4_proc_stat_read(peer->process.pid, &stat))
        return;
    if (stat.state == 'T')
        why = "is stopped by a signal";
    else if (stat.state == 't')
        why = "is stopped by a debugger";
    else if (stat.state == 'D')
        why = "waits for a disk or driver";
    else
        why = "runs, but its control thread does not get the CPU or is frozen";
    snprintf(text, bytes, "its process %s (state %c)", why, stat.state);
}

/* ---- whom to watch ---- */

static void watch_process(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    peer->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)peer->process.pid, 0u);
    if (peer->pidfd < 0) {
        peer->ended = errno == ESRCH;
        if (!peer->ended) /* no descriptors or an old kernel: the connections must do */
            c4_log(C4_LOG_DEBUG, "control: cannot watch rank %d by pid: %s", rank, strerror(errno));
    } else {
        peer->ended = !c4_process_is_alive(&peer->process); /* or the pid has a new owner */
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = c4_event_pack(C4_EVENT_PROCESS, 0, (uint32_t)rank)};
    if (peer->pidfd >= 0 && !peer->ended && epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, peer->pidfd, &event) < 0) {
        close(peer->pidfd);
        peer->pidfd = -1;
    }
    if (peer->ended)
        c4_control_on_process_end(control, rank);
}

/* Rank 0 watches all ranks of its host; others all when they are few, else rank 0 and the nearest in rank order. */
void c4_control_watch_processes(c4_control *control)
{
    const c4_process *self = &control->peers[control->rank].process;
    int local = 0;
    int before = 0; /* local ranks below this one */
    for (int rank = 0; rank < control->nranks; rank++) {
        bool here = c4_process_same_kernel(self, &control->peers[rank].process);
        local += here;
        before += here && rank < control->rank;
    }
    bool all = control->rank == 0 || local <= C4_CONTROL_ALL_WATCHED;
    int position = 0;
    for (int rank = 0; rank < control->nranks; rank++) {
        c4_control_peer *peer = &control->peers[rank];
        if (!c4_process_same_kernel(self, &peer->process))
            continue;
        int distance = abs(position++ - before);
        if (local - distance < distance)
            distance = local - distance;                    /* the order is a circle */
        bool same_process = peer->process.pid == self->pid; /* ranks can be threads of one process */
        if (!same_process && (all || rank == 0 || distance <= C4_CONTROL_NEIGHBOURS))
            watch_process(control, rank);
    }
}

/* ---- ends ---- */

static c4_core_end end_of(const c4_control_peer *peer)
{
    int status = 0;
    if (!read_zombie_status(peer, &status) && !read_reaped_status(peer->pidfd, &status))
        return C4_END_UNKNOWN;
    if (WIFSIGNALED(status))
        return C4_END_KILLED;
    return WEXITSTATUS(status) == 0 ? C4_END_CLEAN : C4_END_EXITED;
}

void c4_control_on_process_end(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    peer->ended = true;
    if (peer->pidfd >= 0)
        epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, peer->pidfd, NULL); /* stays open for its exit status */
    if (peer->link.fd >= 0)                                             /* a goodbye may be among the last bytes */
        c4_control_on_link_event(control, rank, EPOLLIN);
    c4_core_process_ended(control->core, rank, end_of(peer), c4_now_ns());
}
