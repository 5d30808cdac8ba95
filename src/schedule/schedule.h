/* The schedule: one rank's program for one collective call, as data.
 *
 * One idea carries everything: a *step* folds its sources, in order, with the reduction of the call, and stores the result to its
 * destinations. Sources and destinations are *terms*: a span of a local buffer, a channel (a frame arrives or leaves), or a span of a
 * peer's buffer (mapped memory). So
 *     send                 = {local}            -> {channel}
 *     receive              = {channel}          -> {local}
 *     receive-reduce       = {local, channel}   -> {local}
 *     receive-reduce-send  = {local, channel}   -> {local, channel}     (one load, two stores)
 *     forward              = {channel}          -> {local, channel}
 *     publish              = {local}            -> {channel with many readers}
 *     copy, reduce         = {local ...}        -> {local}
 *     get, get-reduce, put = {remote}, {local, remote} -> {local};  {local} -> {remote}
 *     signal, wait         = the same with 0 bytes: {} -> {channel};  {channel} -> {}
 * The order of the sources is the order of the additions, so the expression tree can be read off the schedule.
 *
 * A *lane* is a list of loops; a loop runs its steps `iterations` times. In iteration i a step handles the bytes
 * [i*chunk, min((i+1)*chunk, total)) of each of its terms; when that range is empty the step is skipped (both ends of a channel see
 * the same total and chunk, so both skip), except that steps with total 0 run in every iteration. Lanes run concurrently; a step
 * may wait for another lane.
 *
 * Buffers are symbolic, so that a schedule can be cached and used with any addresses.
 *
 * What a schedule may rely on (and what prove.c holds it to):
 * - A step folds once all its sources are there. Its lane goes on once its frames were taken: a frame of up to
 *   C4_SCHEDULE_EAGER_BYTES is taken by every channel that has no other frame waiting, a larger one perhaps not before the reader's
 *   step has begun. So rendezvous transports, and rings with room for one frame, are enough.
 * - That a frame was taken says nothing about its receipt. The span it came from stays unchanged until a frame that could only be sent
 *   after the receipt has arrived here; the span is the step's first LOCAL destination, else its LOCAL source.
 * - In place, SEND and RECV overlap exactly as c4.h says. Input is read through RECV where RECV holds all of it, and through SEND
 *   in the kinds whose output lies inside the input (reduce_scatter, scatter and their v-forms). */
#ifndef C4_SCHEDULE_SCHEDULE_H
#define C4_SCHEDULE_SCHEDULE_H

#include <c4/c4.h>
#include <stdbool.h>

typedef enum c4_kind {
    C4_KIND_ALL_REDUCE,
    C4_KIND_REDUCE_SCATTER,
    C4_KIND_ALL_GATHER,
    C4_KIND_BROADCAST,
    C4_KIND_REDUCE,
    C4_KIND_GATHER,
    C4_KIND_SCATTER,
    C4_KIND_ALL_TO_ALL,
    C4_KIND_ALL_GATHER_V,
    C4_KIND_GATHER_V,
    C4_KIND_SCATTER_V,
    C4_KIND_ALL_TO_ALL_V,
    C4_KIND_REDUCE_SCATTER_V,
    C4_KIND_BARRIER,
    C4_KIND_SEND,
    C4_KIND_RECV,
    C4_NKINDS
} c4_kind;

#define C4_SCHEDULE_EAGER_BYTES 8192u

const char *c4_kind_name(c4_kind kind); /* "all_reduce"; NULL when unknown */

typedef enum c4_buffer_id {
    C4_BUFFER_SEND,   /* the caller's input; read only. In place: see above */
    C4_BUFFER_RECV,   /* the caller's output */
    C4_BUFFER_SCRATCH /* schedule->scratch_bytes, uninitialised */
} c4_buffer_id;

typedef enum c4_term_kind { C4_TERM_LOCAL, C4_TERM_CHANNEL, C4_TERM_REMOTE } c4_term_kind;

typedef struct c4_term {
    uint8_t kind;    /* c4_term_kind */
    uint8_t buffer;  /* LOCAL, REMOTE: c4_buffer_id (REMOTE: SEND or RECV) */
    uint16_t index;  /* CHANNEL: index into schedule->channels. REMOTE: rank */
    uint64_t offset; /* LOCAL, REMOTE: bytes, of iteration 0; iteration i adds i*chunk */
} c4_term;

enum {
    C4_STEP_FINAL =
        1, /* the fold's result is the final value: avg divides here (only in steps with a reduction or, for n = 1, a copy) */
    C4_STEP_STREAM = 2, /* store local destinations with non-temporal stores (results larger than the cache) */
    C4_STEP_GATED = 4   /* wait for another lane, see gate_* */
};

#define C4_STEP_NO_LANE 0xffff

typedef struct c4_step {
    uint32_t first_term; /* sources, then destinations, in schedule->terms */
    uint8_t nsources;
    uint8_t ndestinations;
    uint8_t flags;
    uint8_t reserved;
    uint64_t total; /* bytes handled over all iterations; 0: pure synchronisation */
    uint64_t chunk; /* bytes per iteration (a multiple of the element size); >= total when it runs once */
    /* With GATED: iteration i starts when lane `gate_lane` has completed at least gate_base + i*gate_stride steps
     * (skipped steps count as completed). */
    uint16_t gate_lane;
    uint16_t reserved2;
    uint32_t gate_base, gate_stride;
} c4_step;

/* Steps that lane gate_lane must have completed before iteration `iteration` starts; 0: it need not wait. */
static inline uint64_t c4_step_gate(const c4_step *step, uint32_t iteration)
{
    return step->flags & C4_STEP_GATED ? step->gate_base + (uint64_t)iteration * step->gate_stride : 0;
}

typedef struct c4_loop {
    uint32_t first_step, nsteps; /* in schedule->steps */
    uint32_t iterations;
} c4_loop;

typedef struct c4_lane {
    uint32_t first_loop, nloops; /* in schedule->loops */
} c4_lane;

/* A channel as the schedule names it; this rank is its writer or one of its readers. Identity on all ranks: writer, tag and readers. */
typedef struct c4_channel_use {
    int writer;
    uint32_t tag;          /* < 2^16; the builder's number for this channel among those of equal writer and readers */
    uint32_t first_reader; /* in schedule->readers, ascending ranks */
    uint16_t nreaders;
    uint16_t depth_kib; /* bytes in flight: no more than this is of use; 0: as many as the link likes */
} c4_channel_use;

typedef struct c4_schedule {
    c4_kind kind;
    uint16_t algorithm; /* index in the algorithm table, see algorithms.h */
    int rank, nranks;
    uint32_t nlanes, nloops, nsteps, nterms, nchannels, nreaders;
    const c4_lane *lanes;
    const c4_loop *loops;
    const c4_step *steps;
    const c4_term *terms;
    const c4_channel_use *channels;
    const int *readers;
    uint64_t scratch_bytes;
    uint32_t element_bytes; /* 1 for calls without reduction */
    /* Needs every member's SEND and RECV buffers mapped (has REMOTE terms). Before its lanes start, all members vote; unless all can,
     * everybody runs `fallback` instead. NULL when no step is remote. */
    struct c4_schedule *fallback;
    size_t memory_bytes; /* of this object, one allocation */
} c4_schedule;

void c4_schedule_destroy(c4_schedule *schedule); /* and its fallback; NULL allowed */

/* Who sits where. Hosts are numbered by first appearance in rank order. */
typedef struct c4_layout {
    int nranks;
    const int *host_of; /* [nranks] */
    int nhosts;
} c4_layout;

/* What the chooser and builders may know of a class of links. */
typedef struct c4_link_class {
    double latency_s, seconds_per_byte; /* alpha, beta */
    double reduce_seconds_per_byte;     /* gamma: one pass that reads two and writes one */
    bool windows, map;
    unsigned max_readers;
    size_t max_frame_bytes;
} c4_link_class;

typedef struct c4_cost_params {
    c4_link_class local, remote; /* same host; between hosts (a job on one host has no remote links) */
    double step_s;               /* interpreter overhead per step */
    double ranks_per_core;       /* > 1: ranks share cores */
    size_t cache_bytes;          /* last-level cache; results larger than this are streamed */
} c4_cost_params;

/* Everything that decides a schedule. Equal on all ranks except rank, in_place and the v-counts that only some ranks know. */
typedef struct c4_query {
    c4_kind kind;
    int rank, nranks;
    int root;     /* rooted kinds; the peer for SEND and RECV */
    size_t count; /* elements, as in c4.h's call */
    size_t element_bytes;
    bool in_place;
    bool reduces;       /* element_bytes is a dtype that is folded */
    bool deterministic; /* fixed rank-order tree */
    /* v-kinds: counts and displacements in elements as in c4.h (displs never NULL here). send_*: this rank's, where the
     * kind has them. */
    const size_t *send_counts, *send_displs, *recv_counts, *recv_displs;
    const c4_layout *layout;
    const c4_cost_params *cost;
    /* Choice; algorithm < 0: choose. */
    int algorithm;
    size_t chunk_bytes; /* 0: the builder's own */
    unsigned lanes;     /* 0: the builder's own */
    bool may_map;       /* both ends' user buffers may be mappable: consider one-sided builders (equal on all ranks) */
} c4_query;

/* Builds this rank's schedule. One allocation; caller destroys. C4_ERR_UNSUPPORTED when the algorithm's restrictions exclude the
 * query, C4_ERR_MEMORY, C4_ERR_COUNT on overflow. */
c4_status c4_schedule_build(const c4_query *query, c4_schedule **schedule);

/* Bytes this rank sends to and receives from every peer, without expanding loops. sent, received: [nranks], overwritten. */
void c4_schedule_flows(const c4_schedule *schedule, uint64_t *sent, uint64_t *received);

/* Predicted seconds for the whole call (maximum over ranks is approximated by this rank's critical path). */
double c4_schedule_cost(const c4_schedule *schedule, const c4_layout *layout, const c4_cost_params *params);

#endif
