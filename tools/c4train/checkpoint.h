/* Weights, optimizer state and position of a run in one file.
 *
 * Layout, little-endian: c4_checkpoint_head; params, mean and square, float32[params] each; losses, float64[step];
 * FNV-1a of all that, uint64. The file appears by rename, so it is the old one or the new one, never half of one. */
#ifndef C4_TOOLS_C4TRAIN_CHECKPOINT_H
#define C4_TOOLS_C4TRAIN_CHECKPOINT_H

#include <c4/c4.h>

#define C4_CHECKPOINT_MAGIC   "C4TRAIN\n"
#define C4_CHECKPOINT_VERSION 1

/* Eight-byte fields only: no padding. */
typedef struct c4_checkpoint_head {
    char magic[8];
    uint64_t version;
    uint64_t params; /* number of parameters */
    uint64_t step;   /* steps done, which is also the number of losses */
    /* Shape of the model: must be the same. */
    uint64_t layers, dim, heads;
    /* What decides the trajectory: a difference is reported. */
    uint64_t seq, batch, steps, warmup, seed, text_hash;
    double lr, decay, clip;
} c4_checkpoint_head;

/* Arrays that belong to the caller; sizes come from the head. */
typedef struct c4_checkpoint_arrays {
    float *params;
    float *moments; /* mean, then square: [2 * params] */
    double *losses; /* [head.steps] */
} c4_checkpoint_arrays;

/* Writes, syncs, renames; a failure leaves an older file untouched. */
c4_status c4_checkpoint_save(const char *path, const c4_checkpoint_head *head, const c4_checkpoint_arrays *arrays);
/* Fills `arrays` (room for want->params and want->steps) and `step`. Refuses a file that is damaged, of another version
 * or of another shape, and notes on stderr each value in which it differs from this run. */
c4_status c4_checkpoint_load(const char *path, const c4_checkpoint_head *want, const c4_checkpoint_arrays *arrays,
                             uint64_t *step);

#endif
