/* Choice: the first source that knows an answer that the algorithm's restrictions allow. */
#include <float.h>

#include "schedule/algorithms.h"
#include "schedule/builder.h"
#include "schedule/kinds.h"

/* Measured on two Zen 4 cores, with 3 to 8 ranks on the same two; on links with windows (shared memory) and without (TCP on
 * loopback). */
typedef struct measured_row {
    c4_kind kind;
    int min_ranks, max_ranks;
    bool windows; /* of the links */
    bool mapped;  /* only when buffers may be mapped */
    size_t min_bytes, max_bytes;
    const char *algorithm;
} measured_row;

#define KIB ((size_t)1 << 10)
static const measured_row measured[] = {
    {C4_KIND_ALL_REDUCE, 2, 2, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_ALL_REDUCE, 3, 8, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_REDUCE_SCATTER, 2, 8, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_ALL_GATHER, 2, 8, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_BROADCAST, 2, 8, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_ALL_TO_ALL, 2, 8, true, true, 4 * KIB, SIZE_MAX, "mapped"},
    {C4_KIND_ALL_REDUCE, 2, 2, true, false, 0, 16 * KIB, "direct"},
    {C4_KIND_ALL_REDUCE, 2, 2, true, false, 16 * KIB + 1, SIZE_MAX, "rsag"},
    {C4_KIND_ALL_REDUCE, 3, 8, true, false, 0, 32 * KIB, "direct"},
    {C4_KIND_ALL_REDUCE, 3, 16, true, false, 32 * KIB + 1, SIZE_MAX, "rsag"},
    {C4_KIND_REDUCE_SCATTER, 2, 8, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_ALL_GATHER, 2, 8, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_BROADCAST, 2, 8, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_ALL_TO_ALL, 2, 8, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_REDUCE, 2, 4, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_BARRIER, 2, 8, true, false, 0, SIZE_MAX, "direct"},
    {C4_KIND_ALL_REDUCE, 2, 2, false, false, 0, 32 * KIB, "direct"},
    {C4_KIND_ALL_REDUCE, 2, 2, false, false, 32 * KIB + 1, 512 * KIB, "rsag"},
    {C4_KIND_ALL_REDUCE, 2, 2, false, false, 512 * KIB + 1, SIZE_MAX, "ring"},
};

size_t c4_query_bytes(const c4_query *q)
{
    size_t elements = q->count;
    switch (q->kind) {
    case C4_KIND_ALL_GATHER:
    case C4_KIND_GATHER:
    case C4_KIND_SCATTER:
    case C4_KIND_ALL_TO_ALL:
    case C4_KIND_REDUCE_SCATTER:
        elements *= (size_t)q->nranks;
        break;
    case C4_KIND_ALL_GATHER_V:
    case C4_KIND_REDUCE_SCATTER_V:
        elements = 0;
        for (int p = 0; p < q->nranks; p++)
            elements += q->recv_counts[p];
        break;
    case C4_KIND_GATHER_V:
    case C4_KIND_SCATTER_V:
    case C4_KIND_ALL_TO_ALL_V:
        return 0; /* no two ranks know the same counts, and the choice must be the same on all */
    default:
        break;
    }
    return elements * q->element_bytes;
}

static bool allowed(const c4_query *q, int algorithm)
{
    const c4_algorithm *a = &c4_algorithms[algorithm];
    return (a->kinds >> q->kind & 1) && a->restrict_query(q) == C4_OK;
}

static bool take_tuning(c4_query *q, const c4_tuning *tuning, size_t bytes)
{
    int per_host = q->layout && q->layout->nhosts > 0 ? q->nranks / q->layout->nhosts : q->nranks;
    for (size_t i = 0; tuning && i < tuning->nrows; i++) {
        const c4_tuning_row *row = &tuning->rows[i];
        if (row->kind != q->kind || (row->nranks && row->nranks != q->nranks) ||
            (row->ranks_per_host && row->ranks_per_host != per_host) || bytes < row->min_bytes ||
            bytes > row->max_bytes || !allowed(q, row->algorithm))
            continue;
        q->algorithm = row->algorithm;
        q->chunk_bytes = q->chunk_bytes ? q->chunk_bytes : row->chunk_bytes;
        q->lanes = q->lanes ? q->lanes : row->lanes;
        return true;
    }
    return false;
}

static bool take_measured(c4_query *q, size_t bytes)
{
    bool one_host = !q->layout || q->layout->nhosts <= 1;
    bool windows = one_host && c4_query_cost(q)->local.windows;
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        const measured_row *row = &measured[i];
        if (row->kind != q->kind || row->windows != windows || q->nranks < row->min_ranks ||
            q->nranks > row->max_ranks || bytes < row->min_bytes || bytes > row->max_bytes ||
            (row->mapped && !q->may_map))
            continue;
        int algorithm = c4_algorithm_find(row->algorithm);
        if (algorithm < 0 || !allowed(q, algorithm))
            continue;
        q->algorithm = algorithm;
        return true;
    }
    return false;
}

static bool take_cheapest(c4_query *q)
{
    double cheapest = DBL_MAX;
    int best = -1;
    for (int i = 0; i < c4_nalgorithms; i++) {
        if (!allowed(q, i))
            continue;
        double cost = c4_algorithms[i].cost(q);
        if (cost < cheapest) {
            cheapest = cost;
            best = i;
        }
    }
    q->algorithm = best;
    return best >= 0;
}

c4_status c4_schedule_choose(c4_query *q, const c4_tuning *tuning, const char **reason)
{
    C4_TRY(c4_query_check(q));
    size_t bytes = c4_query_bytes(q);
    if (q->algorithm >= 0) {
        if (q->algorithm >= c4_nalgorithms || !allowed(q, q->algorithm))
            return C4_ERR_UNSUPPORTED; /* the caller knows whose wish it was */
        *reason = "C4_ALGO";
    } else if (take_tuning(q, tuning, bytes)) {
        *reason = "tuning file";
    } else if (take_measured(q, bytes)) {
        *reason = "measured";
    } else if (take_cheapest(q)) {
        *reason = "cost model";
    } else {
        return c4_fail(C4_ERR_UNSUPPORTED, "no algorithm for this %s of %d ranks", c4_kind_name(q->kind), q->nranks);
    }
    return C4_OK;
}
