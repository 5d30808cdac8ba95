/* What the algorithm files share: a growing schedule, groups of ranks, and the few step shapes that recur.
 *
 * An algorithm opens lanes, loops in lanes, and steps in loops; the builder counts iterations, resolves gates and packs all into
 * one allocation. Failures stick in `status`: algorithms need not check until c4_builder_finish. Steps of 0 bytes are dropped by
 * c4_step_open's callers through `c4_builder_skips`, so that an empty block is silent on both ends of its channel.
 *
 * The whole schedule has one chunk size: iteration i of any loop handles chunk i of each block that its steps name. */
#ifndef C4_SCHEDULE_BUILDER_H
#define C4_SCHEDULE_BUILDER_H

#include "base/status.h"
#include "schedule/blocks.h"
#include "schedule/schedule.h"

#define C4_FOLD_SOURCES 64 /* most sources of one fold, most channels that one step writes */

typedef struct c4_build_loop {
    uint32_t lane, iterations, nsteps;
    uint32_t first_step;  /* when packed */
    uint64_t done_before; /* steps of the lane before this loop, all iterations; when packed */
} c4_build_loop;

typedef enum c4_gate_kind { C4_GATE_NONE, C4_GATE_SAME_ITERATION, C4_GATE_LOOP_DONE } c4_gate_kind;

typedef struct c4_build_step {
    c4_step step;
    uint32_t loop;
    c4_gate_kind gate;
    uint32_t gate_loop, gate_position;
} c4_build_step;

typedef struct c4_builder {
    const c4_query *query;
    c4_status status;
    uint64_t chunk; /* set with c4_builder_set_chunk before the first step */
    uint64_t scratch_bytes;
    uint32_t nlanes, nloops, nsteps, nterms, nchannels, nreaders;
    uint32_t loops_room, steps_room, terms_room, channels_room, readers_room;
    c4_build_loop *loops;
    c4_build_step *steps;
    c4_term *terms;
    c4_channel_use *channels;
    int *readers;
} c4_builder;

/* Ranks that work together, ascending; `me` is this rank's index. */
typedef struct c4_group {
    const int *ranks; /* NULL: 0 .. n-1 */
    int n, me;
} c4_group;

static inline int c4_group_rank(const c4_group *group, int index)
{
    return group->ranks ? group->ranks[index] : index;
}

static inline c4_group c4_group_world(const c4_query *query)
{
    return (c4_group){NULL, query->nranks, query->rank};
}

void c4_builder_init(c4_builder *builder, const c4_query *query);
/* Frees the builder. On success *schedule is the caller's. */
c4_status c4_builder_finish(c4_builder *builder, c4_schedule **schedule);

/* Chunk: the query's, else `preferred` bytes; at most what a frame takes, a multiple of the element, at least one element. */
void c4_builder_set_chunk(c4_builder *builder, uint64_t preferred);
/* The same for data that is only moved, and that nobody passes on chunk by chunk. */
void c4_builder_set_copy_chunk(c4_builder *builder, uint64_t preferred);
/* True when blocks of up to `bytes` leave in frames that every channel takes without a waiting reader. */
bool c4_builder_eager(const c4_builder *builder, uint64_t bytes);
/* Reserves scratch; returns its offset, 64-byte aligned. */
uint64_t c4_builder_scratch(c4_builder *builder, uint64_t bytes);

uint32_t c4_builder_lane(c4_builder *builder);
uint32_t c4_builder_loop(c4_builder *builder, uint32_t lane);
/* A loop has as many iterations as its longest step needs, and at least these. */
void c4_builder_iterations(c4_builder *builder, uint32_t loop, uint64_t iterations);

/* Opens a step of `bytes`; sources first, then destinations, then gates. */
void c4_step_open(c4_builder *builder, uint32_t loop, uint64_t bytes, unsigned flags);
void c4_step_from(c4_builder *builder, c4_term term);
void c4_step_to(c4_builder *builder, c4_term term);
/* Iteration i waits until `loop` (of another lane) has done `position` steps of its iteration i. */
void c4_step_gate_iteration(c4_builder *builder, uint32_t loop, uint32_t position);
/* Waits until all iterations of `loop` are done. */
void c4_step_gate_loop(c4_builder *builder, uint32_t loop);
/* One source, one destination. */
void c4_step_move(c4_builder *builder, uint32_t loop, uint64_t bytes, c4_term from, c4_term to, unsigned flags);

c4_term c4_term_local(c4_buffer_id buffer, uint64_t offset);
c4_term c4_term_remote(int rank, c4_buffer_id buffer, uint64_t offset);
/* Channel between this rank and `peer`. */
c4_term c4_term_send(c4_builder *builder, int peer, uint32_t tag);
c4_term c4_term_receive(c4_builder *builder, int peer, uint32_t tag);
/* Channel from member `writer` of the group to all its other members. */
c4_term c4_term_publish(c4_builder *builder, const c4_group *group, int writer, uint32_t tag);

/* True when one writer may reach all others of the group through one channel, and it pays (more than one reader). */
bool c4_group_can_publish(const c4_query *query, const c4_group *group);
/* Adds to the open step the channels to the group's members at distance `from`, from+1, ... (at most C4_FOLD_SOURCES of them, one
 * if publishing); returns the first distance left out, group->n when done. Start with 1. */
int c4_step_fan_to(c4_builder *builder, const c4_group *group, uint32_t tag, bool publish, int from);
/* The source that receives what member `writer` fanned out. */
c4_term c4_term_fan_from(c4_builder *builder, const c4_group *group, int writer, uint32_t tag, bool publish);

/* Left fold in group order of every member's frame and `own`; opens as many steps as C4_FOLD_SOURCES asks for, with `partial`
 * between them, and leaves the last one open for its destinations. `flags` are the last step's. */
void c4_step_fold(c4_builder *builder, uint32_t loop, uint64_t bytes, const c4_group *group, c4_term own, uint32_t tag,
                  bool publish, c4_term partial, unsigned flags);
/* Where step_fold may keep partials: scratch when there is more than one step, else unused. */
c4_term c4_fold_partial(c4_builder *builder, const c4_group *group, uint64_t bytes);

/* Nobody's following steps in `lane` start before everybody has come here: direct for few, dissemination for many. */
void c4_build_barrier(c4_builder *builder, uint32_t lane, const c4_group *group, uint32_t tag);

/* ---- what the query says ---- */

/* Checks ranks, root and that no byte offset overflows. */
c4_status c4_query_check(const c4_query *query);
/* Largest frame that every link of the job takes. */
uint64_t c4_query_frame_bytes(const c4_query *query);
bool c4_query_same_host(const c4_query *query, int a, int b);
/* STREAM when all ranks of a host together read and write more than the cache holds. Bytes of one rank. */
unsigned c4_query_stream(const c4_query *query, uint64_t touched_bytes);
/* The caller's input as a term: SEND, or the place in RECV that it aliases. Input offset in bytes. */
c4_term c4_query_input(const c4_query *query, uint64_t offset);
const c4_cost_params *c4_query_cost(const c4_query *query);

#endif
