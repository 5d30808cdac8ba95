#include "tests/sim/net.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/clock.h"
#include "tests/sim/memory.h"

void sim_net_init(sim_net *net, uint64_t seed, int nnodes)
{
    *net = (sim_net){.nnodes = nnodes, .delay_lo_ns = 5 * SIM_US, .delay_hi_ns = 200 * SIM_US};
    net->rng = (c4_rng){seed};
    for (int a = 0; a < SIM_MAX_NODES; a++)
        for (int b = 0; b < SIM_MAX_NODES; b++)
            net->paths[a][b].tail = &net->paths[a][b].first;
    sim_clock_ns = SIM_S;
}

void sim_net_fini(sim_net *net)
{
    for (size_t i = 0; i < net->nevents; i++)
        free(net->events[i].payload);
    for (int a = 0; a < SIM_MAX_NODES; a++)
        for (int b = 0; b < SIM_MAX_NODES; b++)
            for (sim_held *held = net->paths[a][b].first; held;) {
                sim_held *next = held->next;
                free(held->event.payload);
                free(held);
                held = next;
            }
    free(net->events);
    sim_clock_ns = 0;
}

/* ---- calendar ---- */

static bool before(const sim_event *a, const sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static void push(sim_net *net, sim_event event)
{
    if (net->nevents == net->capacity) {
        net->capacity = net->capacity ? 2 * net->capacity : 256;
        net->events = sim_memory_get(net->events, net->capacity * sizeof *net->events);
    }
    event.number = net->number++;
    size_t at = net->nevents++;
    for (; at > 0 && before(&event, &net->events[(at - 1) / 2]); at = (at - 1) / 2)
        net->events[at] = net->events[(at - 1) / 2];
    net->events[at] = event;
}

static sim_event pop(sim_net *net)
{
    sim_event first = net->events[0], last = net->events[--net->nevents];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < net->nevents && before(&net->events[child + 1], &net->events[child]))
            child++;
        if (child >= net->nevents || !before(&net->events[child], &last))
            break;
        net->events[at] = net->events[child];
        at = child;
    }
    net->events[at] = last;
    return first;
}

void sim_net_at(sim_net *net, uint64_t at_ns, sim_event_fn run, void *context, int node, int other)
{
    push(net, (sim_event){.at_ns = at_ns, .run = run, .context = context, .node = node, .other = other});
}

bool sim_net_step(sim_net *net, uint64_t until_ns)
{
    if (net->nevents == 0 || net->events[0].at_ns > until_ns) {
        sim_clock_ns = until_ns;
        return false;
    }
    sim_event event = pop(net);
    sim_clock_ns = event.at_ns;
    uint64_t wakes_ns = event.node < 0 ? 0 : net->asleep_until_ns[event.node];
    if (wakes_ns == SIM_NEVER) {
        free(event.payload);
    } else if (wakes_ns > sim_clock_ns) {
        event.at_ns = wakes_ns;
        push(net, event);
    } else {
        event.run(event.context, event.node, event.other, event.payload, event.bytes);
        free(event.payload);
    }
    return true;
}

/* ---- paths ---- */

static void arrive(sim_net *net, sim_path *path, sim_event event, uint64_t sent_ns)
{
    uint64_t delay = net->delay_lo_ns + c4_rng_below(&net->rng, net->delay_hi_ns - net->delay_lo_ns) + path->slow_ns;
    event.at_ns = sent_ns + delay > path->last_ns ? sent_ns + delay : path->last_ns;
    path->last_ns = event.at_ns;
    push(net, event);
}

void sim_net_send(sim_net *net, int from, int to, sim_event_fn run, void *context, const void *payload, size_t bytes)
{
    sim_path *path = &net->paths[from][to];
    sim_event event = {.run = run, .context = context, .node = to, .other = from, .bytes = bytes};
    net->sent++;
    if (bytes) {
        event.payload = sim_memory_get(NULL, bytes);
        memcpy(event.payload, payload, bytes);
    }
    if (!path->cut_ns) {
        arrive(net, path, event, sim_clock_ns);
        return;
    }
    sim_held *held = sim_memory_get(NULL, sizeof *held);
    *held = (sim_held){.event = event};
    *path->tail = held;
    path->tail = &held->next;
}

void sim_net_cut(sim_net *net, int from, int to)
{
    if (!net->paths[from][to].cut_ns)
        net->paths[from][to].cut_ns = sim_clock_ns;
}

void sim_net_join(sim_net *net, int from, int to, uint64_t after_ns)
{
    sim_path *path = &net->paths[from][to];
    path->cut_ns = 0;
    for (sim_held *held = path->first; held;) {
        sim_held *next = held->next;
        arrive(net, path, held->event, sim_clock_ns + after_ns);
        free(held);
        held = next;
    }
    path->first = NULL;
    path->tail = &path->first;
}

uint64_t sim_net_cut_for(const sim_net *net, int from, int to)
{
    uint64_t since = net->paths[from][to].cut_ns;
    return since ? sim_clock_ns - since : 0;
}
