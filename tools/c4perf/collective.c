#include "tools/c4perf/collective.h"

#include <string.h>

static double factor_all_reduce(int nranks)
{
    return 2.0 * (nranks - 1) / nranks;
}

static double factor_blocks(int nranks)
{
    return (double)(nranks - 1) / nranks;
}

static double factor_one(int nranks)
{
    (void)nranks;
    return 1.0;
}

static c4_status call_all_reduce(const c4perf_call *c)
{
    return c4_all_reduce(c->send, c->recv, c->count, c->dtype, c->op, c->comm, NULL);
}

static c4_status call_all_gather(const c4perf_call *c)
{
    return c4_all_gather(c->send, c->recv, c->count, c->dtype, c->comm, NULL);
}

static c4_status call_reduce_scatter(const c4perf_call *c)
{
    return c4_reduce_scatter(c->send, c->recv, c->count, c->dtype, c->op, c->comm, NULL);
}

static c4_status call_broadcast(const c4perf_call *c)
{
    return c4_broadcast(c->send, c->recv, c->count, c->dtype, c->root, c->comm, NULL);
}

static c4_status call_reduce(const c4perf_call *c)
{
    return c4_reduce(c->send, c->recv, c->count, c->dtype, c->op, c->root, c->comm, NULL);
}

static c4_status call_gather(const c4perf_call *c)
{
    return c4_gather(c->send, c->recv, c->count, c->dtype, c->root, c->comm, NULL);
}

static c4_status call_scatter(const c4perf_call *c)
{
    return c4_scatter(c->send, c->recv, c->count, c->dtype, c->root, c->comm, NULL);
}

static c4_status call_all_to_all(const c4perf_call *c)
{
    return c4_all_to_all(c->send, c->recv, c->count, c->dtype, c->comm, NULL);
}

/* As nccl-tests' sendrecv: to the next rank, from the previous one, in one group. */
static c4_status call_send_recv(const c4perf_call *c)
{
    int next = (c->rank + 1) % c->nranks;
    int previous = (c->rank + c->nranks - 1) % c->nranks;
    c4_status status = c4_group_start();
    if (status != C4_OK) {
        return status;
    }
    c4_status sent = c4_send(c->send, c->count, c->dtype, next, c->comm, NULL);
    c4_status received = c4_recv(c->recv, c->count, c->dtype, previous, c->comm, NULL);
    status = c4_group_end();
    return sent != C4_OK ? sent : received != C4_OK ? received : status;
}

static c4_status call_barrier(const c4perf_call *c)
{
    return c4_barrier(c->comm, NULL);
}

const c4perf_collective c4perf_collectives[C4PERF_NCOLLECTIVES] = {
    {.name = "all_reduce",
     .reduces = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_all_reduce,
     .call = call_all_reduce},
    {.name = "all_gather",
     .recv_per_rank = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_blocks,
     .call = call_all_gather},
    {.name = "reduce_scatter",
     .send_per_rank = true,
     .reduces = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_blocks,
     .call = call_reduce_scatter},
    {.name = "broadcast",
     .rooted = true,
     .send_root_only = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_one,
     .call = call_broadcast},
    {.name = "reduce",
     .reduces = true,
     .rooted = true,
     .recv_root_only = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_one,
     .call = call_reduce},
    {.name = "gather",
     .recv_per_rank = true,
     .rooted = true,
     .recv_root_only = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_blocks,
     .call = call_gather},
    {.name = "scatter",
     .send_per_rank = true,
     .rooted = true,
     .send_root_only = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_blocks,
     .call = call_scatter},
    {.name = "all_to_all",
     .send_per_rank = true,
     .recv_per_rank = true,
     .in_place = true,
     .has_data = true,
     .bus_factor = factor_blocks,
     .call = call_all_to_all},
    {.name = "send_recv", .has_data = true, .bus_factor = factor_one, .call = call_send_recv},
    {.name = "barrier", .bus_factor = factor_one, .call = call_barrier},
};

const c4perf_collective *c4perf_collective_find(const char *name)
{
    for (size_t i = 0; i < C4PERF_NCOLLECTIVES; i++) {
        if (strcmp(c4perf_collectives[i].name, name) == 0) {
            return &c4perf_collectives[i];
        }
    }
    return NULL;
}

size_t c4perf_collective_bytes(const c4perf_collective *collective, size_t count, size_t element_bytes, int nranks)
{
    bool per_rank = collective->send_per_rank || collective->recv_per_rank;
    return collective->has_data ? count * element_bytes * (per_rank ? (size_t)nranks : 1) : 0;
}

size_t c4perf_collective_count(const c4perf_collective *collective, size_t bytes, size_t element_bytes, int nranks)
{
    bool per_rank = collective->send_per_rank || collective->recv_per_rank;
    size_t count = bytes / element_bytes / (per_rank ? (size_t)nranks : 1);
    if (!collective->has_data || bytes == 0) {
        return 0;
    }
    return count == 0 ? 1 : count;
}

int c4perf_collective_blocks(const c4perf_collective *collective, const c4perf_call *call)
{
    if (!collective->has_data || (collective->recv_root_only && call->rank != call->root)) {
        return 0;
    }
    return collective->recv_per_rank ? call->nranks : 1;
}

c4perf_origin c4perf_collective_origin(const c4perf_collective *collective, const c4perf_call *call, int block)
{
    c4perf_origin origin = {.source = -1, .first = collective->send_per_rank ? (size_t)call->rank * call->count : 0};
    if (collective->reduces) {
        return origin;
    }
    if (collective->recv_per_rank) {
        origin.source = block;
    } else if (collective->rooted) {
        origin.source = call->root;
    } else {
        origin.source = (call->rank + call->nranks - 1) % call->nranks;
    }
    return origin;
}

int c4perf_collective_send_block(const c4perf_collective *collective, const c4perf_call *call)
{
    return collective->recv_per_rank && !collective->send_per_rank ? call->rank : 0;
}

int c4perf_collective_recv_block(const c4perf_collective *collective, const c4perf_call *call)
{
    return collective->send_per_rank && !collective->recv_per_rank ? call->rank : 0;
}
