/* One row: buffers, iterations, times over all ranks, verification. */
#ifndef C4_TOOLS_C4PERF_MEASURE_H
#define C4_TOOLS_C4PERF_MEASURE_H

#include "tools/c4perf/options.h"

/* Two buffers that grow with the sizes. */
typedef struct c4perf_buffers {
    void *send;
    void *recv;
    size_t bytes; /* of each */
    bool mapped;
} c4perf_buffers;

typedef struct c4perf_cell {
    const c4perf_collective *collective;
    size_t count;
    c4_dtype dtype;
    c4_op op;
    int root;
    bool in_place;
} c4perf_cell;

typedef struct c4perf_result {
    double median_us, p99_us;
    double algorithm_gbs, bus_gbs;
    uint64_t wrong; /* elements, over all ranks and iterations */
    const char *algorithm;
} c4perf_result;

/* `world` carries the exchange of times; `comm` is measured (the same, or one with another algorithm). */
typedef struct c4perf_bench {
    c4_comm *world;
    c4_comm *comm;
    int rank, nranks;
    const c4perf_options *options;
    c4perf_buffers buffers;
    uint64_t wrong_here; /* elements that this rank found wrong since the start */
} c4perf_bench;

/* Collective over the ranks; every rank gets the same result. An error has been described on stderr. */
c4_status c4perf_measure(c4perf_bench *bench, const c4perf_cell *cell, c4perf_result *result);

void c4perf_buffers_fini(c4perf_buffers *buffers);

/* Writes "c4perf: rank R: CALL: ..." with the library's own account. Returns `status`. */
c4_status c4perf_complain(const c4perf_bench *bench, c4_status status, const char *call);

#endif
