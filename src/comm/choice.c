#include "comm/choice.h"

#include <string.h>

#include "base/status.h"

static const c4_kind kinds[] = {C4_KIND_ALL_REDUCE, C4_KIND_REDUCE_SCATTER, C4_KIND_ALL_GATHER,
                                C4_KIND_BROADCAST,  C4_KIND_REDUCE,         C4_KIND_GATHER,
                                C4_KIND_SCATTER,    C4_KIND_ALL_TO_ALL,     C4_KIND_BARRIER};

typedef struct scanner {
    const c4_choice_job *job;
    c4_choice_row_fn row;
    void *context;
} scanner;

/* ---- one size ---- */

static bool is_reduction(c4_kind kind)
{
    return kind == C4_KIND_ALL_REDUCE || kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_REDUCE;
}

bool c4_choice_has_blocks(c4_kind kind)
{
    return kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_ALL_GATHER || kind == C4_KIND_GATHER ||
           kind == C4_KIND_SCATTER || kind == C4_KIND_ALL_TO_ALL;
}

/* Bytes of one element more of count. */
static size_t grain_of(const c4_choice_job *job, c4_kind kind)
{
    return C4_CHOICE_ELEMENT_BYTES * (c4_choice_has_blocks(kind) ? (size_t)job->nranks : 1);
}

/* As the engine asks; `grains` is the count. */
static c4_status ask(const c4_choice_job *job, c4_kind kind, size_t grains, c4_query *query, const char **reason)
{
    bool forced = job->forced >= 0 && (job->forced_kinds >> kind & 1);
    *query = (c4_query){.kind = kind,
                        .nranks = job->nranks,
                        .count = kind == C4_KIND_BARRIER ? 0 : grains,
                        .element_bytes = C4_CHOICE_ELEMENT_BYTES,
                        .reduces = is_reduction(kind),
                        .deterministic = job->deterministic,
                        .layout = job->layout,
                        .cost = job->cost,
                        .algorithm = forced ? job->forced : -1,
                        .chunk_bytes = job->chunk_bytes,
                        .may_map = job->may_map};
    c4_status status = c4_schedule_choose(query, job->tuning, reason);
    if (status == C4_ERR_UNSUPPORTED && forced) { /* the forced algorithm does not take this call */
        query->algorithm = -1;
        status = c4_schedule_choose(query, job->tuning, reason);
    }
    return status;
}

static bool is_same(const c4_query *a, const char *reason_a, const c4_query *b, const char *reason_b)
{
    return a->algorithm == b->algorithm && a->chunk_bytes == b->chunk_bytes && a->lanes == b->lanes &&
           strcmp(reason_a, reason_b) == 0;
}

/* The smallest count in (low, high] whose choice differs from that of `low`; high's does. */
static c4_status find_border(const c4_choice_job *job, const c4_query *low, const char *low_reason, size_t high,
                             c4_query *query, const char **reason)
{
    size_t same = low->count;
    while (high - same > 1) {
        size_t middle = same + (high - same) / 2;
        C4_TRY(ask(job, low->kind, middle, query, reason));
        if (is_same(low, low_reason, query, *reason))
            same = middle;
        else
            high = middle;
    }
    return ask(job, low->kind, high, query, reason);
}

/* Rows of the borders between the last row's choice and that of `count` elements. */
static c4_status advance(const scanner *s, c4_query *last, const char **last_reason, size_t count)
{
    c4_query query;
    const char *reason;
    C4_TRY(ask(s->job, last->kind, count, &query, &reason));
    while (!is_same(last, *last_reason, &query, reason)) {
        c4_query border;
        const char *border_reason;
        C4_TRY(find_border(s->job, last, *last_reason, count, &border, &border_reason));
        C4_TRY(s->row(s->context, &border, border_reason));
        *last = border;
        *last_reason = border_reason;
    }
    last->count = count;
    return C4_OK;
}

static c4_status scan(const scanner *s, c4_kind kind)
{
    c4_query last;
    const char *reason;
    size_t grain = grain_of(s->job, kind);
    C4_TRY(ask(s->job, kind, 1, &last, &reason));
    C4_TRY(s->row(s->context, &last, reason));
    if (kind == C4_KIND_BARRIER)
        return C4_OK;
    for (size_t count = 2; count * grain <= s->job->largest_bytes; count *= 2) {
        C4_TRY(advance(s, &last, &reason, count));
        C4_TRY(advance(s, &last, &reason, count + count / 2));
    }
    return C4_OK;
}

c4_status c4_choice_scan(const c4_choice_job *job, c4_choice_row_fn row, void *context)
{
    scanner s = {job, row, context};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        C4_TRY(scan(&s, kinds[i]));
    return C4_OK;
}
