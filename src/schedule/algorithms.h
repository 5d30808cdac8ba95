/* The table of algorithms: what can be chosen, for what, by whom it is built. Choice is data. */
#ifndef C4_SCHEDULE_ALGORITHMS_H
#define C4_SCHEDULE_ALGORITHMS_H

#include "schedule/schedule.h"

typedef struct c4_algorithm {
    const char *name; /* "ring"; C4_ALGO's word */
    uint32_t kinds;   /* bit mask of 1 << c4_kind */
    /* C4_OK, or C4_ERR_UNSUPPORTED when the query is outside the algorithm's restrictions. */
    c4_status (*restrict_query)(const c4_query *query);
    c4_status (*build)(const c4_query *query, c4_schedule **schedule);
    /* Closed-form seconds, for the choice: no schedule is built. */
    double (*cost)(const c4_query *query);
    const char *help; /* one line with cost in alpha-beta-gamma form */
} c4_algorithm;

extern const c4_algorithm c4_algorithms[];
extern const int c4_nalgorithms;

int c4_algorithm_find(const char *name); /* index or -1 */

/* One row of a tuning file or of the printed choice. */
typedef struct c4_tuning_row {
    c4_kind kind;
    int nranks, ranks_per_host; /* 0: any */
    size_t min_bytes, max_bytes;
    int algorithm;
    size_t chunk_bytes; /* 0: builder's own */
    unsigned lanes;
} c4_tuning_row;

typedef struct c4_tuning {
    c4_tuning_row *rows;
    size_t nrows;
} c4_tuning;

/* "all_reduce 2 2 0 8191 direct 0 0" per line, # comments. `text` is the file's content. Errors name the line. */
c4_status c4_tuning_parse(const char *text, const char *name, c4_tuning *tuning);
void c4_tuning_fini(c4_tuning *tuning);

/* What `bytes` means per kind (the size of nccl-tests' columns): count*size, times nranks for gathering kinds. */
size_t c4_query_bytes(const c4_query *query);

/* Fills query->algorithm, chunk_bytes and lanes where they are unset. Order: forced by the caller (algorithm >= 0), tuning row,
 * built-in rows measured on shared memory, cost model. *reason: static text. Deterministic: equal queries give equal choices on all ranks. */
c4_status c4_schedule_choose(c4_query *query, const c4_tuning *tuning, const char **reason);

#endif
