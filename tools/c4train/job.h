/* The ranks that train together, and the few collective checks that keep them from waiting for one that failed. */
#ifndef C4_TOOLS_C4TRAIN_JOB_H
#define C4_TOOLS_C4TRAIN_JOB_H

#include <c4/c4.h>

typedef struct c4_train_job {
    c4_comm *comm;
    int rank;
    int nranks;
} c4_train_job;

/* Joins the launcher's job, or makes one of a single rank when there is no launcher. Blocks until all are there. */
c4_status c4_train_job_open(c4_train_job *job);
/* Ends the job; after a failure it is aborted first, so that nobody waits for this rank. */
void c4_train_job_close(c4_train_job *job, c4_status status);
/* For each call of the library: prints `what` and the library's text when `status` is an error. Returns it. */
c4_status c4_train_job_check(const c4_train_job *job, c4_status status, const char *what);
/* Collective: the worst status of all ranks. A rank whose own part worked is told who failed. */
c4_status c4_train_job_agree(const c4_train_job *job, c4_status status);
/* Collective: C4_ERR_PROTOCOL with a message about `what` unless all ranks have the same value. */
c4_status c4_train_job_same(const c4_train_job *job, uint64_t value, const char *what);
/* Collective: everybody gets rank 0's bytes. */
c4_status c4_train_job_broadcast(const c4_train_job *job, void *data, size_t bytes);
/* First of `total` items that belong to this rank; those of rank r end where those of r + 1 begin. */
size_t c4_train_job_first(const c4_train_job *job, int rank, size_t total);

#endif
