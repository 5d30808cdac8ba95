#include "tests/conformance/world.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool conf_check(bool condition, const char *what, conf_rank *r, const char *file, int line)
{
    if (condition)
        return true;
    if (atomic_fetch_add(&r->shared->failures, 1) < 20)
        fprintf(stderr, "%s:%d: rank %d: not true: %s\n", file, line, r->rank, what);
    return false;
}

void conf_progress(conf_rank *r)
{
    int peer = -2;
    c4_status status = r->ops->progress(r->module, &peer);
    CONF_CHECK(status >= 0);
    CONF_CHECK(peer >= -1);
    if (status != C4_OK)
        sched_yield(); /* ranks may outnumber cores */
}

void conf_barrier(conf_rank *r)
{
    int target = ++r->barriers * r->nranks;
    atomic_fetch_add(&r->shared->arrived, 1);
    while (atomic_load(&r->shared->arrived) < target)
        conf_progress(r);
}

void conf_wait_flag(conf_rank *r, int flag, int value)
{
    while (atomic_load(&r->shared->flags[flag]) < value)
        conf_progress(r);
}

c4_channel *conf_channel(conf_rank *r, uint32_t comm, uint32_t tag, int writer, const int *readers, int nreaders)
{
    const c4_channel_spec spec = {sizeof spec, comm, tag, writer, readers, nreaders, 0};
    c4_channel *channel = NULL;
    CONF_CHECK(r->ops->channel_open(r->module, &spec, &channel) == C4_OK);
    return channel;
}

c4_channel *conf_pair(conf_rank *r, uint32_t comm, uint32_t tag, int writer, int reader)
{
    if (r->rank != writer && r->rank != reader)
        return NULL;
    return conf_channel(r, comm, tag, writer, &reader, 1);
}

c4_status conf_wait(conf_rank *r, c4_xfer *xfer)
{
    while (xfer->state == C4_IN_PROGRESS && atomic_load(&r->shared->failures) == 0)
        conf_progress(r);
    return (c4_status)xfer->state;
}

c4_frame conf_frame(uint32_t sequence, size_t bytes)
{
    return (c4_frame){.comm = 7 + sequence,
                      .epoch = (uint16_t)(sequence * 3),
                      .flags = (uint16_t)(sequence & 1),
                      .sequence = sequence,
                      .signature = sequence * 0x9e3779b9u,
                      .lane = (uint16_t)(sequence * 5),
                      .step = (uint16_t)(sequence * 7),
                      .bytes = (uint32_t)bytes,
                      .offset = (uint64_t)sequence << 33 | 5};
}

bool conf_frame_equal(const c4_frame *a, const c4_frame *b)
{
    return a->comm == b->comm && a->epoch == b->epoch && a->flags == b->flags && a->sequence == b->sequence &&
           a->signature == b->signature && a->lane == b->lane && a->step == b->step && a->bytes == b->bytes &&
           a->offset == b->offset;
}

void *conf_alloc(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 127) & ~(size_t)63);
    if (memory == NULL)
        abort();
    return memory;
}

void conf_fill(void *buffer, size_t bytes, uint64_t pattern)
{
    c4_rng rng = {pattern};
    unsigned char *at = buffer;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t value = c4_rng_next(&rng);
        memcpy(at, &value, 8);
    }
    uint64_t value = c4_rng_next(&rng);
    memcpy(at, &value, bytes);
}

bool conf_verify(const void *buffer, size_t bytes, uint64_t pattern)
{
    c4_rng rng = {pattern};
    const unsigned char *at = buffer;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t value = c4_rng_next(&rng);
        if (memcmp(at, &value, 8) != 0)
            return false;
    }
    uint64_t value = c4_rng_next(&rng);
    return memcmp(at, &value, bytes) == 0;
}

c4_status conf_send(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes)
{
    void *buffer = conf_alloc(bytes);
    conf_fill(buffer, bytes, sequence);
    c4_xfer xfer = {.frame = conf_frame(sequence, bytes), .pointer = buffer, .bytes = bytes};
    c4_status status = r->ops->send(channel, &xfer);
    if (status == C4_IN_PROGRESS)
        status = conf_wait(r, &xfer);
    CONF_CHECK(status == C4_OK && xfer.state == C4_OK);
    /* "the span may be reused": whatever happens to it now must not reach the reader. */
    memset(buffer, 0xa5, bytes);
    free(buffer);
    return status;
}

c4_status conf_recv(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes)
{
    unsigned char *buffer = conf_alloc(bytes + 1);
    const c4_frame expected = conf_frame(sequence, bytes);
    c4_xfer xfer = {.pointer = buffer, .bytes = bytes};
    memset(buffer, 0x5a, bytes + 1);
    c4_status status = r->ops->recv(channel, &xfer);
    if (status == C4_IN_PROGRESS)
        status = conf_wait(r, &xfer);
    CONF_CHECK(status == C4_OK && xfer.state == C4_OK);
    CONF_CHECK(conf_verify(buffer, bytes, sequence));
    CONF_CHECK(buffer[bytes] == 0x5a);
    CONF_CHECK(conf_frame_equal(&xfer.frame, &expected));
    free(buffer);
    return status;
}
