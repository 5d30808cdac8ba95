#include "tools/c4train/buckets.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/status.h"
#include "tools/c4train/message.h"

c4_status c4_buckets_init(c4_buckets *buckets, const c4_train_job *job, size_t count, size_t bucket_bytes, bool overlap)
{
    c4_buckets made = {.job = job, .count = count, .overlap = overlap};
    made.bucket_count = bucket_bytes / sizeof(float) > 0 ? bucket_bytes / sizeof(float) : 1;
    made.nbuckets = (count + made.bucket_count - 1) / made.bucket_count;
    made.requests = calloc(made.nbuckets + 1, sizeof(c4_request *));
    void *memory = NULL;
    made.mapped = c4_mem_alloc(count * sizeof(float), &memory) == C4_OK;
    made.grads = made.mapped ? memory : calloc(count, sizeof(float));
    if (!made.grads || !made.requests) {
        c4_buckets_fini(&made);
        return c4_train_fail(C4_ERR_MEMORY, "out of memory for %zu gradients", count);
    }
    *buckets = made;
    return C4_OK;
}

void c4_buckets_fini(c4_buckets *buckets)
{
    if (buckets->mapped)
        c4_mem_free(buckets->grads);
    else
        free(buckets->grads);
    free((void *)buckets->requests);
    *buckets = (c4_buckets){0};
}

size_t c4_buckets_range(const c4_buckets *buckets, size_t index, size_t *first)
{
    size_t above = index * buckets->bucket_count, left = buckets->count - above;
    size_t size = left < buckets->bucket_count ? left : buckets->bucket_count;
    *first = left - size;
    return size;
}

static void note(c4_buckets *buckets, c4_status status, const char *what)
{
    if (status < 0 && buckets->status == C4_OK)
        buckets->status = c4_train_job_check(buckets->job, status, what);
}

void c4_buckets_begin(c4_buckets *buckets, double *loss)
{
    uint64_t start = c4_now_ns();
    buckets->status = C4_OK;
    buckets->completed = 0;
    note(buckets, c4_all_reduce(loss, loss, 1, C4_FLOAT64, C4_SUM, buckets->job->comm, &buckets->requests[0]),
         "all_reduce of the loss");
    buckets->issued = 1;
    buckets->exposed_ns = 0;
    buckets->comm_ns = c4_now_ns() - start;
}

/* Sends every bucket that lies wholly at or above `ready`. */
static void issue(c4_buckets *buckets, size_t ready)
{
    while (buckets->issued <= buckets->nbuckets && buckets->status == C4_OK) {
        size_t first, size = c4_buckets_range(buckets, buckets->issued - 1, &first);
        if (first < ready)
            return;
        float *part = buckets->grads + first;
        note(buckets,
             c4_all_reduce(part, part, size, C4_FLOAT32, C4_SUM, buckets->job->comm,
                           &buckets->requests[buckets->issued]),
             "all_reduce of gradients");
        buckets->issued++;
    }
}

/* Requests complete nearly in order, and testing one progresses all: the oldest is enough. */
static void poll(c4_buckets *buckets)
{
    while (buckets->completed < buckets->issued && buckets->status == C4_OK) {
        c4_request **oldest = &buckets->requests[buckets->completed];
        c4_status status = *oldest ? c4_test(oldest) : C4_OK;
        if (status == C4_IN_PROGRESS)
            return;
        note(buckets, status, "all_reduce of gradients");
        buckets->completed++;
    }
}

void c4_buckets_ready(void *context, size_t ready)
{
    c4_buckets *buckets = context;
    if (!buckets->overlap)
        return;
    uint64_t start = c4_now_ns();
    issue(buckets, ready);
    poll(buckets);
    buckets->comm_ns += c4_now_ns() - start;
}

c4_status c4_buckets_finish(c4_buckets *buckets)
{
    uint64_t start = c4_now_ns();
    issue(buckets, 0);
    if (buckets->status < 0) /* the others' part of these may never come */
        c4_comm_abort(buckets->job->comm);
    for (size_t i = buckets->completed; i < buckets->issued; i++)
        if (buckets->requests[i])
            note(buckets, c4_wait(&buckets->requests[i]), "all_reduce of gradients");
    buckets->completed = buckets->issued;
    buckets->exposed_ns = c4_now_ns() - start;
    buckets->comm_ns += buckets->exposed_ns;
    return buckets->status;
}
