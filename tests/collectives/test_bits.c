/* Same bits: on all ranks of a call, in every run, and with C4_DETERMINISTIC=1 whatever transport and layout. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/c4test.h"
#include "tests/collectives/pattern.h"
#include "tests/collectives/world.h"

static const c4_dtype float_dtypes[] = {C4_FLOAT32,  C4_FLOAT64,     C4_FLOAT16,
                                        C4_BFLOAT16, C4_FLOAT8_E4M3, C4_FLOAT8_E5M2};
static const size_t counts[] = {1, 5, 100, 1009, 4099, 60000};
#define NDTYPES 6
#define NCOUNTS 6

typedef struct bits {
    uint64_t seed;
    bool deterministic;
    uint64_t hashes[8][NDTYPES][NCOUNTS]; /* of each rank's all_reduce */
} bits;

/* Runs all_reduce twice, and in deterministic mode reduce_scatter and reduce too, against the fold in rank order. */
static void run_one(c4_comm *comm, int rank, int nranks, bits *b, int d, int k)
{
    c4_dtype dtype = float_dtypes[d];
    size_t count = counts[k], bytes = count * c4_dtype_size(dtype);
    unsigned char *send = malloc(bytes * (size_t)nranks), *recv = malloc(bytes);
    pattern p;
    pattern_init(&p, nranks, dtype, C4_SUM, PATTERN_ROUND, NULL, b->seed + (unsigned)(d * 100 + k));
    for (int again = 0; again < 2; again++) {
        pattern_fill(&p, rank, 0, send, count);
        memset(recv, 0, bytes);
        WORLD_OK(c4_all_reduce(send, recv, count, dtype, C4_SUM, comm, NULL));
        uint64_t hash = c4_hash_bytes(C4_HASH_INIT, recv, bytes);
        if (again && hash != b->hashes[rank][d][k])
            world_fail("%s count %zu: the second call gives other bits", c4_dtype_name(dtype), count);
        b->hashes[rank][d][k] = hash;
    }
    if (b->deterministic) {
        size_t bad = pattern_compare(&p, -1, 0, recv, count);
        if (bad < count)
            world_fail("all_reduce %s count %zu: not the fold in rank order at %zu", c4_dtype_name(dtype), count, bad);
        for (int block = 0; block < nranks; block++)
            pattern_fill(&p, rank, block, send + (size_t)block * bytes, count);
        WORLD_OK(c4_reduce_scatter(send, recv, count, dtype, C4_SUM, comm, NULL));
        bad = pattern_compare(&p, -1, rank, recv, count);
        if (bad < count)
            world_fail("reduce_scatter %s count %zu: not in rank order at %zu", c4_dtype_name(dtype), count, bad);
        WORLD_OK(c4_reduce(send, recv, count, dtype, C4_SUM, nranks - 1, comm, NULL));
        bad = rank == nranks - 1 ? pattern_compare(&p, -1, 0, recv, count) : count;
        if (bad < count)
            world_fail("reduce %s count %zu: not in rank order at %zu", c4_dtype_name(dtype), count, bad);
    }
    pattern_fini(&p);
    free(send);
    free(recv);
}

static void bits_rank(c4_comm **comm, int rank, void *arg)
{
    bits *b = arg;
    int nranks;
    c4_comm_size(*comm, &nranks);
    for (int d = 0; d < NDTYPES; d++)
        for (int k = 0; k < NCOUNTS; k++)
            run_one(*comm, rank, nranks, b, d, k);
}

static void run_bits(bits *b, int nranks, const char *options)
{
    memset(b->hashes, 0, sizeof b->hashes);
    world_run(&(world_spec){.nranks = nranks, .options = options}, bits_rank, b);
    for (int rank = 1; rank < nranks; rank++)
        for (int d = 0; d < NDTYPES; d++)
            for (int k = 0; k < NCOUNTS; k++)
                if (b->hashes[rank][d][k] != b->hashes[0][d][k]) {
                    fprintf(stderr, "%s: ranks 0 and %d of %d differ: %s count %zu\n", options, rank, nranks,
                            c4_dtype_name(float_dtypes[d]), counts[k]);
                    CU_FAIL("ranks differ");
                }
}

/* Two runs of the same configuration, and all ranks within each. */
static void test_repeat(void)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm",
                                          "C4_TRANSPORTS=tcp",
                                          "C4_TRANSPORTS=shm C4_ALGO=all_reduce:ring",
                                          "C4_TRANSPORTS=tcp C4_ALGO=all_reduce:rhd",
                                          "C4_TRANSPORTS=shm C4_ALGO=all_reduce:tree",
                                          "C4_TRANSPORTS=shm C4_ALGO=all_reduce:rsag"};
    bits *b = c4test_shared(sizeof *b);
    static uint64_t first[NDTYPES][NCOUNTS];
    b->seed = c4test_rand();
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        for (int nranks = 3; nranks <= 4; nranks++) {
            run_bits(b, nranks, options[i]);
            memcpy(first, b->hashes[0], sizeof first);
            run_bits(b, nranks, options[i]);
            CU_ASSERT(memcmp(first, b->hashes[0], sizeof first) == 0);
        }
}

static void test_deterministic(void)
{
    static const char *const options[] = {"C4_DETERMINISTIC=1 C4_TRANSPORTS=shm",
                                          "C4_DETERMINISTIC=1 C4_TRANSPORTS=tcp",
                                          "C4_DETERMINISTIC=1 C4_TRANSPORTS=shm C4_MAP=0",
                                          "C4_DETERMINISTIC=1 C4_TRANSPORTS=tcp C4_CHUNK_BYTES=8192",
                                          "C4_DETERMINISTIC=1 C4_TRANSPORTS=shm C4_ALGO=ring",
                                          "C4_DETERMINISTIC=1 C4_TRANSPORTS=shm C4_CPU=scalar"};
    bits *b = c4test_shared(sizeof *b);
    static uint64_t first[NDTYPES][NCOUNTS];
    b->deterministic = true;
    b->seed = c4test_rand();
    for (int nranks = 2; nranks <= 5; nranks += nranks == 3 ? 2 : 1)
        for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
            run_bits(b, nranks, options[i]);
            if (i == 0)
                memcpy(first, b->hashes[0], sizeof first);
            CU_ASSERT(memcmp(first, b->hashes[0], sizeof first) == 0);
        }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(repeat, 60), C4TEST_DEADLINE(deterministic, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
