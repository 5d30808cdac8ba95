/* What c4run says about ranks that ended. */
#ifndef C4_TOOLS_C4RUN_REPORT_H
#define C4_TOOLS_C4RUN_REPORT_H

#include "tools/c4run/job.h"

/* Of a rank that failed: which, of what, where, after how long. */
void c4run_report_death(c4run_job *job, const c4run_child *child);
/* The kernel's count of processes that its out-of-memory killer has ended; -1: not told. */
long c4run_oom_kills(void);
/* "rank 3", "ranks 0, 2-4" or "host h2": the children that still run. Returns how many. */
int c4run_list_running(const c4run_job *job, char *text, size_t bytes);
/* "rank 3" or "ranks 0, 2-4": the children that are marked. Returns how many. */
int c4run_list_ranks(const c4run_job *job, const bool *marks, char *text, size_t bytes);
/* What the shell would have as exit status. */
int c4run_exit_status(int status);

#endif
