/* What every call goes through before and after an algorithm: checks, the trivial cases, dispatch. */
#include "schedule/schedule.h"

#include <stdlib.h>

#include "schedule/algorithms.h"
#include "schedule/builder.h"
#include "schedule/kinds.h"

static const char *const kind_names[C4_NKINDS] = {
    [C4_KIND_ALL_REDUCE] = "all_reduce",
    [C4_KIND_REDUCE_SCATTER] = "reduce_scatter",
    [C4_KIND_ALL_GATHER] = "all_gather",
    [C4_KIND_BROADCAST] = "broadcast",
    [C4_KIND_REDUCE] = "reduce",
    [C4_KIND_GATHER] = "gather",
    [C4_KIND_SCATTER] = "scatter",
    [C4_KIND_ALL_TO_ALL] = "all_to_all",
    [C4_KIND_ALL_GATHER_V] = "all_gather_v",
    [C4_KIND_GATHER_V] = "gather_v",
    [C4_KIND_SCATTER_V] = "scatter_v",
    [C4_KIND_ALL_TO_ALL_V] = "all_to_all_v",
    [C4_KIND_REDUCE_SCATTER_V] = "reduce_scatter_v",
    [C4_KIND_BARRIER] = "barrier",
    [C4_KIND_SEND] = "send",
    [C4_KIND_RECV] = "recv",
};

const char *c4_kind_name(c4_kind kind)
{
    return (unsigned)kind < C4_NKINDS ? kind_names[kind] : NULL;
}

void c4_schedule_destroy(c4_schedule *schedule)
{
    if (!schedule)
        return;
    c4_schedule_destroy(schedule->fallback);
    free(schedule);
}

/* One rank: the output is the input. */
static c4_status build_alone(const c4_query *q, c4_schedule **schedule)
{
    c4_builder b;
    c4_builder_init(&b, q);
    c4_span in = c4_query_input_block(q, 0), out = c4_query_output_block(q, 0);
    b.chunk = out.bytes ? out.bytes : b.chunk;
    c4_term from = c4_query_input(q, in.offset), to = c4_term_local(C4_BUFFER_RECV, out.offset);
    bool same = from.buffer == to.buffer && from.offset == to.offset;
    bool aliased = q->in_place && from.buffer != to.buffer; /* the in-place form of these kinds, with one rank */
    if (out.bytes && !same && !aliased)
        c4_step_move(&b, c4_builder_loop(&b, c4_builder_lane(&b)), out.bytes, from, to, q->reduces ? C4_STEP_FINAL : 0);
    return c4_builder_finish(&b, schedule);
}

static c4_status build_empty(const c4_query *q, c4_schedule **schedule)
{
    c4_builder b;
    c4_builder_init(&b, q);
    return c4_builder_finish(&b, schedule);
}

c4_status c4_schedule_build(const c4_query *query, c4_schedule **schedule)
{
    c4_query chosen = *query;
    C4_TRY(c4_query_check(&chosen));
    if (chosen.algorithm < 0) {
        const char *reason;
        C4_TRY(c4_schedule_choose(&chosen, NULL, &reason));
    }
    if (chosen.algorithm >= c4_nalgorithms)
        return c4_fail(C4_ERR_ARGUMENT, "algorithm %d of %d", chosen.algorithm, c4_nalgorithms);
    if (chosen.nranks == 1 && chosen.kind != C4_KIND_SEND && chosen.kind != C4_KIND_RECV)
        return chosen.kind == C4_KIND_BARRIER ? build_empty(&chosen, schedule) : build_alone(&chosen, schedule);
    if (chosen.count == 0 && !c4_kind_is_v(chosen.kind) && chosen.kind != C4_KIND_BARRIER)
        return build_empty(&chosen, schedule);
    const c4_algorithm *algorithm = &c4_algorithms[chosen.algorithm];
    if (!(algorithm->kinds & 1u << chosen.kind))
        return C4_ERR_UNSUPPORTED;
    C4_TRY(algorithm->restrict_query(&chosen));
    return algorithm->build(&chosen, schedule);
}
