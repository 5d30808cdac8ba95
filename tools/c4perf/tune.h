/* c4perf --tune: which algorithm is fastest at which size, as a file for C4_TUNING_FILE. */
#ifndef C4_TOOLS_C4PERF_TUNE_H
#define C4_TOOLS_C4PERF_TUNE_H

#include "tools/c4perf/layout.h"
#include "tools/c4perf/report.h"

/* Collective. Writes on rank 0, to options->tune_file or standard output, lines of
 *     collective nranks ranks_per_host min_bytes max_bytes algorithm chunk_bytes lanes
 * where max_bytes * has no upper end, and chunk_bytes and lanes 0 are the algorithm's own. */
c4_status c4perf_tune(c4perf_bench *bench, const c4perf_layout *layout, const c4perf_report *report);

#endif
