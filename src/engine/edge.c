/* Channels, opened on first use and kept: schedules name them by writer, tag and readers. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/internal.h"

static uint64_t edge_hash(int writer, const int *readers, int nreaders, uint32_t tag, bool write_end)
{
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, &writer, sizeof writer);
    hash = c4_hash_bytes(hash, &tag, sizeof tag);
    hash = c4_hash_bytes(hash, &write_end, sizeof write_end); /* a rank's messages to itself have both ends here */
    return c4_hash_bytes(hash, readers, sizeof *readers * (size_t)nreaders);
}

/* The rail that serves all other ends: a channel with several readers needs one transport that reaches them all. */
static c4_status edge_rail(const c4_engine *engine, int writer, const int *readers, int nreaders, const c4_rail **rail)
{
    int self = engine->spec.rank;
    int other = writer == self ? readers[0] : writer;
    if (other == self && nreaders > 1)
        other = readers[1];
    uint8_t index = engine->rail_of[other];
    for (int i = 0; i < nreaders; i++)
        if (writer == self && engine->rail_of[readers[i]] != index)
            return c4_fail(C4_ERR_INTERNAL, "channel of rank %d spans transports", writer);
    *rail = &engine->rails[index];
    if ((unsigned)nreaders > (*rail)->caps.max_readers)
        return c4_fail(C4_ERR_INTERNAL, "channel of rank %d has %d readers, transport %s takes %u", writer, nreaders,
                       (*rail)->ops->name, (*rail)->caps.max_readers);
    return C4_OK;
}

static c4_status edge_open(c4_engine *engine, const c4_edge_spec *want, c4_edge **out)
{
    const c4_rail *rail = NULL;
    int writer = want->writer, nreaders = want->nreaders;
    const int *readers = want->readers;
    C4_TRY(edge_rail(engine, writer, readers, nreaders, &rail));
    c4_edge *edge = calloc(1, sizeof *edge);
    if (!edge)
        return c4_fail(C4_ERR_MEMORY, "channel to rank %d", writer);
    edge->readers = malloc((size_t)nreaders * sizeof *edge->readers);
    if (!edge->readers) {
        free(edge);
        return c4_fail(C4_ERR_MEMORY, "channel to rank %d", writer);
    }
    memcpy(edge->readers, readers, (size_t)nreaders * sizeof *readers);
    c4_channel_spec spec = {.struct_size = sizeof spec,
                            .comm = engine->spec.comm_id,
                            .tag = want->tag,
                            .writer = writer,
                            .readers = readers,
                            .nreaders = nreaders,
                            .depth_bytes = want->depth_bytes};
    c4_status status = rail->ops->channel_open(rail->module, &spec, &edge->channel);
    if (status < 0) {
        free(edge->readers);
        free(edge);
        return status;
    }
    edge->ops = rail->ops;
    edge->windows = (rail->caps.flags & C4_CAP_WINDOWS) != 0;
    edge->fused_reduce = (rail->caps.flags & C4_CAP_FUSED_REDUCE) != 0;
    edge->put_bytes = edge->windows ? rail->caps.put_bytes : 0;
    edge->writer = want->write_end;
    edge->writer_rank = writer;
    edge->peer = edge->writer ? readers[0] : writer;
    edge->nreaders = nreaders;
    edge->record =
        c4_record_edge_add(engine->spec.writer, edge->peer, want->tag, edge->writer, (unsigned)(rail - engine->rails));
    edge->tag = want->tag;
    *out = edge;
    return C4_OK;
}

/* Where others find how many messages this rank has called, see c4_engine_called. */
static c4_status publish_p2p(c4_engine *engine, c4_edge *edge)
{
    _Atomic(c4_edge *) *all = atomic_load(&engine->p2p);
    if (!all) {
        all = calloc(2 * (size_t)engine->spec.nranks, sizeof *all);
        if (!all)
            return c4_fail(C4_ERR_MEMORY, "channels to %d ranks", engine->spec.nranks);
        atomic_store(&engine->p2p, all);
    }
    atomic_store(&all[2 * edge->peer + edge->writer], edge);
    return C4_OK;
}

c4_status c4_edge_get(c4_engine *engine, const c4_edge_spec *spec, c4_edge **edge)
{
    uint64_t hash = edge_hash(spec->writer, spec->readers, spec->nreaders, spec->tag, spec->write_end);
    c4_edge **bucket = &engine->edges.buckets[hash % C4_EDGE_BUCKETS];
    for (c4_edge *e = *bucket; e; e = e->hash_next) {
        /* 64 bits of hash stand for the reader list; the rest is compared. */
        if (e->hash == hash && e->writer_rank == spec->writer && e->tag == spec->tag && e->nreaders == spec->nreaders &&
            e->writer == spec->write_end) {
            *edge = e;
            return C4_OK;
        }
    }
    /* Transports take the first opening of a rank's channel to itself for the writer's end. */
    c4_edge *first;
    if (!spec->write_end && spec->writer == engine->spec.rank) {
        c4_edge_spec writing = *spec;
        writing.write_end = true;
        C4_TRY(c4_edge_get(engine, &writing, &first));
    }
    C4_TRY(edge_open(engine, spec, edge));
    (*edge)->hash = hash;
    (*edge)->hash_next = *bucket;
    *bucket = *edge;
    return spec->tag == C4_TAG_P2P ? publish_p2p(engine, *edge) : C4_OK;
}

/* The channels themselves go with their modules, which let frames that are under way arrive. */
void c4_edge_free_all(c4_engine *engine)
{
    for (unsigned i = 0; i < C4_EDGE_BUCKETS; i++) {
        c4_edge *next;
        for (c4_edge *e = engine->edges.buckets[i]; e; e = next) {
            next = e->hash_next;
            free(e->readers);
            free(e);
        }
        engine->edges.buckets[i] = NULL;
    }
}
