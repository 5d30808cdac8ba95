#include "schedule/algorithms.h"

#include <string.h>

#include "schedule/builders.h"
#include "schedule/cost.h"
#include "schedule/kinds.h"

#define KIND(name) C4_KIND_BIT(C4_KIND_##name)
#define ALL_KINDS (C4_KIND_BIT(C4_NKINDS) - 1)

const c4_algorithm c4_algorithms[] = {
    {"direct", ALL_KINDS, c4_direct_restrict, c4_direct_build, c4_cost_direct,
     "everybody sends to everybody once, folds in rank order: a + (n-1) S (b + g)"},
    {"rsag", KIND(ALL_REDUCE), c4_rsag_restrict, c4_rsag_build, c4_cost_rsag,
     "direct reduce-scatter and all-gather, overlapped: 2 a + 2 (n-1)/n S b + (n-1)/n S g"},
};

const int c4_nalgorithms = sizeof c4_algorithms / sizeof c4_algorithms[0];

int c4_algorithm_find(const char *name)
{
    for (int i = 0; i < c4_nalgorithms; i++)
        if (strcmp(c4_algorithms[i].name, name) == 0)
            return i;
    return -1;
}
