/* Programs: schedules bound to channels, and the cache of them.
 *
 * The key holds everything that decides a schedule and no buffer: training repeats a few dozen calls for ever. */
#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/express.h"
#include "schedule/kinds.h"

#define VOTE_DEPTH_BYTES 4096u

static bool kind_reduces(c4_kind kind)
{
    return kind == C4_KIND_ALL_REDUCE || kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_REDUCE ||
           kind == C4_KIND_REDUCE_SCATTER_V;
}

static bool kind_is_p2p(c4_kind kind)
{
    return kind == C4_KIND_SEND || kind == C4_KIND_RECV;
}

/* ---- bind ---- */

void c4_program_destroy(c4_program *program)
{
    if (!program)
        return;
    c4_program_destroy(program->fallback);
    if (program->schedule) {
        program->schedule->fallback = NULL; /* owned by program->fallback */
        c4_schedule_destroy(program->schedule);
    }
    c4_express_destroy(program->express);
    free(program->edges);
    free(program->exec);
    free(program->reached);
    free(program);
}

static bool term_is_channel(const c4_term *term)
{
    return term->kind == C4_TERM_CHANNEL;
}

/* Windows are reduced from in place; a posted receive only where the transport reduces while receiving. */
static bool edge_reduces(const c4_program *program, const c4_term *terms)
{
    const c4_edge *edge = program->edges[terms[term_is_channel(&terms[0]) ? 0 : 1].index];
    return edge->windows || edge->fused_reduce;
}

static uint8_t step_exec(const c4_program *program, const c4_step *step)
{
    const c4_term *terms = &program->schedule->terms[step->first_term];
    const c4_term *dst = terms + step->nsources;
    if (step->ndestinations == 1 && term_is_channel(dst) &&
        (step->nsources == 0 || (step->nsources == 1 && terms[0].kind == C4_TERM_LOCAL)))
        return EXEC_SEND;
    if (step->nsources == 1 && term_is_channel(terms) &&
        (step->ndestinations == 0 || (step->ndestinations == 1 && dst->kind == C4_TERM_LOCAL)))
        return EXEC_RECV;
    bool one_channel = step->nsources == 2 && term_is_channel(&terms[0]) != term_is_channel(&terms[1]) &&
                       (terms[0].kind == C4_TERM_LOCAL || terms[1].kind == C4_TERM_LOCAL);
    if (one_channel && step->ndestinations == 1 && dst->kind == C4_TERM_LOCAL && edge_reduces(program, terms))
        return EXEC_RECV_REDUCE;
    return EXEC_GENERAL;
}

/* Staging that a step needs per lane: one piece for each source and one for a result without a local home. Steps that
 * move between windows and local memory need none. */
static size_t step_bounce(const c4_program *program, const c4_step *step)
{
    const c4_term *terms = &program->schedule->terms[step->first_term];
    bool lands = false;
    for (unsigned i = step->nsources; i < (unsigned)step->nsources + step->ndestinations; i++)
        lands |= !term_is_channel(&terms[i]);
    bool stages = (step->flags & C4_STEP_FINAL) && !lands; /* an average is divided somewhere local */
    for (unsigned i = 0; i < (unsigned)step->nsources + step->ndestinations; i++)
        stages |= term_is_channel(&terms[i]) && !program->edges[terms[i].index]->windows;
    uint64_t bytes = step->total < step->chunk ? step->total : step->chunk;
    return stages ? (step->nsources + 1u) * ((bytes + 63) / 64 * 64) : 0;
}

static c4_status bind_edges(c4_engine *engine, c4_program *program)
{
    const c4_schedule *s = program->schedule;
    uint32_t votes = s->fallback ? 2 * (uint32_t)(s->nranks - 1) : 0;
    uint32_t fallback_edges = s->fallback ? s->fallback->nchannels : 0;
    program->edges = calloc(s->nchannels + votes + fallback_edges + 1, sizeof *program->edges);
    if (!program->edges)
        return c4_fail(C4_ERR_MEMORY, "program with %u channels", s->nchannels);
    for (uint32_t i = 0; i < s->nchannels; i++) {
        const c4_channel_use *use = &s->channels[i];
        bool self = use->writer == s->rank && s->readers[use->first_reader] == s->rank;
        bool write_end = self ? s->kind == C4_KIND_SEND : use->writer == s->rank;
        c4_edge_spec spec = {.writer = use->writer,
                             .readers = &s->readers[use->first_reader],
                             .nreaders = use->nreaders,
                             .tag = kind_is_p2p(s->kind) ? C4_TAG_P2P : use->tag,
                             .write_end = write_end,
                             .depth_bytes = (size_t)use->depth_kib << 10};
        C4_TRY(c4_edge_get(engine, &spec, &program->edges[i]));
        program->posted |= !program->edges[i]->windows;
    }
    program->nedges = program->first_vote_edge = s->nchannels;
    for (int peer = 0; votes && peer < s->nranks; peer++) {
        if (peer == s->rank)
            continue;
        c4_edge_spec out = {s->rank, &peer, 1, C4_TAG_VOTE, true, VOTE_DEPTH_BYTES};
        c4_edge_spec in = {peer, &s->rank, 1, C4_TAG_VOTE, false, VOTE_DEPTH_BYTES};
        C4_TRY(c4_edge_get(engine, &out, &program->edges[program->nedges++]));
        C4_TRY(c4_edge_get(engine, &in, &program->edges[program->nedges++]));
    }
    return C4_OK;
}

static c4_status bind_steps(c4_program *program)
{
    const c4_schedule *s = program->schedule;
    program->exec = calloc(s->nsteps + 1, 1);
    if (!program->exec)
        return c4_fail(C4_ERR_MEMORY, "program with %u steps", s->nsteps);
    for (uint32_t i = 0; i < s->nsteps; i++) {
        const c4_step *step = &s->steps[i];
        uint32_t nterms = (uint32_t)step->nsources + step->ndestinations;
        program->exec[i] = step_exec(program, step);
        if (nterms > program->max_terms)
            program->max_terms = nterms;
        size_t bounce = step_bounce(program, step);
        if (bounce > program->bounce_bytes)
            program->bounce_bytes = bounce;
    }
    return C4_OK;
}

static c4_status bind_reached(c4_program *program)
{
    const c4_schedule *s = program->schedule;
    if (!s->fallback)
        return C4_OK;
    program->reached = calloc((size_t)s->nranks, 1);
    if (!program->reached)
        return c4_fail(C4_ERR_MEMORY, "program of %d ranks", s->nranks);
    for (uint32_t i = 0; i < s->nterms; i++)
        if (s->terms[i].kind == C4_TERM_REMOTE)
            program->reached[s->terms[i].index] |= (uint8_t)(1 << s->terms[i].buffer);
    return C4_OK;
}

/* The operation of a program with a fallback holds the edges of both, so that it may become either. */
static void bind_fallback_edges(c4_program *program)
{
    for (uint32_t i = 0; i < program->fallback->nedges; i++) {
        c4_edge *edge = program->fallback->edges[i];
        bool known = false;
        for (uint32_t j = 0; j < program->nedges && !known; j++)
            known = program->edges[j] == edge;
        if (!known)
            program->edges[program->nedges++] = edge;
    }
    program->posted |= program->fallback->posted;
}

c4_status c4_program_bind(c4_engine *engine, c4_schedule *schedule, c4_program **out)
{
    c4_program *program = calloc(1, sizeof *program);
    c4_status status = C4_OK;
    if (!program) {
        c4_schedule_destroy(schedule);
        return c4_fail(C4_ERR_MEMORY, "program");
    }
    program->schedule = schedule;
    C4_TRY_GOTO(bind_edges(engine, program), fail);
    C4_TRY_GOTO(bind_steps(program), fail);
    C4_TRY_GOTO(bind_reached(program), fail);
    if (schedule->fallback) {
        c4_schedule *fallback = schedule->fallback;
        schedule->fallback = NULL;
        C4_TRY_GOTO(c4_program_bind(engine, fallback, &program->fallback), fail);
        bind_fallback_edges(program);
    }
    *out = program;
    return C4_OK;
fail:
    if (schedule->fallback)
        c4_schedule_destroy(schedule->fallback);
    c4_program_destroy(program);
    return status;
}

/* ---- build ---- */

c4_status c4_program_query(c4_engine *engine, const c4_call *call, c4_query *query, const char **reason)
{
    const c4_engine_spec *spec = &engine->spec;
    bool reduces = kind_reduces(call->kind);
    bool forced = spec->forced_algorithm >= 0 && (spec->forced_kinds >> call->kind & 1);
    *query = (c4_query){.kind = call->kind,
                        .rank = spec->rank,
                        .nranks = spec->nranks,
                        .root = call->root,
                        .count = call->count,
                        .element_bytes = c4_numeric_dtype_bytes(call->dtype),
                        .in_place = call->in_place,
                        .reduces = reduces,
                        .deterministic = spec->deterministic,
                        .send_counts = call->send_counts,
                        .send_displs = call->send_displs,
                        .recv_counts = call->recv_counts,
                        .recv_displs = call->recv_displs,
                        .layout = spec->layout,
                        .cost = spec->cost,
                        .algorithm = forced ? spec->forced_algorithm : -1,
                        .chunk_bytes = spec->chunk_bytes,
                        .may_map = spec->map};
    c4_status status = c4_schedule_choose(query, spec->tuning, reason);
    if (status == C4_ERR_UNSUPPORTED && forced) {
        query->algorithm = -1; /* the forced algorithm does not take this call: choose as if nothing were forced */
        status = c4_schedule_choose(query, spec->tuning, reason);
    }
    return status;
}

/* Premultiplied sums are one operation: their scalars may differ between ranks. */
static uint32_t call_op(const c4_call *call)
{
    if (!kind_reduces(call->kind))
        return C4_SUM;
    return call->op >= C4_OP_USER ? C4_OP_USER : (uint32_t)call->op;
}

uint32_t c4_call_signature(const c4_call *call)
{
    uint32_t kind = kind_is_p2p(call->kind) ? C4_KIND_SEND : call->kind;
    uint32_t root = kind_is_p2p(call->kind) ? 0 : (uint32_t)call->root;
    uint64_t h = (uint64_t)kind << 56 ^ (uint64_t)call->dtype << 48 ^ (uint64_t)call_op(call) << 40 ^ root;
    if (!c4_kind_is_v(call->kind))
        h ^= call->count * 0x9e3779b97f4a7c15u;
    h *= 0xff51afd7ed558ccdu;
    return (uint32_t)(h ^ h >> 32);
}

static c4_status program_name(c4_engine *engine, const c4_call *call, c4_program *program)
{
    c4_trace_program(engine, call, program);
    program->signature = c4_call_signature(call);
    program->serial = ++engine->programs.serial;
    return c4_express_create(engine, call, program, &program->express);
}

static c4_status program_build(c4_engine *engine, const c4_call *call, c4_program **program)
{
    c4_query query;
    const char *reason = "";
    c4_schedule *schedule = NULL;
    C4_TRY(c4_program_query(engine, call, &query, &reason));
    C4_TRY(c4_schedule_build(&query, &schedule));
    C4_TRY(c4_program_bind(engine, schedule, program));
    c4_status status = program_name(engine, call, *program);
    if (status == C4_OK && (*program)->fallback) {
        (*program)->fallback->cached = true; /* as long as its owner is */
        status = program_name(engine, call, (*program)->fallback);
    }
    if (status < 0)
        c4_program_destroy(*program);
    return status;
}

/* ---- cache ---- */

static bool key_equal(const c4_program_key *a, const c4_program_key *b)
{
    return a->count == b->count && a->what == b->what && a->op == b->op && a->root == b->root &&
           a->tuning_epoch == b->tuning_epoch;
}

static uint64_t key_hash(const c4_program_key *key)
{
    uint64_t h = key->count * 0x9e3779b97f4a7c15u ^ ((uint64_t)key->what << 32 | key->op);
    h ^= (uint64_t)(uint32_t)key->root * 0xff51afd7ed558ccdu;
    h *= 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

static void lru_unlink(c4_program_cache *cache, c4_program *p)
{
    *(p->older ? &p->older->newer : &cache->oldest) = p->newer;
    *(p->newer ? &p->newer->older : &cache->newest) = p->older;
}

static void lru_push(c4_program_cache *cache, c4_program *p)
{
    p->older = cache->newest;
    p->newer = NULL;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = p;
    cache->newest = p;
}

static void lru_touch(c4_program_cache *cache, c4_program *p)
{
    if (cache->newest == p)
        return;
    lru_unlink(cache, p);
    lru_push(cache, p);
}

static void cache_remove(c4_engine *engine, c4_program *p)
{
    c4_program_cache *cache = &engine->programs;
    c4_program **link = &cache->buckets[key_hash(&p->key) % C4_PROGRAM_BUCKETS];
    while (*link != p)
        link = &(*link)->hash_next;
    *link = p->hash_next;
    lru_unlink(cache, p);
    cache->count--;
    if (cache->last == p)
        cache->last = NULL;
    if (engine->repeat == p)
        engine->repeat = NULL;
}

static void cache_evict(c4_engine *engine)
{
    c4_program_cache *cache = &engine->programs;
    for (c4_program *p = cache->oldest; p && cache->count >= C4_PROGRAM_LIMIT;) {
        c4_program *newer = p->newer;
        if (p->running == 0) {
            cache_remove(engine, p);
            c4_program_destroy(p);
        }
        p = newer;
    }
}

static c4_program *cache_find(c4_program_cache *cache, const c4_program_key *key)
{
    c4_program *p = cache->buckets[key_hash(key) % C4_PROGRAM_BUCKETS];
    while (p && !key_equal(&p->key, key))
        p = p->hash_next;
    return p;
}

static void cache_insert(c4_engine *engine, c4_program *p)
{
    c4_program_cache *cache = &engine->programs;
    cache_evict(engine);
    c4_program **bucket = &cache->buckets[key_hash(&p->key) % C4_PROGRAM_BUCKETS];
    p->hash_next = *bucket;
    *bucket = p;
    p->cached = true;
    lru_push(cache, p);
    cache->count++;
}

static c4_program_key call_key(const c4_call *call)
{
    return (c4_program_key){.count = call->count,
                            .what = (uint32_t)call->kind | (uint32_t)call->dtype << 8 | (uint32_t)call->in_place << 16,
                            .op = call_op(call),
                            .root = call->root,
                            .tuning_epoch = 0};
}

c4_status c4_program_get(c4_engine *engine, const c4_call *call, c4_program **program)
{
    c4_program_cache *cache = &engine->programs;
    c4_program_key key = call_key(call);
    if (cache->last && key_equal(&cache->last->key, &key)) {
        *program = cache->last;
        lru_touch(cache, *program);
        (*program)->running++;
        return C4_OK;
    }
    bool cacheable = !c4_kind_is_v(call->kind);
    c4_program *p = cacheable ? cache_find(cache, &key) : NULL;
    if (!p) {
        C4_TRY(program_build(engine, call, &p));
        p->key = key;
        if (p->fallback)
            p->vote = c4_vote_entry_of(engine, p);
        if (cacheable)
            cache_insert(engine, p);
    } else {
        lru_touch(cache, p);
    }
    if (p->cached && !kind_is_p2p(call->kind))
        cache->last = p;
    p->running++;
    *program = p;
    return C4_OK;
}

void c4_program_release(c4_engine *engine, c4_program *program)
{
    (void)engine;
    program->running--;
    if (!program->cached && program->running == 0)
        c4_program_destroy(program);
}

void c4_program_cache_fini(c4_engine *engine)
{
    c4_program *next;
    for (c4_program *p = engine->programs.oldest; p; p = next) {
        next = p->newer;
        c4_program_destroy(p);
    }
    memset(&engine->programs, 0, sizeof engine->programs);
}
