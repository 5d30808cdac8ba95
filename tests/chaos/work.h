/* Verified collectives in an endless row that is the same on all ranks: each with random kind, size, root and contents, up to
 * four at once. What completes is checked element by element. */
#ifndef C4_TESTS_CHAOS_WORK_H
#define C4_TESTS_CHAOS_WORK_H

#include <c4/c4.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHAOS_MAX_WINDOW = 4 };

/* What a rank has done, in memory that others may read. */
typedef struct chaos_count {
    _Atomic int64_t iterations;
    _Atomic int wrong;
    char wrong_text[256]; /* of the first */
} chaos_count;

typedef enum chaos_op {
    OP_ALL_REDUCE,
    OP_REDUCE_SCATTER,
    OP_ALL_GATHER,
    OP_BROADCAST,
    OP_REDUCE,
    OP_GATHER,
    OP_SCATTER,
    OP_ALL_TO_ALL,
    OP_BARRIER,
    OP_RING,
    OP_NKINDS
} chaos_op;

/* An operation under way and its buffers, each of the most ranks * max_count elements. */
typedef struct chaos_slot {
    bool busy;
    chaos_op kind;
    uint32_t key, step; /* element i of block b of rank r is key + r * A + b * B + i * step, in 32 bits */
    size_t count;
    int root;
    uint32_t *send, *recv;
    c4_request *request;
} chaos_slot;

typedef struct chaos_work {
    c4_comm *comm; /* these three may change when no operation is under way */
    int rank, nranks;
    uint64_t state; /* equal on all ranks */
    int window;     /* operations at once; 1: blocking calls */
    size_t max_count;
    chaos_count *count;
    chaos_slot slots[CHAOS_MAX_WINDOW];
} chaos_work;

/* Buffers for up to `max_ranks` ranks; false: no memory. */
bool chaos_work_init(chaos_work *w, int max_ranks);
void chaos_work_fini(chaos_work *w);
/* Goes on with communicator `comm`; equal `state` on all its ranks. */
void chaos_work_join(chaos_work *w, c4_comm *comm, uint64_t state);
/* Ends what is in the slot of number `i` and starts the next operation there; with a window of 1 ends that, too. */
c4_status chaos_work_step(chaos_work *w, uint64_t i);
/* Ends all that is under way; the first error. */
c4_status chaos_work_end(chaos_work *w);
/* The same after an error: requests under way when an operation fails end, too, well or badly. */
void chaos_work_drain(chaos_work *w);
/* Do all agree on `mine`, the largest of which is *any? Blocking. */
c4_status chaos_work_ask(chaos_work *w, int32_t mine, int32_t *any);

#endif
