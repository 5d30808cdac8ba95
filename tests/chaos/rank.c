/* One rank: loops over collectives, verifies each, and tells how it ended. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/collectives/pattern.h"

enum { MAX_WINDOW = 4, ASK_EVERY = 8, LEAVE_TOGETHER_MS = 15000 };

typedef enum op_kind {
    OP_ALL_REDUCE,
    OP_REDUCE_SCATTER,
    OP_ALL_GATHER,
    OP_BROADCAST,
    OP_REDUCE,
    OP_GATHER,
    OP_SCATTER,
    OP_ALL_TO_ALL,
    OP_BARRIER,
    OP_RING,
    OP_NKINDS
} op_kind;

/* An operation under way and its buffers, each of nranks * max_count elements. */
typedef struct slot {
    bool busy;
    op_kind kind;
    uint32_t key, step; /* element i of block b of rank r is key + r * A + b * B + i * step, in 32 bits */
    size_t count;
    int root;
    uint32_t *send, *recv;
    c4_request *request;
} slot;

typedef struct worker {
    const chaos_plan *plan;
    chaos_shared *shared;
    chaos_report *report;
    int rank, nranks;
    c4_comm *comm;
    uint64_t state; /* equal on all ranks */
    slot slots[MAX_WINDOW];
} worker;

#define RANK_STEP  0x9e3779b1u
#define BLOCK_STEP 0x85ebca6bu
#define POISON     0xa5

static uint32_t element(const slot *s, int rank, int block, size_t i)
{
    return s->key + (uint32_t)rank * RANK_STEP + (uint32_t)block * BLOCK_STEP + (uint32_t)i * s->step;
}

static uint32_t summed(const slot *s, int nranks, int block, size_t i)
{
    uint32_t n = (uint32_t)nranks;
    return n * (s->key + (uint32_t)block * BLOCK_STEP + (uint32_t)i * s->step) + RANK_STEP * (n * (n - 1) / 2);
}

static void fill(const worker *w, slot *s)
{
    int blocks = s->kind == OP_REDUCE_SCATTER || s->kind == OP_SCATTER || s->kind == OP_ALL_TO_ALL ? w->nranks : 1;
    for (int b = 0; b < blocks; b++)
        for (size_t i = 0; i < s->count; i++)
            s->send[(size_t)b * s->count + i] = element(s, w->rank, b, i);
    memset(s->recv, POISON, (size_t)w->nranks * s->count * sizeof *s->recv);
}

static void wrong(worker *w, const slot *s, int block, size_t i, uint32_t got, uint32_t expected)
{
    if (atomic_fetch_add(&w->report->wrong, 1) == 0)
        snprintf(
            w->report->wrong_text, sizeof w->report->wrong_text,
            "operation %d of %zu elements, root %d, iteration %lld: element %zu of block %d is %08x, expected %08x",
            (int)s->kind, s->count, s->root, (long long)w->report->iterations, i, block, got, expected);
}

static uint32_t expected(const worker *w, const slot *s, int block, size_t i)
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

static void check(worker *w, const slot *s)
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

static c4_status ring(const worker *w, slot *s)
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

static c4_status call(const worker *w, slot *s, c4_request **request)
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

static c4_status finish(worker *w, slot *s)
{
    if (!s->busy)
        return C4_OK;
    s->busy = false;
    c4_status status = s->request ? c4_wait(&s->request) : C4_OK;
    if (status == C4_OK) {
        check(w, s);
        atomic_fetch_add(&w->report->iterations, 1);
    }
    return status;
}

/* The next operation, the same on all ranks. */
static c4_status next(worker *w, slot *s)
{
    uint64_t random = pattern_random(&w->state);
    s->kind = (op_kind)(random % OP_NKINDS);
    s->key = (uint32_t)(random >> 8);
    s->step = (uint32_t)pattern_random(&w->state) | 1;
    s->count = pattern_random(&w->state) % (w->plan->max_count + 1);
    if (random >> 60 < 8)
        s->count = s->count % 33; /* half of them small */
    s->root = (int)(random >> 32 & 0xffff) % w->nranks;
    fill(w, s);
    s->busy = true;
    s->request = NULL;
    return call(w, s, w->plan->window > 1 ? &s->request : NULL);
}

/* Do all agree to end? One who has been told says so to all. */
static c4_status ask(worker *w, bool *stop)
{
    int32_t mine = atomic_load(&w->shared->stop), any = 0;
    c4_status status = c4_all_reduce(&mine, &any, 1, C4_INT32, C4_MAX, w->comm, NULL);
    if (status == C4_OK)
        *stop = any != 0;
    return status;
}

static c4_status work(worker *w)
{
    c4_status status = C4_OK;
    bool stop = false;
    for (uint64_t i = 0; status == C4_OK && !stop; i++) {
        slot *s = &w->slots[i % (uint64_t)w->plan->window];
        status = finish(w, s);
        if (status == C4_OK)
            status = next(w, s);
        if (status == C4_OK && w->plan->window == 1)
            status = finish(w, s);
        if (status == C4_OK && i % ASK_EVERY == 0)
            status = ask(w, &stop);
    }
    for (int i = 0; status == C4_OK && i < MAX_WINDOW; i++)
        status = finish(w, &w->slots[i]);
    return status;
}

static void tell_failure(worker *w, c4_status status, const c4_comm *comm)
{
    w->report->status = status;
    w->report->failed_ns = chaos_now_ns();
    snprintf(w->report->text, sizeof w->report->text, "%s", c4_last_error(comm));
    atomic_store(&w->report->phase, CHAOS_FAILED);
}

/* Requests that are under way when an operation fails end, too. */
static void drain(worker *w)
{
    for (int i = 0; i < MAX_WINDOW; i++)
        if (w->slots[i].busy && w->slots[i].request && c4_wait(&w->slots[i].request) == C4_OK)
            check(w, &w->slots[i]);
}

/* Those who leave later have had their own reasons first. */
static void wait_for_others(const worker *w)
{
    int64_t until = chaos_now_ns() + (int64_t)LEAVE_TOGETHER_MS * 1000000;
    for (int r = 0; r < w->nranks; r++) {
        bool victim = false;
        for (int i = 0; i < w->plan->nfaults; i++)
            victim |= w->plan->faults[i].rank == r;
        while (!victim && atomic_load(&w->shared->reports[r].phase) < CHAOS_FAILED && chaos_now_ns() < until)
            sched_yield();
    }
}

static void set_options(const chaos_plan *plan, int rank, const char *directory)
{
    char text[512], hooks[256] = "";
    snprintf(text, sizeof text, "%s/log-%d", directory, rank);
    setenv("C4_LOG_FILE", text, 1);
    setenv("C4_LOG", "warn", 0);
    snprintf(text, sizeof text, "%s/records", directory);
    setenv("C4_RECORD_DIR", text, 1);
    setenv("C4_RECORD_BYTES", "64K", 1);
    setenv("C4_TRANSPORTS", plan->transports, 1);
    setenv("C4_SHM_BACKEND", plan->backend, 1);
    setenv("C4_PROGRESS", plan->thread ? "thread" : "inline", 1);
    for (int i = 0; i < plan->nfaults; i++) {
        const char *rule = chaos_kinds[plan->faults[i].kind].hook_rule;
        size_t used = strlen(hooks);
        if (rule)
            snprintf(hooks + used, sizeof hooks - used, used ? "," : "");
        used = strlen(hooks);
        if (rule)
            snprintf(hooks + used, sizeof hooks - used, rule, plan->faults[i].number, plan->faults[i].rank);
        if (plan->faults[i].kind == CHAOS_DROP)
            setenv("C4_TIMEOUT_MS", "1500", 1);
        if (chaos_kinds[plan->faults[i].kind].silence) {
            setenv("C4_HEARTBEAT_MS", "400", 1);
            setenv("C4_SILENT_MS", "1500", 1);
        }
    }
    setenv("C4_HOOK", hooks, 1);
}

static bool meet(const worker *w, c4_unique_id *id)
{
    if (w->rank != 0) {
        close(w->shared->id_pipe[1]); /* so that the pipe ends with rank 0 */
        return read(w->shared->id_pipe[0], id, sizeof *id) == (ssize_t)sizeof *id;
    }
    if (c4_unique_id_create(id) != C4_OK)
        return false;
    for (int i = 1; i < w->nranks; i++)
        if (write(w->shared->id_pipe[1], id, sizeof *id) != (ssize_t)sizeof *id)
            return false;
    return true;
}

int chaos_rank_main(const chaos_plan *plan, chaos_shared *shared, int rank, const char *directory)
{
    worker w = {.plan = plan, .shared = shared, .report = &shared->reports[rank], .rank = rank, .nranks = plan->nranks};
    c4_unique_id id;
    c4_comm_config config = {.struct_size = sizeof config, .name = "chaos", .timeout_ms = plan->setup ? 5000 : 20000};
    w.state = plan->seed ^ 0x5bd1e995u;
    set_options(plan, rank, directory);
    bool met = meet(&w, &id);
    close(shared->id_pipe[0]);
    if (rank == 0)
        close(shared->id_pipe[1]);
    if (!met) {
        w.report->status = C4_ERR_SYSTEM; /* rank 0 died before it had an id */
        atomic_store(&w.report->phase, CHAOS_FAILED);
        return 0;
    }
    c4_status status = c4_comm_create(&id, plan->nranks, rank, &config, NULL, &w.comm);
    for (int i = 0; i < MAX_WINDOW; i++) {
        size_t bytes = (size_t)plan->nranks * (plan->max_count + 1) * sizeof(uint32_t);
        w.slots[i].send = malloc(bytes);
        w.slots[i].recv = malloc(bytes);
        if (!w.slots[i].send || !w.slots[i].recv)
            return 1;
    }
    if (status == C4_OK) {
        atomic_store(&w.report->phase, CHAOS_RUNNING);
        status = work(&w);
    }
    if (status != C4_OK) {
        tell_failure(&w, status, w.comm);
        drain(&w);
        if (!plan->leave_at_once)
            wait_for_others(&w);
    }
    if (c4_comm_destroy(w.comm) != C4_OK)
        return 1;
    if (status == C4_OK)
        atomic_store(&w.report->phase, CHAOS_DONE);
    for (int i = 0; i < MAX_WINDOW; i++) {
        free(w.slots[i].send);
        free(w.slots[i].recv);
    }
    return 0;
}
