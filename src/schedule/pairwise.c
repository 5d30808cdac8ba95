/* Pairwise exchange.
 *
 * Idea     n-1 rounds; in round k rank r sends to r+k and receives from r-k, and starts the next round when it has received. At any
 *          time a rank has one sender and one reader, so that no link or buffer is contended: the way to move large blocks.
 * Cost     all_to_all: (n-1) (a + B b);  reduce_scatter: (n-1) (a + B (b + g))
 * Limits   all_to_all(_v), reduce_scatter(_v). Contributions are added in the order r, r-1, ..., r+1: not deterministic beyond two
 *          ranks. all_to_all in place sends from a copy of the whole input.
 * Example  5 ranks, rank 1: to 2 from 0, to 3 from 4, to 4 from 3, to 0 from 2.
 * Source   Thakur et al. (2005), sections 4.3 and 4.4. */
#include "schedule/builders.h"
#include "schedule/kinds.h"

enum { TAG = 0 };

typedef struct pairwise {
    c4_builder b;
    c4_duplex d;
    unsigned stream;
} pairwise;

static bool reduces(const pairwise *x)
{
    return x->b.query->reduces;
}

/* In place, all blocks are copied away before the first one arrives. Returns where block `peer` is sent from. */
static c4_term stage(pairwise *x, c4_span block)
{
    const c4_query *q = x->b.query;
    c4_term from = c4_query_input(q, block.offset);
    if (!q->in_place || reduces(x))
        return from;
    return c4_term_local(C4_BUFFER_SCRATCH, block.offset);
}

static void stage_all(pairwise *x)
{
    const c4_query *q = x->b.query;
    if (!q->in_place || reduces(x))
        return;
    uint64_t bytes = c4_query_input_bytes(q);
    c4_builder_scratch(&x->b, bytes); /* the first: offset 0, so that blocks keep their offsets */
    for (int p = 0; p < q->nranks; p++) {
        c4_span block = c4_query_input_block(q, p);
        if (p != q->rank && block.bytes)
            c4_step_move(&x->b, x->d.receive_loop, block.bytes, c4_query_input(q, block.offset),
                         c4_term_local(C4_BUFFER_SCRATCH, block.offset), 0);
    }
}

static void own_block(pairwise *x)
{
    const c4_query *q = x->b.query;
    c4_span in = c4_query_input_block(q, q->rank), out = c4_query_output_block(q, q->rank);
    if (in.bytes && !q->in_place && !reduces(x))
        c4_step_move(&x->b, x->d.receive_loop, in.bytes, c4_query_input(q, in.offset),
                     c4_term_local(C4_BUFFER_RECV, out.offset), x->stream);
}

static void receive(pairwise *x, int round, int peer)
{
    const c4_query *q = x->b.query;
    c4_span block = c4_query_output_block(q, reduces(x) ? 0 : peer);
    c4_term to = c4_term_local(C4_BUFFER_RECV, block.offset), incoming;
    if (block.bytes == 0)
        return;
    incoming = c4_term_receive(&x->b, peer, TAG);
    if (!reduces(x)) {
        c4_step_move(&x->b, x->d.receive_loop, block.bytes, incoming, to, x->stream);
        return;
    }
    bool last = round == q->nranks - 1;
    c4_term sum = round == 1 ? c4_query_input(q, c4_query_input_block(q, q->rank).offset) : to;
    c4_step_open(&x->b, x->d.receive_loop, block.bytes, last ? C4_STEP_FINAL : 0);
    c4_step_from(&x->b, peer < q->rank ? incoming : sum);
    c4_step_from(&x->b, peer < q->rank ? sum : incoming);
    c4_step_to(&x->b, to);
}

c4_status c4_pairwise_restrict(const c4_query *q)
{
    return q->reduces && q->deterministic && q->nranks > 2 ? C4_ERR_UNSUPPORTED : C4_OK;
}

c4_status c4_pairwise_build(const c4_query *q, c4_schedule **schedule)
{
    pairwise x = {0};
    c4_builder_init(&x.b, q);
    if (q->reduces)
        c4_builder_set_chunk(&x.b, 128 << 10);
    else
        c4_builder_set_copy_chunk(&x.b, 128 << 10);
    x.stream = c4_query_stream(q, c4_query_input_bytes(q) + c4_query_output_bytes(q));
    c4_duplex_open(&x.d, &x.b, false);
    stage_all(&x);
    own_block(&x);
    for (int round = 1; round < q->nranks; round++) {
        int to = (q->rank + round) % q->nranks, from = (q->rank + q->nranks - round) % q->nranks;
        c4_span block = c4_query_input_block(q, to);
        c4_duplex_next(&x.d);
        if (block.bytes) {
            c4_step_move(&x.b, x.d.send_loop, block.bytes, stage(&x, block), c4_term_send(&x.b, to, TAG), 0);
            c4_duplex_gate_send(&x.d);
        }
        receive(&x, round, from);
    }
    c4_duplex_close(&x.d);
    return c4_builder_finish(&x.b, schedule);
}
