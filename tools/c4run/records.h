/* Finds the flight records of the ranks of this host. */
#ifndef C4_TOOLS_C4RUN_RECORDS_H
#define C4_TOOLS_C4RUN_RECORDS_H

#include "diag/sources/record_reader.h"
#include "tools/c4run/job.h"

/* files[nchildren], zeroed: those found are opened, each for its rank's newest process that has one. The caller closes
 * them. Returns how many. A rank's processes are the group that it leads, so what --wrap puts in between does no harm;
 * the record of a process of another pid namespace is known by the job and the rank. Says nothing: flight records may be
 * off, and PROGRAM need not use C4. */
int c4run_records_open(const c4run_job *job, c4_record_file **files);

#endif
