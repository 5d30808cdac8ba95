/* Calls for the schedule tests: the queries of all ranks of one call, and the schedules built from them. */
#ifndef C4_TESTS_SCHEDULE_CASES_H
#define C4_TESTS_SCHEDULE_CASES_H

#include "schedule/algorithms.h"
#include "schedule/prove.h"

typedef enum place_mode { PLACE_OUT, PLACE_IN, PLACE_MIXED } place_mode; /* MIXED: odd ranks in place */

typedef struct call_spec {
    c4_kind kind;
    int algorithm;
    int nranks, root;
    size_t count; /* v-kinds: about this many elements per block, some 0 */
    size_t element_bytes;
    size_t chunk_bytes; /* 0: the builder's own */
    unsigned lanes;
    place_mode place;
    bool deterministic, may_map;
    int ranks_per_host; /* 0: one host; < 0: hosts of 1, 2, 3, ... ranks */
    bool windows;       /* links of one host let many ranks read a channel */
    size_t cache_bytes; /* 0: 32 MiB; small ones bring out the streaming forms */
} call_spec;

typedef struct call {
    call_spec spec;
    c4_query *queries;
    c4_schedule **schedules;
    c4_layout layout;
    c4_cost_params cost;
    int *host_of;
    size_t *counts; /* [n*n] block from rank i to rank j, and displacements */
    size_t *send_displs, *recv_displs;
    size_t *columns;
} call;

bool kind_reduces(c4_kind kind);
const char *call_name(const call_spec *spec); /* for messages; static */
/* Builds everything. C4_ERR_UNSUPPORTED when the algorithm does not take the call: then nothing is to be freed. */
c4_status call_create(const call_spec *spec, call *c);
void call_destroy(call *c);
c4_status call_prove(const call *c, c4_proof *proof);

#endif
