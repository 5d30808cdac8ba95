#include "tests/schedule/cases.h"

#include <stdio.h>
#include <stdlib.h>

#include "schedule/kinds.h"

bool kind_reduces(c4_kind kind)
{
    return kind == C4_KIND_ALL_REDUCE || kind == C4_KIND_REDUCE || kind == C4_KIND_REDUCE_SCATTER ||
           kind == C4_KIND_REDUCE_SCATTER_V;
}

const char *call_name(const call_spec *s)
{
    static char text[256];
    snprintf(text, sizeof text,
             "%s %s n=%d root=%d count=%zu x%zu chunk=%zu lanes=%u place=%d det=%d map=%d hosts=%d win=%d",
             c4_kind_name(s->kind), s->algorithm < 0 ? "chosen" : c4_algorithms[s->algorithm].name, s->nranks, s->root,
             s->count, s->element_bytes, s->chunk_bytes, s->lanes, s->place, s->deterministic, s->may_map,
             s->ranks_per_host, s->windows);
    return text;
}

/* Hosts of equal size, or of 1, 2, 3, ... ranks; numbered by first appearance. */
static void place_hosts(call *c)
{
    int host = 0, used = 0;
    for (int r = 0; r < c->spec.nranks; r++) {
        int size = c->spec.ranks_per_host < 0 ? host + 1 : c->spec.ranks_per_host;
        if (size > 0 && used == size) {
            host++;
            used = 0;
        }
        c->host_of[r] = host;
        used++;
    }
    c->layout = (c4_layout){.nranks = c->spec.nranks, .host_of = c->host_of, .nhosts = host + 1};
}

/* Blocks of uneven sizes, some empty, with a gap of one element after each. What i sends to j is what j expects of i. */
static void place_blocks(call *c)
{
    size_t n = (size_t)c->spec.nranks;
    bool pairs = c->spec.kind == C4_KIND_ALL_TO_ALL_V;
    bool symmetric = pairs && c->spec.place != PLACE_OUT;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            size_t mix = symmetric ? i + j + i * j : pairs ? 3 * i + 5 * j : 7 * j;
            c->counts[i * n + j] = mix % 4 == 3 ? 0 : c->spec.count + mix % 3;
        }
    }
    for (size_t i = 0; i < n; i++) {
        size_t send = 0, recv = 0;
        for (size_t j = 0; j < n; j++) {
            c->columns[i * n + j] = pairs ? c->counts[j * n + i] : c->counts[i * n + j];
            c->send_displs[i * n + j] = send;
            c->recv_displs[i * n + j] = recv;
            send += c->counts[i * n + j] + 1;
            recv += c->columns[i * n + j] + 1;
        }
    }
}

static c4_query query_of(const call *c, int rank)
{
    const call_spec *s = &c->spec;
    size_t row = (size_t)rank * (size_t)s->nranks;
    c4_query q = {.kind = s->kind,
                  .rank = rank,
                  .nranks = s->nranks,
                  .root = s->root,
                  .count = s->count,
                  .element_bytes = s->element_bytes,
                  .reduces = kind_reduces(s->kind),
                  .in_place = s->place == PLACE_IN || (s->place == PLACE_MIXED && rank % 2 == 1),
                  .deterministic = s->deterministic,
                  .layout = &c->layout,
                  .cost = &c->cost,
                  .algorithm = s->algorithm,
                  .chunk_bytes = s->chunk_bytes,
                  .lanes = s->lanes,
                  .may_map = s->may_map};
    if (s->kind == C4_KIND_SEND || s->kind == C4_KIND_RECV) {
        q.kind = rank == s->root ? C4_KIND_RECV : C4_KIND_SEND;
        q.root = rank == s->root ? 1 - s->root : s->root;
    }
    if (!c4_kind_is_v(s->kind))
        return q;
    q.send_counts = c->counts + row;
    q.send_displs = c->send_displs + row;
    q.recv_counts = c->columns + row;
    q.recv_displs = c->recv_displs + row;
    if (s->kind == C4_KIND_GATHER_V || s->kind == C4_KIND_SCATTER_V) {
        q.count = c->counts[(size_t)s->root * (size_t)s->nranks + (size_t)rank];
        if (rank != s->root)
            q.send_counts = q.send_displs = q.recv_counts = q.recv_displs = NULL;
    }
    return q;
}

c4_status call_create(const call_spec *spec, call *c)
{
    size_t n = (size_t)spec->nranks;
    *c = (call){.spec = *spec};
    c->cost = (c4_cost_params){.local = {.latency_s = 0.2e-6,
                                         .seconds_per_byte = 0.1e-9,
                                         .reduce_seconds_per_byte = 0.05e-9,
                                         .windows = spec->windows,
                                         .map = spec->may_map,
                                         .max_readers = spec->windows ? 1024 : 1,
                                         .max_frame_bytes = spec->windows ? 256 << 10 : 16 << 20},
                               .remote = {.latency_s = 10e-6,
                                          .seconds_per_byte = 0.4e-9,
                                          .reduce_seconds_per_byte = 0.05e-9,
                                          .max_readers = 1,
                                          .max_frame_bytes = 1 << 20},
                               .step_s = 5e-9,
                               .ranks_per_core = 1,
                               .cache_bytes = spec->cache_bytes ? spec->cache_bytes : 32 << 20};
    c->queries = calloc(n, sizeof *c->queries);
    c->schedules = calloc(n, sizeof(void *));
    c->host_of = calloc(n, sizeof *c->host_of);
    c->counts = calloc(4 * n * n, sizeof *c->counts);
    if (!c->queries || !c->schedules || !c->host_of || !c->counts)
        abort();
    c->send_displs = c->counts + n * n;
    c->recv_displs = c->send_displs + n * n;
    c->columns = c->recv_displs + n * n;
    place_hosts(c);
    place_blocks(c);
    for (int r = 0; r < spec->nranks; r++) {
        c->queries[r] = query_of(c, r);
        c4_status status = c4_schedule_build(&c->queries[r], &c->schedules[r]);
        if (status < 0) {
            call_destroy(c);
            return status;
        }
    }
    return C4_OK;
}

void call_destroy(call *c)
{
    for (int r = 0; r < c->spec.nranks; r++)
        c4_schedule_destroy(c->schedules[r]);
    free(c->queries);
    free(c->schedules);
    free(c->host_of);
    free(c->counts);
}

c4_status call_prove(const call *c, c4_proof *proof)
{
    return c4_schedule_prove(c->queries, c->schedules, proof);
}
