/* Bruck: ceil(log2 n) rounds for any n.
 *
 * Idea     all_gather: in round k send all blocks known so far (r .. r+2^k-1) to rank r-2^k and get as many from r+2^k; at most two
 *          frames per round, because a run of blocks wraps at most once, and everything lands in its final place: no rotation.
 *          all_to_all: block for rank r+j travels the set bits of j: in round k everybody packs the blocks whose j has bit k and
 *          sends them 2^k ahead. barrier: the same distances with empty frames (dissemination).
 * Cost     all_gather: log2(n) a + (n-1) B b;  all_to_all: log2(n) (a + n/2 B (b + 2 copies));  barrier: log2(n) a
 * Limits   all_to_all is for blocks up to C4_BRUCK_BLOCK_BYTES: each travels log2(n)/2 times; scratch n log2(n) blocks.
 * Example  5 ranks, all_gather, rank 3: has 3; sends 3 to 2, gets 4 from 4; sends 3,4 to 1, gets 0,1 from 0; sends one block (3)
 *          to 4, gets 2 from 2. all_to_all, rank 0: round 0 sends blocks for 1, 3 to 1; round 1 those for 2, 3 (the latter came
 *          from rank 4: it is 4's for 2) to 2; round 2 the one for 4 to 4.
 * Source   Bruck, Ho, Kipnis, Upfal, Weathersby, "Efficient Algorithms for All-to-All Communications in Multiport Message-Passing
 *          Systems" (1997). */
#include <stdlib.h>

#include "schedule/builders.h"
#include "schedule/kinds.h"

#define C4_BRUCK_BLOCK_BYTES 4096u

enum { TAG = 0 };

typedef struct bruck {
    c4_builder b;
    c4_duplex d;
    int n, rank;
    uint64_t block; /* bytes */
} bruck;

/* Piece 0 or 1 of the run of `count` blocks from `first` on: it may wrap. */
static c4_span run_piece(const bruck *x, int first, int count, int piece)
{
    first %= x->n;
    int before_wrap = first + count <= x->n ? count : x->n - first;
    if (piece == 0)
        return (c4_span){(uint64_t)first * x->block, (uint64_t)before_wrap * x->block};
    return (c4_span){0, (uint64_t)(count - before_wrap) * x->block};
}

static void gather_round(bruck *x, int distance)
{
    const c4_query *q = x->b.query;
    int count = distance < x->n - distance ? distance : x->n - distance;
    int to = (x->rank + x->n - distance) % x->n, from = (x->rank + distance) % x->n;
    c4_duplex_next(&x->d);
    for (int piece = 0; piece < 2; piece++) {
        c4_span out = run_piece(x, x->rank, count, piece), in = run_piece(x, from, count, piece);
        c4_term place = c4_term_local(C4_BUFFER_RECV, out.offset);
        if (out.bytes) {
            c4_step_open(&x->b, x->d.send_loop, out.bytes, 0);
            /* Round 0 sends the own block, straight from the input, and puts it in its place. */
            c4_step_from(&x->b, distance == 1 ? c4_query_input(q, 0) : place);
            if (distance == 1 && !q->in_place)
                c4_step_to(&x->b, place);
            c4_step_to(&x->b, c4_term_send(&x->b, to, TAG));
            if (piece == 0)
                c4_duplex_gate_send(&x->d);
        }
        if (in.bytes)
            c4_step_move(&x->b, x->d.receive_loop, in.bytes, c4_term_receive(&x->b, from, TAG),
                         c4_term_local(C4_BUFFER_RECV, in.offset), 0);
    }
}

static void all_gather(bruck *x)
{
    c4_builder_set_chunk(&x->b, 128 << 10);
    c4_duplex_open(&x->d, &x->b, c4_builder_eager(&x->b, (uint64_t)x->n * x->block));
    for (int distance = 1; distance < x->n; distance *= 2)
        gather_round(x, distance);
    c4_duplex_close(&x->d);
}

/* Packs the blocks of this round from where they are, sends them, and notes where those that arrive are. */
static void exchange_round(bruck *x, int distance, c4_term *where)
{
    uint64_t bytes = 0;
    for (int j = 0; j < x->n; j++)
        bytes += j & distance ? x->block : 0;
    uint64_t packed = c4_builder_scratch(&x->b, bytes), arrived = c4_builder_scratch(&x->b, bytes);
    uint64_t at = 0;
    c4_duplex_next(&x->d);
    for (int j = 0; j < x->n; j++) {
        if (!(j & distance))
            continue;
        c4_step_move(&x->b, x->d.receive_loop, x->block, where[j], c4_term_local(C4_BUFFER_SCRATCH, packed + at), 0);
        where[j] = c4_term_local(C4_BUFFER_SCRATCH, arrived + at);
        at += x->block;
    }
    c4_duplex_next(&x->d);
    c4_step_move(&x->b, x->d.send_loop, bytes, c4_term_local(C4_BUFFER_SCRATCH, packed),
                 c4_term_send(&x->b, (x->rank + distance) % x->n, TAG), 0);
    c4_duplex_gate_send(&x->d);
    c4_step_move(&x->b, x->d.receive_loop, bytes, c4_term_receive(&x->b, (x->rank + x->n - distance) % x->n, TAG),
                 c4_term_local(C4_BUFFER_SCRATCH, arrived), 0);
}

static c4_status all_to_all(bruck *x)
{
    const c4_query *q = x->b.query;
    c4_term *where = malloc((size_t)x->n * sizeof *where);
    if (!where)
        return c4_fail(C4_ERR_MEMORY, "all_to_all of %d ranks", x->n);
    c4_builder_set_chunk(&x->b, 128 << 10);
    c4_duplex_open(&x->d, &x->b, c4_builder_eager(&x->b, (uint64_t)x->n * x->block));
    for (int j = 0; j < x->n; j++)
        where[j] = c4_query_input(q, (uint64_t)((x->rank + j) % x->n) * x->block);
    for (int distance = 1; distance < x->n; distance *= 2)
        exchange_round(x, distance, where);
    c4_duplex_next(&x->d);
    for (int j = q->in_place ? 1 : 0; j < x->n; j++) {
        uint64_t source = (uint64_t)((x->rank + x->n - j) % x->n);
        c4_step_move(&x->b, x->d.receive_loop, x->block, where[j], c4_term_local(C4_BUFFER_RECV, source * x->block), 0);
    }
    c4_duplex_close(&x->d);
    free(where);
    return C4_OK;
}

static void barrier(bruck *x)
{
    uint32_t loop = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    for (int distance = 1; distance < x->n; distance *= 2) {
        c4_step_open(&x->b, loop, 0, 0);
        c4_step_to(&x->b, c4_term_send(&x->b, (x->rank + distance) % x->n, TAG));
        c4_step_open(&x->b, loop, 0, 0);
        c4_step_from(&x->b, c4_term_receive(&x->b, (x->rank + x->n - distance) % x->n, TAG));
    }
}

c4_status c4_bruck_restrict(const c4_query *q)
{
    bool large = q->kind == C4_KIND_ALL_TO_ALL && (uint64_t)q->count * q->element_bytes > C4_BRUCK_BLOCK_BYTES;
    return large ? C4_ERR_UNSUPPORTED : C4_OK;
}

c4_status c4_bruck_build(const c4_query *q, c4_schedule **schedule)
{
    bruck x = {.n = q->nranks, .rank = q->rank, .block = (uint64_t)q->count * q->element_bytes};
    c4_builder_init(&x.b, q);
    if (q->kind == C4_KIND_ALL_GATHER)
        all_gather(&x);
    else if (q->kind == C4_KIND_BARRIER)
        barrier(&x);
    else
        x.b.status = all_to_all(&x);
    return c4_builder_finish(&x.b, schedule);
}
