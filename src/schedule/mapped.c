/* Mapped memory: one-sided access to the peers' own buffers.
 *
 * Idea     All ranks have mapped each other's buffers and have entered the call (that is what the vote before the lanes shows), so
 *          data is read where it lies, with no copy in between. A barrier of empty frames at the end keeps everybody from
 *          returning while others still access its buffers.
 *          all_reduce has three forms by size. Small: everybody folds all inputs. Medium: everybody folds its own part, tells the
 *          others chunk by chunk, and gets their parts. Large: everybody folds its own part and stores it to all results with
 *          streaming stores: least traffic, one start and one end, bit-identical by construction.
 *          reduce_scatter, all_gather, broadcast, all_to_all get their blocks.
 * Cost     small: 2 a + (n-1) S (b + g);  medium: 3 a + 2 (n-1)/n S b + S g;  large: 2 a + (S in + S out) of memory, S g / 1
 * Limits   One host, mappable buffers on all ranks (else everybody runs the fallback), at most C4_FOLD_SOURCES ranks. Folds in rank
 *          order: deterministic.
 * Example  5 ranks, large, 7 elements: rank 0 folds [0,2) of the five inputs in rank order and stores it to the five results; rank 4
 *          does so with [6,7). Then all tell all.
 * Source   Jain, Kaleem, et al., "Framework for Scalable Intra-Node Collective Operations using Shared Memory" (2018); the sizes
 *          are measured (README, bench). */
#include "schedule/builders.h"
#include "schedule/kinds.h"

enum { TAG_END = 0, TAG_PART = 4 };

typedef struct mapped {
    c4_builder b;
    c4_group world;
    uint32_t lane;
    unsigned stream;
} mapped;

static c4_span part_of(const c4_query *q, int rank)
{
    return c4_block(q->count, (uint64_t)q->nranks, (uint64_t)rank, q->element_bytes);
}

static c4_term input_of(const c4_query *q, int rank, uint64_t offset)
{
    return rank == q->rank ? c4_query_input(q, offset) : c4_term_remote(rank, C4_BUFFER_SEND, offset);
}

static void fold_inputs(mapped *x, uint32_t loop, uint64_t bytes, uint64_t offset)
{
    const c4_query *q = x->b.query;
    c4_step_open(&x->b, loop, bytes, C4_STEP_FINAL | x->stream);
    for (int p = 0; p < q->nranks; p++)
        c4_step_from(&x->b, input_of(q, p, offset));
}

static void end(mapped *x)
{
    c4_build_barrier(&x->b, x->lane, &x->world, TAG_END);
}

static void copy_back(mapped *x, uint64_t from, c4_span to)
{
    c4_step_move(&x->b, c4_builder_loop(&x->b, x->lane), to.bytes, c4_term_local(C4_BUFFER_SCRATCH, from),
                 c4_term_local(C4_BUFFER_RECV, to.offset), x->stream);
}

/* In place the result waits in scratch until all have read the input; the others cannot tell the difference. */
static void all_reduce_small(mapped *x, uint64_t bytes)
{
    const c4_query *q = x->b.query;
    uint64_t aside = q->in_place ? c4_builder_scratch(&x->b, bytes) : 0;
    fold_inputs(x, c4_builder_loop(&x->b, x->lane), bytes, 0);
    c4_step_to(&x->b, c4_term_local(q->in_place ? C4_BUFFER_SCRATCH : C4_BUFFER_RECV, aside));
    end(x);
    if (q->in_place)
        copy_back(x, aside, (c4_span){0, bytes});
}

static void all_reduce_medium(mapped *x)
{
    const c4_query *q = x->b.query;
    c4_span own = part_of(q, q->rank);
    uint64_t chunks = c4_ceil_div(part_of(q, 0).bytes, x->b.chunk);
    uint32_t fold = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    uint32_t get = c4_builder_loop(&x->b, x->lane);
    if (own.bytes) {
        fold_inputs(x, fold, own.bytes, own.offset);
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, own.offset));
    }
    c4_step_open(&x->b, fold, 0, 0);
    c4_step_fan_to(&x->b, &x->world, TAG_PART, false, 1);
    c4_step_open(&x->b, get, 0, 0);
    for (int i = 1; i < q->nranks; i++)
        c4_step_from(&x->b, c4_term_receive(&x->b, (q->rank + q->nranks - i) % q->nranks, TAG_PART));
    for (int i = 1; i < q->nranks; i++) {
        int p = (q->rank + i) % q->nranks;
        c4_span part = part_of(q, p);
        if (part.bytes)
            c4_step_move(&x->b, get, part.bytes, c4_term_remote(p, C4_BUFFER_RECV, part.offset),
                         c4_term_local(C4_BUFFER_RECV, part.offset), 0);
    }
    c4_builder_iterations(&x->b, fold, chunks);
    c4_builder_iterations(&x->b, get, chunks);
    end(x);
}

static void all_reduce_large(mapped *x)
{
    const c4_query *q = x->b.query;
    c4_span own = part_of(q, q->rank);
    if (own.bytes) {
        fold_inputs(x, c4_builder_loop(&x->b, x->lane), own.bytes, own.offset);
        c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, own.offset));
        for (int i = 1; i < q->nranks; i++)
            c4_step_to(&x->b, c4_term_remote((q->rank + i) % q->nranks, C4_BUFFER_RECV, own.offset));
    }
    end(x);
}

static void all_reduce(mapped *x)
{
    const c4_query *q = x->b.query;
    uint64_t bytes = (uint64_t)q->count * q->element_bytes;
    /* Two ranks: one fold up to 256 KiB. More: every rank would read everything, parts pay sooner. */
    uint64_t small = q->nranks == 2 ? 256 << 10 : 32 << 10;
    if (bytes <= small)
        all_reduce_small(x, bytes);
    else if (x->stream)
        all_reduce_large(x);
    else
        all_reduce_medium(x);
}

static void reduce_scatter(mapped *x)
{
    const c4_query *q = x->b.query;
    c4_span own = c4_query_input_block(q, q->rank);
    fold_inputs(x, c4_builder_loop(&x->b, x->lane), own.bytes, own.offset);
    c4_step_to(&x->b, c4_term_local(C4_BUFFER_RECV, 0));
    end(x);
}

static void all_gather(mapped *x)
{
    const c4_query *q = x->b.query;
    uint32_t loop = c4_builder_loop(&x->b, x->lane);
    for (int i = q->in_place ? 1 : 0; i < q->nranks; i++) {
        int p = (q->rank + i) % q->nranks;
        c4_span block = c4_query_output_block(q, p);
        c4_step_move(&x->b, loop, block.bytes, input_of(q, p, 0), c4_term_local(C4_BUFFER_RECV, block.offset),
                     x->stream);
    }
    end(x);
}

/* Only the root's buffer is read by others: it alone waits. */
static void broadcast(mapped *x)
{
    const c4_query *q = x->b.query;
    uint64_t bytes = c4_query_output_bytes(q);
    bool root = q->rank == q->root;
    if (!root || !q->in_place)
        c4_step_move(&x->b, c4_builder_loop(&x->b, x->lane), bytes, input_of(q, q->root, 0),
                     c4_term_local(C4_BUFFER_RECV, 0), x->stream);
    c4_step_open(&x->b, c4_builder_loop(&x->b, x->lane), 0, 0);
    for (int i = 1; i < q->nranks && root; i++)
        c4_step_from(&x->b, c4_term_receive(&x->b, (q->rank + i) % q->nranks, TAG_END));
    if (!root)
        c4_step_to(&x->b, c4_term_send(&x->b, q->root, TAG_END));
}

/* In place a block arrives where one that a peer reads still lies: all arrive in scratch first. */
static void all_to_all(mapped *x)
{
    const c4_query *q = x->b.query;
    uint64_t aside = q->in_place ? c4_builder_scratch(&x->b, c4_query_output_bytes(q)) : 0;
    uint32_t loop = c4_builder_loop(&x->b, x->lane);
    uint64_t mine = c4_query_input_block(q, q->rank).offset;
    for (int i = q->in_place ? 1 : 0; i < q->nranks; i++) {
        int p = (q->rank + i) % q->nranks;
        c4_span block = c4_query_output_block(q, p);
        c4_step_move(&x->b, loop, block.bytes, input_of(q, p, mine),
                     c4_term_local(q->in_place ? C4_BUFFER_SCRATCH : C4_BUFFER_RECV, aside + block.offset), x->stream);
    }
    end(x);
    for (int i = 1; i < q->nranks && q->in_place; i++) {
        c4_span block = c4_query_output_block(q, (q->rank + i) % q->nranks);
        copy_back(x, aside + block.offset, block);
    }
}

c4_status c4_mapped_restrict(const c4_query *q)
{
    bool one_host = !q->layout || q->layout->nhosts <= 1;
    return one_host && q->may_map && q->nranks <= C4_FOLD_SOURCES ? C4_OK : C4_ERR_UNSUPPORTED;
}

/* Chunk: data does not pass through frames, so nothing limits it but the caches. */
static uint64_t mapped_chunk(const c4_query *q)
{
    uint64_t bytes = q->kind == C4_KIND_ALL_REDUCE ? part_of(q, 0).bytes : (uint64_t)q->count * q->element_bytes;
    uint64_t chunk = q->chunk_bytes ? q->chunk_bytes : bytes / 4 < 32 << 10 ? 32 << 10 : 256 << 10;
    chunk -= chunk % q->element_bytes;
    return chunk < q->element_bytes ? q->element_bytes : chunk;
}

c4_status c4_mapped_build(const c4_query *q, c4_schedule **schedule)
{
    static void (*const builders[C4_NKINDS])(mapped *) = {
        [C4_KIND_ALL_REDUCE] = all_reduce, [C4_KIND_REDUCE_SCATTER] = reduce_scatter, [C4_KIND_ALL_GATHER] = all_gather,
        [C4_KIND_BROADCAST] = broadcast,   [C4_KIND_ALL_TO_ALL] = all_to_all,
    };
    mapped x = {.world = c4_group_world(q)};
    c4_query fallback = *q;
    c4_schedule *built;
    fallback.algorithm = -1;
    fallback.may_map = false;
    fallback.chunk_bytes = 0;
    fallback.lanes = 0;
    c4_builder_init(&x.b, q);
    x.b.chunk = mapped_chunk(q);
    x.lane = c4_builder_lane(&x.b);
    x.stream = c4_query_stream(q, c4_query_input_bytes(q) + c4_query_output_bytes(q));
    builders[q->kind](&x);
    C4_TRY(c4_builder_finish(&x.b, &built));
    c4_status status = c4_schedule_build(&fallback, &built->fallback);
    if (status < 0) {
        c4_schedule_destroy(built);
        return status;
    }
    *schedule = built;
    return C4_OK;
}
