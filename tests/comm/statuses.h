/* How each status of c4.h is provoked: the rows of test_statuses, one list for every status of C4_STATUS_MAP. A status
 * without one does not link. */
#ifndef C4_TESTS_COMM_STATUSES_H
#define C4_TESTS_COMM_STATUSES_H

#include <c4/c4.h>
#include <stdbool.h>

#define STATUSES_WORDS 8

/* One rank of a provocation. */
typedef struct stage {
    int rank, nranks;
    c4_unique_id id;
    c4_comm *comm; /* NULL: made by the part itself */
    int ends;      /* of all ranks but 0: end of file once rank 0 has ended */
    int gate[2];   /* a pipe of all ranks, for their own words */
} stage;

typedef struct provocation {
    const char *what; /* in a word or two */
    /* What this rank does; returns the status it met. */
    c4_status (*part)(stage *s);
    int nranks; /* 0: one, with a communicator on C4_TRANSPORTS=shm */
    int judged; /* the rank that must meet the status */
    const char *options;
    bool raw;                         /* ranks make their communicators themselves */
    bool memory;                      /* limits the address space, which sanitizers do not survive */
    const char *(*missing)(void);     /* NULL, or why this machine cannot do it */
    const char *says[STATUSES_WORDS]; /* parts of the text */
} provocation;

#define STATUSES_DECLARE(name, value, text, advice) extern const provocation provocations_of_##name[];
C4_STATUS_MAP(STATUSES_DECLARE)
#undef STATUSES_DECLARE

/* Ends with a row without `part`. */
#define PROVOCATIONS(name, ...) const provocation provocations_of_##name[] = {__VA_ARGS__, {0}}

/* What the ranks do that only stand by: blocks until rank 0 has ended. C4_OK. */
c4_status stage_wait_end(stage *s);

#endif
