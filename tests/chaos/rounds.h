/* A job at work: all-reduces whose every element is checked, for as long as its tester likes. */
#ifndef C4_TESTS_CHAOS_ROUNDS_H
#define C4_TESTS_CHAOS_ROUNDS_H

#include <c4/c4.h>
#include <stdatomic.h>
#include <stdint.h>

/* In memory that ranks and tester share. */
typedef struct chaos_rounds {
    _Atomic int stop;     /* 1: all ranks end after the same round */
    _Atomic int64_t done; /* by rank 0 */
} chaos_rounds;

/* One rank's part, of `count` int32 a round; ends with the first that fails, too. Failures are told with world_fail. */
void chaos_rounds_run(chaos_rounds *rounds, c4_comm *comm, int rank, int nranks, int32_t count);
/* The tester's: until so many more are done. The deadline of the case ends it. */
void chaos_rounds_wait(chaos_rounds *rounds, int64_t more);

#endif
