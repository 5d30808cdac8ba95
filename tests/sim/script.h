/* What the ranks of a simulated job call, and what must come out: a fixed function of the job's seed, the call's number and
 * the members, so that every rank knows it without being told. */
#ifndef C4_TESTS_SIM_SCRIPT_H
#define C4_TESTS_SIM_SCRIPT_H

#include "engine/call.h"
#include "tests/sim/net.h"

#define SCRIPT_MAX_COUNT 2000

typedef struct script_group {
    const int *nodes; /* of the ranks */
    int nranks;
} script_group;

typedef struct script_call {
    c4_call call;
    int rank;
    unsigned number;
    float *send, *recv; /* SCRIPT_MAX_COUNT * SIM_MAX_NODES each */
} script_call;

/* The buffers are the script_call's, allocated on the first use. */
void script_prepare(script_call *made, uint64_t seed, unsigned number, const script_group *group, int rank);
/* How many elements are wrong. */
int script_check(const script_call *made, const script_group *group);
void script_free(script_call *made);

#endif
