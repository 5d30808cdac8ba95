/* Where rank 0 listens: c4run binds the socket itself and hands it to rank 0, so that no other program can take the port in
 * between. */
#ifndef C4_TOOLS_C4RUN_RENDEZVOUS_H
#define C4_TOOLS_C4RUN_RENDEZVOUS_H

#include "tools/c4run/job.h"

/* Fills in job->rendezvous, job->listen_fd, job->key and job->id. 0, or 1 with the message printed. */
int c4run_rendezvous_open(c4run_job *job);
/* Listens on HOST:PORT; port 0: any, within C4_PORT_RANGE. HOST "": loopback. The same results. */
int c4run_rendezvous_listen(c4run_job *job, const char *master);

#endif
