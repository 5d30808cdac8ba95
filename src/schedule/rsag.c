/* Direct reduce-scatter and all-gather.
 *
 * Idea     The vector is cut into n parts. Everybody sends part p to rank p, chunk by chunk (lane "scatter"); rank p folds the n
 *          versions of its part in rank order, in one pass that stores the result in its own output *and* in the outgoing channels
 *          (lane "fold"); everybody stores the parts of the others (lane "gather"). The three lanes overlap chunk by chunk, and a
 *          byte is reduced while the cache still holds it. On shared memory this is the fastest form for private buffers from
 *          16 KiB up. Folding in rank order makes it deterministic.
 * Cost     2 a + 2 (n-1)/n S b + (n-1)/n S g; 2 (n-1) messages per chunk and rank, 1 published copy instead of n-1 where links have
 *          many readers.
 * Limits   all_reduce. Many small messages: for few ranks, or one host.
 * Example  5 ranks, 7 elements: parts [0,2) [2,4) [4,5) [5,6) [6,7). Rank 1 sends [0,2) to 0, [4,5) to 2, [5,6) to 3, [6,7) to 4;
 *          folds ((((x0+x1)+x2)+x3)+x4)[2,4) and sends it to all; stores the other four parts as they come.
 * Source   Rabenseifner, "Optimization of Collective Reduction Operations" (2004): reduce-scatter, then all-gather; the one-pass
 *          fold into result and channel is measured in this project (README, bench). */
#include "schedule/builders.h"
#include "schedule/kinds.h"

/* Channels of its own: two for each direction are in use at once, and best half as deep as a lone one (1 MiB at two ranks of
 * a host: 75 us against 79 with 2 MiB each and 92 with 4). */
enum { TAG_SCATTER = 8, TAG_GATHER = 9, TAG_GATHER_PUBLISH = 10, DEPTH_KIB = 1024 };

/* Measured for two cores that share a cache: 4 KiB at 16 KiB, 16 KiB at 64 KiB, 64 KiB from 256 KiB, 256 KiB from 16 MiB. */
static uint64_t rsag_chunk(uint64_t bytes)
{
    static const struct {
        uint64_t from, chunk;
    } rows[] = {{16 << 20, 256 << 10}, {1 << 20, 128 << 10}, {256 << 10, 64 << 10}, {64 << 10, 16 << 10}, {0, 4 << 10}};
    unsigned i = 0;
    while (bytes < rows[i].from)
        i++;
    return rows[i].chunk;
}

typedef struct rsag {
    c4_builder b;
    c4_group world;
    bool publish;
    uint32_t gather_tag;
    unsigned stream;
} rsag;

static c4_span part_of(const rsag *x, int rank)
{
    const c4_query *q = x->b.query;
    return c4_block(q->count, (uint64_t)q->nranks, (uint64_t)rank, q->element_bytes);
}

static void scatter_lane(rsag *x)
{
    const c4_query *q = x->b.query;
    uint32_t loop = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + i) % q->nranks;
        c4_span part = part_of(x, peer);
        if (part.bytes)
            c4_step_move(&x->b, loop, part.bytes, c4_query_input(q, part.offset),
                         c4_term_send(&x->b, peer, TAG_SCATTER), 0);
    }
}

static void fold_lane(rsag *x)
{
    const c4_query *q = x->b.query;
    c4_span own = part_of(x, q->rank);
    if (own.bytes == 0)
        return;
    uint32_t loop = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    c4_term result = c4_term_local(C4_BUFFER_RECV, own.offset);
    c4_step_fold(&x->b, loop, own.bytes, &x->world, c4_query_input(q, own.offset), TAG_SCATTER, false,
                 c4_fold_partial(&x->b, &x->world, own.bytes), C4_STEP_FINAL | x->stream);
    c4_step_to(&x->b, result);
    int next = c4_step_fan_to(&x->b, &x->world, x->gather_tag, x->publish, 1);
    while (next < q->nranks) {
        c4_step_open(&x->b, loop, own.bytes, 0);
        c4_step_from(&x->b, result);
        next = c4_step_fan_to(&x->b, &x->world, x->gather_tag, x->publish, next);
    }
}

static void gather_lane(rsag *x)
{
    const c4_query *q = x->b.query;
    uint32_t loop = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + q->nranks - i) % q->nranks;
        c4_span part = part_of(x, peer);
        if (part.bytes)
            c4_step_move(&x->b, loop, part.bytes, c4_term_fan_from(&x->b, &x->world, peer, x->gather_tag, x->publish),
                         c4_term_local(C4_BUFFER_RECV, part.offset), x->stream);
    }
}

c4_status c4_rsag_restrict(const c4_query *q)
{
    (void)q;
    return C4_OK;
}

c4_status c4_rsag_build(const c4_query *q, c4_schedule **schedule)
{
    rsag x = {.world = c4_group_world(q)};
    c4_builder_init(&x.b, q);
    uint64_t bytes = c4_query_input_bytes(q);
    c4_builder_set_chunk(&x.b, rsag_chunk(bytes));
    x.publish = c4_group_can_publish(q, &x.world);
    x.gather_tag = x.publish ? TAG_GATHER_PUBLISH : TAG_GATHER;
    x.stream = c4_query_stream(q, 2 * bytes);
    scatter_lane(&x);
    fold_lane(&x);
    gather_lane(&x);
    for (uint32_t i = 0; i < x.b.nchannels && c4_query_cost(q)->local.windows; i++)
        x.b.channels[i].depth_kib = DEPTH_KIB;
    return c4_builder_finish(&x.b, schedule);
}
