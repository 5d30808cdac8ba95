/* From the start of the ranks to their end: signals, deaths, output, the timeout. */
#ifndef C4_TOOLS_C4RUN_SUPERVISE_H
#define C4_TOOLS_C4RUN_SUPERVISE_H

#include "tools/c4run/job.h"

/* Blocks until all children have ended and all output is written. Returns the job's exit status. */
int c4run_supervise(c4run_job *job);
/* SIGTERM to those that still run, SIGKILL after the grace period. */
void c4run_end(c4run_job *job);
void c4run_signal_all(c4run_job *job, int number);

#endif
