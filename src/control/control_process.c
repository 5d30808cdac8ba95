/* Deaths: pidfds, ends of connections, and what can be known of how a process ended. */
#include <errno.h>
#include <fcntl.h>
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

/* Field 52 of /proc/PID/stat, of a zombie that nobody has waited for yet. */
static bool read_zombie_status(const c4_control_peer *peer, int *status)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", peer->process.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] != 'Z')
        return false;
    for (int field = 2; at && field < 52; field++) {
        at = strchr(at + 1, ' ');
        if (at && field + 1 == 22 && strtoull(at, NULL, 10) != peer->process.start_ticks)
            return false; /* a later process with the same pid */
    }
    if (!at)
        return false;
    *status = (int)strtol(at, NULL, 10);
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

/* ---- verdicts ---- */

static void plan_verdict(c4_control_peer *peer, int grace_ms)
{
    uint64_t when_ns = c4_now_ns() + (uint64_t)grace_ms * 1000000u;
    if (!peer->verdict_ns || when_ns < peer->verdict_ns)
        peer->verdict_ns = when_ns;
}

/* Somebody who was killed has said no goodbye; somebody who has exited probably has. While rank 0 is there, which sees
 * goodbyes first, its word decides. After rank 0 has left, nobody brings goodbyes: then an exit with status 0 is one. */
static int goodbye_grace_ms(const c4_control *control, c4_control_peer *peer)
{
    int status = 0;
    bool known = read_zombie_status(peer, &status) || read_reaped_status(peer->pidfd, &status);
    bool root_speaks = !control->peers[0].dead && !control->peers[0].left && control->peers[0].link.fd >= 0;
    if (!root_speaks && control->peers[0].left && known && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        peer->left = true;
    return root_speaks && !(known && WIFSIGNALED(status)) ? C4_CONTROL_EXITED_GRACE_MS : C4_CONTROL_GOODBYE_GRACE_MS;
}

void c4_control_on_process_end(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    peer->ended = true;
    if (peer->pidfd >= 0)
        epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, peer->pidfd, NULL); /* stays open for its exit status */
    if (peer->link.fd >= 0)                                             /* a goodbye may be among the last bytes */
        c4_control_on_link_event(control, rank, EPOLLIN);
    bool told = control->rank == 0 || rank == 0; /* nobody else could bring its goodbye */
    if (!peer->left && !peer->dead)
        plan_verdict(peer, told ? 0 : goodbye_grace_ms(control, peer));
}

void c4_control_on_link_end(c4_control *control, int rank, const char *why)
{
    c4_control_peer *peer = &control->peers[rank];
    if (why && !peer->left)
        c4_log(C4_LOG_ERROR, "control: rank %d (pid %u on %s) %s", rank, peer->process.pid, peer->process.host, why);
    c4_control_close_link(control, rank);
    if (!peer->left && !peer->dead)
        plan_verdict(peer, peer->ended || peer->pidfd < 0 ? 0 : C4_CONTROL_EXIT_GRACE_MS);
}

int c4_control_judge(c4_control *control)
{
    uint64_t now_ns = c4_now_ns();
    uint64_t next_ns = UINT64_MAX;
    for (int rank = 0; rank < control->nranks; rank++) {
        c4_control_peer *peer = &control->peers[rank];
        if (!peer->verdict_ns || peer->left || peer->dead) {
            peer->verdict_ns = 0;
            continue;
        }
        if (peer->verdict_ns > now_ns) {
            next_ns = peer->verdict_ns < next_ns ? peer->verdict_ns : next_ns;
            continue;
        }
        char how[96];
        c4_control_fault fault = {.status = C4_ERR_PEER_DEAD};
        peer->verdict_ns = 0;
        c4_control_describe_end(peer, how, sizeof how);
        snprintf(fault.text, sizeof fault.text, "rank %d (pid %u on %s) died: %s", rank, peer->process.pid,
                 peer->process.host, how);
        c4_control_declare_dead(control, rank, control->rank, &fault);
    }
    return next_ns == UINT64_MAX ? -1 : (int)((next_ns - now_ns) / 1000000u) + 1;
}
