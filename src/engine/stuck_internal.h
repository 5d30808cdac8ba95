/* Shared by stuck.c, answer.c and mismatch.c. */
#ifndef C4_ENGINE_STUCK_INTERNAL_H
#define C4_ENGINE_STUCK_INTERNAL_H

#include "engine/stuck.h"

#define C4_STUCK_NS      1000000000u /* without a step: asks, and again every so often */
#define C4_ANSWER_NS     2000000000u /* then another question may go out */
#define C4_EXPLAIN_NS    1000000000u /* how long a mismatch waits for the other half of its text */
#define C4_LATE_MS       5000u
#define C4_SEND_STUCK_MS 30000u /* one frame of 1 MiB takes as long at 35 KB/s */
#define C4_CHAIN_LIMIT   16
#define C4_HOPS_LIMIT    1
#define C4_LOOKS_PER_S   10

/* What an engine shows of its own waiting. */
typedef struct c4_shown {
    c4_call_card call;
    int waits_for;
    bool blocked, receives, sure; /* as in c4_call_answer */
    uint64_t since_ns;
} c4_shown;

typedef struct c4_chain_link {
    int rank;
    c4_call_card call;
} c4_chain_link;

struct c4_stuck {
    pthread_mutex_t lock;
    /* Under the lock; written by the engine's thread but for `heard`, `answer` and `told`. */
    bool shown;
    c4_shown self;
    uint64_t token;    /* of the question under way */
    atomic_bool heard; /* its answer is there: */
    c4_control_answer answer;
    c4_call_answer told;
    /* Of the engine's thread. */
    bool waiting; /* for the answer of `asked` about its part of the call `about` of rank `owner` */
    int asked, owner;
    c4_call_card about;
    bool holds; /* `owner` cannot go on before `asked` has called its part */
    uint64_t asked_ns, begun_ns;
    unsigned turn, hops, nchain;
    c4_chain_link chain[C4_CHAIN_LIMIT]; /* who is in what, and cannot go on before the next one has called its part */
    const c4_operation *op;              /* that the inquiry began with */
    uint32_t op_sequence;
    uint64_t op_still_ns;
};

/* "rank 2 (host h) called ..., rank 0 (host g) called ... on communicator "dp"" */
c4_status c4_stuck_fail_different(const c4_engine *engine, const c4_call_card *own, int peer,
                                  const c4_call_card *other);
/* Asks `member` about its part of rank `owner`'s call; replaces the question before. false: nobody could be asked. */
bool c4_stuck_ask(c4_engine *engine, int member, int owner, const c4_call_card *call);
/* false: no answer yet. */
bool c4_stuck_take_answer(c4_stuck *stuck, c4_control_answer *answer, c4_call_answer *told);
/* Wakes the engine's thread when it sleeps. */
void c4_engine_ring(const c4_engine *engine);

#endif
