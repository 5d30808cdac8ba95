/* What `c4info jobs` and `c4info job` share: reading the answers of admin sockets. */
#ifndef C4_TOOLS_C4INFO_JOB_H
#define C4_TOOLS_C4INFO_JOB_H

#include "tools/c4info/admin.h"
#include "tools/c4info/json.h"
#include "tools/c4info/table.h"

#define C4INFO_STATUS_MS 2000 /* a host with many more ranks than cores takes long */
#define C4INFO_PROBE_MS  6000 /* the rank gives the others 2 s */

/* "" and 0 for what is missing or of another type. */
const char *c4info_text_of(const cJSON *object, const char *name);
double c4info_number_of(const cJSON *object, const char *name);
/* The first item of that array; the others follow by `next`. NULL: there is none. */
const cJSON *c4info_first_of(const cJSON *object, const char *name);

/* "12.0 s", "3 m 5 s", "2 h 10 m". `text` has at least 32 bytes. Returns it. */
const char *c4info_format_time(double seconds, char *text);
/* The answer as JSON, or NULL: then the rank's `why` says so, also when the answer is an error. */
cJSON *c4info_rank_parse(c4info_rank *rank);
/* Ranks of the same job as *first, from it on. */
size_t c4info_job_size(const c4info_ranks *ranks, size_t first);

/* ---- rows ---- */

/* What a rank is in. In jobs of more than 16 ranks neighbours that differ in pid and time alone share a row. */
typedef struct c4info_row {
    int first, last; /* ranks */
    double pid;
    double since_s; /* < 0: not known */
    char host[72], state[24], comm[64], what[200], waits[24];
} c4info_row;

typedef struct c4info_rows {
    bool merge, comms; /* comms: with a column for the communicator */
    bool open;
    c4info_row last;
    c4info_table table;
} c4info_rows;

void c4info_rows_init(c4info_rows *rows, int nranks, bool comms);
void c4info_rows_add(c4info_rows *rows, const c4info_row *row);
/* Prints to standard output and frees. */
void c4info_rows_print(c4info_rows *rows);

/* ---- c4info job WHAT as text ---- */
void c4info_print_probe(const cJSON *answer, const c4info_rank *ranks, size_t count);
void c4info_print_dump(const cJSON *answer);
void c4info_print_plan(const cJSON *answer);

#endif
