/* One generated call: what every rank of a communicator calls, with which buffers, and what must come out. */
#ifndef C4_TESTS_COLLECTIVES_CALL_CASE_H
#define C4_TESTS_COLLECTIVES_CALL_CASE_H

#include <c4/c4.h>
#include <stdbool.h>

#include "schedule/schedule.h"
#include "tests/collectives/pattern.h"

typedef enum case_memory { CASE_MALLOC, CASE_MAPPED, CASE_MIXED, CASE_NMEMORY } case_memory;
typedef enum case_style { CASE_BLOCK, CASE_WAIT, CASE_TEST, CASE_GROUP, CASE_NSTYLES } case_style;

typedef struct call_case {
    c4_kind kind;
    c4_dtype dtype;
    c4_op op;
    bool premul;
    size_t count; /* v-kinds: typical */
    int root;
    bool in_place;
    case_memory memory;
    case_style style;
    pattern_mode mode;
    uint64_t seed;
} call_case;

/* Buffers of one rank, as spans of elements filled from pattern tables. */
typedef struct case_span {
    size_t offset, count;
    int table, block;
} case_span;

typedef struct case_buffer {
    case_span spans[64];
    int nspans;
    size_t extent; /* elements; 0: this rank has none */
} case_buffer;

typedef struct case_layout {
    case_buffer send, recv;
    size_t counts[2][64], displs[2][64]; /* send and recv, v-kinds */
    bool packed[2];                      /* displs are passed as NULL */
    ptrdiff_t alias;                     /* in place: send - recv in elements */
} case_layout;

void case_random(call_case *c, int nranks, size_t max_count, uint64_t *state);
void case_describe(const call_case *c, char *text, size_t bytes);
void case_lay_out(const call_case *c, int nranks, int rank, case_layout *layout);
bool case_reduces(c4_kind kind);

/* Runs cases on one rank. */
typedef struct case_runner {
    c4_comm *comm;
    int rank, nranks;
    const char *label;
    unsigned char *heap, *mapped;
    size_t bytes;
    uint64_t output_hash; /* of the last case's received spans */
} case_runner;

void runner_init(case_runner *r, c4_comm *comm, const char *label, size_t bytes);
void runner_fini(case_runner *r);
/* false: something was wrong and has been told. */
bool runner_run(case_runner *r, const call_case *c);

#endif
