#include "tests/sim/script.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/memory.h"

static const c4_kind kinds[] = {C4_KIND_ALL_REDUCE, C4_KIND_ALL_REDUCE, C4_KIND_REDUCE_SCATTER, C4_KIND_ALL_GATHER,
                                C4_KIND_BROADCAST,  C4_KIND_REDUCE,     C4_KIND_GATHER,         C4_KIND_SCATTER,
                                C4_KIND_ALL_TO_ALL, C4_KIND_BARRIER};
static const size_t counts[] = {0, 1, 3, 64, 500, SCRIPT_MAX_COUNT};

/* Small whole numbers: their sums are exact in any order. */
static float value(unsigned number, int node, size_t i)
{
    c4_rng rng = {number * 1000003u + (uint64_t)node * 7919u + i};
    return (float)(c4_rng_next(&rng) & 15);
}

static float sum(const script_call *made, const script_group *group, size_t i)
{
    float all = 0;
    for (int r = 0; r < group->nranks; r++)
        all += value(made->number, group->nodes[r], i);
    return all;
}

static void sizes(const script_call *made, int nranks, size_t *send, size_t *recv)
{
    size_t count = made->call.count, all = count * (size_t)nranks;
    bool root = made->call.root == made->rank;
    *send = *recv = count;
    switch (made->call.kind) {
    case C4_KIND_REDUCE_SCATTER:
        *send = all;
        break;
    case C4_KIND_ALL_GATHER:
        *recv = all;
        break;
    case C4_KIND_BROADCAST:
        *send = root ? count : 0;
        break;
    case C4_KIND_REDUCE:
        *recv = root ? count : 0;
        break;
    case C4_KIND_GATHER:
        *recv = root ? all : 0;
        break;
    case C4_KIND_SCATTER:
        *send = root ? all : 0;
        break;
    case C4_KIND_ALL_TO_ALL:
        *send = *recv = all;
        break;
    default:
        break;
    }
}

static float expected(const script_call *made, const script_group *group, size_t i)
{
    size_t count = made->call.count, block = (size_t)made->rank * count;
    const int *nodes = group->nodes;
    switch (made->call.kind) {
    case C4_KIND_REDUCE_SCATTER:
        return sum(made, group, block + i);
    case C4_KIND_ALL_GATHER:
    case C4_KIND_GATHER:
        return value(made->number, nodes[i / count], i % count);
    case C4_KIND_BROADCAST:
        return value(made->number, nodes[made->call.root], i);
    case C4_KIND_SCATTER:
        return value(made->number, nodes[made->call.root], block + i);
    case C4_KIND_ALL_TO_ALL:
        return value(made->number, nodes[i / count], block + i % count);
    default:
        return sum(made, group, i);
    }
}

void script_prepare(script_call *made, uint64_t seed, unsigned number, const script_group *group, int rank)
{
    c4_rng rng = {seed ^ number * 0x9e3779b97f4a7c15u};
    size_t send, recv, room = SCRIPT_MAX_COUNT * SIM_MAX_NODES * sizeof(float);
    if (!made->send) {
        made->send = sim_memory_get(NULL, room);
        made->recv = sim_memory_get(NULL, room);
    }
    made->rank = rank;
    made->number = number;
    made->call = (c4_call){.kind = kinds[c4_rng_below(&rng, sizeof kinds / sizeof kinds[0])],
                           .dtype = C4_FLOAT32,
                           .op = C4_SUM,
                           .count = counts[c4_rng_below(&rng, sizeof counts / sizeof counts[0])],
                           .send = made->send,
                           .recv = made->recv};
    c4_kind kind = made->call.kind;
    if (kind == C4_KIND_BARRIER)
        made->call.count = 0;
    if (kind == C4_KIND_BROADCAST || kind == C4_KIND_REDUCE || kind == C4_KIND_GATHER || kind == C4_KIND_SCATTER)
        made->call.root = (int)c4_rng_below(&rng, (uint64_t)group->nranks);
    sizes(made, group->nranks, &send, &recv);
    made->call.send_bytes = send * sizeof(float);
    made->call.recv_bytes = recv * sizeof(float);
    for (size_t i = 0; i < send; i++)
        made->send[i] = value(number, group->nodes[rank], i);
    for (size_t i = 0; i < recv; i++)
        made->recv[i] = -1;
}

int script_check(const script_call *made, const script_group *group)
{
    size_t send, recv;
    int wrong = 0;
    sizes(made, group->nranks, &send, &recv);
    for (size_t i = 0; i < recv; i++)
        wrong += made->recv[i] != expected(made, group, i);
    return wrong;
}

void script_free(script_call *made)
{
    free(made->send);
    free(made->recv);
    made->send = made->recv = NULL;
}
