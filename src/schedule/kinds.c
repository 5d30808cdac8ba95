#include "schedule/kinds.h"

#include <string.h>

#include "schedule/builder.h"

bool c4_kind_is_v(c4_kind kind)
{
    return kind >= C4_KIND_ALL_GATHER_V && kind <= C4_KIND_REDUCE_SCATTER_V;
}

bool c4_kind_is_rooted(c4_kind kind)
{
    static const uint32_t rooted = C4_KIND_BIT(C4_KIND_BROADCAST) | C4_KIND_BIT(C4_KIND_REDUCE) |
                                   C4_KIND_BIT(C4_KIND_GATHER) | C4_KIND_BIT(C4_KIND_SCATTER) |
                                   C4_KIND_BIT(C4_KIND_GATHER_V) | C4_KIND_BIT(C4_KIND_SCATTER_V);
    return rooted >> kind & 1;
}

bool c4_kind_gathers(c4_kind kind)
{
    static const uint32_t gathers = C4_KIND_BIT(C4_KIND_ALL_GATHER) | C4_KIND_BIT(C4_KIND_GATHER) |
                                    C4_KIND_BIT(C4_KIND_ALL_TO_ALL) | C4_KIND_BIT(C4_KIND_ALL_GATHER_V) |
                                    C4_KIND_BIT(C4_KIND_GATHER_V) | C4_KIND_BIT(C4_KIND_ALL_TO_ALL_V);
    return gathers >> kind & 1;
}

bool c4_kind_output_is_inside(c4_kind kind)
{
    return kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_REDUCE_SCATTER_V || kind == C4_KIND_SCATTER ||
           kind == C4_KIND_SCATTER_V;
}

static c4_span elements(const c4_query *q, uint64_t offset, uint64_t count)
{
    return (c4_span){offset * q->element_bytes, count * q->element_bytes};
}

static uint64_t packed_before(const size_t *counts, int p)
{
    uint64_t sum = 0;
    for (int i = 0; i < p; i++)
        sum += counts[i];
    return sum;
}

c4_span c4_query_input_block(const c4_query *q, int p)
{
    switch (q->kind) {
    case C4_KIND_REDUCE_SCATTER:
    case C4_KIND_SCATTER:
    case C4_KIND_ALL_TO_ALL:
        return elements(q, (uint64_t)p * q->count, q->count);
    case C4_KIND_REDUCE_SCATTER_V:
        return elements(q, packed_before(q->recv_counts, p), q->recv_counts[p]);
    case C4_KIND_SCATTER_V:
    case C4_KIND_ALL_TO_ALL_V:
        return elements(q, q->send_displs[p], q->send_counts[p]);
    case C4_KIND_ALL_GATHER_V:
        return elements(q, 0, q->recv_counts[q->rank]);
    default:
        return elements(q, 0, q->count);
    }
}

c4_span c4_query_output_block(const c4_query *q, int p)
{
    switch (q->kind) {
    case C4_KIND_ALL_GATHER:
    case C4_KIND_GATHER:
    case C4_KIND_ALL_TO_ALL:
        return elements(q, (uint64_t)p * q->count, q->count);
    case C4_KIND_ALL_GATHER_V:
    case C4_KIND_GATHER_V:
    case C4_KIND_ALL_TO_ALL_V:
        return elements(q, q->recv_displs[p], q->recv_counts[p]);
    case C4_KIND_REDUCE_SCATTER_V:
        return elements(q, 0, q->recv_counts[q->rank]);
    default:
        return elements(q, 0, q->count);
    }
}

static bool has_input(const c4_query *q)
{
    if (q->kind == C4_KIND_BARRIER || q->kind == C4_KIND_RECV)
        return false;
    bool only_root = q->kind == C4_KIND_BROADCAST || q->kind == C4_KIND_SCATTER || q->kind == C4_KIND_SCATTER_V;
    return !only_root || q->rank == q->root;
}

static bool has_output(const c4_query *q)
{
    if (q->kind == C4_KIND_BARRIER || q->kind == C4_KIND_SEND)
        return false;
    bool only_root = q->kind == C4_KIND_REDUCE || q->kind == C4_KIND_GATHER || q->kind == C4_KIND_GATHER_V;
    return !only_root || q->rank == q->root;
}

/* Blocks may be in any order: the buffer reaches to the end of the furthest. */
static uint64_t reach(const c4_query *q, c4_span (*block)(const c4_query *, int))
{
    uint64_t end = 0;
    for (int p = 0; p < q->nranks; p++) {
        c4_span span = block(q, p);
        if (span.bytes && span.offset + span.bytes > end)
            end = span.offset + span.bytes;
    }
    return end;
}

uint64_t c4_query_input_bytes(const c4_query *q)
{
    return has_input(q) ? reach(q, c4_query_input_block) : 0;
}

uint64_t c4_query_output_bytes(const c4_query *q)
{
    return has_output(q) ? reach(q, c4_query_output_block) : 0;
}

uint64_t c4_query_alias_offset(const c4_query *q)
{
    if (c4_kind_output_is_inside(q->kind))
        return c4_query_input_block(q, q->rank).offset;
    if (q->kind == C4_KIND_ALL_TO_ALL || q->kind == C4_KIND_ALL_TO_ALL_V)
        return 0;
    return c4_query_output_block(q, q->rank).offset;
}

c4_term c4_query_input(const c4_query *q, uint64_t offset)
{
    bool aliased = q->in_place && has_output(q) && !c4_kind_output_is_inside(q->kind);
    return aliased ? c4_term_local(C4_BUFFER_RECV, c4_query_alias_offset(q) + offset)
                   : c4_term_local(C4_BUFFER_SEND, offset);
}

/* ---- checks ---- */

static c4_status check_counts(const c4_query *q, const size_t *counts, const size_t *displs, const char *what)
{
    uint64_t sum = 0;
    if (!counts)
        return c4_fail(C4_ERR_NULL, "%s: %s counts", c4_kind_name(q->kind), what);
    for (int p = 0; p < q->nranks; p++) {
        uint64_t end, bytes;
        if (__builtin_add_overflow(displs ? displs[p] : sum, counts[p], &end) ||
            !c4_bytes_multiply(end, q->element_bytes, &bytes) || bytes > INT64_MAX ||
            __builtin_add_overflow(sum, counts[p], &sum))
            return c4_fail(C4_ERR_COUNT, "%s: %s block %d ends beyond 2^63 bytes", c4_kind_name(q->kind), what, p);
    }
    return C4_OK;
}

static c4_status check_v(const c4_query *q)
{
    bool sends = q->kind == C4_KIND_ALL_TO_ALL_V || (q->kind == C4_KIND_SCATTER_V && q->rank == q->root);
    bool receives = q->kind == C4_KIND_ALL_TO_ALL_V || q->kind == C4_KIND_ALL_GATHER_V ||
                    q->kind == C4_KIND_REDUCE_SCATTER_V || (q->kind == C4_KIND_GATHER_V && q->rank == q->root);
    if (sends)
        C4_TRY(check_counts(q, q->send_counts, q->send_displs, "send"));
    if (receives)
        C4_TRY(check_counts(q, q->recv_counts, q->recv_displs, "receive"));
    if (q->kind != C4_KIND_ALL_TO_ALL_V || !q->in_place)
        return C4_OK;
    size_t bytes = (size_t)q->nranks * sizeof *q->send_counts;
    if (memcmp(q->send_counts, q->recv_counts, bytes) != 0 || memcmp(q->send_displs, q->recv_displs, bytes) != 0)
        return c4_fail(C4_ERR_ARGUMENT, "all_to_all_v in place: send and receive layout must be the same");
    return C4_OK;
}

c4_status c4_query_check(const c4_query *q)
{
    uint64_t bytes;
    if (!c4_kind_name(q->kind))
        return c4_fail(C4_ERR_ARGUMENT, "kind %d", (int)q->kind);
    if (q->nranks < 1 || q->nranks > UINT16_MAX || q->rank < 0 || q->rank >= q->nranks)
        return c4_fail(C4_ERR_ROOT, "%s: rank %d of %d", c4_kind_name(q->kind), q->rank, q->nranks);
    bool p2p = q->kind == C4_KIND_SEND || q->kind == C4_KIND_RECV;
    if ((c4_kind_is_rooted(q->kind) || p2p) && (q->root < 0 || q->root >= q->nranks))
        return c4_fail(C4_ERR_ROOT, "%s: root %d of %d ranks", c4_kind_name(q->kind), q->root, q->nranks);
    if (q->kind != C4_KIND_BARRIER && q->element_bytes == 0)
        return c4_fail(C4_ERR_DTYPE, "%s: elements of 0 bytes", c4_kind_name(q->kind));
    if (c4_kind_is_v(q->kind))
        return check_v(q);
    if (!c4_bytes_multiply(q->count, q->element_bytes, &bytes) ||
        !c4_bytes_multiply(bytes, (uint64_t)q->nranks, &bytes) || bytes > INT64_MAX)
        return c4_fail(C4_ERR_COUNT, "%s: %d x %zu elements of %zu bytes exceed 2^63 bytes", c4_kind_name(q->kind),
                       q->nranks, q->count, q->element_bytes);
    return C4_OK;
}

/* ---- the machine ---- */

/* For callers without measurements: shared memory and TCP of an ordinary server. */
static const c4_cost_params default_cost = {
    .local = {.latency_s = 0.2e-6,
              .seconds_per_byte = 0.1e-9,
              .reduce_seconds_per_byte = 0.05e-9,
              .windows = true,
              .max_readers = 64,
              .max_frame_bytes = 256 << 10},
    .remote = {.latency_s = 10e-6,
               .seconds_per_byte = 0.4e-9,
               .reduce_seconds_per_byte = 0.05e-9,
               .max_readers = 1,
               .max_frame_bytes = 1 << 20},
    .step_s = 5e-9,
    .ranks_per_core = 1,
    .cache_bytes = 32 << 20,
};

const c4_cost_params *c4_query_cost(const c4_query *q)
{
    return q->cost ? q->cost : &default_cost;
}

bool c4_query_same_host(const c4_query *q, int a, int b)
{
    return !q->layout || q->layout->host_of[a] == q->layout->host_of[b];
}

uint64_t c4_query_frame_bytes(const c4_query *q)
{
    const c4_cost_params *cost = c4_query_cost(q);
    if (!q->layout || q->layout->nhosts <= 1)
        return cost->local.max_frame_bytes;
    if (q->layout->nhosts == q->nranks)
        return cost->remote.max_frame_bytes;
    return c4_min_bytes(cost->local.max_frame_bytes, cost->remote.max_frame_bytes);
}

unsigned c4_query_stream(const c4_query *q, uint64_t touched_bytes)
{
    uint64_t local_ranks = (uint64_t)q->nranks, all;
    if (q->layout && q->layout->nhosts > 1)
        local_ranks = c4_ceil_div(local_ranks, (uint64_t)q->layout->nhosts);
    bool large = !c4_bytes_multiply(touched_bytes, local_ranks, &all) || all > c4_query_cost(q)->cache_bytes;
    return large ? C4_STEP_STREAM : 0;
}
