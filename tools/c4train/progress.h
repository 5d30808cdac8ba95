/* Progress on stderr: one line redrawn on a terminal, now and then a line elsewhere. */
#ifndef C4_TOOLS_C4TRAIN_PROGRESS_H
#define C4_TOOLS_C4TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct c4_train_progress {
    bool shown; /* this rank shows it */
    bool terminal;
    bool unicode;
    long first; /* steps that were done before this run */
    long total; /* step at which it will end */
    uint64_t start_ns;
    uint64_t drawn_ns;
    int drawn; /* lines printed where stderr is no terminal */
} c4_train_progress;

typedef struct c4_train_progress_state {
    long step;           /* steps done, those before this run included */
    double loss;         /* NaN: none to show */
    double tokens_per_s; /* NaN: none */
    double step_ms;      /* mean; shown when there are no tokens */
    double comm_share;   /* 0 .. 1 */
} c4_train_progress_state;

void c4_train_progress_start(c4_train_progress *progress, bool shown, long first, long total);
void c4_train_progress_update(c4_train_progress *progress, const c4_train_progress_state *state);
/* Leaves the cursor on a fresh line. */
void c4_train_progress_end(c4_train_progress *progress);
/* The line as it would be drawn in `width` columns; for update and for tests. */
void c4_train_progress_format(const c4_train_progress *progress, const c4_train_progress_state *state, double seconds,
                              int width, char *line, size_t bytes);

#endif
