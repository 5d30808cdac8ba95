/* One simulated rank: goes through the script on its communicator; when that fails, agrees with the others on who is left
 * and goes on with them from the first call that not all have finished. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "tests/sim/clock.h"
#include "tests/sim/memory.h"
#include "tests/sim/sim.h"

static script_group group_of(const sim_node *node)
{
    return (script_group){node->members, node->nmembers};
}

static uint64_t below(sim_node *node, uint64_t bound)
{
    return c4_rng_below(&node->job->net.rng, bound);
}

/* ---- communicator ---- */

static uint64_t identity(const sim_node *node)
{
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, &node->job->plan.seed, sizeof(uint64_t));
    hash = c4_hash_bytes(hash, &node->epoch, sizeof node->epoch);
    return c4_hash_bytes(hash, node->members, (size_t)node->nmembers * sizeof(int));
}

static void engine_open(sim_node *node)
{
    sim_host_init(&node->host, &node->job->wire, identity(node), node->rank, node->members, node->nmembers);
    node->rail = (c4_rail){.ops = &sim_wire_ops, .caps = {.struct_size = sizeof node->rail.caps}};
    node->layout = (c4_layout){node->nmembers, node->host_of, 1};
    c4_record_writer_open(NULL, node->comm, (uint16_t)node->epoch, node->rank, node->nmembers, 1, "sim", &node->writer);
    c4_status status = sim_wire_ops.open(&node->host.host, &node->rail.module);
    if (status == C4_OK)
        status = sim_wire_ops.caps(node->rail.module, &node->rail.caps);
    const c4_transport_caps *caps = &node->rail.caps;
    c4_link_class link = {.latency_s = caps->latency_s,
                          .seconds_per_byte = caps->seconds_per_byte,
                          .reduce_seconds_per_byte = 1e-10,
                          .windows = (caps->flags & C4_CAP_WINDOWS) != 0,
                          .max_readers = caps->max_readers,
                          .max_frame_bytes = caps->max_frame_bytes};
    node->cost =
        (c4_cost_params){.local = link, .remote = link, .step_s = 5e-9, .ranks_per_core = 1, .cache_bytes = 1 << 25};
    c4_engine_spec spec = {.rank = node->rank,
                           .nranks = node->nmembers,
                           .comm_id = node->comm,
                           .epoch = (uint16_t)node->epoch,
                           .layout = &node->layout,
                           .cost = &node->cost,
                           .rails = &node->rail,
                           .nrails = 1,
                           .rail_of = node->rail_of,
                           .writer = &node->writer,
                           .cpu_level = C4_CPU_SCALAR,
                           .wait = {.spin_polls = 1, .yield_ns = 1},
                           .forced_algorithm = -1};
    if (status == C4_OK)
        status = c4_engine_create(&spec, &node->engine);
    if (status < 0)
        sim_wrong(node->job, node->id, "no engine: %s", c4_fail_text());
}

void sim_node_fault(sim_node *node, c4_status status, int rank, const char *text)
{
    for (int member = 0; node->engine && member < node->nmembers; member++) {
        if (node->members[member] != rank)
            continue;
        node->heard = true;
        c4_engine_fault(node->engine, status, member, text);
        sim_node_wake(node->job, node->id);
    }
}

static void comm_open(sim_node *node)
{
    node->comm = 100 + node->epoch;
    node->heard = node->reported = node->decided = false;
    node->rank = 0;
    while (node->members[node->rank] != node->id)
        node->rank++;
    engine_open(node);
    if (c4_core_agree_create(node->core, node->comm, node->members, node->nmembers, &node->agree) != C4_OK)
        sim_wrong(node->job, node->id, "no agreement");
    for (int i = 0; i < node->nmembers; i++)
        if (node->told_ns[node->members[i]])
            sim_node_fault(node, C4_ERR_PEER_DEAD, node->members[i], "died before");
    for (int k = 0; k < SIM_KEPT_REPORTS; k++)
        if (node->kept[k].comm == node->comm)
            sim_node_fault(node, node->kept[k].status, node->kept[k].rank, "reported before");
}

static void comm_close(sim_node *node)
{
    c4_engine_fault(node->engine, C4_ERR_ABORTED, node->rank, "the communicator is closed");
    c4_engine_progress(node->engine);
    for (int i = 0; i < SIM_OVERLAP; i++)
        if (node->ops[i] && c4_operation_done(node->ops[i]))
            c4_engine_finish(node->engine, node->ops[i]);
    memset(node->ops, 0, sizeof node->ops);
    c4_engine_destroy(node->engine);
    c4_record_writer_close(&node->writer, C4_OK);
    node->engine = NULL;
    c4_core_agree_destroy(node->core, node->agree);
    node->agree = NULL;
}

/* ---- after a failure ---- */

static void on_agree(void *context, int id, int other, const void *payload, size_t bytes)
{
    sim_node *node = &((sim *)context)->nodes[id];
    (void)other, (void)payload, (void)bytes;
    if (node->state != SIM_AGREEING || node->decided)
        return;
    const c4_control_proposal mine = {.tag = 1, .value = UINT64_MAX, .minimum = node->finished, .timeout_ms = 600000};
    c4_core_agree_begin(node->core, node->agree, &mine, sim_clock_ns);
    sim_shell_tick(node);
}

static void fail(sim_node *node, c4_status status)
{
    const char *text;
    c4_status fault = c4_engine_status(node->engine, &text);
    if (!node->heard && !node->reported) {
        c4_control_fault report = {.status = status};
        snprintf(report.text, sizeof report.text, "node %d: %s", node->id, c4_fail_text());
        node->reported = true;
        c4_core_report(node->core, node->comm, &report);
        c4_engine_fault(node->engine, status, node->rank, report.text);
        sim_shell_tick(node);
    }
    if (!node->job->lethal)
        sim_wrong(node->job, node->id, "failed without cause: %s", fault ? text : c4_fail_text());
    node->state = SIM_AGREEING;
    sim_net_at(&node->job->net, sim_clock_ns + SIM_MS + below(node, 20 * SIM_MS), on_agree, node->job, node->id, -1);
}

/* With those whom the decision calls alive. */
static void go_on(sim_node *node)
{
    const c4_core_proposal *p = c4_core_agree_decision(node->agree);
    int members[SIM_MAX_NODES], n = 0;
    bool in = false;
    for (int i = 0; p && i < node->nmembers; i++) { /* no decision: the others have given this rank up */
        if (p->dead[i / 8] >> (i % 8) & 1)
            continue;
        in |= node->members[i] == node->id;
        members[n++] = node->members[i];
    }
    if (!in) {
        node->state = SIM_LEFT_OUT;
        return;
    }
    unsigned from = (unsigned)p->minimum;
    c4_core_leave(node->core, node->comm, sim_clock_ns);
    comm_close(node);
    memcpy(node->members, members, sizeof members);
    node->nmembers = n;
    node->epoch++;
    node->shrinks++;
    node->started = node->finished = from;
    node->state = SIM_RUNNING;
    comm_open(node);
}

/* ---- the script ---- */

static void on_wake(void *context, int id, int other, const void *payload, size_t bytes);

/* A waiting call looks up now and then also when nothing arrives. */
static void on_look(void *context, int id, int other, const void *payload, size_t bytes)
{
    ((sim *)context)->nodes[id].looking = false;
    on_wake(context, id, other, payload, bytes);
}

static void on_pause_over(void *context, int id, int other, const void *payload, size_t bytes)
{
    ((sim *)context)->nodes[id].pausing = false;
    on_wake(context, id, other, payload, bytes);
}

/* "Computes" before the next call. */
static void pause(sim_node *node)
{
    uint64_t ns = below(node, 4) ? below(node, 3 * SIM_MS) : below(node, 400 * SIM_MS);
    node->pausing = true;
    sim_net_at(&node->job->net, sim_clock_ns + ns, on_pause_over, node->job, node->id, -1);
}

static c4_status start_next(sim_node *node)
{
    unsigned slot = node->started % SIM_OVERLAP;
    script_group group = group_of(node);
    script_prepare(&node->calls[slot], node->job->plan.seed, node->started, &group, node->rank);
    C4_TRY(c4_engine_prepare(node->engine, &node->calls[slot].call, &node->ops[slot]));
    c4_engine_start(node->engine, node->ops[slot]);
    node->started++;
    return C4_OK;
}

static c4_status finish_first(sim_node *node)
{
    unsigned slot = node->finished % SIM_OVERLAP;
    script_group group = group_of(node);
    c4_status status = c4_engine_finish(node->engine, node->ops[slot]);
    node->ops[slot] = NULL;
    if (status < 0)
        return status;
    int wrong = script_check(&node->calls[slot], &group);
    if (wrong)
        sim_wrong(node->job, node->id, "%d wrong elements in call %u (%s)", wrong, node->finished,
                  c4_kind_name(node->calls[slot].call.kind));
    node->finished++;
    node->job->completed++;
    return C4_OK;
}

/* As far as it goes. C4_IN_PROGRESS, or what ended it. */
static c4_status run(sim_node *node)
{
    const sim_plan *plan = &node->job->plan;
    bool moved = true;
    while (moved) {
        moved = c4_engine_progress(node->engine);
        while (node->finished < node->started && c4_operation_done(node->ops[node->finished % SIM_OVERLAP])) {
            C4_TRY(finish_first(node));
            moved = true;
        }
        bool may_start = node->started < plan->ncalls && node->started - node->finished < plan->overlap;
        if (may_start && !node->pausing) {
            C4_TRY(start_next(node));
            pause(node);
            moved = true;
        }
    }
    return C4_IN_PROGRESS;
}

static void on_exit_time(void *context, int id, int other, const void *payload, size_t bytes)
{
    sim_node *node = &((sim *)context)->nodes[id];
    (void)other, (void)payload, (void)bytes;
    sim_node_end(node, true);
}

static void done(sim_node *node)
{
    node->state = SIM_DONE;
    c4_core_leave(node->core, 0, sim_clock_ns);
    sim_shell_tick(node);
    sim_net_at(&node->job->net, sim_clock_ns + 300 * SIM_MS, on_exit_time, node->job, node->id, -1);
}

static void on_wake(void *context, int id, int other, const void *payload, size_t bytes)
{
    sim_node *node = &((sim *)context)->nodes[id];
    (void)other, (void)payload, (void)bytes;
    if (node->state == SIM_AGREEING && node->decided)
        go_on(node);
    if (node->state != SIM_RUNNING)
        return;
    c4_status fault = c4_engine_status(node->engine, NULL);
    sim_memory_fail(node->fail_nth);
    c4_status status = fault < 0 ? fault : run(node);
    if (sim_memory_failed())
        node->fail_nth = 0;
    sim_memory_fail(0);
    if (status < 0)
        fail(node, status);
    else if (node->finished == node->job->plan.ncalls)
        done(node);
    else if (node->started > node->finished && !node->looking) {
        node->looking = true;
        sim_net_at(&node->job->net, sim_clock_ns + 250 * SIM_MS, on_look, node->job, id, -1);
    }
}

void sim_node_wake(sim *job, int node)
{
    sim_net_at(&job->net, sim_clock_ns, on_wake, job, node, -1);
}

/* ---- life ---- */

void sim_node_open(sim_node *node)
{
    for (int i = 0; i < node->job->plan.nnodes; i++)
        node->members[i] = i;
    node->nmembers = node->job->plan.nnodes;
    sim_shell_open(node);
    comm_open(node);
    sim_node_wake(node->job, node->id);
}

void sim_node_end(sim_node *node, bool clean)
{
    sim *job = node->job;
    if (job->net.asleep_until_ns[node->id] == SIM_NEVER)
        return;
    sim_shell_ended(node, clean);
    job->net.asleep_until_ns[node->id] = SIM_NEVER;
    if (!clean)
        node->state = SIM_DEAD;
}

void sim_node_close(sim_node *node)
{
    if (node->engine)
        comm_close(node);
    sim_shell_close(node);
    for (int i = 0; i < SIM_OVERLAP; i++)
        script_free(&node->calls[i]);
}
