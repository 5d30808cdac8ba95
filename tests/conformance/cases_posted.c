/* Posted frames: order, sizes, pending, lazy peers, cancel, errors, reductions, counters, closing. */
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/world.h"

#define MANY 400

static void case_sizes(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    const size_t line = r->caps.inline_bytes;
    const size_t sizes[] = {0,
                            1,
                            7,
                            8,
                            63,
                            64,
                            65,
                            line,
                            line + 1,
                            line + 63,
                            1000,
                            1023,
                            1024,
                            1025,
                            4095,
                            4096,
                            4097,
                            65535,
                            65536,
                            r->caps.max_frame_bytes - 1,
                            r->caps.max_frame_bytes};
    uint32_t count = sizeof sizes / sizeof sizes[0];
    for (uint32_t i = 0; i < count; i++) {
        if (r->rank == 0)
            conf_send(r, channel, i, sizes[i]);
        else
            conf_recv(r, channel, i, sizes[i]);
    }
}

static void case_over_max(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    char byte = 0;
    c4_xfer xfer = {.pointer = &byte, .bytes = r->caps.max_frame_bytes + 1};
    if (r->rank == 0) {
        CONF_CHECK(r->ops->send(channel, &xfer) == C4_ERR_COUNT);
        conf_send(r, channel, 5, 100); /* nothing of it was sent */
    } else {
        CONF_CHECK(r->ops->recv(channel, &xfer) == C4_ERR_COUNT);
        conf_recv(r, channel, 5, 100);
    }
}

static void case_wrong_end(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    char byte = 0;
    c4_xfer xfer = {.pointer = &byte, .bytes = 1};
    CONF_CHECK((r->rank == 0 ? r->ops->recv(channel, &xfer) : r->ops->send(channel, &xfer)) < 0);
}

static void case_empty_frames(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    for (uint32_t i = 0; i < MANY; i++) {
        c4_xfer xfer = {.frame = conf_frame(i, 0)};
        c4_status status = r->rank == 0 ? r->ops->send(channel, &xfer) : r->ops->recv(channel, &xfer);
        if (status == C4_IN_PROGRESS)
            status = conf_wait(r, &xfer);
        CONF_CHECK(status == C4_OK);
        CONF_CHECK(xfer.frame.sequence == i && xfer.frame.bytes == 0);
    }
}

static void case_order(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    for (uint32_t i = 0; i < 3000; i++) {
        size_t bytes = c4_rng_below(&r->rng, 300);
        if (r->rank == 0)
            conf_send(r, channel, i, bytes);
        else
            conf_recv(r, channel, i, bytes);
    }
}

/* ---- many pending ---- */

struct batch {
    c4_xfer *xfers;
    unsigned char *memory;
    size_t bytes;
    uint32_t count;
};

static struct batch batch_create(uint32_t count, size_t bytes, bool fill)
{
    struct batch batch = {calloc(count, sizeof(c4_xfer)), conf_alloc(count * bytes), bytes, count};
    for (uint32_t i = 0; i < count; i++) {
        unsigned char *at = batch.memory + i * bytes;
        if (fill)
            conf_fill(at, bytes, i);
        batch.xfers[i] = (c4_xfer){.frame = conf_frame(i, bytes), .pointer = at, .bytes = bytes};
    }
    return batch;
}

static void batch_wait(conf_rank *r, struct batch *batch, bool verify)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        const c4_frame expected = conf_frame(i, batch->bytes);
        CONF_CHECK(conf_wait(r, &batch->xfers[i]) == C4_OK);
        if (!verify)
            continue;
        CONF_CHECK(conf_frame_equal(&batch->xfers[i].frame, &expected));
        CONF_CHECK(conf_verify(batch->xfers[i].pointer, batch->bytes, i));
    }
    free(batch->xfers);
    free(batch->memory);
}

static void post_all(conf_rank *r, c4_channel *channel, struct batch *batch, bool send)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        c4_status status = send ? r->ops->send(channel, &batch->xfers[i]) : r->ops->recv(channel, &batch->xfers[i]);
        CONF_CHECK(status == C4_OK || status == C4_IN_PROGRESS);
        CONF_CHECK(status == C4_IN_PROGRESS || batch->xfers[i].state == C4_OK);
    }
}

static void pending(conf_rank *r, size_t bytes, int first)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    struct batch batch = batch_create(MANY, bytes, r->rank == 0);
    if (r->rank != first)
        conf_wait_flag(r, 0, 1);
    post_all(r, channel, &batch, r->rank == 0);
    if (r->rank == first)
        atomic_store(&r->shared->flags[0], 1);
    batch_wait(r, &batch, r->rank == 1);
}

static void case_pending_sends(conf_rank *r)
{
    pending(r, 100, 0);
}

static void case_pending_large_sends(conf_rank *r)
{
    pending(r, 70000, 0);
}

static void case_pending_receives(conf_rank *r)
{
    pending(r, 100, 1);
}

static void case_pending_large_receives(conf_rank *r)
{
    pending(r, 70000, 1);
}

/* ---- lazy ---- */

static void case_writer_before_reader(conf_rank *r)
{
    if (r->rank == 0) {
        c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
        struct batch batch = batch_create(20, 1000, true);
        post_all(r, channel, &batch, true);
        for (int i = 0; i < 200; i++)
            conf_progress(r);
        atomic_store(&r->shared->flags[0], 1);
        batch_wait(r, &batch, false);
    } else {
        conf_wait_flag(r, 0, 1);
        c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
        for (uint32_t i = 0; i < 20; i++)
            conf_recv(r, channel, i, 1000);
    }
}

static void case_reader_before_writer(conf_rank *r)
{
    if (r->rank == 1) {
        c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
        struct batch batch = batch_create(20, 1000, false);
        post_all(r, channel, &batch, false);
        for (int i = 0; i < 200; i++)
            conf_progress(r);
        atomic_store(&r->shared->flags[0], 1);
        batch_wait(r, &batch, true);
    } else {
        conf_wait_flag(r, 0, 1);
        c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
        for (uint32_t i = 0; i < 20; i++)
            conf_send(r, channel, i, 1000);
    }
}

/* What a reader tells its writer beforehand (where to write to) comes before the writer has opened its end: frames that the
 * reader sends afterwards have overtaken nothing, whatever channels share. */
static void case_reader_long_before_writer(conf_rank *r)
{
    enum { FRAMES = 4 };
    size_t bytes = r->caps.max_frame_bytes < 70000 ? r->caps.max_frame_bytes : 70000;
    c4_channel *channel = r->rank == 1 ? conf_pair(r, 1, 1, 0, 1) : NULL;
    struct batch batch = batch_create(r->rank == 1 ? FRAMES : 0, bytes, false);
    if (r->rank == 1)
        post_all(r, channel, &batch, false);
    for (uint32_t tag = 2; tag < 18; tag++) {
        c4_channel *other = conf_pair(r, 1, tag, 1, 0);
        if (r->rank == 1)
            conf_send(r, other, tag, 64);
        else
            conf_recv(r, other, tag, 64);
    }
    if (r->rank == 0) {
        channel = conf_pair(r, 1, 1, 0, 1);
        for (uint32_t i = 0; i < FRAMES; i++)
            conf_send(r, channel, i, bytes);
    }
    batch_wait(r, &batch, true); /* the writer's is empty */
}

/* ---- cancel ---- */

/* A forgotten receive takes no frame and its destination is not written. */
static void case_cancel_receive(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    unsigned char untouched[128], buffer[128];
    if (r->rank == 1) {
        memset(untouched, 0x11, sizeof untouched);
        c4_xfer first = {.pointer = untouched, .bytes = sizeof untouched};
        c4_xfer second = {.pointer = buffer, .bytes = sizeof buffer};
        CONF_CHECK(r->ops->recv(channel, &first) == C4_IN_PROGRESS);
        CONF_CHECK(r->ops->recv(channel, &second) == C4_IN_PROGRESS);
        r->ops->cancel(channel, &first);
        atomic_store(&r->shared->flags[0], 1);
        CONF_CHECK(conf_wait(r, &second) == C4_OK);
        CONF_CHECK(conf_verify(buffer, sizeof buffer, 1));
        for (size_t i = 0; i < sizeof untouched; i++)
            CONF_CHECK(untouched[i] == 0x11);
        conf_recv(r, channel, 2, 50);
    } else {
        conf_wait_flag(r, 0, 1);
        conf_send(r, channel, 1, sizeof buffer);
        conf_send(r, channel, 2, 50);
    }
}

/* Cancelled sends are sent wholly or not at all; those around them arrive in order. */
static void case_cancel_send(conf_rank *r)
{
    enum { COUNT = 64 };
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    const size_t bytes = 200000;
    struct batch batch = batch_create(COUNT, bytes, r->rank == 0);
    if (r->rank == 0) {
        post_all(r, channel, &batch, true);
        for (uint32_t i = 1; i < COUNT; i += 3)
            if (batch.xfers[i].state == C4_IN_PROGRESS) {
                r->ops->cancel(channel, &batch.xfers[i]);
                batch.xfers[i].state = C4_OK;
                memset(batch.xfers[i].pointer, 0, bytes);
            }
        atomic_store(&r->shared->flags[0], 1);
        batch_wait(r, &batch, false);
        conf_send(r, channel, COUNT, bytes);
        return;
    }
    conf_wait_flag(r, 0, 1);
    uint32_t expected = 0;
    while (expected <= COUNT && atomic_load(&r->shared->failures) == 0) {
        c4_xfer xfer = {.pointer = batch.memory, .bytes = bytes};
        c4_status status = r->ops->recv(channel, &xfer);
        if (status == C4_IN_PROGRESS)
            conf_wait(r, &xfer);
        CONF_CHECK(xfer.state == C4_OK && conf_verify(batch.memory, bytes, xfer.frame.sequence));
        CONF_CHECK(xfer.frame.sequence == expected || (expected % 3 == 1 && xfer.frame.sequence == expected + 1));
        expected = xfer.frame.sequence + 1;
    }
    free(batch.xfers);
    free(batch.memory);
}

/* ---- errors ---- */

static void case_wrong_size(conf_rank *r)
{
    c4_channel *small = conf_pair(r, 1, 1, 0, 1);
    c4_channel *large = conf_pair(r, 1, 2, 0, 1);
    unsigned char buffer[200] = {0};
    if (r->rank == 0) {
        conf_send(r, small, 1, 100);
        conf_send(r, large, 2, 100);
        return;
    }
    c4_channel *channels[] = {small, large};
    const size_t sizes[] = {99, 101};
    for (int i = 0; i < 2; i++) {
        c4_xfer xfer = {.pointer = buffer, .bytes = sizes[i]};
        c4_status status = r->ops->recv(channels[i], &xfer);
        if (status == C4_IN_PROGRESS)
            status = conf_wait(r, &xfer);
        CONF_CHECK(status == C4_ERR_PROTOCOL && xfer.state == C4_ERR_PROTOCOL);
        CONF_CHECK(xfer.frame.bytes == 100 && xfer.frame.sequence == (uint32_t)i + 1); /* says what came */
    }
    CONF_CHECK(buffer[150] == 0);
}

/* ---- both directions, many channels ---- */

/* Both ranks send far more than any buffer holds before either receives. */
static void case_both_send_first(conf_rank *r)
{
    c4_channel *out = conf_pair(r, 1, 1, r->rank, 1 - r->rank);
    c4_channel *in = conf_pair(r, 1, 1, 1 - r->rank, r->rank);
    size_t bytes = r->caps.max_frame_bytes < (8u << 20) ? r->caps.max_frame_bytes : 8u << 20;
    struct batch sends = batch_create(4, bytes, true);
    struct batch receives = batch_create(4, bytes, false);
    post_all(r, out, &sends, true);
    for (int i = 0; i < 1000; i++)
        conf_progress(r);
    post_all(r, in, &receives, false);
    batch_wait(r, &receives, true);
    batch_wait(r, &sends, false);
}

static void case_many_channels(conf_rank *r)
{
    enum { TAGS = 32 };
    c4_channel *out[TAGS], *in[TAGS];
    struct batch sends = batch_create(TAGS, 5000, true);
    for (uint32_t tag = 0; tag < TAGS; tag++) {
        /* Same tags in two communicators and both directions: all of it is identity. */
        out[tag] = conf_pair(r, 1 + tag % 2, tag / 2, r->rank, 1 - r->rank);
        in[tag] = conf_pair(r, 1 + tag % 2, tag / 2, 1 - r->rank, r->rank);
    }
    for (uint32_t tag = 0; tag < TAGS; tag++)
        CONF_CHECK(r->ops->send(out[tag], &sends.xfers[tag]) >= 0);
    for (uint32_t tag = TAGS; tag-- > 0;)
        conf_recv(r, in[tag], tag, 5000);
    batch_wait(r, &sends, false);
}

/* A channel that nobody reads does not hold up the others. */
static void case_full_channel_blocks_no_other(conf_rank *r)
{
    enum { COUNT = 200 };
    c4_channel *full[2], *live[2];
    for (uint32_t tag = 0; tag < 2; tag++) {
        full[tag] = conf_pair(r, 1, tag, 0, 1);
        live[tag] = conf_pair(r, 1, tag + 2, 0, 1);
    }
    struct batch batch = batch_create(COUNT, 100000, r->rank == 0);
    if (r->rank == 0)
        post_all(r, full[0], &batch, true);
    for (uint32_t i = 0; i < 50; i++)
        for (uint32_t tag = 0; tag < 2; tag++) {
            if (r->rank == 0)
                conf_send(r, live[tag], i, i * 5000);
            else
                conf_recv(r, live[tag], i, i * 5000);
        }
    if (r->rank == 1)
        post_all(r, full[0], &batch, false);
    batch_wait(r, &batch, r->rank == 1);
}

static void case_many_readers(conf_rank *r)
{
    const int readers[] = {1, 2, 3};
    if (r->caps.max_readers < 3) {
        c4_channel *channel;
        const c4_channel_spec spec = {sizeof spec, 1, 1, 0, readers, 3, 0};
        CONF_CHECK(r->ops->channel_open(r->module, &spec, &channel) < 0);
        return;
    }
    c4_channel *channel = conf_channel(r, 1, 1, 0, readers, 3);
    for (uint32_t i = 0; i < 200; i++) {
        size_t bytes = i % 50 == 49 ? r->caps.max_frame_bytes : i * 37;
        if (r->rank == 0)
            conf_send(r, channel, i, bytes);
        else
            conf_recv(r, channel, i, bytes);
    }
}

/* ---- reductions ---- */

static void add_u8(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    unsigned char *d = dst;
    const unsigned char *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = (unsigned char)(x[i] + y[i]);
}

/* Not commutative: shows which operand is which. Elements must arrive whole. */
static void mix_u64(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    uint64_t *d = dst;
    const uint64_t *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] * 3 + (y[i] ^ y[i] >> 32);
}

static const c4_reduction reductions[] = {{add_u8, 1}, {mix_u64, 8}};

static void reduce_one(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes, bool in_place)
{
    const c4_reduction *reduction = &reductions[sequence % 2];
    void *operand = conf_alloc(bytes), *incoming = conf_alloc(bytes), *expected = conf_alloc(bytes);
    void *result = in_place ? operand : conf_alloc(bytes);
    conf_fill(operand, bytes, 1000);
    conf_fill(incoming, bytes, sequence);
    reduction->reduce(expected, operand, incoming, bytes / reduction->element_bytes, 0);
    c4_xfer xfer = {.pointer = result, .bytes = bytes, .reduce = reduction, .operand = operand};
    c4_status status = r->ops->recv(channel, &xfer);
    if (status == C4_IN_PROGRESS)
        status = conf_wait(r, &xfer);
    CONF_CHECK(status == C4_OK);
    CONF_CHECK(memcmp(result, expected, bytes) == 0);
    if (!in_place)
        free(result);
    free(operand);
    free(incoming);
    free(expected);
}

static void case_reduce(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    const size_t sizes[] = {0, 8, 64, 1000, 4096, 65536, 100000, 1 << 20, (3 << 20) + 8};
    uint32_t sequence = 0;
    if ((r->caps.flags & C4_CAP_FUSED_REDUCE) == 0)
        return;
    for (size_t i = 0; i < 4 * sizeof sizes / sizeof sizes[0]; i++, sequence++) {
        size_t bytes = sizes[i / 4];
        bytes = bytes < r->caps.max_frame_bytes ? bytes : r->caps.max_frame_bytes;
        if (r->rank == 0)
            conf_send(r, channel, sequence, bytes);
        else
            reduce_one(r, channel, sequence, bytes, i % 4 >= 2);
    }
}

/* The frame is there before the reduction is asked for. */
static void case_late_reduce(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    c4_channel *other = conf_pair(r, 1, 3, 0, 1);
    if ((r->caps.flags & C4_CAP_FUSED_REDUCE) == 0)
        return;
    if (r->rank == 0) {
        conf_send(r, channel, 1, 4000);
        conf_send(r, other, 2, 8);
    } else {
        conf_recv(r, other, 2, 8);
        reduce_one(r, channel, 1, 4000, false);
    }
}

/* ---- counters, closing ---- */

static void case_counters(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    c4_edge_counters counters = {99, 99, 99};
    CONF_CHECK(r->ops->counters(channel, &counters) == C4_OK);
    CONF_CHECK(counters.bytes == 0 && counters.messages == 0 && counters.resends == 0);
    for (uint32_t i = 0; i < 10; i++) {
        if (r->rank == 0)
            conf_send(r, channel, i, i * 100);
        else
            conf_recv(r, channel, i, i * 100);
    }
    CONF_CHECK(r->ops->counters(channel, &counters) == C4_OK);
    CONF_CHECK(counters.bytes == 4500 && counters.messages == 10);
    CONF_CHECK(counters.resends == 0 || r->fixture->overrides != NULL); /* which may inject faults */
}

static void case_close_with_undelivered(conf_rank *r)
{
    c4_channel *closing = conf_pair(r, 1, 1, 0, 1);
    c4_channel *staying = conf_pair(r, 1, 2, 0, 1);
    for (uint32_t i = 0; i < 30; i++) {
        if (r->rank == 0)
            conf_send(r, closing, i, 500);
        else if (i < 2)
            conf_recv(r, closing, i, 500);
    }
    if (r->rank == 0)
        conf_send(r, staying, 1, 500);
    else
        conf_recv(r, staying, 1, 500);
    conf_barrier(r);
    r->ops->channel_close(closing);
    for (uint32_t i = 0; i < 5; i++) {
        if (r->rank == 0)
            conf_send(r, staying, i, 5000);
        else
            conf_recv(r, staying, i, 5000);
    }
}

/* What has been sent before the writer left can be read, also by a reader that opens its end later. */
static void case_writer_leaves_early(conf_rank *r)
{
    enum { FRAMES = 4, BYTES = 700 };
    if (r->fixture->loses_sockets)
        return;
    /* Connects, whatever channels share: a first send may need the reader's help. */
    for (uint32_t tag = 2; tag < 18; tag++) {
        c4_channel *other = conf_pair(r, 1, tag, 0, 1);
        if (r->rank == 0)
            conf_send(r, other, tag, 64);
        else
            conf_recv(r, other, tag, 64);
    }
    if (r->rank == 0) {
        c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
        for (uint32_t i = 0; i < FRAMES; i++)
            conf_send(r, channel, i, BYTES * i);
        r->ops->close(r->module);
        CONF_CHECK(r->ops->open(&r->host.host, &r->module) == C4_OK); /* for the barriers */
    }
    conf_barrier(r);
    if (r->rank == 0)
        return;
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    for (uint32_t i = 0; i < FRAMES; i++)
        conf_recv(r, channel, i, BYTES * i);
}

static void case_close_with_pending(conf_rank *r)
{
    c4_channel *out = conf_pair(r, 1, 1, r->rank, 1 - r->rank);
    c4_channel *in = conf_pair(r, 1, 1, 1 - r->rank, r->rank);
    static _Thread_local unsigned char buffer[1 << 20];
    static _Thread_local c4_xfer sends[32], receive;
    size_t bytes = r->caps.max_frame_bytes < sizeof buffer ? r->caps.max_frame_bytes : sizeof buffer;
    for (int i = 0; i < 32; i++) {
        sends[i] = (c4_xfer){.pointer = buffer, .bytes = bytes};
        CONF_CHECK(r->ops->send(out, &sends[i]) >= 0);
    }
    receive = (c4_xfer){.pointer = buffer, .bytes = bytes + 1 <= r->caps.max_frame_bytes ? bytes : 8};
    conf_barrier(r);
    CONF_CHECK(r->ops->recv(in, &receive) != C4_ERR_COUNT);
    r->ops->channel_close(out);
    r->ops->channel_close(in);
}

const conf_case conf_cases_posted[] = {
    {"sizes", case_sizes, 2, 30},
    {"over_max", case_over_max, 2, 10},
    {"wrong_end", case_wrong_end, 2, 10},
    {"empty_frames", case_empty_frames, 2, 20},
    {"order", case_order, 2, 30},
    {"pending_sends", case_pending_sends, 2, 20},
    {"pending_large_sends", case_pending_large_sends, 2, 30},
    {"pending_receives", case_pending_receives, 2, 20},
    {"pending_large_receives", case_pending_large_receives, 2, 30},
    {"writer_before_reader", case_writer_before_reader, 2, 20},
    {"reader_before_writer", case_reader_before_writer, 2, 20},
    {"reader_long_before_writer", case_reader_long_before_writer, 2, 20},
    {"cancel_receive", case_cancel_receive, 2, 20},
    {"cancel_send", case_cancel_send, 2, 30},
    {"wrong_size", case_wrong_size, 2, 20},
    {"both_send_first", case_both_send_first, 2, 30},
    {"many_channels", case_many_channels, 2, 30},
    {"full_channel_blocks_no_other", case_full_channel_blocks_no_other, 2, 30},
    {"many_readers", case_many_readers, 4, 60},
    {"reduce", case_reduce, 2, 30},
    {"late_reduce", case_late_reduce, 2, 20},
    {"counters", case_counters, 2, 20},
    {"close_with_undelivered", case_close_with_undelivered, 2, 20},
    {"writer_leaves_early", case_writer_leaves_early, 2, 20},
    {"close_with_pending", case_close_with_pending, 2, 20},
    {NULL, NULL, 0, 0},
};
