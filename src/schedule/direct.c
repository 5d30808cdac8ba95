/* Direct: everybody sends to everybody who needs it, once.
 *
 * Idea     One round. A reduction receives all contributions and folds them in rank order, so the tree never depends on timing,
 *          layout or chunking: this is a deterministic algorithm. On links that let many ranks read one channel, data for all is
 *          published once instead of being sent n-1 times.
 * Cost     all_reduce: a + (n-1) S b + (n-1) S g   (a latency, b seconds per byte, g per reduced byte, S bytes of the call)
 *          all_gather, gather, scatter, all_to_all: a + (n-1) B b with B bytes per block; broadcast: a + (n-1) S b at the root
 *          barrier: 2 steps of 0 bytes, n-1 flags each.
 * Limits   None; pays for small calls, for two ranks, and for the kinds that have no cheaper way (v-kinds).
 * Example  5 ranks, all_reduce of x: every rank r sends x_r to the 4 others and computes (((x0+x1)+x2)+x3)+x4 in one pass.
 *          all_to_all: in its order rank 2 sends to 3, 4, 0, 1 and receives from 1, 0, 4, 3, so that no receiver is hit by all.
 * Source   Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH" (2005), section 3;
 *          the one-shot all_reduce is the flat exchange of Open MPI's coll/basic. */
#include "schedule/builders.h"
#include "schedule/kinds.h"

enum { TAG_DATA = 0, TAG_PUBLISH = 1, TAG_P2P = 0x8000 };

/* Near two-core measurements of all_reduce at 16 KiB: 1.9 us in frames of 8 KiB, 2.3 of 4 KiB, 3.1 of 2 KiB. */
static uint64_t direct_chunk(uint64_t bytes)
{
    if (bytes <= 64 << 10)
        return 8 << 10;
    return bytes < 1 << 20 ? 32 << 10 : 128 << 10;
}

typedef struct direct {
    c4_builder b;
    c4_group world;
    c4_duplex d;
    uint64_t largest; /* bytes on the busiest edge */
    bool publish;
    unsigned stream;
} direct;

/* Publishing pays once the copies cost more than the shared flag: 4 ranks on 2 cores, 8 B 4.3 us sent, 4 KiB 5 us published
 * against 10 us sent. */
static bool publish_pays(const c4_query *q, const c4_group *group, uint64_t bytes)
{
    enum { PUBLISH_MIN_BYTES = 512 };
    return bytes >= PUBLISH_MIN_BYTES && c4_group_can_publish(q, group);
}

static void direct_open(direct *x, const c4_query *q, uint64_t largest)
{
    c4_builder_init(&x->b, q);
    x->world = c4_group_world(q);
    x->largest = largest;
    if (q->reduces)
        c4_builder_set_chunk(&x->b, direct_chunk(largest));
    else
        c4_builder_set_copy_chunk(&x->b, direct_chunk(largest));
    x->publish = publish_pays(q, &x->world, largest);
    x->stream = c4_query_stream(q, c4_query_input_bytes(q) + c4_query_output_bytes(q));
    c4_duplex_open(&x->d, &x->b, c4_builder_eager(&x->b, largest));
}

static c4_status direct_close(direct *x, c4_schedule **schedule)
{
    c4_duplex_close(&x->d);
    return c4_builder_finish(&x->b, schedule);
}

static uint32_t fan_tag(const direct *x)
{
    return x->publish ? TAG_PUBLISH : TAG_DATA;
}

/* `from` to all others, and to `home` unless that is NULL: then one pass of loads serves both. */
static void fan_out(direct *x, uint64_t bytes, c4_term from, const c4_term *home)
{
    for (int next = 1; next < x->world.n;) {
        c4_step_open(&x->b, x->d.send_loop, bytes, next == 1 && home ? x->stream : 0);
        c4_step_from(&x->b, from);
        if (next == 1 && home)
            c4_step_to(&x->b, *home);
        next = c4_step_fan_to(&x->b, &x->world, fan_tag(x), x->publish, next);
    }
}

/* In place, input is overwritten before the peers are known to have it: they get it from a copy. With eager frames the step that
 * sends makes the copy in the same pass; else it may wait for its reader, and the copy must not wait with it. */
static bool stages_while_sending(const direct *x)
{
    return x->b.query->in_place && x->d.eager;
}

static bool stages_before(const direct *x)
{
    return x->b.query->in_place && !x->d.eager;
}

static c4_status all_reduce(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    uint64_t bytes = c4_query_input_bytes(q);
    direct_open(&x, q, bytes);
    c4_term own = c4_query_input(q, 0);
    c4_term staged = c4_term_local(C4_BUFFER_SCRATCH, q->in_place ? c4_builder_scratch(&x.b, bytes) : 0);
    c4_term partial = c4_fold_partial(&x.b, &x.world, bytes);
    if (stages_before(&x))
        c4_step_move(&x.b, x.d.receive_loop, bytes, own, staged, 0);
    for (int next = 1; next < q->nranks;) {
        bool copies = stages_while_sending(&x) && next == 1;
        c4_step_open(&x.b, x.d.send_loop, bytes, 0);
        c4_step_from(&x.b, q->in_place && !copies ? staged : own);
        if (copies)
            c4_step_to(&x.b, staged);
        next = c4_step_fan_to(&x.b, &x.world, fan_tag(&x), x.publish, next);
        if (stages_before(&x))
            c4_duplex_gate_send(&x.d);
    }
    c4_step_fold(&x.b, x.d.receive_loop, bytes, &x.world, own, fan_tag(&x), x.publish, partial,
                 C4_STEP_FINAL | x.stream);
    c4_step_to(&x.b, c4_term_local(C4_BUFFER_RECV, 0));
    return direct_close(&x, schedule);
}

static uint64_t largest_input_block(const c4_query *q)
{
    uint64_t largest = 0;
    for (int p = 0; p < q->nranks; p++) {
        c4_span span = c4_query_input_block(q, p);
        largest = span.bytes > largest ? span.bytes : largest;
    }
    return largest;
}

static uint64_t largest_output_block(const c4_query *q)
{
    uint64_t largest = 0;
    for (int p = 0; p < q->nranks; p++) {
        c4_span span = c4_query_output_block(q, p);
        largest = span.bytes > largest ? span.bytes : largest;
    }
    return largest;
}

static c4_status reduce_scatter(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    direct_open(&x, q, largest_input_block(q));
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + i) % q->nranks;
        c4_span block = c4_query_input_block(q, peer);
        if (block.bytes == 0)
            continue;
        c4_step_open(&x.b, x.d.send_loop, block.bytes, 0);
        c4_step_from(&x.b, c4_query_input(q, block.offset));
        c4_step_to(&x.b, c4_term_send(&x.b, peer, TAG_DATA));
    }
    c4_span own = c4_query_input_block(q, q->rank);
    if (own.bytes) {
        c4_term partial = c4_fold_partial(&x.b, &x.world, own.bytes);
        c4_step_fold(&x.b, x.d.receive_loop, own.bytes, &x.world, c4_query_input(q, own.offset), TAG_DATA, false,
                     partial, C4_STEP_FINAL | x.stream);
        c4_step_to(&x.b, c4_term_local(C4_BUFFER_RECV, 0));
    }
    return direct_close(&x, schedule);
}

static c4_status reduce(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    uint64_t bytes = c4_query_input_bytes(q);
    direct_open(&x, q, bytes);
    c4_term own = c4_query_input(q, 0);
    if (q->rank != q->root) {
        c4_step_open(&x.b, x.d.send_loop, bytes, 0);
        c4_step_from(&x.b, own);
        c4_step_to(&x.b, c4_term_send(&x.b, q->root, TAG_DATA));
        return direct_close(&x, schedule);
    }
    c4_term partial = c4_fold_partial(&x.b, &x.world, bytes);
    c4_step_fold(&x.b, x.d.receive_loop, bytes, &x.world, own, TAG_DATA, false, partial, C4_STEP_FINAL | x.stream);
    c4_step_to(&x.b, c4_term_local(C4_BUFFER_RECV, 0));
    return direct_close(&x, schedule);
}

/* The frame of `peer`, into its block of RECV. */
static void receive_block(direct *x, int peer, c4_span block, uint32_t tag, bool publish)
{
    if (block.bytes == 0)
        return;
    c4_step_move(&x->b, x->d.receive_loop, block.bytes, c4_term_fan_from(&x->b, &x->world, peer, tag, publish),
                 c4_term_local(C4_BUFFER_RECV, block.offset), x->stream);
}

static c4_status all_gather(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    direct_open(&x, q, largest_output_block(q));
    c4_span own = c4_query_output_block(q, q->rank);
    c4_term home = c4_term_local(C4_BUFFER_RECV, own.offset);
    if (own.bytes)
        fan_out(&x, own.bytes, c4_query_input(q, 0), q->in_place ? NULL : &home);
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + q->nranks - i) % q->nranks;
        receive_block(&x, peer, c4_query_output_block(q, peer), fan_tag(&x), x.publish);
    }
    return direct_close(&x, schedule);
}

static c4_status broadcast(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    uint64_t bytes = (uint64_t)q->count * q->element_bytes;
    direct_open(&x, q, bytes);
    c4_term home = c4_term_local(C4_BUFFER_RECV, 0);
    if (q->rank == q->root)
        fan_out(&x, bytes, c4_query_input(q, 0), q->in_place ? NULL : &home);
    else
        receive_block(&x, q->root, (c4_span){0, bytes}, fan_tag(&x), x.publish);
    return direct_close(&x, schedule);
}

static void copy_own(direct *x, c4_span in, c4_span out)
{
    if (x->b.query->in_place || in.bytes == 0)
        return;
    c4_step_open(&x->b, x->d.send_loop, in.bytes, x->stream);
    c4_step_from(&x->b, c4_query_input(x->b.query, in.offset));
    c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, out.offset));
}

/* v-kinds: only the root and the owner know a block's size, so the chunk may depend on neither. */
static uint64_t rooted_size(const c4_query *q)
{
    return c4_kind_is_v(q->kind) ? UINT64_MAX : (uint64_t)q->count * q->element_bytes;
}

static c4_status gather(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    direct_open(&x, q, rooted_size(q));
    if (q->rank != q->root) {
        uint64_t bytes = c4_query_input_bytes(q);
        if (bytes) {
            c4_step_open(&x.b, x.d.send_loop, bytes, 0);
            c4_step_from(&x.b, c4_query_input(q, 0));
            c4_step_to(&x.b, c4_term_send(&x.b, q->root, TAG_DATA));
        }
        return direct_close(&x, schedule);
    }
    c4_span own = c4_query_output_block(q, q->rank);
    copy_own(&x, (c4_span){0, own.bytes}, own);
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + i) % q->nranks;
        receive_block(&x, peer, c4_query_output_block(q, peer), TAG_DATA, false);
    }
    return direct_close(&x, schedule);
}

static c4_status scatter(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    direct_open(&x, q, rooted_size(q));
    if (q->rank != q->root) {
        receive_block(&x, q->root, c4_query_output_block(q, q->rank), TAG_DATA, false);
        return direct_close(&x, schedule);
    }
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + i) % q->nranks;
        c4_span block = c4_query_input_block(q, peer);
        if (block.bytes == 0)
            continue;
        c4_step_open(&x.b, x.d.send_loop, block.bytes, 0);
        c4_step_from(&x.b, c4_query_input(q, block.offset));
        c4_step_to(&x.b, c4_term_send(&x.b, peer, TAG_DATA));
    }
    copy_own(&x, c4_query_input_block(q, q->rank), c4_query_output_block(q, q->rank));
    return direct_close(&x, schedule);
}

static void send_block(direct *x, int peer, c4_span block)
{
    const c4_query *q = x->b.query;
    c4_term from = c4_query_input(q, block.offset);
    c4_term staged = c4_term_local(C4_BUFFER_SCRATCH, q->in_place ? c4_builder_scratch(&x->b, block.bytes) : 0);
    if (stages_before(x)) {
        c4_step_move(&x->b, x->d.receive_loop, block.bytes, from, staged, 0);
        from = staged;
    }
    c4_step_open(&x->b, x->d.send_loop, block.bytes, 0);
    c4_step_from(&x->b, from);
    if (stages_while_sending(x))
        c4_step_to(&x->b, staged);
    c4_step_to(&x->b, c4_term_send(&x->b, peer, TAG_DATA));
    if (stages_before(x))
        c4_duplex_gate_send(&x->d);
}

static c4_status all_to_all(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    direct_open(&x, q, rooted_size(q));
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + i) % q->nranks;
        c4_span block = c4_query_input_block(q, peer);
        if (block.bytes)
            send_block(&x, peer, block);
    }
    copy_own(&x, c4_query_input_block(q, q->rank), c4_query_output_block(q, q->rank));
    for (int i = 1; i < q->nranks; i++) {
        int peer = (q->rank + q->nranks - i) % q->nranks;
        receive_block(&x, peer, c4_query_output_block(q, peer), TAG_DATA, false);
    }
    return direct_close(&x, schedule);
}

static c4_status barrier(const c4_query *q, c4_schedule **schedule)
{
    c4_builder b;
    c4_builder_init(&b, q);
    c4_group world = c4_group_world(q);
    c4_build_barrier(&b, c4_builder_lane(&b), &world, TAG_DATA);
    return c4_builder_finish(&b, schedule);
}

static c4_status send_or_receive(const c4_query *q, c4_schedule **schedule)
{
    direct x = {0};
    uint64_t bytes = (uint64_t)q->count * q->element_bytes;
    direct_open(&x, q, bytes);
    if (q->kind == C4_KIND_SEND)
        c4_step_move(&x.b, x.d.send_loop, bytes, c4_term_local(C4_BUFFER_SEND, 0), c4_term_send(&x.b, q->root, TAG_P2P),
                     0);
    else
        c4_step_move(&x.b, x.d.receive_loop, bytes, c4_term_receive(&x.b, q->root, TAG_P2P),
                     c4_term_local(C4_BUFFER_RECV, 0), 0);
    return direct_close(&x, schedule);
}

c4_status c4_direct_restrict(const c4_query *q)
{
    (void)q; /* serves every call, also a rank's messages to itself */
    return C4_OK;
}

c4_status c4_direct_build(const c4_query *q, c4_schedule **schedule)
{
    static c4_status (*const builders[C4_NKINDS])(const c4_query *, c4_schedule **) = {
        [C4_KIND_ALL_REDUCE] = all_reduce,
        [C4_KIND_REDUCE_SCATTER] = reduce_scatter,
        [C4_KIND_REDUCE_SCATTER_V] = reduce_scatter,
        [C4_KIND_ALL_GATHER] = all_gather,
        [C4_KIND_ALL_GATHER_V] = all_gather,
        [C4_KIND_BROADCAST] = broadcast,
        [C4_KIND_REDUCE] = reduce,
        [C4_KIND_GATHER] = gather,
        [C4_KIND_GATHER_V] = gather,
        [C4_KIND_SCATTER] = scatter,
        [C4_KIND_SCATTER_V] = scatter,
        [C4_KIND_ALL_TO_ALL] = all_to_all,
        [C4_KIND_ALL_TO_ALL_V] = all_to_all,
        [C4_KIND_BARRIER] = barrier,
        [C4_KIND_SEND] = send_or_receive,
        [C4_KIND_RECV] = send_or_receive,
    };
    return builders[q->kind](q, schedule);
}
