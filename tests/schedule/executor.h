/* Runs the schedules of all ranks in one process, on real memory, in a random order: a second opinion on the prover. */
#ifndef C4_TESTS_SCHEDULE_EXECUTOR_H
#define C4_TESTS_SCHEDULE_EXECUTOR_H

#include "tests/schedule/cases.h"

typedef enum frame_mode {
    FRAMES_COPIED, /* rings: a frame is a copy; a channel holds a random number of them, at least one */
    FRAMES_HELD    /* zero copy, as late as allowed: the reader takes the bytes from the sender's span */
} frame_mode;

typedef struct executor {
    const call *c;
    c4_schedule **schedules; /* c's, or their fallbacks */
    frame_mode mode;
    char **send, **recv, **scratch; /* [nranks]; in place they overlap */
    char **memory;                  /* what to free: 3 per rank */
    struct executor_lane *lanes;
    unsigned nlanes;
    struct executor_channel *channels;
    unsigned nchannels;
} executor;

/* Memory with inputs filled in by `fill` and everything else poisoned. */
void executor_init(executor *x, const call *c, bool fallback, frame_mode mode,
                   void (*fill)(int rank, void *input, size_t bytes));
/* False when it came to a standstill. `fold`: a[i] op= b[i]; `finish`: the last step of an average. */
bool executor_run(executor *x, void (*fold)(void *a, const void *b, size_t bytes),
                  void (*finish)(void *a, size_t bytes, int nranks));
void executor_fini(executor *x);

#endif
