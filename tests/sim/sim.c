#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/sim/clock.h"

/* After the last fault has passed, everything must be over within this. */
#define LIMIT_NS (600 * SIM_S)

void sim_wrong(sim *job, int node, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "seed %llu, %.6f s, node %d: ", (unsigned long long)job->plan.seed, (double)sim_clock_ns * 1e-9,
            node);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    job->wrong++;
}

static void wake(void *context, int node)
{
    sim_node_wake(context, node);
}

static bool all_over(const sim *job)
{
    for (int i = 0; i < job->plan.nnodes; i++)
        if (job->nodes[i].state < SIM_DONE)
            return false;
    return true;
}

static const char *const state_names[] = {"running", "agreeing", "done", "left out", "dead"};

static void tell_hang(sim *job, const sim_node *node)
{
    char others[SIM_MAX_NODES * 32];
    size_t used = 0;
    for (int i = 0; i < node->nmembers; i++) {
        const sim_node *other = &job->nodes[node->members[i]];
        used +=
            (size_t)snprintf(others + used, sizeof others - used, " %d:%s/%d/e%u", other->id, state_names[other->state],
                             (int)c4_core_rank_state(node->core, other->id), other->epoch);
    }
    const c4_call *call = &node->calls[node->finished % SIM_OVERLAP].call;
    sim_wrong(job, node->id, "hangs: %s, epoch %u, %u calls started, %u finished, next %s root %d, members%s",
              state_names[node->state], node->epoch, node->started, node->finished, c4_kind_name(call->kind),
              call->root, others);
}

static void check_end(sim *job)
{
    for (int i = 0; i < job->plan.nnodes; i++) {
        const sim_node *node = &job->nodes[i];
        if (node->state < SIM_DONE)
            tell_hang(job, node);
        if (node->state == SIM_LEFT_OUT && !job->may_die[i])
            sim_wrong(job, i, "was left out, and was well");
        if (!job->lethal && node->shrinks)
            sim_wrong(job, i, "shrank without need");
    }
}

/* A death is told within 1 s to all who were awake and reachable. */
static void check_naming(sim *job)
{
    for (int dead = 0; dead < job->plan.nnodes; dead++) {
        for (int i = 0; job->killed[dead] && i < job->plan.nnodes; i++) {
            const sim_node *node = &job->nodes[i];
            if (!node->told_ns[dead] || node->told_ns[dead] < job->killed_ns[dead] || job->plan.nfaults != 1)
                continue;
            uint64_t took_ns = node->told_ns[dead] - job->killed_ns[dead];
            if (took_ns > job->slowest_naming_ns)
                job->slowest_naming_ns = took_ns;
            if (took_ns > SIM_S)
                sim_wrong(job, i, "heard of the death of node %d after %.3f s", dead, (double)took_ns * 1e-9);
        }
    }
}

int sim_run(sim *job, const sim_plan *plan)
{
    *job = (sim){.plan = *plan, .wire = {.net = &job->net, .posted = plan->posted, .wake = wake, .wake_context = job}};
    c4_log_configure(C4_LOG_NONE, NULL);
    c4_tsc_hz(); /* measured by the real clock */
    sim_net_init(&job->net, plan->seed, plan->nnodes);
    for (int i = 0; i < plan->nnodes; i++) {
        job->nodes[i].job = job;
        job->nodes[i].id = i;
        sim_node_open(&job->nodes[i]);
    }
    sim_faults_start(job);
    while (!all_over(job) && job->wrong == 0 && sim_net_step(&job->net, LIMIT_NS))
        ;
    check_end(job);
    check_naming(job);
    for (int i = 0; i < plan->nnodes; i++)
        sim_node_close(&job->nodes[i]);
    sim_net_fini(&job->net);
    sim_wire_fini(&job->wire);
    return job->wrong;
}
