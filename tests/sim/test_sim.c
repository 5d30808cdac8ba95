/* Many seeds of simulated jobs. `--seed N` repeats one; `--long` runs 10,000. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { QUICK_SEEDS = 500, LONG_SEEDS = 10000 };

typedef struct tally {
    unsigned runs, wrong, faults[SIM_NFAULTS];
    unsigned long completed;
    uint64_t slowest_naming_ns;
} tally;

static void one(uint64_t seed, bool show, tally *all)
{
    static sim job;
    sim_plan plan;
    sim_plan_make(&plan, seed);
    if (show)
        sim_plan_print(&plan);
    bool bad = sim_run(&job, &plan) != 0;
    if (bad && !show)
        sim_plan_print(&plan);
    all->runs++;
    all->wrong += bad;
    all->completed += job.completed;
    for (int i = 0; i < plan.nfaults; i++)
        all->faults[plan.faults[i].kind]++;
    if (job.slowest_naming_ns > all->slowest_naming_ns)
        all->slowest_naming_ns = job.slowest_naming_ns;
    if (show)
        printf("%lu calls completed, %llu messages\n", job.completed, (unsigned long long)job.net.sent);
}

int main(int argc, char **argv)
{
    tally all = {0};
    uint64_t first = 1, seeds = QUICK_SEEDS;
    bool show = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            first = strtoull(argv[++i], NULL, 0);
            seeds = 1;
            show = true;
        } else if (strcmp(argv[i], "--long") == 0) {
            seeds = LONG_SEEDS;
        } else {
            printf("usage: test_sim [--long | --seed N]\n");
            return 2;
        }
    }
    for (uint64_t seed = first; seed < first + seeds; seed++)
        one(seed, show, &all);
    for (int kind = 0; kind < SIM_NFAULTS; kind++)
        printf("%-10s %u\n", sim_fault_name((sim_fault_kind)kind), all.faults[kind]);
    printf("%lu calls completed; slowest naming of a single death %.3f s\n", all.completed,
           (double)all.slowest_naming_ns * 1e-9);
    printf("%u seeds, %u of them wrong\n", all.runs, all.wrong);
    printf("test_sim: %d passed, %d failed, 0 skipped\n", all.wrong == 0, all.wrong != 0);
    return all.wrong != 0;
}
