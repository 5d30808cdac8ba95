/* Runs one generated call on one rank: buffers between canaries, the call in one of its forms, the check. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/collectives/call_case.h"
#include "tests/collectives/world.h"

#define CANARY      0xa5
#define GUARD_BYTES 256

typedef struct case_run {
    case_runner *runner;
    const call_case *c;
    case_layout layout;
    pattern pattern;
    unsigned char *send, *recv; /* NULL: this rank has none */
    bool in_place;              /* on this rank */
    c4_op op;
} case_run;

void runner_init(case_runner *r, c4_comm *comm, const char *label, size_t bytes)
{
    void *mapped = NULL;
    *r = (case_runner){.comm = comm, .label = label, .bytes = bytes};
    WORLD_OK(c4_comm_rank(comm, &r->rank));
    WORLD_OK(c4_comm_size(comm, &r->nranks));
    WORLD_OK(c4_mem_alloc(bytes, &mapped));
    r->mapped = mapped;
    r->heap = malloc(bytes);
    if (!r->mapped || !r->heap)
        abort();
}

void runner_fini(case_runner *r)
{
    WORLD_OK(c4_mem_free(r->mapped));
    free(r->heap);
}

static void complain(const case_run *x, const char *what, long long at)
{
    char text[256];
    case_describe(x->c, text, sizeof text);
    world_fail("%s rank %d of %d: %s: %s at %lld", x->runner->label, x->runner->rank, x->runner->nranks, text, what,
               at);
}

/* ---- buffers ---- */

static void place(case_run *x)
{
    const call_case *c = x->c;
    const case_runner *r = x->runner;
    const case_layout *l = &x->layout;
    size_t element = x->pattern.element, skew = (size_t)(c->seed >> 32 & 7) * element;
    bool mapped = c->memory == CASE_MAPPED || (c->memory == CASE_MIXED && (r->rank + (int)(c->seed & 1)) % 2);
    unsigned char *base = mapped ? r->mapped : r->heap;
    size_t send_bytes = l->send.extent * element, recv_bytes = l->recv.extent * element;
    size_t total = 3 * GUARD_BYTES + send_bytes + recv_bytes + skew;
    if (total > r->bytes)
        abort();
    memset(base, CANARY, total);
    x->in_place = c->in_place && l->send.extent && l->recv.extent;
    unsigned char *first = base + GUARD_BYTES + skew;
    if (x->in_place) {
        x->recv = first + (l->alias < 0 ? (size_t)-l->alias * element : 0);
        x->send = x->recv + l->alias * (ptrdiff_t)element;
    } else {
        x->send = l->send.extent ? first : NULL;
        x->recv = l->recv.extent ? first + send_bytes + GUARD_BYTES : NULL;
    }
}

static void fill(const case_run *x)
{
    const case_buffer *b = &x->layout.send;
    for (int i = 0; i < b->nspans; i++)
        if (b->spans[i].count)
            pattern_fill(&x->pattern, b->spans[i].table, b->spans[i].block,
                         x->send + b->spans[i].offset * x->pattern.element, b->spans[i].count);
}

/* ---- check ---- */

static bool check_spans(const case_run *x, const case_buffer *b, const unsigned char *base, const char *what)
{
    for (int i = 0; i < b->nspans; i++) {
        const case_span *s = &b->spans[i];
        if (s->count == 0)
            continue;
        size_t bad = pattern_compare(&x->pattern, s->table, s->block, base + s->offset * x->pattern.element, s->count);
        if (bad == s->count)
            continue;
        char text[64];
        uint64_t value = 0;
        memcpy(&value, base + (s->offset + bad) * x->pattern.element, x->pattern.element);
        snprintf(text, sizeof text, "%s block %d of %zu: 0x%llx", what, i, s->count, (unsigned long long)value);
        complain(x, text, (long long)bad);
        return false;
    }
    return true;
}

static bool is_canary(const unsigned char *p, size_t bytes)
{
    return bytes == 0 || (p[0] == CANARY && memcmp(p, p + 1, bytes - 1) == 0);
}

/* What lies between and around the spans was not written. */
static bool check_gaps(const case_run *x, const case_buffer *b, const unsigned char *base, const char *what)
{
    size_t element = x->pattern.element, at = 0;
    if (!is_canary(base - GUARD_BYTES / 2, GUARD_BYTES / 2) ||
        !is_canary(base + b->extent * element, GUARD_BYTES / 2)) {
        complain(x, what, -1);
        return false;
    }
    while (at < b->extent) {
        size_t next = b->extent, end = b->extent;
        for (int i = 0; i < b->nspans; i++)
            if (b->spans[i].count && b->spans[i].offset >= at && b->spans[i].offset < next) {
                next = b->spans[i].offset;
                end = next + b->spans[i].count;
            }
        if (!is_canary(base + at * element, (next - at) * element)) {
            complain(x, what, (long long)at);
            return false;
        }
        at = end;
    }
    return true;
}

static bool check(case_run *x)
{
    const case_layout *l = &x->layout;
    bool good = true;
    if (l->recv.extent)
        good &= check_spans(x, &l->recv, x->recv, "received");
    if (l->send.extent && !x->in_place)
        good &= check_spans(x, &l->send, x->send, "input changed") && check_gaps(x, &l->send, x->send, "near input");
    if (l->recv.extent && !x->in_place)
        good &= check_gaps(x, &l->recv, x->recv, "written outside");
    if (x->in_place) { /* the wider of the two buffers holds the other */
        bool inside = l->alias < 0 || l->send.extent > l->recv.extent;
        const case_buffer *outer = inside ? &l->send : &l->recv;
        good &= check_gaps(x, outer, inside ? x->send : x->recv, "written outside");
    }
    x->runner->output_hash = C4_HASH_INIT;
    for (int i = 0; i < l->recv.nspans; i++)
        x->runner->output_hash =
            c4_hash_bytes(x->runner->output_hash, x->recv + l->recv.spans[i].offset * x->pattern.element,
                          l->recv.spans[i].count * x->pattern.element);
    return good;
}

/* ---- the call ---- */

static c4_status call_v(const case_run *x, c4_request **request)
{
    const call_case *c = x->c;
    const case_layout *l = &x->layout;
    c4_comm *comm = x->runner->comm;
    const size_t *send_counts = l->counts[0], *recv_counts = l->counts[1];
    const size_t *send_displs = l->packed[0] ? NULL : l->displs[0], *recv_displs = l->packed[1] ? NULL : l->displs[1];
    int rank = x->runner->rank;
    bool root = rank == c->root;
    switch (c->kind) {
    case C4_KIND_ALL_GATHER_V:
        return c4_all_gather_v(x->send, recv_counts[rank], x->recv, recv_counts, recv_displs, c->dtype, comm, request);
    case C4_KIND_GATHER_V:
        return c4_gather_v(x->send, recv_counts[rank], x->recv, root ? recv_counts : NULL, root ? recv_displs : NULL,
                           c->dtype, c->root, comm, request);
    case C4_KIND_SCATTER_V:
        return c4_scatter_v(x->send, root ? send_counts : NULL, root ? send_displs : NULL, x->recv, send_counts[rank],
                            c->dtype, c->root, comm, request);
    case C4_KIND_ALL_TO_ALL_V:
        return c4_all_to_all_v(x->send, send_counts, send_displs, x->recv, recv_counts, recv_displs, c->dtype, comm,
                               request);
    default:
        return c4_reduce_scatter_v(x->send, x->recv, recv_counts, c->dtype, x->op, comm, request);
    }
}

static c4_status call(const case_run *x, c4_request **request)
{
    const call_case *c = x->c;
    c4_comm *comm = x->runner->comm;
    switch (c->kind) {
    case C4_KIND_ALL_REDUCE:
        return c4_all_reduce(x->send, x->recv, c->count, c->dtype, x->op, comm, request);
    case C4_KIND_REDUCE_SCATTER:
        return c4_reduce_scatter(x->send, x->recv, c->count, c->dtype, x->op, comm, request);
    case C4_KIND_ALL_GATHER:
        return c4_all_gather(x->send, x->recv, c->count, c->dtype, comm, request);
    case C4_KIND_BROADCAST:
        return c4_broadcast(x->send, x->recv, c->count, c->dtype, c->root, comm, request);
    case C4_KIND_REDUCE:
        return c4_reduce(x->send, x->recv, c->count, c->dtype, x->op, c->root, comm, request);
    case C4_KIND_GATHER:
        return c4_gather(x->send, x->recv, c->count, c->dtype, c->root, comm, request);
    case C4_KIND_SCATTER:
        return c4_scatter(x->send, x->recv, c->count, c->dtype, c->root, comm, request);
    case C4_KIND_ALL_TO_ALL:
        return c4_all_to_all(x->send, x->recv, c->count, c->dtype, comm, request);
    case C4_KIND_BARRIER:
        return c4_barrier(comm, request);
    default:
        return call_v(x, request);
    }
}

/* Every form of the call; ranks of one call use different ones. */
static c4_status call_in_style(const case_run *x)
{
    c4_request *request = NULL;
    c4_status status;
    switch ((case_style)((x->c->style + x->runner->rank) % CASE_NSTYLES)) {
    case CASE_WAIT:
        status = call(x, &request);
        return status == C4_OK ? c4_wait(&request) : status;
    case CASE_TEST:
        status = call(x, &request);
        if (status == C4_OK)
            do
                status = c4_test(&request);
            while (status == C4_IN_PROGRESS);
        return status;
    case CASE_GROUP:
        c4_group_start();
        status = call(x, NULL);
        c4_status ended = c4_group_end();
        return status == C4_OK ? ended : status;
    default:
        return call(x, NULL);
    }
}

bool runner_run(case_runner *r, const call_case *c)
{
    case_run x = {.runner = r, .c = c, .op = c->op};
    uint64_t scalars[64], state = c->seed;
    for (int i = 0; i < r->nranks; i++)
        scalars[i] = pattern_premul(c->dtype, pattern_random(&state));
    pattern_init(&x.pattern, r->nranks, c->dtype, c->op, c->mode, c->premul ? scalars : NULL, c->seed);
    case_lay_out(c, r->nranks, r->rank, &x.layout);
    place(&x);
    fill(&x);
    if (c->premul)
        WORLD_OK(c4_op_create_premul(&scalars[r->rank], c->dtype, r->comm, &x.op));
    c4_status status = call_in_style(&x);
    if (c->premul)
        WORLD_OK(c4_op_destroy(x.op, r->comm));
    bool good = status == C4_OK;
    if (!good)
        complain(&x, c4_last_error(r->comm), status);
    else
        good = check(&x);
    pattern_fini(&x.pattern);
    return good;
}
