/* Text written by the model, for people to look at. */
#ifndef C4_TOOLS_C4TRAIN_SAMPLE_H
#define C4_TOOLS_C4TRAIN_SAMPLE_H

#include <stdio.h>

#include "tools/c4train/model.h"

/* Prints `prompt` and `count` further bytes, each drawn from p^(1/temperature) given at most config.seq before it.
 * Bytes that a terminal could take for commands appear as '?'. C4_ERR_MEMORY. */
c4_status c4_sample_print(c4_model *model, const char *prompt, size_t count, double temperature, uint64_t seed,
                          FILE *out);

#endif
