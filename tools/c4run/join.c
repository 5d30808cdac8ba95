#include "tools/c4run/join.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/options.h"
#include "wire/control_message.h"

#define TIMEOUT_STATUS 124

static void name_of(pid_t pid, char text[C4RUN_SOCKET_NAME_BYTES])
{
    snprintf(text, C4RUN_SOCKET_NAME_BYTES, "c4run/%u/%d", (unsigned)geteuid(), (int)pid);
}

static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
    size_t length = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static bool is_own_user(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.uid == geteuid();
}

/* ---- the running job ---- */

void c4run_join_open(c4run_job *job)
{
    struct sockaddr_un address;
    char name[C4RUN_SOCKET_NAME_BYTES];
    job->join_fd = -1;
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++)
        job->callers[i].fd = -1;
    if (job->first_rank != 0 || job->options->hosts)
        return;
    name_of(getpid(), name);
    socklen_t bytes = address_of(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, bytes) < 0 || listen(fd, C4RUN_JOIN_PLACES) < 0) {
        c4run_say(job, "nobody can join this job (c4run --join): socket: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    job->join_fd = fd;
    snprintf(job->socket_name, sizeof job->socket_name, "%s", name);
}

static void hang_up(c4run_caller *caller)
{
    if (caller->fd >= 0)
        close(caller->fd);
    explicit_bzero(caller, sizeof *caller);
    caller->fd = -1;
}

void c4run_join_close(c4run_job *job)
{
    if (job->join_fd >= 0)
        close(job->join_fd);
    job->join_fd = -1;
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++)
        hang_up(&job->callers[i]);
}

static bool reply(c4run_caller *caller, const char *line)
{
    size_t bytes = strlen(line);
    return send(caller->fd, line, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)bytes;
}

/* The group that has waited longest; NULL: none. */
static c4run_caller *first_waiting(c4run_job *job)
{
    c4run_caller *first = NULL;
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++) {
        c4run_caller *caller = &job->callers[i];
        if (caller->fd >= 0 && caller->count > 0 && (!first || caller->since_ns < first->since_ns))
            first = caller;
    }
    return first;
}

static void answer_pending(c4run_job *job, c4run_caller *caller)
{
    char line[32];
    const c4run_caller *first = first_waiting(job);
    snprintf(line, sizeof line, "%d\n", first ? first->count : 0);
    reply(caller, line);
    hang_up(caller);
}

static void answer_offer(c4run_job *job, c4run_caller *caller)
{
    char line[C4RUN_CALLER_LINE_BYTES];
    int first = 0, total = 0;
    c4run_caller *group = first_waiting(job);
    int count = group ? group->count : 0;
    if (sscanf(caller->line, "offer %d %d ", &first, &total) != 2 || total - first != count || !count) {
        snprintf(line, sizeof line, "%d ranks are to join, %d wait\n", total - first, count);
        reply(caller, line);
    } else {
        snprintf(line, sizeof line, "start %s\n", caller->line + strlen("offer "));
        reply(caller, reply(group, line) ? "ok\n" : "those who waited have gone\n");
        hang_up(group);
    }
    explicit_bzero(line, sizeof line);
    hang_up(caller);
}

static void answer_join(c4run_job *job, c4run_caller *caller)
{
    int64_t count;
    if (!c4_parse_int(caller->line + strlen("join "), &count) || count < 1 || count > (int64_t)C4_CONTROL_MAX_RANKS) {
        hang_up(caller);
        return;
    }
    caller->count = (int)count;
    caller->used = 0;
    if (!reply(caller, "waiting\n"))
        hang_up(caller);
    else if (!job->options->quiet)
        c4run_say(job, "%d %s to join the job", caller->count, caller->count == 1 ? "rank waits" : "ranks wait");
}

static void answer(c4run_job *job, c4run_caller *caller)
{
    if (strcmp(caller->line, "pending") == 0)
        answer_pending(job, caller);
    else if (strncmp(caller->line, "offer ", 6) == 0)
        answer_offer(job, caller);
    else if (strncmp(caller->line, "join ", 5) == 0 && !caller->count)
        answer_join(job, caller);
    else
        hang_up(caller);
}

static void read_caller(c4run_job *job, c4run_caller *caller)
{
    ssize_t got = recv(caller->fd, caller->line + caller->used, sizeof caller->line - 1 - caller->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) { /* gone, or more than a line may hold */
        hang_up(caller);
        return;
    }
    caller->used += (size_t)got;
    caller->line[caller->used] = '\0';
    char *end = strchr(caller->line, '\n');
    if (!end)
        return;
    *end = '\0';
    answer(job, caller);
}

/* Without a free place the one that has said nothing for longest goes; those who wait for the job stay. */
static c4run_caller *free_place(c4run_job *job)
{
    c4run_caller *oldest = NULL;
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++) {
        c4run_caller *caller = &job->callers[i];
        if (caller->fd < 0)
            return caller;
        if (!caller->count && (!oldest || caller->since_ns < oldest->since_ns))
            oldest = caller;
    }
    if (oldest)
        hang_up(oldest);
    return oldest;
}

static void accept_callers(c4run_job *job)
{
    int fd;
    while ((fd = accept4(job->join_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        c4run_caller *caller = is_own_user(fd) ? free_place(job) : NULL;
        if (!caller) {
            close(fd);
            continue;
        }
        caller->fd = fd;
        caller->since_ns = c4_now_ns();
    }
}

void c4run_join_fill(const c4run_job *job, struct pollfd *fds)
{
    fds[0] = (struct pollfd){.fd = job->join_fd, .events = POLLIN};
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++)
        fds[1 + i] = (struct pollfd){.fd = job->callers[i].fd, .events = POLLIN};
}

void c4run_join_serve(c4run_job *job, const struct pollfd *fds)
{
    for (int i = 0; i < C4RUN_JOIN_PLACES; i++)
        if (fds[1 + i].revents && job->callers[i].fd == fds[1 + i].fd)
            read_caller(job, &job->callers[i]);
    if (fds[0].revents)
        accept_callers(job);
}

/* ---- c4run --join ---- */

static int connect_job(c4run_job *job)
{
    struct sockaddr_un address;
    char name[C4RUN_SOCKET_NAME_BYTES];
    name_of((pid_t)job->options->join_pid, name);
    socklen_t bytes = address_of(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, bytes) == 0 && is_own_user(fd))
        return fd;
    if (fd >= 0)
        close(fd);
    c4run_say(
        job,
        "--join %d: no c4run of yours with this process number runs a job on this host (with --hosts: join on the "
        "host of rank 0, the c4run --remote there)",
        job->options->join_pid);
    return -1;
}

/* A line, a signal that ends, or the timeout: 0 with the line, or the exit status. */
static int await_line(c4run_job *job, int fd, char *line, size_t room)
{
    size_t used = 0;
    uint64_t start_ns = c4_now_ns();
    int64_t limit_ms = job->options->timeout_ms;
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = job->signal_fd, .events = POLLIN}};
        int64_t left_ms = limit_ms - (int64_t)((c4_now_ns() - start_ns) / 1000000u);
        if (limit_ms && left_ms <= 0) {
            c4run_say(job,
                      "timeout after %.1f s: the job has not taken the ranks in (rank 0 must call c4_comm_pending and "
                      "c4_comm_grow)",
                      (double)limit_ms / 1000);
            return TIMEOUT_STATUS;
        }
        poll(fds, 2, limit_ms ? (int)left_ms : -1);
        struct signalfd_siginfo info;
        if (read(job->signal_fd, &info, sizeof info) == sizeof info &&
            (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP))
            return 128 + (int)info.ssi_signo;
        if (!fds[0].revents)
            continue;
        ssize_t got = recv(fd, line + used, 1, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0 || used + 1 == room) {
            c4run_say(job, "the job of c4run %d has ended, or c4run there is of another version",
                      job->options->join_pid);
            return 1;
        }
        if (line[used++] == '\n') {
            line[used - 1] = '\0';
            return 0;
        }
    }
}

static int take_start(c4run_job *job, const char *line)
{
    int at = 0, first = 0, total = 0;
    if (sscanf(line, "start %d %d %n", &first, &total, &at) != 2 || !at ||
        strspn(line + at, "0123456789abcdef") != 2 * C4_UNIQUE_ID_BYTES ||
        strlen(line + at) != 2 * C4_UNIQUE_ID_BYTES || first < 1 || total - first != job->options->nranks) {
        c4run_say(job, "--join %d: unexpected answer; use one version of c4run", job->options->join_pid);
        return 1;
    }
    job->first_rank = first;
    job->total_ranks = total;
    snprintf(job->unique_id, sizeof job->unique_id, "%s", line + at);
    for (int i = 0; i < job->nchildren; i++)
        job->children[i].rank = first + i;
    if (!job->options->quiet)
        c4run_say(job, "joining as ranks %d to %d of %d", first, total - 1, total);
    return 0;
}

int c4run_join_wait(c4run_job *job)
{
    char line[C4RUN_CALLER_LINE_BYTES];
    int fd = connect_job(job);
    if (fd < 0)
        return 1;
    int bytes = snprintf(line, sizeof line, "join %d\n", job->options->nranks);
    int status = send(fd, line, (size_t)bytes, MSG_NOSIGNAL) == bytes ? 0 : 1;
    if (!status)
        status = await_line(job, fd, line, sizeof line);
    if (!status && !job->options->quiet)
        c4run_say(job, "waiting for the job of c4run %d to take in %d %s", job->options->join_pid, job->options->nranks,
                  job->options->nranks == 1 ? "rank" : "ranks");
    if (!status && strcmp(line, "waiting") == 0)
        status = await_line(job, fd, line, sizeof line);
    close(fd);
    if (!status)
        status = take_start(job, line);
    explicit_bzero(line, sizeof line);
    return status;
}
