/* The choice of algorithm as a table. The chooser is asked for growing sizes, 2^k and 1.5 * 2^k; where two neighbours
 * differ, the border is found by bisection; equal neighbours become one row. So a range narrower than a factor of 1.33 may
 * be missed, and only such a range. Sizes are of float32. Pure. */
#ifndef C4_COMM_CHOICE_H
#define C4_COMM_CHOICE_H

#include <c4/c4.h>
#include <stdbool.h>

#include "schedule/algorithms.h"

#define C4_CHOICE_ELEMENT_BYTES 4

/* What the chooser asks for; borrowed. */
typedef struct c4_choice_job {
    int nranks;
    const c4_layout *layout;
    const c4_cost_params *cost;
    const c4_tuning *tuning; /* may be NULL */
    int forced;              /* C4_ALGO; -1: choose */
    uint32_t forced_kinds;
    bool deterministic, may_map;
    size_t chunk_bytes;
    size_t largest_bytes; /* of the table */
} c4_choice_job;

/* A row begins at this query, that of its smallest size; it ends before the next row of its kind. */
typedef c4_status (*c4_choice_row_fn)(void *context, const c4_query *query, const char *reason);

/* Tells all rows, kind by kind, sizes growing. The first error ends it. */
c4_status c4_choice_scan(const c4_choice_job *job, c4_choice_row_fn row, void *context);

/* Bytes are those of one block, times the number of ranks: reduce_scatter, all_gather, ... */
bool c4_choice_has_blocks(c4_kind kind);

#endif
