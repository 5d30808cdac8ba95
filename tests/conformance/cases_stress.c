/* Randomised traffic between all pairs on several channels, undisturbed and with faults injected. */
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/world.h"

#define CHANNELS 3 /* per ordered pair */
#define WINDOW   6 /* xfers pending per channel end */
#define FRAMES   150

static void add_u32(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    uint32_t *d = dst;
    const uint32_t *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] + y[i];
}

static const c4_reduction sum = {add_u32, 4};

/* One end of a channel. Both ends draw the same sizes from the same seed. */
struct end {
    c4_channel *channel;
    bool writer;
    c4_rng rng;
    uint32_t posted, done;
    uint32_t pattern;
    struct slot {
        c4_xfer xfer;
        unsigned char *buffer, *operand;
        bool reduces;
    } slots[WINDOW];
};

static size_t draw_bytes(c4_rng *rng, size_t max)
{
    static const size_t limits[] = {0, 8, 64, 600, 4096, 20000, 70000, 300000, 1500000};
    size_t limit = limits[c4_rng_below(rng, sizeof limits / sizeof limits[0])];
    size_t bytes = (size_t)c4_rng_below(rng, limit + 1) & ~(size_t)3;
    return bytes < max ? bytes : max & ~(size_t)3;
}

static void end_post(conf_rank *r, struct end *end)
{
    struct slot *slot = &end->slots[end->posted % WINDOW];
    size_t bytes = draw_bytes(&end->rng, r->caps.max_frame_bytes);
    bool reduces = c4_rng_below(&end->rng, 3) == 0 && (r->caps.flags & C4_CAP_FUSED_REDUCE) != 0;
    uint32_t sequence = end->pattern + end->posted++;
    slot->buffer = conf_alloc(bytes);
    slot->operand = NULL;
    slot->reduces = reduces;
    slot->xfer = (c4_xfer){.frame = conf_frame(sequence, bytes), .pointer = slot->buffer, .bytes = bytes};
    if (end->writer) {
        conf_fill(slot->buffer, bytes, sequence);
        CONF_CHECK(r->ops->send(end->channel, &slot->xfer) >= 0);
        return;
    }
    if (reduces) {
        /* In place: what is added twice shows. */
        conf_fill(slot->buffer, bytes, ~(uint64_t)sequence);
        slot->xfer.reduce = &sum;
        slot->xfer.operand = slot->buffer;
    }
    memset(&slot->xfer.frame, 0, sizeof slot->xfer.frame);
    CONF_CHECK(r->ops->recv(end->channel, &slot->xfer) >= 0);
}

static void end_check(conf_rank *r, struct end *end, struct slot *slot)
{
    uint32_t sequence = end->pattern + end->done;
    size_t bytes = slot->xfer.bytes;
    const c4_frame expected = conf_frame(sequence, bytes);
    if (slot->reduces) {
        uint32_t *want = conf_alloc(bytes), *operand = conf_alloc(bytes);
        conf_fill(want, bytes, sequence);
        conf_fill(operand, bytes, ~(uint64_t)sequence);
        add_u32(want, operand, want, bytes / 4, 0);
        CONF_CHECK(memcmp(slot->buffer, want, bytes) == 0);
        free(want);
        free(operand);
    } else {
        CONF_CHECK(conf_verify(slot->buffer, bytes, sequence));
    }
    CONF_CHECK(conf_frame_equal(&slot->xfer.frame, &expected));
}

/* True when something was retired. */
static bool end_retire(conf_rank *r, struct end *end)
{
    struct slot *slot = &end->slots[end->done % WINDOW];
    if (end->done == end->posted || slot->xfer.state == C4_IN_PROGRESS)
        return false;
    CONF_CHECK(slot->xfer.state == C4_OK);
    if (!end->writer)
        end_check(r, end, slot);
    else
        memset(slot->buffer, 0x77, slot->xfer.bytes); /* may be reused */
    free(slot->buffer);
    end->done++;
    return true;
}

static size_t open_ends(conf_rank *r, struct end *ends)
{
    size_t count = 0;
    for (int writer = 0; writer < r->nranks; writer++)
        for (int reader = 0; reader < r->nranks; reader++)
            for (uint32_t tag = 0; tag < CHANNELS && writer != reader; tag++) {
                c4_channel *channel = conf_pair(r, 9, tag, writer, reader);
                uint32_t pattern = (uint32_t)((writer * 8 + reader) * 8 + (int)tag) << 16;
                if (channel != NULL)
                    ends[count++] = (struct end){.channel = channel,
                                                 .writer = writer == r->rank,
                                                 .rng = {r->shared->seed + pattern},
                                                 .pattern = pattern};
            }
    return count;
}

static void stress(conf_rank *r, const char *fault)
{
    static _Thread_local struct end ends[2 * CHANNELS * CONF_MAX_RANKS];
    c4_rng own = {r->shared->seed ^ (uint64_t)(r->rank + 1) << 40};
    size_t count = open_ends(r, ends);
    size_t finished = 0;
    unsigned injected = 0;
    while (finished < count && atomic_load(&r->shared->failures) == 0) {
        struct end *end = &ends[c4_rng_below(&own, count)];
        if (end->posted < FRAMES && end->posted - end->done < WINDOW && c4_rng_below(&own, 4) != 0)
            end_post(r, end);
        if (fault != NULL && injected < 25 && c4_rng_below(&own, 200) == 0) {
            CONF_CHECK(r->ops->inject(r->module, fault) == C4_OK);
            injected++;
        }
        conf_progress(r);
        for (size_t i = 0; i < count; i++)
            while (end_retire(r, &ends[i]))
                finished += ends[i].done == FRAMES;
    }
}

static void case_stress_2(conf_rank *r)
{
    stress(r, NULL);
}

static void case_stress_4(conf_rank *r)
{
    stress(r, NULL);
}

static void case_stress_close_socket(conf_rank *r)
{
    stress(r, "close_socket");
}

static void case_stress_truncate(conf_rank *r)
{
    stress(r, "truncate");
}

const conf_case conf_cases_stress[] = {
    {"stress_2", case_stress_2, 2, 60},
    {"stress_4", case_stress_4, 4, 120},
    {NULL, NULL, 0, 0},
};

const conf_case conf_cases_faults[] = {
    {"stress_close_socket", case_stress_close_socket, 2, 120},
    {"stress_truncate", case_stress_truncate, 2, 120},
    {NULL, NULL, 0, 0},
};
