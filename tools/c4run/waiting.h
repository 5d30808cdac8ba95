/* What the ranks of this host were doing when the job ended badly, and for whom they were waiting. */
#ifndef C4_TOOLS_C4RUN_WAITING_H
#define C4_TOOLS_C4RUN_WAITING_H

#include "tools/c4run/job.h"

/* To be called while the ranks still are as they were. Prints one line per group of ranks that stand alike; nothing when
 * no rank has a flight record, nor after a rank's death with which no collective has to do. */
void c4run_report_waiting(c4run_job *job);

#endif
