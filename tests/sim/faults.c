/* From a seed to a job and its faults. */
#include <stdio.h>

#include "tests/sim/clock.h"
#include "tests/sim/sim.h"

static const char *const names[SIM_NFAULTS] = {"kill",      "stop",      "stall",     "partition",
                                               "slow path", "link loss", "duplicate", "no memory"};

const char *sim_fault_name(sim_fault_kind kind)
{
    return names[kind];
}

static uint64_t between(c4_rng *rng, uint64_t lo, uint64_t hi)
{
    return lo + c4_rng_below(rng, hi - lo);
}

/* Shorter than a silence that is named, shorter than one that ends a rank, or longer. */
static uint64_t pause_ns(c4_rng *rng)
{
    switch (c4_rng_below(rng, 3)) {
    case 0:
        return between(rng, 20 * SIM_MS, 4 * SIM_S);
    case 1:
        return between(rng, 6 * SIM_S, 22 * SIM_S);
    default:
        return between(rng, 40 * SIM_S, 60 * SIM_S);
    }
}

static bool is_long(const sim_fault *f)
{
    return f->for_ns > SIM_SILENT_NS - 2 * SIM_S;
}

static void fault_make(const sim_plan *plan, c4_rng *rng, sim_fault *f)
{
    int n = plan->nnodes;
    *f = (sim_fault){.kind = (sim_fault_kind)c4_rng_below(rng, SIM_NFAULTS),
                     .at_ns = between(rng, SIM_S, 5 * SIM_S),
                     .node = (int)c4_rng_below(rng, (uint64_t)n),
                     .nth = (unsigned)between(rng, 1, 40)};
    f->other = (f->node + 1 + (int)c4_rng_below(rng, (uint64_t)(n - 1))) % n;
    f->for_ns = pause_ns(rng);
    if (f->kind == SIM_STALL)
        f->for_ns = between(rng, 10 * SIM_MS, 800 * SIM_MS);
    if (f->kind == SIM_PARTITION)
        f->node = (int)between(rng, 1, (1u << n) - 1);
    if (f->kind == SIM_LINK_LOSS && n < 5)
        f->kind = SIM_SLOW_PATH; /* too few ways round a lost link */
}

void sim_plan_make(sim_plan *plan, uint64_t seed)
{
    c4_rng rng = {seed * 0xd1342543de82ef95u + 1};
    *plan = (sim_plan){.seed = seed,
                       .nnodes = (int)between(&rng, 2, 9),
                       .one_host = c4_rng_below(&rng, 2),
                       .posted = c4_rng_below(&rng, 2),
                       .ncalls = (unsigned)between(&rng, 10, 60),
                       .overlap = (unsigned)between(&rng, 1, SIM_OVERLAP + 1),
                       .nfaults = (int)c4_rng_below(&rng, SIM_MAX_FAULTS)};
    for (int i = 0; i < plan->nfaults; i++)
        fault_make(plan, &rng, &plan->faults[i]);
    for (int i = 0; i < plan->nfaults; i++) {
        sim_fault_kind kind = plan->faults[i].kind;
        if (kind == SIM_PARTITION || kind == SIM_LINK_LOSS) /* does not happen within a host */
            plan->one_host = false;
    }
}

void sim_plan_print(const sim_plan *plan)
{
    printf("seed %llu: %d ranks, %s, %s, %u calls, %u at a time\n", (unsigned long long)plan->seed, plan->nnodes,
           plan->one_host ? "one host" : "a host each", plan->posted ? "posted frames" : "windows", plan->ncalls,
           plan->overlap);
    for (int i = 0; i < plan->nfaults; i++) {
        const sim_fault *f = &plan->faults[i];
        printf("  %.6f s: %s, node %d, other %d, for %.3f s, allocation %u\n", (double)f->at_ns * 1e-9, names[f->kind],
               f->node, f->other, (double)f->for_ns * 1e-9, f->nth);
    }
}

/* ---- doing it ---- */

/* Several silences may add up. */
static void may_die(sim *job, int node)
{
    job->may_die[node] = true;
    job->lethal = true;
}

static void sleep_for(sim *job, int node, uint64_t ns)
{
    uint64_t *until = &job->net.asleep_until_ns[node];
    if (*until != SIM_NEVER && *until < sim_clock_ns + ns)
        *until = sim_clock_ns + ns;
}

static void cut_or_join(sim *job, const sim_fault *f, bool cut)
{
    for (int a = 0; a < job->plan.nnodes; a++)
        for (int b = 0; b < job->plan.nnodes; b++) {
            if ((f->node >> a & 1) == (f->node >> b & 1))
                continue;
            if (cut)
                sim_net_cut(&job->net, a, b);
            else
                sim_net_join(&job->net, a, b, 200 * SIM_MS);
        }
}

static void on_join(void *context, int world, int index, const void *payload, size_t bytes)
{
    sim *job = context;
    (void)world, (void)payload, (void)bytes;
    cut_or_join(job, &job->plan.faults[index], false);
}

static void on_path_normal(void *context, int world, int index, const void *payload, size_t bytes)
{
    sim *job = context;
    const sim_fault *f = &job->plan.faults[index];
    (void)world, (void)payload, (void)bytes;
    job->net.paths[f->node][f->other].slow_ns = 0;
}

static void kill_node(sim *job, int node)
{
    if (job->nodes[node].state >= SIM_DONE || job->killed[node])
        return;
    job->killed[node] = true;
    job->killed_ns[node] = sim_clock_ns;
    job->lethal = true;
    sim_node_end(&job->nodes[node], false);
}

static void partition(sim *job, const sim_fault *f, int index)
{
    for (int i = 0; is_long(f) && i < job->plan.nnodes; i++)
        may_die(job, i);
    for (int i = 0; i < SIM_MAX_NODES; i++) /* who is cut off and has lost a link cannot ask for a second opinion */
        if (job->lost_link[i])
            may_die(job, i);
    cut_or_join(job, f, true);
    sim_net_at(&job->net, sim_clock_ns + f->for_ns, on_join, job, -1, index);
}

static void lose_link(sim *job, const sim_fault *f)
{
    if (!job->nodes[f->node].links[f->other] || job->nodes[f->node].state >= SIM_DONE ||
        job->nodes[f->other].state >= SIM_DONE)
        return;
    for (int i = 0; i < job->plan.nnodes; i++) /* cut off from others, which cannot be asked for a second opinion */
        if (job->net.paths[f->node][i].cut_ns || job->net.paths[f->other][i].cut_ns) {
            may_die(job, f->node);
            may_die(job, f->other);
        }
    job->lost_link[f->node] = job->lost_link[f->other] = true;
    sim_shell_lose_link(job, f->node, f->other);
}

static void on_fault(void *context, int world, int index, const void *payload, size_t bytes)
{
    sim *job = context;
    const sim_fault *f = &job->plan.faults[index];
    (void)world, (void)payload, (void)bytes;
    switch (f->kind) {
    case SIM_KILL:
        kill_node(job, f->node);
        break;
    case SIM_STOP:
    case SIM_STALL:
        if (is_long(f))
            may_die(job, f->node);
        sleep_for(job, f->node, f->for_ns);
        break;
    case SIM_PARTITION:
        partition(job, f, index);
        break;
    case SIM_SLOW_PATH:
        job->net.paths[f->node][f->other].slow_ns = 20 * SIM_MS;
        sim_net_at(&job->net, sim_clock_ns + f->for_ns, on_path_normal, job, -1, index);
        break;
    case SIM_LINK_LOSS:
        lose_link(job, f);
        break;
    case SIM_DUPLICATE:
        job->duplicate_until_ns = sim_clock_ns + f->for_ns;
        break;
    case SIM_NO_MEMORY:
        job->lethal = true;
        job->nodes[f->node].fail_nth = f->nth;
        break;
    default:
        break;
    }
}

void sim_faults_start(sim *job)
{
    for (int i = 0; i < job->plan.nfaults; i++)
        sim_net_at(&job->net, job->plan.faults[i].at_ns, on_fault, job, -1, i);
}
