/* Connections of other processes, found in /proc and shut down from outside: what a middlebox or an operator does. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

enum { MAX_SOCKETS = 512, CONTROL_PRIORITY = 6, STATE_ESTABLISHED = 1, STATE_LISTEN = 10 };

typedef struct found_socket {
    int fd;                                           /* in that process */
    unsigned address, local_port, remote_port, state; /* address: of this end, 0 with IPv6 */
} found_socket;

/* The socket with this inode as the process's network name space lists it. */
static bool look_up(pid_t pid, unsigned long inode, found_socket *found)
{
    static const char *const tables[] = {"tcp", "tcp6"};
    for (int t = 0; t < 2; t++) {
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%d/net/%s", pid, tables[t]);
        FILE *table = fopen(path, "r");
        while (table && fgets(line, sizeof line, table)) {
            unsigned long its_inode;
            found->address = 0;
            if (t == 0 && sscanf(line, " %*d: %8x", &found->address) != 1)
                continue;
            if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%4x %2x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                       &found->local_port, &found->remote_port, &found->state, &its_inode) == 4 &&
                its_inode == inode) {
                fclose(table);
                return true;
            }
        }
        if (table)
            fclose(table);
    }
    return false;
}

static int list_sockets(pid_t pid, found_socket *sockets, int limit)
{
    char path[320], target[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && n < limit && (entry = readdir(dir))) {
        unsigned long inode;
        snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, entry->d_name);
        ssize_t got = readlink(path, target, sizeof target - 1);
        target[got > 0 ? got : 0] = '\0';
        if (sscanf(target, "socket:[%lu]", &inode) == 1 && look_up(pid, inode, &sockets[n]))
            sockets[n++].fd = atoi(entry->d_name);
    }
    if (dir)
        closedir(dir);
    return n;
}

/* A descriptor here for one of that process; -1. */
static int borrow(pid_t pid, int fd)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    if (pidfd >= 0)
        close(pidfd);
    return copy;
}

/* All connections come in at one port; those of the control plane have a priority. */
static bool is_control(pid_t pid, int fd)
{
    int priority = 0, copy = borrow(pid, fd);
    socklen_t bytes = sizeof priority;
    if (copy < 0)
        return false;
    getsockopt(copy, SOL_SOCKET, SO_PRIORITY, &priority, &bytes);
    close(copy);
    return priority == CONTROL_PRIORITY;
}

static bool shut_down(pid_t pid, int fd)
{
    int copy = borrow(pid, fd);
    bool done = copy >= 0 && shutdown(copy, SHUT_RDWR) == 0;
    if (copy >= 0)
        close(copy);
    return done;
}

bool chaos_socket_shutdown(pid_t pid, bool data, int number)
{
    static found_socket sockets[MAX_SOCKETS];
    int chosen[MAX_SOCKETS], nchosen = 0;
    int n = list_sockets(pid, sockets, MAX_SOCKETS);
    for (int i = 0; i < n; i++)
        if (sockets[i].state == STATE_ESTABLISHED && is_control(pid, sockets[i].fd) != data)
            chosen[nchosen++] = sockets[i].fd;
    return nchosen > 0 && shut_down(pid, chosen[number % nchosen]);
}

int chaos_socket_doors(const pid_t *pids, int npids, struct sockaddr_in *doors, int limit)
{
    static found_socket sockets[MAX_SOCKETS];
    int ndoors = 0;
    for (int p = 0; p < npids; p++) {
        int n = list_sockets(pids[p], sockets, MAX_SOCKETS);
        for (int i = 0; i < n && ndoors < limit; i++)
            if (sockets[i].state == STATE_LISTEN)
                doors[ndoors++] = (struct sockaddr_in){.sin_family = AF_INET,
                                                       .sin_port = htons((uint16_t)sockets[i].local_port),
                                                       .sin_addr.s_addr = sockets[i].address ? sockets[i].address
                                                                                             : htonl(INADDR_LOOPBACK)};
    }
    return ndoors;
}

bool chaos_socket_supported(void)
{
    int copy = borrow(getpid(), STDERR_FILENO);
    if (copy >= 0)
        close(copy);
    return copy >= 0;
}
