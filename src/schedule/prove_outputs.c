/* What every rank must hold at the end, and that it may then return. */
#include <stdlib.h>
#include <string.h>

#include "schedule/kinds.h"
#include "schedule/prove_internal.h"

static c4_status output_span(prove_run *run, const prove_lane *end, c4_span block, prove_span *span)
{
    c4_term term = c4_term_local(C4_BUFFER_RECV, block.offset);
    return prove_resolve(run, end, &term, 0, block.bytes, span);
}

static c4_status output_value(prove_run *run, const prove_lane *end, c4_span block, prove_value *value)
{
    prove_span span;
    C4_TRY(output_span(run, end, block, &span));
    return prove_region_value(span.region, span.begin, span.end, value) ? C4_OK : prove_no_memory(run);
}

/* The block is rank `source`'s input from `origin` on. */
static c4_status expect_copy(prove_run *run, const prove_lane *end, c4_span block, int source, uint64_t origin)
{
    prove_value value;
    if (block.bytes == 0)
        return C4_OK;
    C4_TRY(output_value(run, end, block, &value));
    prove_tree leaf = prove_leaf(&run->forest, source);
    if (value.npieces != 1 || value.pieces[0].tree != leaf || value.pieces[0].origin != origin)
        return prove_refuse(run, end, "output [%llu, +%llu) is not rank %d's input from %llu",
                            (unsigned long long)block.offset, (unsigned long long)block.bytes, source,
                            (unsigned long long)origin);
    return C4_OK;
}

/* The left fold in rank order, in hops of C4_FOLD_SOURCES. */
static prove_tree rank_order_tree(prove_run *run)
{
    const char *why;
    prove_tree trees[C4_FOLD_SOURCES], tree = 0;
    for (int next = 0; next < run->nranks;) {
        uint32_t k = 0;
        if (next)
            trees[k++] = tree;
        while (k < C4_FOLD_SOURCES && next < run->nranks)
            trees[k++] = prove_leaf(&run->forest, next++);
        tree = k == 1 ? trees[0] : prove_fold(&run->forest, trees, k, &why);
    }
    return prove_final(&run->forest, tree, &why);
}

static c4_status expect_reduction(prove_run *run, const prove_lane *end, c4_span block, uint64_t origin)
{
    prove_value value;
    if (block.bytes == 0)
        return C4_OK;
    C4_TRY(output_value(run, end, block, &value));
    bool fixed = run->queries[0].deterministic;
    for (uint32_t i = 0; i < value.npieces; i++) {
        const prove_piece *piece = &value.pieces[i];
        const prove_node *node = &run->forest.nodes[piece->tree];
        if (piece->tree == 0 || !(node->final || run->nranks == 1) || !prove_complete(&run->forest, piece->tree))
            return prove_refuse(run, end, "output from %llu on: undefined, not final or without some rank",
                                (unsigned long long)block.offset + piece->begin);
        if (piece->origin != origin + piece->begin)
            return prove_refuse(run, end, "output from %llu on is the reduction of offset %llu",
                                (unsigned long long)block.offset + piece->begin, (unsigned long long)piece->origin);
        if (fixed && run->nranks > 1 && piece->tree != rank_order_tree(run))
            return prove_refuse(run, end, "deterministic call is not folded in rank order");
    }
    return C4_OK;
}

static c4_status expect_same_trees(prove_run *run, const prove_lane *end, c4_span block)
{
    prove_value mine, first;
    prove_span span;
    C4_TRY(output_value(run, end, block, &mine));
    c4_schedule zero = {.rank = 0};
    prove_lane rank0 = {.schedule = &zero};
    C4_TRY(output_span(run, &rank0, block, &span));
    if (!prove_region_value(span.region, span.begin, span.end, &first))
        return prove_no_memory(run);
    bool same = mine.npieces == first.npieces;
    for (uint32_t i = 0; same && i < mine.npieces; i++)
        same = mine.pieces[i].tree == first.pieces[i].tree && mine.pieces[i].end == first.pieces[i].end;
    return same ? C4_OK : prove_refuse(run, end, "expression trees differ from rank 0's");
}

static c4_status check_values(prove_run *run, const prove_lane *end)
{
    const c4_query *q = &run->queries[end->schedule->rank];
    int n = q->nranks;
    if (c4_query_output_bytes(q) == 0)
        return C4_OK;
    switch (q->kind) {
    case C4_KIND_RECV:
    case C4_KIND_BROADCAST:
        return expect_copy(run, end, c4_query_output_block(q, 0), q->root, 0);
    case C4_KIND_SCATTER:
    case C4_KIND_SCATTER_V:
        return expect_copy(run, end, c4_query_output_block(q, 0), q->root,
                           c4_query_input_block(&run->queries[q->root], q->rank).offset);
    case C4_KIND_ALL_REDUCE:
    case C4_KIND_REDUCE:
    case C4_KIND_REDUCE_SCATTER:
    case C4_KIND_REDUCE_SCATTER_V: {
        bool scatters = q->kind == C4_KIND_REDUCE_SCATTER || q->kind == C4_KIND_REDUCE_SCATTER_V;
        c4_span block = c4_query_output_block(q, 0);
        C4_TRY(expect_reduction(run, end, block, scatters ? c4_query_input_block(q, q->rank).offset : 0));
        return q->kind == C4_KIND_ALL_REDUCE && block.bytes ? expect_same_trees(run, end, block) : C4_OK;
    }
    default:
        break;
    }
    bool all_to_all = q->kind == C4_KIND_ALL_TO_ALL || q->kind == C4_KIND_ALL_TO_ALL_V;
    for (int p = 0; p < n; p++) {
        uint64_t origin = all_to_all ? c4_query_input_block(&run->queries[p], q->rank).offset : 0;
        C4_TRY(expect_copy(run, end, c4_query_output_block(q, p), p, origin));
    }
    return C4_OK;
}

/* Bytes of the output blocks within [begin, end). */
static uint64_t covered(const c4_query *q, uint64_t begin, uint64_t end)
{
    uint64_t bytes = 0;
    int nblocks = c4_kind_gathers(q->kind) ? q->nranks : 1;
    for (int p = 0; p < nblocks; p++) {
        c4_span block = c4_query_output_block(q, p);
        uint64_t low = block.offset > begin ? block.offset : begin;
        uint64_t high = c4_min_bytes(block.offset + block.bytes, end);
        bytes += high > low ? high - low : 0;
    }
    return bytes;
}

/* Written bytes lie in output blocks; direct accesses of peers are over. */
static c4_status check_region(prove_run *run, const prove_lane *end, const prove_region *region, uint64_t base)
{
    const c4_query *q = &run->queries[end->schedule->rank];
    for (uint32_t i = 0; i < region->ncells; i++) {
        const prove_cell *cell = &region->cells[i];
        bool written = cell->write.lane != PROVE_NO_LANE;
        if (written &&
            (cell->begin < base || covered(q, cell->begin - base, cell->end - base) != cell->end - cell->begin))
            return prove_refuse(run, end, "writes [%llu, %llu), which is not output", (unsigned long long)cell->begin,
                                (unsigned long long)cell->end);
        if (written && cell->write.remote && !prove_happened(run, cell->write, end))
            return prove_refuse(run, end, "may return while a peer writes its buffer");
        for (uint32_t r = 0; r < cell->nreads; r++)
            if (cell->reads[r].remote && !prove_happened(run, cell->reads[r], end))
                return prove_refuse(run, end, "may return while a peer reads its buffer");
    }
    return C4_OK;
}

/* Clock of the rank's end: all its lanes joined. */
static c4_status end_of_rank(prove_run *run, int rank, prove_lane *end)
{
    const c4_schedule *s = run->schedules[rank];
    uint32_t first = run->ranks[rank].first_lane;
    uint16_t *clock = prove_alloc(&run->arena, (run->nlanes + 1) * sizeof *clock);
    if (!clock)
        return prove_no_memory(run);
    memset(clock, 0, (run->nlanes + 1) * sizeof *clock);
    for (uint32_t l = first; l < first + s->nlanes; l++) {
        for (uint32_t i = 0; i < run->nlanes; i++)
            clock[i] = run->lanes[l].clock[i] > clock[i] ? run->lanes[l].clock[i] : clock[i];
        clock[l] = (uint16_t)run->lanes[l].count;
    }
    /* A lane number of its own, so that nothing counts as "the same lane". */
    *end = (prove_lane){.schedule = s, .lane = PROVE_NO_LANE, .first = first, .clock = clock};
    return C4_OK;
}

static c4_status check_barrier(prove_run *run, const prove_lane *end)
{
    for (int p = 0; p < run->nranks; p++) {
        const prove_rank *rank = &run->ranks[p];
        bool heard = p == end->schedule->rank;
        for (uint32_t l = 0; l < run->schedules[p]->nlanes; l++)
            heard |= end->clock[rank->first_lane + l] > 0;
        if (!heard)
            return prove_refuse(run, end, "leaves the barrier without having heard of rank %d", p);
    }
    return C4_OK;
}

c4_status prove_outputs(prove_run *run)
{
    for (int rank = 0; rank < run->nranks; rank++) {
        const c4_query *q = &run->queries[rank];
        prove_lane *end = &run->lanes[run->nlanes]; /* the spare one */
        C4_TRY(end_of_rank(run, rank, end));
        C4_TRY(check_values(run, end));
        const prove_rank *r = &run->ranks[rank];
        C4_TRY(check_region(run, end, &r->regions[PROVE_SEND], r->inside ? r->alias_offset : 0));
        C4_TRY(check_region(run, end, &r->regions[PROVE_RECV], 0));
        if (q->kind == C4_KIND_BARRIER)
            C4_TRY(check_barrier(run, end));
    }
    return C4_OK;
}
