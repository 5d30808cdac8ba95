#include "tests/collectives/call_case.h"

#include <stdio.h>
#include <string.h>

#include "numeric/numeric.h"

bool case_reduces(c4_kind kind)
{
    return kind == C4_KIND_ALL_REDUCE || kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_REDUCE ||
           kind == C4_KIND_REDUCE_SCATTER_V;
}

static size_t random_count(int nranks, size_t max_count, uint64_t random)
{
    size_t n = (size_t)nranks;
    const size_t counts[] = {0, 1, 2, n - 1, n, n + 1, 7, 31, 64, 1000, 1024, 4096 + 3, 16384, 100000, 300001, 1000003};
    size_t limit = sizeof counts / sizeof counts[0];
    while (counts[limit - 1] > max_count && limit > 1)
        limit--;
    return counts[random % limit];
}

void case_random(call_case *c, int nranks, size_t max_count, uint64_t *state)
{
    *c = (call_case){.kind = (c4_kind)(pattern_random(state) % C4_KIND_SEND),
                     .dtype = (c4_dtype)(pattern_random(state) % C4_NDTYPES),
                     .op = C4_SUM,
                     .count = random_count(nranks, max_count, pattern_random(state)),
                     .root = (int)(pattern_random(state) % (unsigned)nranks),
                     .in_place = pattern_random(state) % 2,
                     .memory = (case_memory)(pattern_random(state) % CASE_NMEMORY),
                     .style = (case_style)(pattern_random(state) % CASE_NSTYLES),
                     .seed = pattern_random(state)};
    c->mode = case_reduces(c->kind) ? PATTERN_EXACT : PATTERN_RAW;
    if (!case_reduces(c->kind))
        return;
    do
        c->op = (c4_op)(pattern_random(state) % C4_NOPS);
    while (!c4_numeric_op_valid(c->op, c->dtype));
    c->premul = pattern_random(state) % 8 == 0;
    if (c->premul)
        c->op = C4_SUM;
}

void case_describe(const call_case *c, char *text, size_t bytes)
{
    static const char *const memories[] = {"malloc", "mapped", "mixed"};
    static const char *const styles[] = {"block", "wait", "test", "group"};
    snprintf(text, bytes, "%s count %zu %s %s%s root %d%s %s %s seed 0x%llx", c4_kind_name(c->kind), c->count,
             c4_dtype_name(c->dtype), c->premul ? "premul-" : "", c4_op_name(c->op), c->root,
             c->in_place ? " in place" : "", memories[c->memory], styles[c->style], (unsigned long long)c->seed);
}

/* ---- layout ---- */

static void add_span(case_buffer *b, size_t offset, size_t count, int table, int block)
{
    b->spans[b->nspans++] = (case_span){offset, count, table, block};
    if (count && offset + count > b->extent)
        b->extent = offset + count;
}

static uint64_t mix(uint64_t seed, int a, int b)
{
    uint64_t state = seed ^ (uint64_t)(unsigned)a << 20 ^ (uint64_t)(unsigned)b << 40;
    return pattern_random(&state);
}

/* Elements that `from` sends to `to`; -1: everybody. */
static size_t v_count(const call_case *c, int from, int to)
{
    bool symmetric = c->kind == C4_KIND_ALL_TO_ALL_V && c->in_place && from > to;
    uint64_t random = symmetric ? mix(c->seed, to, from) : mix(c->seed, from, to);
    const size_t choice[] = {0, c->count, c->count + 1, c->count / 2, 1, c->count};
    return choice[random % 6];
}

/* Displacements: packed, ascending with gaps, or reversed with gaps. */
static void v_displs(const call_case *c, int nranks, int salt, const size_t *counts, size_t *displs, bool *packed)
{
    uint64_t random = mix(c->seed, salt, 77);
    unsigned form = (unsigned)(random % 3);
    size_t at = 0;
    for (int i = 0; i < nranks; i++) {
        int block = form == 2 ? nranks - 1 - i : i;
        displs[block] = at;
        at += counts[block] + (form ? (random >> 8) % 5 : 0);
    }
    *packed = form == 0;
}

static void lay_out_v_counts(const call_case *c, int n, int rank, case_layout *l)
{
    for (int p = 0; p < n; p++) {
        bool to_all = c->kind == C4_KIND_ALL_GATHER_V || c->kind == C4_KIND_GATHER_V;
        bool from_one = c->kind == C4_KIND_SCATTER_V || c->kind == C4_KIND_REDUCE_SCATTER_V;
        l->counts[0][p] = v_count(c, from_one ? -1 : rank, p);
        l->counts[1][p] = from_one ? v_count(c, -1, p) : v_count(c, p, to_all ? -1 : rank);
    }
    bool same = c->kind == C4_KIND_ALL_TO_ALL_V && c->in_place;
    v_displs(c, n, rank, l->counts[0], l->displs[0], &l->packed[0]);
    v_displs(c, n, same ? rank : rank + 100, l->counts[1], l->displs[1], &l->packed[1]);
}

static void lay_out_v(const call_case *c, int n, int rank, case_layout *l)
{
    lay_out_v_counts(c, n, rank, l);
    bool root = rank == c->root;
    size_t at = 0;
    switch (c->kind) {
    case C4_KIND_ALL_GATHER_V:
    case C4_KIND_GATHER_V:
        add_span(&l->send, 0, l->counts[1][rank], rank, rank);
        for (int p = 0; p < n && (root || c->kind == C4_KIND_ALL_GATHER_V); p++)
            add_span(&l->recv, l->displs[1][p], l->counts[1][p], p, p);
        l->alias = (ptrdiff_t)l->displs[1][rank];
        break;
    case C4_KIND_SCATTER_V:
        for (int p = 0; p < n && root; p++)
            add_span(&l->send, l->displs[0][p], l->counts[0][p], rank, p);
        add_span(&l->recv, 0, l->counts[0][rank], c->root, rank);
        l->alias = -(ptrdiff_t)l->displs[0][rank];
        break;
    case C4_KIND_ALL_TO_ALL_V:
        for (int p = 0; p < n; p++) {
            add_span(&l->send, l->displs[0][p], l->counts[0][p], rank, p);
            add_span(&l->recv, l->displs[1][p], l->counts[1][p], p, rank);
        }
        break;
    default: /* reduce_scatter_v: packed */
        for (int p = 0; p < n; p++) {
            if (p == rank)
                l->alias = -(ptrdiff_t)at;
            add_span(&l->send, at, l->counts[1][p], rank, p);
            at += l->counts[1][p];
        }
        add_span(&l->recv, 0, l->counts[1][rank], -1, rank);
    }
}

void case_lay_out(const call_case *c, int n, int rank, case_layout *l)
{
    size_t count = c->count;
    bool root = rank == c->root;
    memset(l, 0, sizeof *l);
    switch (c->kind) {
    case C4_KIND_ALL_REDUCE:
    case C4_KIND_REDUCE:
        add_span(&l->send, 0, count, rank, 0);
        if (root || c->kind == C4_KIND_ALL_REDUCE)
            add_span(&l->recv, 0, count, -1, 0);
        break;
    case C4_KIND_REDUCE_SCATTER:
        for (int p = 0; p < n; p++)
            add_span(&l->send, (size_t)p * count, count, rank, p);
        add_span(&l->recv, 0, count, -1, rank);
        l->alias = -(ptrdiff_t)((size_t)rank * count);
        break;
    case C4_KIND_ALL_GATHER:
    case C4_KIND_GATHER:
        add_span(&l->send, 0, count, rank, rank);
        for (int p = 0; p < n && (root || c->kind == C4_KIND_ALL_GATHER); p++)
            add_span(&l->recv, (size_t)p * count, count, p, p);
        l->alias = (ptrdiff_t)((size_t)rank * count);
        break;
    case C4_KIND_BROADCAST:
        if (root)
            add_span(&l->send, 0, count, rank, 0);
        add_span(&l->recv, 0, count, c->root, 0);
        break;
    case C4_KIND_SCATTER:
        for (int p = 0; p < n && root; p++)
            add_span(&l->send, (size_t)p * count, count, rank, p);
        add_span(&l->recv, 0, count, c->root, rank);
        l->alias = -(ptrdiff_t)((size_t)rank * count);
        break;
    case C4_KIND_ALL_TO_ALL:
        for (int p = 0; p < n; p++) {
            add_span(&l->send, (size_t)p * count, count, rank, p);
            add_span(&l->recv, (size_t)p * count, count, p, rank);
        }
        break;
    case C4_KIND_BARRIER:
        break;
    default:
        lay_out_v(c, n, rank, l);
    }
}
