/* Starts the ranks of this host. */
#ifndef C4_TOOLS_C4RUN_SPAWN_H
#define C4_TOOLS_C4RUN_SPAWN_H

#include "tools/c4run/job.h"

/* Opens the pipes of a child's output. 0, or 1 with the message printed. */
int c4run_child_open_streams(c4run_job *job, c4run_child *child, const char *prefix, int out[2], int err[2]);
/* In the child, after fork: a process group of its own, dies with c4run, default signals, standard streams. */
void c4run_child_enter(const c4run_job *job, pid_t parent, const int out[2], const int err[2]);
/* In the child: runs `words`, or reports why not and leaves with 126 or 127. */
_Noreturn void c4run_child_exec(const c4run_job *job, char **words);
/* In the parent, after fork. */
void c4run_child_started(c4run_job *job, c4run_child *child, pid_t pid);

/* Starts all ranks. 0, or 1 with the message printed (those already started are the caller's to end). */
int c4run_spawn_ranks(c4run_job *job);

#endif
