/* Compute of a given length in place of the model's: to see how much of the communication it hides. */
#ifndef C4_TOOLS_C4TRAIN_SYNTHETIC_H
#define C4_TOOLS_C4TRAIN_SYNTHETIC_H

#include "tools/c4train/model.h"

/* Spins for `step_ms` of wall-clock time, calls of the hook not counted: a third at once (forward), the rest shared
 * out over the tensors by their size, last to first (backward). Each tensor's gradients are written when its share
 * ends, with whole numbers that tell rank, step and position. */
void c4_synthetic_step(const c4_model_config *config, double step_ms, uint64_t step, int rank, float *grads,
                       c4_ready_hook hook);
/* After the reduction: C4_ERR_INTERNAL with a message at the first of grads[count] that is not the sum over ranks. */
c4_status c4_synthetic_check(uint64_t step, int nranks, size_t count, const float *grads);

#endif
