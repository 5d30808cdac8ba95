/* The mapping vote: all yes, some no, and the pauses after a no, which must be the same on all ranks. */
#include <stdlib.h>
#include <string.h>

#include "tests/engine/world.h"
#include "transports/loop/loop.h"

enum { NRANKS = 3, COUNT = 4096 };

typedef struct buffers {
    float *mappable[2], *ordinary[2];
} buffers;

typedef struct vote_world {
    world w;
    buffers ranks[NRANKS];
    int calls;
} vote_world;

static void vote_open(vote_world *v)
{
    *v = (vote_world){.calls = 0};
    world_open(&v->w, &(world_spec){.nranks = NRANKS, .map = true, .algorithm = "mapped"});
    for (int rank = 0; rank < NRANKS; rank++)
        for (int i = 0; i < 2; i++) {
            void *memory;
            C4TEST_OK_FATAL(c4_loop_ops.mem_alloc(COUNT * sizeof(float), &memory));
            v->ranks[rank].mappable[i] = memory;
            v->ranks[rank].ordinary[i] = malloc(COUNT * sizeof(float));
        }
}

static void vote_close(vote_world *v)
{
    world_close(&v->w);
    for (int rank = 0; rank < NRANKS; rank++)
        for (int i = 0; i < 2; i++) {
            if (v->ranks[rank].mappable[i])
                c4_loop_ops.mem_free(v->ranks[rank].mappable[i]);
            free(v->ranks[rank].ordinary[i]);
        }
}

/* The one shape that is used here. */
static const c4_vote_entry *entry_of(const c4_operation *op)
{
    CU_ASSERT_FATAL(op->program->vote != NULL);
    return op->program->vote;
}

static void check_sum(vote_world *v, unsigned ordinary)
{
    int wrong = 0;
    for (int rank = 0; rank < NRANKS; rank++) {
        const float *out = ordinary >> rank & 1 ? v->ranks[rank].ordinary[1] : v->ranks[rank].mappable[1];
        for (size_t i = 0; i < COUNT; i++)
            wrong += out[i] != (float)(NRANKS * v->calls + 3);
    }
    C4TEST_INT(wrong, 0);
}

/* One all_reduce, with ordinary memory at the ranks in the mask. Returns how many ranks ran the mapped schedule;
 * skip[rank] and penalty[rank] are the back-off afterwards. */
static int vote_call(vote_world *v, unsigned ordinary, unsigned *skip, unsigned *penalty)
{
    c4_operation *ops[NRANKS];
    int mapped = 0;
    v->calls++;
    for (int rank = 0; rank < NRANKS; rank++) {
        buffers *b = &v->ranks[rank];
        float **use = ordinary >> rank & 1 ? b->ordinary : b->mappable;
        for (size_t i = 0; i < COUNT; i++)
            use[0][i] = (float)(v->calls + rank);
        c4_call call = world_all_reduce(use[0], use[1], COUNT, C4_FLOAT32, C4_SUM);
        ops[rank] = world_start(&v->w, rank, &call);
    }
    for (int rank = 0; rank < NRANKS; rank++) {
        CU_ASSERT_FATAL(world_wait(&v->w, ops[rank]));
        mapped += ops[rank]->active == ops[rank]->program;
        skip[rank] = entry_of(ops[rank])->skip;
        penalty[rank] = entry_of(ops[rank])->penalty;
        C4TEST_OK(c4_engine_finish(v->w.engines[rank], ops[rank]));
    }
    check_sum(v, ordinary);
    return mapped;
}

static void test_all_yes(void)
{
    vote_world v;
    unsigned skip[NRANKS], penalty[NRANKS];
    vote_open(&v);
    for (int i = 0; i < 3; i++) {
        C4TEST_INT(vote_call(&v, 0, skip, penalty), NRANKS);
        for (int rank = 0; rank < NRANKS; rank++)
            C4TEST_INT(skip[rank] + penalty[rank], 0);
    }
    vote_close(&v);
}

static c4_call broadcast_of(float *buffer)
{
    return (c4_call){.kind = C4_KIND_BROADCAST,
                     .dtype = C4_FLOAT32,
                     .op = C4_SUM,
                     .root = 0,
                     .send = buffer,
                     .recv = buffer,
                     .count = COUNT,
                     .in_place = true,
                     .send_bytes = COUNT * sizeof(float),
                     .recv_bytes = COUNT * sizeof(float)};
}

/* A broadcast in which rank 2 comes last: rank 1, which nobody reads from, has returned and freed its buffer by then. */
static void test_freed_by_one_that_returned(void)
{
    vote_world v;
    c4_operation *ops[NRANKS];
    vote_open(&v);
    for (int rank = NRANKS - 1; rank >= 0; rank--) { /* rank 2 has seen no other's ballot */
        for (size_t i = 0; i < COUNT; i++)
            v.ranks[rank].mappable[0][i] = (float)(rank + 1);
        c4_call call = broadcast_of(v.ranks[rank].mappable[0]);
        ops[rank] = world_start(&v.w, rank, &call);
    }
    for (int i = 0; i < 1000 && !c4_operation_done(ops[1]); i++) {
        c4_engine_progress(v.w.engines[1]);
        c4_engine_progress(v.w.engines[0]);
    }
    CU_ASSERT_FATAL(c4_operation_done(ops[1]));
    CU_ASSERT(ops[1]->active == ops[1]->program);
    C4TEST_OK(c4_engine_finish(v.w.engines[1], ops[1]));
    c4_loop_ops.mem_free(v.ranks[1].mappable[0]);
    v.ranks[1].mappable[0] = NULL;
    for (int rank = 0; rank < NRANKS; rank += 2) {
        CU_ASSERT_FATAL(world_wait(&v.w, ops[rank]));
        C4TEST_OK(c4_engine_finish(v.w.engines[rank], ops[rank]));
    }
    CU_ASSERT_EQUAL(v.ranks[2].mappable[0][COUNT - 1], 1.0f);
    vote_close(&v);
}

/* Votes at calls 0, 2, 5, 10, 19, ...: pauses of 1, 2, 4, 8. */
static void test_pauses(void)
{
    static const unsigned masks[] = {1, 2, 7, 4, 6};
    for (size_t m = 0; m < sizeof masks / sizeof masks[0]; m++) {
        vote_world v;
        unsigned skip[NRANKS], penalty[NRANKS], expected_skip = 0, expected_penalty = 0;
        vote_open(&v);
        for (int i = 0; i < 24; i++) {
            C4TEST_INT(vote_call(&v, masks[m], skip, penalty), 0);
            if (expected_skip == 0)
                expected_skip = expected_penalty = expected_penalty ? 2 * expected_penalty : 1;
            else
                expected_skip--;
            for (int rank = 0; rank < NRANKS; rank++) {
                C4TEST_INT(skip[rank], expected_skip);
                C4TEST_INT(penalty[rank], expected_penalty);
            }
        }
        vote_close(&v);
    }
}

/* A yes ends the pauses; but one that falls into a pause is not heard. */
static void test_change_of_mind(void)
{
    vote_world v;
    unsigned skip[NRANKS], penalty[NRANKS];
    vote_open(&v);
    C4TEST_INT(vote_call(&v, 2, skip, penalty), 0); /* no: pause of 1 */
    C4TEST_INT(vote_call(&v, 0, skip, penalty), 0); /* in the pause */
    C4TEST_INT(vote_call(&v, 0, skip, penalty), NRANKS);
    for (int rank = 0; rank < NRANKS; rank++)
        C4TEST_INT(skip[rank] + penalty[rank], 0);
    C4TEST_INT(vote_call(&v, 5, skip, penalty), 0);
    for (int rank = 0; rank < NRANKS; rank++)
        C4TEST_INT(penalty[rank], 1); /* from the beginning again */
    vote_close(&v);
}

/* The pause has a longest. */
static void test_longest_pause(void)
{
    vote_world v;
    unsigned skip[NRANKS], penalty[NRANKS];
    unsigned longest = 0;
    vote_open(&v);
    for (int i = 0; i < 1100; i++) {
        vote_call(&v, 1, skip, penalty);
        longest = penalty[0] > longest ? penalty[0] : longest;
    }
    C4TEST_INT(longest, 256);
    vote_close(&v);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(all_yes),       C4TEST(freed_by_one_that_returned),
                                        C4TEST(pauses),        C4TEST(change_of_mind),
                                        C4TEST(longest_pause), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
