/* c4perf's command line. */
#ifndef C4_TOOLS_C4PERF_OPTIONS_H
#define C4_TOOLS_C4PERF_OPTIONS_H

#include <c4/c4.h>
#include <stdbool.h>

#include "tools/c4perf/collective.h"

typedef enum c4perf_places { C4PERF_BOTH_PLACES, C4PERF_OUT_OF_PLACE, C4PERF_IN_PLACE } c4perf_places;

typedef struct c4perf_options {
    const c4perf_collective *collectives[C4PERF_NCOLLECTIVES];
    size_t ncollectives;
    size_t min_bytes, max_bytes;
    size_t step_bytes; /* 0: multiply by step_factor */
    size_t step_factor;
    int iterations; /* 0: chosen by size */
    int warmup;
    bool dtypes[C4_NDTYPES];
    bool ops[C4_NOPS];
    int root;
    bool check;
    bool touch;
    bool mapped;
    c4perf_places places;
    bool json;
    const char *json_file; /* NULL: standard output */
    bool tune;
    const char *tune_file; /* NULL: standard output */
} c4perf_options;

/* `complain`: whether this rank writes errors and the help text. Returns -1 to go on, else the exit status. */
int c4perf_options_parse(int argc, char **argv, bool complain, c4perf_options *options);

/* The size after `bytes` in the sweep; 0 after the last. */
size_t c4perf_options_next(const c4perf_options *options, size_t bytes);

#endif
