/* Ring: everybody talks to two neighbours only.
 *
 * Idea     all_reduce: the vector is cut into n blocks. Block b starts at rank b+1 and travels the ring once; each rank adds its own
 *          contribution and passes it on (n-1 steps); at rank b it is complete, and travels once more, being copied (n-1 steps).
 *          reduce_scatter is the first half, all_gather the second. broadcast and reduce are chains, pipelined chunk by chunk.
 *          Repeated for chunk after chunk of all blocks, so that the schedule's size does not depend on the message's.
 * Cost     all_reduce: 2 (n-1) a + 2 (n-1)/n S b + (n-1)/n S g, the least bytes possible
 *          reduce_scatter, all_gather: (n-1) a + (n-1)/n S b (+ (n-1)/n S g);  broadcast, reduce: (n-1) a + S b (+ S g)
 * Limits   The order of additions depends on the block: not deterministic beyond two ranks. Long latency for many ranks.
 *          reduce_scatter and reduce keep partial sums in scratch: n-2 blocks, and one vector, respectively.
 * Example  5 ranks, block 2: 3 sends x3 to 4, which sends x3+x4 to 0, x3+x4+x0 to 1, x3+x4+x0+x1 to 2: complete, with x2.
 *          Then 2 sends it to 3, 3 to 4, 4 to 0, 0 to 1. Meanwhile the four other blocks do the same, shifted.
 * Source   Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (2009); chains: van de Geijn. */
#include "schedule/builders.h"
#include "schedule/kinds.h"

typedef struct ring {
    c4_builder b;
    c4_duplex d;
    unsigned lanes, lane; /* parallel rings over parts of each block; the present one is also the channels' tag */
    unsigned stream;
} ring;

static int ring_index(const ring *x, int shift)
{
    int n = x->b.query->nranks;
    return ((x->b.query->rank + shift) % n + n) % n;
}

/* The present lane's part of block `index`. */
static c4_span ring_block(const ring *x, int index)
{
    const c4_query *q = x->b.query;
    c4_span block;
    if (q->kind == C4_KIND_REDUCE_SCATTER)
        block = c4_query_input_block(q, index);
    else if (c4_kind_gathers(q->kind))
        block = c4_query_output_block(q, index);
    else
        block = c4_block(q->count, (uint64_t)q->nranks, (uint64_t)index, q->element_bytes);
    c4_span part = c4_block(block.bytes / q->element_bytes, x->lanes, x->lane, q->element_bytes);
    return (c4_span){block.offset + part.offset, part.bytes};
}

static c4_term from_previous(ring *x)
{
    return c4_term_receive(&x->b, ring_index(x, -1), x->lane);
}

static c4_term to_next(ring *x)
{
    return c4_term_send(&x->b, ring_index(x, 1), x->lane);
}

static void send_on(ring *x, c4_span block, c4_term from)
{
    if (block.bytes == 0)
        return;
    c4_step_move(&x->b, x->d.send_loop, block.bytes, from, to_next(x), 0);
    c4_duplex_gate_send(&x->d);
}

/* Blocks arrive in the order r-2, r-3, ..., r; all but the last go on. Partial sums lie in RECV (all_reduce), else in scratch. */
static void reduce_scatter_phase(ring *x)
{
    const c4_query *q = x->b.query;
    bool whole = q->kind == C4_KIND_ALL_REDUCE;
    c4_span first = ring_block(x, ring_index(x, -1));
    send_on(x, first, c4_query_input(q, first.offset));
    for (int k = 1; k < q->nranks; k++) {
        bool last = k == q->nranks - 1;
        c4_span block = ring_block(x, ring_index(x, -k - 1));
        if (block.bytes == 0)
            continue;
        c4_term to = c4_term_local(C4_BUFFER_RECV, block.offset);
        if (!whole && last)
            to.offset = c4_block(q->count, x->lanes, x->lane, q->element_bytes).offset;
        else if (!whole)
            to = c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, block.bytes));
        c4_step_open(&x->b, x->d.receive_loop, block.bytes, last ? C4_STEP_FINAL | x->stream : 0);
        c4_step_from(&x->b, from_previous(x));
        c4_step_from(&x->b, c4_query_input(q, block.offset));
        c4_step_to(&x->b, to);
        if (!last)
            send_on(x, block, to);
    }
}

/* The own block is sent by the caller; the others arrive in the order r-1, r-2, ..., r+1. */
static void all_gather_phase(ring *x)
{
    for (int k = 1; k < x->b.query->nranks; k++) {
        c4_span block = ring_block(x, ring_index(x, -k));
        c4_term to = c4_term_local(C4_BUFFER_RECV, block.offset);
        if (block.bytes == 0)
            continue;
        c4_step_move(&x->b, x->d.receive_loop, block.bytes, from_previous(x), to, x->stream);
        if (k < x->b.query->nranks - 1)
            send_on(x, block, to);
    }
}

static void send_own(ring *x)
{
    const c4_query *q = x->b.query;
    c4_span own = ring_block(x, q->rank);
    c4_term home = c4_term_local(C4_BUFFER_RECV, own.offset);
    if (q->kind == C4_KIND_ALL_REDUCE) {
        send_on(x, own, home);
        return;
    }
    if (own.bytes == 0)
        return;
    c4_step_open(&x->b, x->d.send_loop, own.bytes, x->stream);
    c4_step_from(&x->b, c4_query_input(q, own.offset - c4_query_output_block(q, q->rank).offset));
    if (!q->in_place)
        c4_step_to(&x->b, home);
    c4_step_to(&x->b, to_next(x));
}

static void ring_lanes(ring *x, uint64_t largest)
{
    const c4_query *q = x->b.query;
    const uint64_t worth_two = 512 << 10; /* bytes of a block; below, the second ring only adds latency */
    x->lanes = q->lanes ? q->lanes : largest >= worth_two ? 2 : 1;
    for (x->lane = 0; x->lane < x->lanes; x->lane++) {
        c4_duplex_open(&x->d, &x->b, c4_builder_eager(&x->b, c4_ceil_div(largest, x->lanes)));
        if (q->kind == C4_KIND_ALL_REDUCE || q->kind == C4_KIND_REDUCE_SCATTER)
            reduce_scatter_phase(x);
        if (q->kind != C4_KIND_REDUCE_SCATTER) {
            send_own(x);
            all_gather_phase(x);
        }
        c4_duplex_close(&x->d);
    }
}

/* root, root+1, ...: each stores and forwards in one step. */
static void broadcast_chain(ring *x)
{
    const c4_query *q = x->b.query;
    uint64_t bytes = c4_query_output_bytes(q);
    bool is_root = q->rank == q->root, is_last = ring_index(x, 1) == q->root;
    c4_step_open(&x->b, c4_builder_loop(&x->b, c4_builder_lane(&x->b)), bytes, x->stream);
    c4_step_from(&x->b, is_root ? c4_query_input(q, 0) : from_previous(x));
    if (!is_root || !q->in_place)
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, 0));
    if (!is_last)
        c4_step_to(&x->b, to_next(x));
}

/* root+1, root+2, ..., root: each adds its own and forwards in one step. */
static void reduce_chain(ring *x)
{
    const c4_query *q = x->b.query;
    uint64_t bytes = c4_query_input_bytes(q);
    bool is_root = q->rank == q->root, is_first = ring_index(x, -1) == q->root;
    c4_step_open(&x->b, c4_builder_loop(&x->b, c4_builder_lane(&x->b)), bytes, is_root ? C4_STEP_FINAL | x->stream : 0);
    if (!is_first)
        c4_step_from(&x->b, from_previous(x));
    c4_step_from(&x->b, c4_query_input(q, 0));
    if (is_root)
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, 0));
    else if (!is_first)
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, bytes)));
    if (!is_root)
        c4_step_to(&x->b, to_next(x));
}

c4_status c4_ring_restrict(const c4_query *q)
{
    return q->reduces && q->deterministic && q->nranks > 2 ? C4_ERR_UNSUPPORTED : C4_OK;
}

c4_status c4_ring_build(const c4_query *q, c4_schedule **schedule)
{
    ring x = {.lanes = 1};
    bool chain = q->kind == C4_KIND_BROADCAST || q->kind == C4_KIND_REDUCE;
    c4_builder_init(&x.b, q);
    uint64_t largest = (uint64_t)q->count * q->element_bytes;
    if (q->kind == C4_KIND_ALL_REDUCE)
        largest = c4_block(q->count, (uint64_t)q->nranks, 0, q->element_bytes).bytes;
    for (int p = 0; q->kind == C4_KIND_ALL_GATHER_V && p < q->nranks; p++)
        largest = q->recv_counts[p] * q->element_bytes > largest ? q->recv_counts[p] * q->element_bytes : largest;
    /* A chain fills in n-1 chunks: small ones. A ring is busy from the first one on: large ones cost fewer steps. */
    /* Whole blocks travel in few large frames: 1 MiB over TCP takes 293 us in frames of 512 KiB, 437 in 128 KiB. */
    c4_builder_set_chunk(&x.b, chain ? (largest < 1 << 20 ? 16 << 10 : 64 << 10) : 512 << 10);
    x.stream = c4_query_stream(q, c4_query_input_bytes(q) + c4_query_output_bytes(q));
    if (q->kind == C4_KIND_BROADCAST)
        broadcast_chain(&x);
    else if (q->kind == C4_KIND_REDUCE)
        reduce_chain(&x);
    else
        ring_lanes(&x, largest);
    return c4_builder_finish(&x.b, schedule);
}
