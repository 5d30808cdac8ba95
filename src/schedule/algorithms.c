#include "schedule/algorithms.h"

#include <string.h>

#include "schedule/builders.h"
#include "schedule/cost.h"
#include "schedule/kinds.h"

#define KIND(name) C4_KIND_BIT(C4_KIND_##name)
#define ALL_KINDS  (C4_KIND_BIT(C4_NKINDS) - 1)

const c4_algorithm c4_algorithms[] = {
    {"direct", ALL_KINDS, c4_direct_restrict, c4_direct_build, c4_cost_direct,
     "everybody sends to everybody once, folds in rank order: a + (n-1) S (b + g)"},
    {"rsag", KIND(ALL_REDUCE), c4_rsag_restrict, c4_rsag_build, c4_cost_rsag,
     "direct reduce-scatter and all-gather, overlapped: 2 a + 2 (n-1)/n S b + (n-1)/n S g"},
    {"ring",
     KIND(ALL_REDUCE) | KIND(REDUCE_SCATTER) | KIND(ALL_GATHER) | KIND(ALL_GATHER_V) | KIND(BROADCAST) | KIND(REDUCE),
     c4_ring_restrict, c4_ring_build, c4_cost_ring,
     "two neighbours, least bytes: 2 (n-1) a + 2 (n-1)/n S b + (n-1)/n S g"},
    {"rhd", KIND(ALL_REDUCE), c4_rhd_restrict, c4_rhd_build, c4_cost_rhd,
     "recursive halving and doubling: 2 log n a + 2 (n-1)/n S b + (n-1)/n S g; short: log n (a + S (b + g))"},
    {"tree", KIND(ALL_REDUCE) | KIND(BROADCAST) | KIND(REDUCE), c4_tree_restrict, c4_tree_build, c4_cost_tree,
     "two pipelined binary trees: 2 log n a + 2 S b + S g"},
    {"bruck", KIND(ALL_GATHER) | KIND(ALL_TO_ALL) | KIND(BARRIER), c4_bruck_restrict, c4_bruck_build, c4_cost_bruck,
     "distances 1, 2, 4, ...: log n a + (n-1) B b; all_to_all of small blocks, barrier by dissemination"},
    {"pairwise", KIND(ALL_TO_ALL) | KIND(ALL_TO_ALL_V) | KIND(REDUCE_SCATTER) | KIND(REDUCE_SCATTER_V),
     c4_pairwise_restrict, c4_pairwise_build, c4_cost_pairwise, "one peer at a time: (n-1) (a + B b)"},
    {"mapped", KIND(ALL_REDUCE) | KIND(REDUCE_SCATTER) | KIND(ALL_GATHER) | KIND(BROADCAST) | KIND(ALL_TO_ALL),
     c4_mapped_restrict, c4_mapped_build, c4_cost_mapped,
     "peers' buffers read and written in place, with a copying fallback: 2 a + memory traffic of input and output"},
    {"hierarchical",
     KIND(ALL_REDUCE) | KIND(REDUCE_SCATTER) | KIND(ALL_GATHER) | KIND(BROADCAST) | KIND(REDUCE) | KIND(BARRIER),
     c4_hierarchical_restrict, c4_hierarchical_build, c4_cost_hierarchical,
     "within hosts, between hosts, within hosts: 2 (H-1)/(H m) S b_remote per rank, H hosts of m ranks"},
};

const int c4_nalgorithms = sizeof c4_algorithms / sizeof c4_algorithms[0];

int c4_algorithm_find(const char *name)
{
    for (int i = 0; i < c4_nalgorithms; i++)
        if (strcmp(c4_algorithms[i].name, name) == 0)
            return i;
    return -1;
}
