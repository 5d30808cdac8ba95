/* Gradients in buckets that are all-reduced while the backward pass still runs.
 *
 * The gradient array is cut into buckets from its end, because the backward pass completes it from there. A bucket is
 * sent as soon as its lowest gradient is final; between the pieces of the backward pass the oldest request is tested,
 * which also makes progress when the library has no thread of its own. Order and sizes depend on the parameter count
 * alone, so they agree on all ranks. */
#ifndef C4_TOOLS_C4TRAIN_BUCKETS_H
#define C4_TOOLS_C4TRAIN_BUCKETS_H

#include <stdbool.h>

#include "tools/c4train/job.h"

typedef struct c4_buckets {
    const c4_train_job *job;
    float *grads; /* [count], sums over all ranks after c4_buckets_finish; owned */
    size_t count;
    size_t bucket_count; /* gradients per bucket; the lowest bucket may have fewer */
    size_t nbuckets;
    bool overlap;
    bool mapped;           /* grads came from c4_mem_alloc */
    c4_request **requests; /* [nbuckets + 1]: the loss, then the buckets from the end of grads; owned */
    size_t issued;         /* requests made in this step, */
    size_t completed;      /* and how many of them, from the first, are done */
    c4_status status;      /* first error of this step */
    uint64_t comm_ns;      /* time inside the library's calls in this step */
    uint64_t exposed_ns;   /* the part of it after the backward pass */
} c4_buckets;

/* Gradients are allocated with c4_mem_alloc, so that ranks on one host read them in place; else with calloc.
 * C4_ERR_MEMORY. */
c4_status c4_buckets_init(c4_buckets *buckets, const c4_train_job *job, size_t count, size_t bucket_bytes,
                          bool overlap);
void c4_buckets_fini(c4_buckets *buckets);
/* Bucket `index` is grads[*first .. *first + return value). */
size_t c4_buckets_range(const c4_buckets *buckets, size_t index, size_t *first);

/* Starts a step. `loss` is replaced by its sum over the ranks; both it and grads belong to the library from the time
 * they are reported ready until c4_buckets_finish. */
void c4_buckets_begin(c4_buckets *buckets, double *loss);
/* A c4_ready_hook: grads[ready ..] are final. Never blocks; errors are kept for c4_buckets_finish. */
void c4_buckets_ready(void *buckets, size_t ready);
/* Waits for all buckets. On an error nothing is left in flight, and sums are undefined. */
c4_status c4_buckets_finish(c4_buckets *buckets);

#endif
