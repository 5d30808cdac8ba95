#include "tests/chaos/work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/collectives/pattern.h"

#define RANK_STEP  0x9e3779b1u
#define BLOCK_STEP 0x85ebca6bu
#define POISON     0xa5

static uint32_t element(const chaos_slot *s, int rank, int block, size_t i)
{
    return s->key + (uint32_t)rank * RANK_STEP + (uint32_t)block * BLOCK_STEP + (uint32_t)i * s->step;
}

static uint32_t summed(const chaos_slot *s, int nranks, int block, size_t i)
{
    uint32_t n = (uint32_t)nranks;
    return n * (s->key + (uint32_t)block * BLOCK_STEP + (uint32_t)i * s->step) + RANK_STEP * (n * (n - 1) / 2);
}

static void fill(const chaos_work *w, chaos_slot *s)
{
    int blocks = s->kind == OP_REDUCE_SCATTER || s->kind == OP_SCATTER || s->kind == OP_ALL_TO_ALL ? w->nranks : 1;
    for (int b = 0; b < blocks; b++)
        for (size_t i = 0; i < s->count; i++)
            s->send[(size_t)b * s->count + i] = element(s, w->rank, b, i);
    memset(s->recv, POISON, (size_t)w->nranks * s->count * sizeof *s->recv);
}

static void wrong(chaos_work *w, const chaos_slot *s, int block, size_t i, uint32_t got, uint32_t expected)
{
    if (atomic_fetch_add(&w->count->wrong, 1) == 0)
        snprintf(
            w->count->wrong_text, sizeof w->count->wrong_text,
            "operation %d of %zu elements, root %d, iteration %lld: element %zu of block %d is %08x, expected %08x",
            (int)s->kind, s->count, s->root, (long long)w->count->iterations, i, block, got, expected);
}

static uint32_t expected(const chaos_work *w, const chaos_slot *s, int block, size_t i)
{
    int n = w->nranks, r = w->rank;
    switch (s->kind) {
    case OP_ALL_REDUCE:
    case OP_REDUCE:
        return summed(s, n, 0, i);
    case OP_REDUCE_SCATTER:
        return summed(s, n, r, i);
    case OP_BROADCAST:
        return element(s, s->root, 0, i);
    case OP_SCATTER:
        return element(s, s->root, r, i);
    case OP_ALL_TO_ALL:
        return element(s, block, r, i);
    case OP_RING:
        return element(s, (r + n - 1) % n, 0, i);
    default: /* gathers */
        return element(s, block, 0, i);
    }
}

static void check(chaos_work *w, const chaos_slot *s)
{
    bool gathers = s->kind == OP_ALL_GATHER || s->kind == OP_GATHER || s->kind == OP_ALL_TO_ALL;
    bool rooted = s->kind == OP_REDUCE || s->kind == OP_GATHER;
    if (s->kind == OP_BARRIER || (rooted && w->rank != s->root))
        return;
    for (int b = 0; b < (gathers ? w->nranks : 1); b++)
        for (size_t i = 0; i < s->count; i++) {
            uint32_t got = s->recv[(size_t)b * s->count + i], want = expected(w, s, b, i);
            if (got != want) {
                wrong(w, s, b, i, got, want);
                return;
            }
        }
}

static c4_status ring(const chaos_work *w, chaos_slot *s)
{
    int n = w->nranks;
    c4_status status = c4_group_start();
    if (status == C4_OK)
        status = c4_send(s->send, s->count, C4_UINT32, (w->rank + 1) % n, w->comm, NULL);
    if (status == C4_OK)
        status = c4_recv(s->recv, s->count, C4_UINT32, (w->rank + n - 1) % n, w->comm, NULL);
    c4_status ended = c4_group_end();
    return status == C4_OK ? ended : status;
}

static c4_status call(const chaos_work *w, chaos_slot *s, c4_request **request)
{
    c4_comm *comm = w->comm;
    switch (s->kind) {
    case OP_ALL_REDUCE:
        return c4_all_reduce(s->send, s->recv, s->count, C4_UINT32, C4_SUM, comm, request);
    case OP_REDUCE_SCATTER:
        return c4_reduce_scatter(s->send, s->recv, s->count, C4_UINT32, C4_SUM, comm, request);
    case OP_ALL_GATHER:
        return c4_all_gather(s->send, s->recv, s->count, C4_UINT32, comm, request);
    case OP_BROADCAST:
        return c4_broadcast(s->send, s->recv, s->count, C4_UINT32, s->root, comm, request);
    case OP_REDUCE:
        return c4_reduce(s->send, s->recv, s->count, C4_UINT32, C4_SUM, s->root, comm, request);
    case OP_GATHER:
        return c4_gather(s->send, s->recv, s->count, C4_UINT32, s->root, comm, request);
    case OP_SCATTER:
        return c4_scatter(s->send, s->recv, s->count, C4_UINT32, s->root, comm, request);
    case OP_ALL_TO_ALL:
        return c4_all_to_all(s->send, s->recv, s->count, C4_UINT32, comm, request);
    case OP_RING:
        return ring(w, s);
    default:
        return c4_barrier(comm, request);
    }
}

static c4_status finish(chaos_work *w, chaos_slot *s)
{
    if (!s->busy)
        return C4_OK;
    s->busy = false;
    c4_status status = s->request ? c4_wait(&s->request) : C4_OK;
    if (status == C4_OK) {
        check(w, s);
        atomic_fetch_add(&w->count->iterations, 1);
    }
    return status;
}

/* The next operation, the same on all ranks. */
static c4_status next(chaos_work *w, chaos_slot *s)
{
    uint64_t random = pattern_random(&w->state);
    s->kind = (chaos_op)(random % OP_NKINDS);
    s->key = (uint32_t)(random >> 8);
    s->step = (uint32_t)pattern_random(&w->state) | 1;
    s->count = pattern_random(&w->state) % (w->max_count + 1);
    if (random >> 60 < 8)
        s->count = s->count % 33; /* half of them small */
    s->root = (int)(random >> 32 & 0xffff) % w->nranks;
    fill(w, s);
    s->busy = true;
    s->request = NULL;
    return call(w, s, w->window > 1 ? &s->request : NULL);
}

bool chaos_work_init(chaos_work *w, int max_ranks)
{
    size_t bytes = (size_t)max_ranks * (w->max_count + 1) * sizeof(uint32_t);
    bool good = true;
    for (int i = 0; i < w->window; i++) {
        w->slots[i].send = malloc(bytes);
        w->slots[i].recv = malloc(bytes);
        good = good && w->slots[i].send && w->slots[i].recv;
    }
    return good;
}

void chaos_work_fini(chaos_work *w)
{
    for (int i = 0; i < w->window; i++) {
        free(w->slots[i].send);
        free(w->slots[i].recv);
    }
}

void chaos_work_join(chaos_work *w, c4_comm *comm, uint64_t state)
{
    w->comm = comm;
    w->state = state;
    c4_comm_rank(comm, &w->rank);
    c4_comm_size(comm, &w->nranks);
}

c4_status chaos_work_step(chaos_work *w, uint64_t i)
{
    chaos_slot *s = &w->slots[i % (uint64_t)w->window];
    c4_status status = finish(w, s);
    if (status == C4_OK)
        status = next(w, s);
    if (status == C4_OK && w->window == 1)
        status = finish(w, s);
    return status;
}

c4_status chaos_work_end(chaos_work *w)
{
    c4_status status = C4_OK;
    for (int i = 0; status == C4_OK && i < w->window; i++)
        status = finish(w, &w->slots[i]);
    return status;
}

void chaos_work_drain(chaos_work *w)
{
    for (int i = 0; i < w->window; i++) {
        chaos_slot *s = &w->slots[i];
        if (s->busy && s->request && c4_wait(&s->request) == C4_OK)
            check(w, s);
        s->busy = false;
    }
}

c4_status chaos_work_ask(chaos_work *w, int32_t mine, int32_t *any)
{
    return c4_all_reduce(&mine, any, 1, C4_INT32, C4_MAX, w->comm, NULL);
}
