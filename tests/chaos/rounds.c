#include "tests/chaos/rounds.h"

#include <stdlib.h>

#include "tests/chaos/chaos.h"
#include "tests/collectives/world.h"

void chaos_rounds_run(chaos_rounds *rounds, c4_comm *comm, int rank, int nranks, int32_t count)
{
    int32_t *buffer = malloc((size_t)count * sizeof *buffer), stop = 0;
    for (int32_t round = 0; !stop && world_failures() == 0; round++) {
        for (int32_t i = 0; i < count; i++)
            buffer[i] = rank + round + i;
        WORLD_OK(c4_all_reduce(buffer, buffer, (size_t)count, C4_INT32, C4_SUM, comm, NULL));
        for (int32_t i = 0; i < count; i++)
            if (buffer[i] != nranks * (nranks - 1) / 2 + nranks * (round + i)) {
                world_fail("rank %d round %d element %d: %d", rank, round, i, buffer[i]);
                break;
            }
        stop = atomic_load(&rounds->stop);
        WORLD_OK(c4_all_reduce(&stop, &stop, 1, C4_INT32, C4_MAX, comm, NULL));
        atomic_fetch_add(&rounds->done, rank == 0);
    }
    free(buffer);
}

void chaos_rounds_wait(chaos_rounds *rounds, int64_t more)
{
    int64_t from = atomic_load(&rounds->done);
    while (atomic_load(&rounds->done) < from + more)
        chaos_sleep_ms(1);
}
