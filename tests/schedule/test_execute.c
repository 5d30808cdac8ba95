/* The schedules on real numbers, in random orders: what the prover promises, seen. */
#include "tests/c4test.h"

#include <stdio.h>
#include <string.h>

#include "schedule/kinds.h"
#include "tests/schedule/executor.h"

/* ---- integers: multiples of the number of ranks, so that the average is exact and a missing or second division shows ---- */

static int nranks_now;

static uint32_t number(int rank, uint64_t index)
{
    uint32_t mixed = (uint32_t)(((uint64_t)rank * 7919 + index * 104729 + 12345) * 2654435761u >> 8);
    return mixed % 100000 * (uint32_t)nranks_now;
}

static void fill_integers(int rank, void *input, size_t bytes)
{
    for (uint64_t i = 0; i < bytes / 4; i++) {
        uint32_t value = number(rank, i);
        memcpy((char *)input + 4 * i, &value, 4);
    }
}

static void add_integers(void *a, const void *b, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        uint32_t x, y;
        memcpy(&x, (char *)a + 4 * i, 4);
        memcpy(&y, (const char *)b + 4 * i, 4);
        x += y;
        memcpy((char *)a + 4 * i, &x, 4);
    }
}

static void divide_integers(void *a, size_t bytes, int nranks)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        uint32_t x;
        memcpy(&x, (char *)a + 4 * i, 4);
        x /= (uint32_t)nranks;
        memcpy((char *)a + 4 * i, &x, 4);
    }
}

static uint32_t average(int nranks, uint64_t index)
{
    uint32_t sum = 0;
    for (int r = 0; r < nranks; r++)
        sum += number(r, index);
    return sum / (uint32_t)nranks;
}

static bool block_is(const char *at, uint64_t bytes, int source, uint64_t first, int nranks)
{
    for (uint64_t i = 0; i < bytes / 4; i++) {
        uint32_t x;
        memcpy(&x, at + 4 * i, 4);
        if (x != (source < 0 ? average(nranks, first + i) : number(source, first + i)))
            return false;
    }
    return true;
}

static bool output_is_right(const executor *x, int rank)
{
    const c4_query *q = &x->c->queries[rank];
    int n = q->nranks, nblocks = c4_kind_gathers(q->kind) ? n : 1;
    bool pairs = q->kind == C4_KIND_ALL_TO_ALL || q->kind == C4_KIND_ALL_TO_ALL_V;
    bool copies = !kind_reduces(q->kind);
    if (c4_query_output_bytes(q) == 0)
        return true;
    for (int p = 0; p < nblocks; p++) {
        c4_span block = c4_query_output_block(q, p);
        int source = !copies ? -1 : c4_kind_gathers(q->kind) ? p : q->root;
        uint64_t first = 0;
        if (pairs)
            first = c4_query_input_block(&x->c->queries[p], rank).offset / 4;
        else if (q->kind == C4_KIND_SCATTER || q->kind == C4_KIND_SCATTER_V)
            first = c4_query_input_block(&x->c->queries[q->root], rank).offset / 4;
        else if (q->kind == C4_KIND_REDUCE_SCATTER || q->kind == C4_KIND_REDUCE_SCATTER_V)
            first = c4_query_input_block(q, rank).offset / 4;
        if (!block_is(x->recv[rank] + block.offset, block.bytes, source, first, n))
            return false;
    }
    return true;
}

static void run_once(const call *c, bool fallback, frame_mode mode)
{
    executor x;
    nranks_now = c->spec.nranks;
    executor_init(&x, c, fallback, mode, fill_integers);
    bool ended = executor_run(&x, add_integers, divide_integers), right = ended;
    for (int r = 0; r < c->spec.nranks && right; r++)
        right = output_is_right(&x, r);
    if (!right)
        printf("%s, %s, %s: %s\n", call_name(&c->spec), fallback ? "fallback" : "itself",
               mode == FRAMES_HELD ? "held" : "copied", ended ? "wrong result" : "standstill");
    CU_ASSERT(right);
    executor_fini(&x);
}

static void run_spec(const call_spec *spec)
{
    call c;
    if (call_create(spec, &c) == C4_ERR_UNSUPPORTED)
        return;
    for (int mode = FRAMES_COPIED; mode <= FRAMES_HELD; mode++) {
        run_once(&c, false, (frame_mode)mode);
        if (c.schedules[0]->fallback)
            run_once(&c, true, (frame_mode)mode);
    }
    call_destroy(&c);
}

static void run_algorithm(void)
{
    int algorithm = c4_algorithm_find(c4test_arg());
    CU_ASSERT_FATAL(algorithm >= 0);
    for (int round = 0; round < 150; round++) {
        int n = 1 + (int)c4test_rand_below(11);
        call_spec spec = {.algorithm = algorithm,
                          .nranks = n,
                          .root = (int)c4test_rand_below((uint64_t)n),
                          .element_bytes = 4,
                          .may_map = true,
                          .windows = c4test_rand_below(2),
                          .place = (place_mode)c4test_rand_below(3),
                          .cache_bytes = c4test_rand_below(2) ? 0 : 20000,
                          .lanes = (unsigned)c4test_rand_below(3),
                          .deterministic = c4test_rand_below(4) == 0};
        spec.ranks_per_host = c4test_rand_below(2) ? 0 : (int)c4test_rand_below(4) - 1;
        static const size_t chunks[] = {0, 4, 20, 4900};
        spec.chunk_bytes = chunks[c4test_rand_below(4)];
        size_t largest = spec.chunk_bytes && spec.chunk_bytes < 100 ? 60 : 40000;
        spec.count = c4test_rand_below(3) ? c4test_rand_below(40) : c4test_rand_below(largest);
        for (int kind = 0; kind < C4_NKINDS; kind++) {
            bool p2p = kind == C4_KIND_SEND || kind == C4_KIND_RECV;
            if (!(c4_algorithms[algorithm].kinds >> kind & 1) || (p2p && n != 2))
                continue;
            call_spec s = spec;
            s.kind = (c4_kind)kind;
            if (kind != C4_KIND_ALL_REDUCE && kind != C4_KIND_BROADCAST && kind != C4_KIND_REDUCE)
                s.count = spec.count % 3000;
            if (p2p || (s.place == PLACE_MIXED && kind == C4_KIND_ALL_TO_ALL_V))
                s.place = PLACE_OUT;
            run_spec(&s);
        }
    }
}

/* ---- floats: the same bits on all ranks, in every order of events ---- */

static void fill_floats(int rank, void *input, size_t bytes)
{
    for (uint64_t i = 0; i < bytes / 4; i++) {
        float value = (float)number(rank, i) * (i % 3 ? 1e-3f : 1e6f) + 1.0f / (float)(rank + 1);
        memcpy((char *)input + 4 * i, &value, 4);
    }
}

static void add_floats(void *a, const void *b, size_t bytes)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        float x, y;
        memcpy(&x, (char *)a + 4 * i, 4);
        memcpy(&y, (const char *)b + 4 * i, 4);
        x += y;
        memcpy((char *)a + 4 * i, &x, 4);
    }
}

static void divide_floats(void *a, size_t bytes, int nranks)
{
    for (size_t i = 0; i < bytes / 4; i++) {
        float x;
        memcpy(&x, (char *)a + 4 * i, 4);
        x /= (float)nranks;
        memcpy((char *)a + 4 * i, &x, 4);
    }
}

/* `reference`: the bits that deterministic calls must give whatever the algorithm; the first one sets them. */
static void check_bits(const call_spec *spec, char *reference, bool *known)
{
    call c;
    executor x;
    if (call_create(spec, &c) == C4_ERR_UNSUPPORTED)
        return;
    nranks_now = spec->nranks;
    executor_init(&x, &c, false, FRAMES_HELD, fill_floats);
    CU_ASSERT(executor_run(&x, add_floats, divide_floats));
    size_t bytes = 4 * spec->count;
    for (int r = 1; r < spec->nranks; r++)
        CU_ASSERT(memcmp(x.recv[r], x.recv[0], bytes) == 0);
    if (*known)
        CU_ASSERT(memcmp(x.recv[0], reference, bytes) == 0);
    memcpy(reference, x.recv[0], bytes);
    *known = true;
    executor_fini(&x);
    call_destroy(&c);
}

static void test_same_bits(void)
{
    enum { COUNT = 1001 };
    char reference[4 * COUNT];
    const int sizes[] = {2, 3, 6, 9, 70};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bool deterministic_known = false;
        for (int deterministic = 0; deterministic < 2; deterministic++) {
            for (int algorithm = 0; algorithm < c4_nalgorithms; algorithm++) {
                call_spec spec = {.kind = C4_KIND_ALL_REDUCE,
                                  .algorithm = algorithm,
                                  .nranks = sizes[i],
                                  .count = COUNT,
                                  .element_bytes = 4,
                                  .chunk_bytes = 400,
                                  .may_map = true,
                                  .windows = algorithm % 2,
                                  .deterministic = deterministic};
                bool known = false;
                if (!(c4_algorithms[algorithm].kinds >> C4_KIND_ALL_REDUCE & 1))
                    continue;
                if (strcmp(c4_algorithms[algorithm].name, "hierarchical") == 0)
                    spec.ranks_per_host = 2;
                check_bits(&spec, reference, deterministic ? &deterministic_known : &known);
                check_bits(&spec, reference, deterministic ? &deterministic_known : &known); /* and again */
            }
        }
    }
}

int main(int argc, char **argv)
{
    enum { MAX_CASES = 32 };
    static c4test_case cases[MAX_CASES];
    int ncases = 0;
    for (; ncases < c4_nalgorithms; ncases++)
        cases[ncases] =
            (c4test_case)C4TEST_WITH(c4_algorithms[ncases].name, run_algorithm, 120, c4_algorithms[ncases].name);
    cases[ncases++] = (c4test_case)C4TEST_DEADLINE(same_bits, 60);
    cases[ncases] = (c4test_case)C4TEST_END;
    return c4test_main(argc, argv, cases);
}
