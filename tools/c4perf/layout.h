/* Where the ranks sit and what carries their data, for the reports and the tuning file. */
#ifndef C4_TOOLS_C4PERF_LAYOUT_H
#define C4_TOOLS_C4PERF_LAYOUT_H

#include "tools/c4perf/measure.h"

typedef struct c4perf_layout {
    int ranks_per_host; /* 0: not the same on all hosts */
    int nhosts;
    char transport[64]; /* "shm", "tcp", "shm+tcp", ...; "loop" for one rank */
} c4perf_layout;

/* Collective. An error has been described on stderr. */
c4_status c4perf_layout_find(c4perf_bench *bench, c4perf_layout *layout);

#endif
