/* `c4run --join PID`: more ranks for a running job. The c4run of the job's first host listens on an AF_UNIX socket
 * in the abstract name space (leaves no file), which C4_RUN_SOCKET names to its ranks; only processes of its own
 * user are heard. One line each way per connection:      join COUNT                from c4run --join:  "waiting",
 * and later "start FIRST NRANKS ID"     pending                   from rank 0:        "N", the ranks of the first
 * group that waits; 0: none     offer FIRST NRANKS ID     from rank 0:        "ok" once that group has its start
 * line, or why not  ID is a unique id in hexadecimal digits, secret as C4_KEY is: it goes over these sockets and
 * through the environment. */
#ifndef C4_TOOLS_C4RUN_JOIN_H
#define C4_TOOLS_C4RUN_JOIN_H

#include <poll.h>

#include "tools/c4run/job.h"

#define C4RUN_JOIN_PLACES C4RUN_CALLERS
#define C4RUN_JOIN_SLOTS  (C4RUN_JOIN_PLACES + 1)

/* Listens, when rank 0 is of this host; failing is no reason to stop: nobody can join then, and that is said. */
void c4run_join_open(c4run_job *job);
void c4run_join_close(c4run_job *job);

/* For the supervisor's poll: fds[0 .. C4RUN_JOIN_SLOTS-1]. */
void c4run_join_fill(const c4run_job *job, struct pollfd *fds);
void c4run_join_serve(c4run_job *job, const struct pollfd *fds);

/* --join: blocks until the job takes the ranks in; fills in first_rank, total_ranks and unique_id. 0, or the exit
 * status with the message printed. */
int c4run_join_wait(c4run_job *job);

#endif
