/* Counts beyond 2^31 elements, in place and not: needs 10 GiB of memory and a minute. Part of make check-long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/pattern.h"
#include "tests/collectives/world.h"

#define HUGE_COUNT (((size_t)1 << 31) + 5)

static void huge_rank(c4_comm **comm, int rank, void *arg)
{
    pattern p;
    uint64_t seed = *(uint64_t *)arg;
    unsigned char *buffer = malloc(HUGE_COUNT + 64);
    if (!buffer) {
        world_fail("no memory");
        return;
    }
    memset(buffer + HUGE_COUNT, 0xa5, 64);
    pattern_init(&p, 2, C4_UINT8, C4_SUM, PATTERN_EXACT, NULL, seed);
    pattern_fill(&p, rank, 0, buffer, HUGE_COUNT);
    WORLD_OK(c4_all_reduce(buffer, buffer, HUGE_COUNT, C4_UINT8, C4_SUM, *comm, NULL));
    WORLD_TRUE(pattern_compare(&p, -1, 0, buffer, HUGE_COUNT) == HUGE_COUNT);
    pattern_fill(&p, rank, rank, buffer, HUGE_COUNT);
    WORLD_OK(c4_broadcast(buffer, buffer, HUGE_COUNT, C4_UINT8, 1, *comm, NULL));
    WORLD_TRUE(pattern_compare(&p, 1, 1, buffer, HUGE_COUNT) == HUGE_COUNT);
    if (rank == 0) {
        memset(buffer, 0, HUGE_COUNT);
        WORLD_OK(c4_recv(buffer, HUGE_COUNT, C4_UINT8, 1, *comm, NULL));
        WORLD_TRUE(pattern_compare(&p, 1, 1, buffer, HUGE_COUNT) == HUGE_COUNT);
    } else {
        WORLD_OK(c4_send(buffer, HUGE_COUNT, C4_UINT8, 0, *comm, NULL));
    }
    for (int i = 0; i < 64; i++)
        WORLD_TRUE(buffer[HUGE_COUNT + (size_t)i] == 0xa5);
    pattern_fini(&p);
    free(buffer);
}

static void run_huge(const char *options)
{
    uint64_t seed = c4test_rand();
    if ((uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) < (uint64_t)10 << 30)
        C4TEST_SKIP("needs 10 GiB of free memory");
    world_run(&(world_spec){.nranks = 2, .options = options, .deadline_s = 280}, huge_rank, &seed);
}

static void test_shm(void)
{
    run_huge("C4_TRANSPORTS=shm");
}

static void test_tcp(void)
{
    run_huge("C4_TRANSPORTS=tcp");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(shm, 300), C4TEST_DEADLINE(tcp, 300), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
