/* AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019) with warm-up, cosine decay and clipping
 * by the global norm. Every rank computes the same update from the same bits. */
#ifndef C4_TOOLS_C4TRAIN_ADAMW_H
#define C4_TOOLS_C4TRAIN_ADAMW_H

#include <c4/c4.h>

#include "tools/c4train/layout.h"

#define C4_ADAMW_BETA1   0.9f
#define C4_ADAMW_BETA2   0.95f
#define C4_ADAMW_EPSILON 1e-8f

typedef struct c4_adamw_schedule {
    double lr;   /* peak */
    long warmup; /* steps of linear rise */
    long steps;  /* the cosine ends here, at a tenth of the peak */
} c4_adamw_schedule;

/* Rate of step `step` (0-based). */
double c4_adamw_rate(const c4_adamw_schedule *schedule, long step);

typedef struct c4_adamw {
    size_t count;
    float *mean;   /* [count]; owned, one allocation with `square` */
    float *square; /* [count] */
    float decay;   /* weight decay of the tensors that have it */
    float clip;    /* largest norm of the gradient */
} c4_adamw;

/* Moments start at zero. C4_ERR_MEMORY. */
c4_status c4_adamw_init(c4_adamw *adamw, size_t count, float decay, float clip);
void c4_adamw_fini(c4_adamw *adamw);
/* Updates params[count] with grads[count]; `step` counts from 0. Returns the gradient's norm before clipping. */
double c4_adamw_step(c4_adamw *adamw, const c4_model_config *config, long step, double rate, const float *grads,
                     float *params);

#endif
