/* What a run leaves behind: a few lines, a JSON file, a chart. */
#ifndef C4_TOOLS_C4TRAIN_REPORT_H
#define C4_TOOLS_C4TRAIN_REPORT_H

#include "tools/c4train/trainer.h"

typedef struct c4_train_summary {
    double loss_first; /* NaN when nothing was trained */
    double loss_last;
    double eval_last;     /* NaN without --eval-every */
    double seconds;       /* time in steps */
    double tokens_per_s;  /* NaN when nothing was trained */
    double step_ms;       /* mean */
    double comm_share;    /* time inside communication calls / step time, mean over the ranks */
    double exposed_share; /* the part of it after the backward pass */
    uint64_t weights_hash;
} c4_train_summary;

/* Line about model and job, before training (rank 0, not --quiet). */
void c4_report_start(const c4_trainer *trainer);
/* Collective: means over ranks, and a check that all hold the same weights. */
c4_status c4_report_collect(const c4_trainer *trainer, c4_train_summary *summary);
/* Rank 0: the closing line, --json, --svg. */
c4_status c4_report_finish(const c4_trainer *trainer, const c4_train_summary *summary);

#endif
