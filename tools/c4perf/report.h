/* The table, the JSON object and the progress line. Rank 0 only. */
#ifndef C4_TOOLS_C4PERF_REPORT_H
#define C4_TOOLS_C4PERF_REPORT_H

#include <stdio.h>

#include "tools/c4perf/measure.h"

#define C4PERF_SCHEMA_VERSION 1

typedef struct c4perf_report {
    FILE *table;            /* NULL: none */
    FILE *json;             /* NULL: none */
    bool json_close;        /* json is a file of ours */
    bool progress;          /* stderr is a terminal */
    const char *collective; /* of the table being printed; NULL: none yet */
    size_t rows;
    double bus_sum_gbs;
    uint64_t wrong;
} c4perf_report;

/* One line of the table: out of place and in place of the same call. `measured` says which of the two there are. */
typedef struct c4perf_row {
    c4perf_cell cell; /* its in_place is not used */
    size_t bytes;
    bool measured[2]; /* [0] out of place, [1] in place */
    c4perf_result results[2];
} c4perf_row;

/* 0, or -1 after a message: the JSON file cannot be written. */
int c4perf_report_open(c4perf_report *report, const c4perf_options *options, int nranks, const char *transport);
void c4perf_report_row(c4perf_report *report, const c4perf_row *row);
/* The summary lines and the end of the JSON object. 0, or -1 when writing failed. */
int c4perf_report_close(c4perf_report *report);

/* Shows what is being measured; an empty `text` erases the line. Nothing when stderr is no terminal. */
void c4perf_report_progress(const c4perf_report *report, const char *text);

#endif
