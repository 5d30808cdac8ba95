/* The guard: a process that outlives c4run's own SIGKILL, and only that long. It knows the process groups of the ranks
 * through a pipe and kills them when the pipe ends: what a rank has started (by --wrap, for example) is not reached by the
 * kernel's parent-death signal. */
#ifndef C4_TOOLS_C4RUN_GUARD_H
#define C4_TOOLS_C4RUN_GUARD_H

#include <sys/types.h>

/* Starts it. *fd is the writing end, close-on-exec. `listen_fd` (-1: none) is not the guard's to hold: rank 0 listens there
 * again for its next communicator. 0, or an errno. */
int c4run_guard_start(int nchildren, int listen_fd, int *fd, pid_t *pid);
void c4run_guard_add(int fd, pid_t group);
/* To be called before the group's leader is reaped, so that the number is not somebody else's yet. */
void c4run_guard_remove(int fd, pid_t group);
/* Ends it and waits for it. */
void c4run_guard_stop(int fd, pid_t pid);

#endif
