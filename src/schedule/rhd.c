/* Recursive halving and doubling.
 *
 * Idea     all_reduce among p ranks, p the largest power of two: halving exchanges half of what is left with the rank whose number
 *          differs in one bit, highest first, until everybody holds one complete block of p; doubling gathers them back in the
 *          opposite order. The other n-p ranks first give their vector to a neighbour, and get the result from it at the end.
 *          Short vectors are not halved: everybody exchanges the whole vector log2 p times (recursive doubling).
 * Cost     halving + doubling: 2 log2(p) a + 2 (p-1)/p S b + (p-1)/p S g; short: log2(p) (a + S b + S g);
 *          n not a power of two: 2 a + 2 S b + S g more.
 * Limits   all_reduce; the tree is that of the bits: not deterministic beyond two ranks. Short vectors take log2 p slots of scratch.
 * Example  5 ranks, p = 4: 0 sends all to 1. Then 1, 2, 3, 4 are the numbers 0, 1, 2, 3. Blocks 0..3: number 0 exchanges with 2
 *          (keeps 0,1; gives 2,3), then with 1 (keeps 0); then gets 1 from 1, and 2,3 from 2. At last 1 sends all to 0.
 * Source   Rabenseifner, Träff, "More Efficient Reduction Algorithms for Non-Power-of-Two Number of Processors" (2004);
 *          Thakur et al. (2005), section 4.5. */
#include "schedule/builders.h"
#include "schedule/kinds.h"

enum { TAG = 0 };

typedef struct rhd {
    c4_builder b;
    c4_duplex d;
    int power;     /* ranks that exchange */
    int extra;     /* pairs that fold into one */
    int number;    /* of this rank among `power`; -1: it has given its vector away */
    bool received; /* the sum so far lies in RECV, no longer in the input */
    unsigned stream;
} rhd;

static int rank_of(const rhd *x, int number)
{
    return number < x->extra ? 2 * number + 1 : number + x->extra;
}

static bool has_partner_outside(const rhd *x)
{
    return x->b.query->rank < 2 * x->extra;
}

static c4_span range(const rhd *x, int first, int last)
{
    const c4_query *q = x->b.query;
    return c4_blocks(q->count, (uint64_t)x->power, (uint64_t)first, (uint64_t)last, q->element_bytes);
}

static c4_term so_far(const rhd *x, uint64_t offset)
{
    return x->received ? c4_term_local(C4_BUFFER_RECV, offset) : c4_query_input(x->b.query, offset);
}

/* Sources in rank order: with two ranks that is the fixed tree. */
static void open_fold(rhd *x, int peer, uint64_t bytes, c4_term own, unsigned flags)
{
    c4_term incoming = c4_term_receive(&x->b, peer, TAG);
    c4_step_open(&x->b, x->d.receive_loop, bytes, flags);
    c4_step_from(&x->b, peer < x->b.query->rank ? incoming : own);
    c4_step_from(&x->b, peer < x->b.query->rank ? own : incoming);
}

static void send_range(rhd *x, int peer, c4_span span)
{
    if (span.bytes == 0)
        return;
    c4_step_move(&x->b, x->d.send_loop, span.bytes, so_far(x, span.offset), c4_term_send(&x->b, peer, TAG), 0);
    c4_duplex_gate_send(&x->d);
}

static void halve(rhd *x)
{
    int low = 0, high = x->power;
    for (int bit = x->power / 2; bit > 0; bit /= 2) {
        int peer = rank_of(x, x->number ^ bit), middle = (low + high) / 2;
        bool keeps_low = !(x->number & bit);
        c4_span keep = keeps_low ? range(x, low, middle) : range(x, middle, high);
        c4_duplex_next(&x->d);
        send_range(x, peer, keeps_low ? range(x, middle, high) : range(x, low, middle));
        if (keep.bytes) {
            open_fold(x, peer, keep.bytes, so_far(x, keep.offset), bit == 1 ? C4_STEP_FINAL | x->stream : 0);
            c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, keep.offset));
        }
        x->received = true;
        *(keeps_low ? &high : &low) = middle;
    }
}

static void receive_range(rhd *x, int peer, c4_span span)
{
    if (span.bytes)
        c4_step_move(&x->b, x->d.receive_loop, span.bytes, c4_term_receive(&x->b, peer, TAG),
                     c4_term_local(C4_BUFFER_RECV, span.offset), x->stream);
}

static void gather_back(rhd *x)
{
    for (int bit = 1; bit < x->power; bit *= 2) {
        int first = x->number / bit * bit, other = first ^ bit, peer = rank_of(x, x->number ^ bit);
        c4_duplex_next(&x->d);
        send_range(x, peer, range(x, first, first + bit));
        receive_range(x, peer, range(x, other, other + bit));
    }
}

static void build_long(rhd *x)
{
    const c4_query *q = x->b.query;
    c4_span all = {0, (uint64_t)q->count * q->element_bytes};
    c4_duplex_open(&x->d, &x->b, c4_builder_eager(&x->b, all.bytes));
    if (x->number < 0) {
        send_range(x, q->rank + 1, all);
        c4_duplex_next(&x->d);
        receive_range(x, q->rank + 1, all);
        c4_duplex_close(&x->d);
        return;
    }
    if (has_partner_outside(x)) {
        open_fold(x, q->rank - 1, all.bytes, c4_query_input(q, 0), 0);
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, 0));
        x->received = true;
    }
    halve(x);
    gather_back(x);
    if (has_partner_outside(x)) {
        c4_duplex_next(&x->d);
        send_range(x, q->rank - 1, all);
    }
    c4_duplex_close(&x->d);
}

/* Every exchange sends one slot and folds into the next, so that a slot never changes once it has left. */
static void double_up(rhd *x, uint64_t bytes)
{
    const c4_query *q = x->b.query;
    c4_term sum = c4_query_input(q, 0);
    bool stage = q->in_place; /* the input's place is the result's */
    if (has_partner_outside(x)) {
        open_fold(x, q->rank - 1, bytes, sum, 0);
        sum = c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, bytes));
        c4_step_to(&x->b, sum);
        stage = false;
    }
    for (int bit = 1; bit < x->power; bit *= 2) {
        int peer = rank_of(x, x->number ^ bit);
        bool last = 2 * bit == x->power;
        c4_step_open(&x->b, x->d.send_loop, bytes, 0);
        c4_step_from(&x->b, sum);
        if (stage)
            c4_step_to(&x->b, c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, bytes)));
        stage = false;
        c4_step_to(&x->b, c4_term_send(&x->b, peer, TAG));
        open_fold(x, peer, bytes, sum, last ? C4_STEP_FINAL : 0);
        sum = last ? c4_term_local(C4_BUFFER_RECV, 0)
                   : c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, bytes));
        c4_step_to(&x->b, sum);
    }
    if (has_partner_outside(x))
        c4_step_to(&x->b, c4_term_send(&x->b, q->rank - 1, TAG)); /* the last fold stores to both */
}

static void build_short(rhd *x, uint64_t bytes)
{
    const c4_query *q = x->b.query;
    c4_duplex_open(&x->d, &x->b, true);
    if (x->number >= 0) {
        double_up(x, bytes);
        return;
    }
    c4_step_move(&x->b, x->d.send_loop, bytes, c4_query_input(q, 0), c4_term_send(&x->b, q->rank + 1, TAG), 0);
    c4_step_move(&x->b, x->d.receive_loop, bytes, c4_term_receive(&x->b, q->rank + 1, TAG),
                 c4_term_local(C4_BUFFER_RECV, 0), 0);
}

c4_status c4_rhd_restrict(const c4_query *q)
{
    return q->deterministic && q->nranks > 2 ? C4_ERR_UNSUPPORTED : C4_OK;
}

c4_status c4_rhd_build(const c4_query *q, c4_schedule **schedule)
{
    rhd x = {.power = 1};
    uint64_t bytes = (uint64_t)q->count * q->element_bytes;
    while (2 * x.power <= q->nranks)
        x.power *= 2;
    x.extra = q->nranks - x.power;
    x.number = q->rank >= 2 * x.extra ? q->rank - x.extra : q->rank % 2 ? q->rank / 2 : -1;
    c4_builder_init(&x.b, q);
    c4_builder_set_chunk(&x.b, bytes <= C4_SCHEDULE_EAGER_BYTES ? C4_SCHEDULE_EAGER_BYTES : 256 << 10);
    x.stream = c4_query_stream(q, 2 * bytes);
    if (bytes <= c4_min_bytes(x.b.chunk, C4_SCHEDULE_EAGER_BYTES))
        build_short(&x, bytes);
    else
        build_long(&x);
    return c4_builder_finish(&x.b, schedule);
}
