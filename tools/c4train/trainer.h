/* Everything one rank holds while it trains. */
#ifndef C4_TOOLS_C4TRAIN_TRAINER_H
#define C4_TOOLS_C4TRAIN_TRAINER_H

#include "tools/c4train/adamw.h"
#include "tools/c4train/buckets.h"
#include "tools/c4train/chart.h"
#include "tools/c4train/corpus.h"
#include "tools/c4train/job.h"
#include "tools/c4train/model.h"
#include "tools/c4train/options.h"

/* Sums over the steps of this run. */
typedef struct c4_train_times {
    uint64_t step_ns;    /* data, forward, backward, communication, update */
    uint64_t comm_ns;    /* inside the library's calls */
    uint64_t exposed_ns; /* the part of it after the backward pass */
} c4_train_times;

typedef struct c4_trainer {
    const c4_train_options *options;
    const c4_train_job *job;
    c4_model_config config;
    c4_corpus corpus;
    c4_model *model; /* NULL with --step-ms */
    c4_adamw adamw;
    c4_buckets buckets;
    size_t first; /* this rank's sequences of each batch: first .. first + sequences - 1 */
    size_t sequences;
    uint8_t *inputs; /* [sequences * seq], as many targets behind them */
    uint8_t *targets;
    double *curve;         /* [steps]: the loss of each step; with --step-ms its milliseconds */
    c4_chart_point *evals; /* [nevals] of held-out text */
    size_t nevals;
    double grad_norm; /* of the last step, before clipping */
    long start;       /* steps done before this run */
    long step;        /* steps done */
    c4_train_times times;
} c4_trainer;

/* Collective: opens the text, allocates, initialises or resumes, and gives all ranks rank 0's state. Call fini also
 * after a failure. */
c4_status c4_trainer_init(c4_trainer *trainer, const c4_train_options *options, const c4_train_job *job);
void c4_trainer_fini(c4_trainer *trainer);
/* Collective: checks that all ranks hold the same weights; rank 0 writes the file. */
c4_status c4_trainer_checkpoint(const c4_trainer *trainer);
/* FNV-1a of the weights; 0 with --step-ms. */
uint64_t c4_trainer_weights_hash(const c4_trainer *trainer);

/* train.c: runs the steps. Collective. */
c4_status c4_trainer_run(c4_trainer *trainer);

#endif
