/* What surrounds a core: links that carry its messages, watched processes, a clock that ticks. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/clock.h"
#include "tests/sim/memory.h"
#include "tests/sim/sim.h"

typedef struct message {
    c4_control_header header;
    unsigned char payload[];
} message;

static sim_node *node_of(void *context, int node)
{
    return &((sim *)context)->nodes[node];
}

static void on_tick(void *context, int id, int other, const void *payload, size_t bytes)
{
    sim_node *node = node_of(context, id);
    (void)other, (void)payload, (void)bytes;
    node->tick_ns = SIM_NEVER;
    sim_shell_tick(node);
}

void sim_shell_tick(sim_node *node)
{
    if (!node->core)
        return;
    uint64_t next = c4_core_tick(node->core, sim_clock_ns);
    if (next < node->tick_ns) {
        node->tick_ns = next;
        sim_net_at(&node->job->net, next > sim_clock_ns ? next : sim_clock_ns + 1, on_tick, node->job, node->id, -1);
    }
    if (node->decided)
        sim_node_wake(node->job, node->id);
}

/* ---- links ---- */

static void on_message(void *context, int id, int from, const void *payload, size_t bytes)
{
    sim_node *node = node_of(context, id);
    const message *m = payload;
    (void)bytes;
    if (!node->core || !node->links[from])
        return;
    if (c4_core_message(node->core, from, &m->header, m->payload, sim_clock_ns) != C4_OK)
        sim_wrong(node->job, id, "refused a message of kind %d of node %d", (int)m->header.kind, from);
    sim_shell_tick(node);
}

static void on_link_down(void *context, int id, int from, const void *payload, size_t bytes)
{
    sim_node *node = node_of(context, id);
    (void)payload, (void)bytes;
    if (!node->core || !node->links[from])
        return;
    node->links[from] = false;
    c4_core_link_down(node->core, from, C4_LOSS_BREAK, node->job->plan.one_host, sim_clock_ns);
    sim_shell_tick(node);
}

static void on_process_end(void *context, int id, int from, const void *payload, size_t bytes)
{
    sim_node *node = node_of(context, id);
    const bool *clean = payload;
    (void)bytes;
    if (!node->core)
        return;
    c4_core_process_ended(node->core, from, *clean ? C4_END_CLEAN : C4_END_KILLED, sim_clock_ns);
    sim_shell_tick(node);
}

void sim_shell_lose_link(sim *job, int a, int b)
{
    sim_net_at(&job->net, sim_clock_ns, on_link_down, job, a, b);
    sim_net_at(&job->net, sim_clock_ns, on_link_down, job, b, a);
}

void sim_shell_ended(sim_node *node, bool clean)
{
    sim *job = node->job;
    for (int peer = 0; peer < job->plan.nnodes; peer++) {
        if (node->links[peer])
            sim_net_send(&job->net, node->id, peer, on_link_down, job, NULL, 0);
        if (peer != node->id && job->plan.one_host)
            sim_net_send(&job->net, node->id, peer, on_process_end, job, &clean, sizeof clean);
    }
}

/* ---- the core's table ---- */

static void send_message(void *shell, int neighbour, const c4_control_header *header, const void *payload)
{
    sim_node *node = shell;
    sim *job = node->job;
    unsigned char buffer[sizeof(message) + C4_CONTROL_MESSAGE_MAX_BYTES + 64];
    message *m = (message *)buffer;
    if (!node->links[neighbour])
        return;
    m->header = *header;
    if (header->bytes)
        memcpy(m->payload, payload, header->bytes);
    sim_net_send(&job->net, node->id, neighbour, on_message, job, m, sizeof *m + header->bytes);
    if (sim_clock_ns < job->duplicate_until_ns && c4_rng_below(&job->net.rng, 4) == 0)
        sim_net_send(&job->net, node->id, neighbour, on_message, job, m, sizeof *m + header->bytes);
}

static void close_link(void *shell, int neighbour)
{
    sim_node *node = shell;
    if (!node->links[neighbour])
        return;
    node->links[neighbour] = false;
    sim_net_send(&node->job->net, node->id, neighbour, on_link_down, node->job, NULL, 0);
}

static void describe(void *shell, int rank, bool silent, char *text, size_t bytes)
{
    const sim_node *node = shell;
    (void)silent;
    snprintf(text, bytes, "%s", node->job->killed[rank] ? "killed by signal 9 (Killed)" : "");
}

static void name(void *shell, int rank, char *text, size_t bytes)
{
    (void)shell;
    snprintf(text, bytes, "rank %d (simulated)", rank);
}

static void say(void *shell, bool error, const char *text)
{
    (void)shell, (void)error, (void)text;
}

static void died(void *shell, int rank, const c4_control_fault *fault)
{
    sim_node *node = shell;
    sim *job = node->job;
    if (node->told_ns[rank])
        sim_wrong(job, node->id, "was told twice that node %d died", rank);
    node->told_ns[rank] = sim_clock_ns;
    /* The goodbye of one that left among the last may find nobody left to bring it. */
    bool gone = job->nodes[rank].state == SIM_DONE && fault->status == C4_ERR_PEER_SILENT;
    if (!gone && !job->killed[rank] && !job->may_die[rank] && !job->may_die[node->id])
        sim_wrong(job, node->id, "called node %d dead, which is well: %s", rank, fault->text);
    sim_node_fault(node, fault->status, rank, fault->text);
}

static void left(void *shell, uint32_t comm, int rank)
{
    sim_node *node = shell;
    for (int member = 0; member < node->nmembers; member++)
        if (node->members[member] == rank && node->engine && (comm == 0 || comm == node->comm))
            c4_engine_peer_left(node->engine, member);
    sim_node_wake(node->job, node->id);
}

static void reported(void *shell, uint32_t comm, int rank, const c4_control_fault *fault)
{
    sim_node *node = shell;
    if (comm > node->comm) {
        unsigned slot = node->nkept++ % SIM_KEPT_REPORTS;
        node->kept[slot].comm = comm;
        node->kept[slot].rank = rank;
        node->kept[slot].status = fault->status;
    }
    if (comm == node->comm)
        sim_node_fault(node, fault->status, rank, fault->text);
}

static c4_control_answer question(void *shell, uint32_t comm, int asker, uint64_t sequence, const unsigned char *card,
                                  unsigned char *reply)
{
    (void)shell, (void)comm, (void)asker, (void)sequence, (void)card, (void)reply;
    return C4_ANSWER_UNKNOWN;
}

static void answered(void *shell, uint32_t comm, int rank, uint64_t sequence, c4_control_answer answer,
                     const unsigned char *reply)
{
    (void)shell, (void)comm, (void)rank, (void)sequence, (void)answer, (void)reply;
}

static void decided(void *shell, c4_core_agree *agree)
{
    sim_node *node = shell;
    if (agree == node->agree)
        node->decided = true;
}

static const c4_core_ops ops = {send_message, close_link, describe, name,     say,    died,
                                left,         reported,   question, answered, decided};

/* ---- life ---- */

/* As the bootstrap links them. */
static bool are_neighbours(const sim_plan *plan, int a, int b)
{
    int n = plan->nnodes, distance = (b - a + n) % n;
    if (a == b)
        return false;
    for (int step = 1; step < n; step *= 2)
        if (distance == step || n - distance == step)
            return true;
    return false;
}

void sim_shell_open(sim_node *node)
{
    sim *job = node->job;
    c4_core_spec spec = {node->id, job->plan.nnodes, SIM_HEARTBEAT_NS, SIM_SILENT_NS, &ops, node};
    node->tick_ns = SIM_NEVER;
    if (c4_core_create(&spec, sim_clock_ns, &node->core) != C4_OK)
        sim_wrong(job, node->id, "no core");
    for (int peer = 0; peer < job->plan.nnodes; peer++) {
        node->links[peer] = are_neighbours(&job->plan, node->id, peer);
        if (node->links[peer])
            c4_core_link_up(node->core, peer, sim_clock_ns);
    }
    sim_shell_tick(node);
}

void sim_shell_close(sim_node *node)
{
    if (node->agree)
        c4_core_agree_destroy(node->core, node->agree);
    node->agree = NULL;
    c4_core_destroy(node->core);
    node->core = NULL;
}
