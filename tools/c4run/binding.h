/* Which rank runs on which core. */
#ifndef C4_TOOLS_C4RUN_BINDING_H
#define C4_TOOLS_C4RUN_BINDING_H

#include "tools/c4run/job.h"

struct c4_topology;

/* Reads the topology and fills in job->cores, job->topology and job->core_of. 0, or 1 with the message printed.
 * Cores that this job binds to are claimed until c4run ends, so that jobs on one host do not crowd on its first cores. */
int c4run_binding_choose(c4run_job *job, struct c4_topology *topology);

#endif
