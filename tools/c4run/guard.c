#include "tools/c4run/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void note(pid_t *groups, int ngroups, pid_t message)
{
    pid_t want = message < 0 ? -message : 0;
    for (int i = 0; i < ngroups; i++) {
        if (groups[i] != want)
            continue;
        groups[i] = message < 0 ? 0 : message;
        return;
    }
}

static _Noreturn void guard(int fd, pid_t *groups, int ngroups)
{
    pid_t message;
    ssize_t got;
    do {
        got = read(fd, &message, sizeof message);
        if (got == sizeof message)
            note(groups, ngroups, message);
    } while (got == sizeof message || (got < 0 && errno == EINTR));
    for (int i = 0; i < ngroups; i++)
        if (groups[i])
            kill(-groups[i], SIGKILL);
    _exit(0);
}

int c4run_guard_start(int nchildren, int listen_fd, int *fd, pid_t *pid)
{
    int ends[2];
    pid_t *groups = calloc((size_t)nchildren, sizeof *groups);
    if (!groups)
        return ENOMEM;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        free(groups);
        return errno;
    }
    pid_t made = fork();
    if (made == 0) {
        setsid(); /* the terminal's signals are c4run's business; the other signals are blocked already */
        prctl(PR_SET_NAME, "c4run-guard");
        close(ends[1]);
        if (listen_fd >= 0)
            close(listen_fd);
        guard(ends[0], groups, nchildren);
    }
    int error = made < 0 ? errno : 0;
    free(groups);
    close(ends[0]);
    if (error)
        close(ends[1]);
    else {
        *fd = ends[1];
        *pid = made;
    }
    return error;
}

static void tell(int fd, pid_t message)
{
    /* Smaller than PIPE_BUF: whole or not at all. A guard that is gone cannot be helped. */
    while (write(fd, &message, sizeof message) < 0 && errno == EINTR) {
    }
}

void c4run_guard_add(int fd, pid_t group)
{
    tell(fd, group);
}

void c4run_guard_remove(int fd, pid_t group)
{
    tell(fd, -group);
}

void c4run_guard_stop(int fd, pid_t pid)
{
    close(fd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}
