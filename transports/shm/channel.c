/* Life of a channel: opened without traffic, its ring made by the writer's first frame and found by the reader's polls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "base/status.h"
#include "transports/shm/module.h"

/* Slots per ring: frames in flight. Payload goes round the whole ring whatever their number. */
#define HEADERS_MAX 128u
#define HEADERS_MIN 32u

static c4_status spec_check(const c4_module *module, const c4_channel_spec *spec)
{
    if (!spec->readers || spec->nreaders < 1 || spec->nreaders > C4_SHM_MAX_READERS)
        return c4_fail(C4_ERR_ARGUMENT, "shm: a channel with %d readers; 1 to %d are possible", spec->nreaders,
                       C4_SHM_MAX_READERS);
    bool mine = spec->writer == module->host->rank;
    for (int i = -1; i < spec->nreaders; i++) {
        int rank = i < 0 ? spec->writer : spec->readers[i];
        if (rank < 0 || rank >= module->npeers)
            return c4_fail(C4_ERR_ROOT, "shm: rank %d in a channel of a job of %d ranks", rank, module->npeers);
        if (!module->peers[rank])
            return c4_fail(C4_ERR_UNREACHABLE, "shm: rank %d has no known address on this host", rank);
        if (i > 0 && rank <= spec->readers[i - 1])
            return c4_fail(C4_ERR_ARGUMENT, "shm: a channel's readers must ascend, but %d follows %d", rank,
                           spec->readers[i - 1]);
        mine = mine || rank == module->host->rank;
    }
    if (!mine)
        return c4_fail(C4_ERR_ARGUMENT, "shm: rank %d is neither writer nor reader of channel %u:%u",
                       module->host->rank, spec->comm, spec->tag);
    return C4_OK;
}

static size_t ring_bytes(const c4_module *module, size_t depth_bytes)
{
    size_t bytes = depth_bytes && depth_bytes < module->ring_bytes ? depth_bytes : module->ring_bytes;
    if (bytes < 4 * C4_SHM_PAGE)
        bytes = 4 * C4_SHM_PAGE;
    if (bytes > (size_t)1 << 30)
        bytes = (size_t)1 << 30;
    return (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
}

static c4_channel *channel_new(c4_module *module, const c4_channel_spec *spec)
{
    size_t nreaders = (size_t)spec->nreaders;
    size_t bytes = sizeof(c4_channel) + nreaders * sizeof(int);
    c4_channel *channel = aligned_alloc(C4_SHM_LINE, (bytes + C4_SHM_LINE - 1) / C4_SHM_LINE * C4_SHM_LINE);
    if (!channel)
        return NULL;
    memset(channel, 0, bytes);
    channel->module = module;
    channel->key = c4_shm_key(spec);
    channel->spec = *spec;
    memcpy(channel->readers, spec->readers, nreaders * sizeof(int));
    channel->spec.readers = channel->readers;
    channel->is_writer = spec->writer == module->host->rank;
    for (int i = 0; i < spec->nreaders; i++)
        if (spec->readers[i] == module->host->rank) {
            channel->is_reader = true;
            channel->self = i;
        }
    size_t quarter = ring_bytes(module, spec->depth_bytes) / 4;
    channel->max_frame_bytes = quarter < module->max_frame_bytes ? quarter : module->max_frame_bytes;
    channel->out.reserved = SIZE_MAX;
    channel->in.directory_seen = UINT32_MAX;
    return channel;
}

c4_status c4_shm_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel)
{
    C4_TRY(spec_check(module, spec));
    C4_TRY(c4_shm_module_settle(module));
    c4_channel *made = channel_new(module, spec);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "shm: a channel");
    made->next = module->channels;
    if (made->next)
        made->next->previous = made;
    module->channels = made;
    *channel = made;
    return C4_OK;
}

void c4_shm_channel_close(c4_channel *channel)
{
    if (!channel)
        return;
    c4_module *module = channel->module;
    while (channel->sends.first)
        c4_shm_cancel(channel, channel->sends.first);
    while (channel->receives.first)
        c4_shm_cancel(channel, channel->receives.first);
    c4_shm_ring_close(channel);
    if (module->timed == channel)
        module->timed = NULL;
    if (channel->next)
        channel->next->previous = channel->previous;
    if (channel->previous)
        channel->previous->next = channel->next;
    else
        module->channels = channel->next;
    free(channel);
}

c4_status c4_shm_counters(c4_channel *channel, c4_edge_counters *counters)
{
    *counters = channel->counters;
    return C4_OK;
}

/* Page tables now: a fault in the middle of a frame costs as much as a 4 KiB message, and a ring has 512 of them.
 * Best effort: old kernels lack it, and the pages themselves exist already. */
static void populate(void *base, size_t bytes, bool writing)
{
#ifdef MADV_POPULATE_WRITE
    madvise(base, bytes, writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
#else
    (void)base;
    (void)bytes;
    (void)writing;
#endif
}

/* ---- writer ---- */

uint32_t c4_shm_header_count(uint32_t payload_lines)
{
    uint32_t count = HEADERS_MAX;
    while (count > HEADERS_MIN && count > payload_lines / 32)
        count /= 2;
    return count;
}

/* Less than wanted will do while it still takes the largest frame four times. */
static c4_status shape_alloc(c4_channel *channel, c4_shm_shape *shape)
{
    c4_module *module = channel->module;
    c4_shm_limbo_reap(module);
    size_t wanted = ring_bytes(module, channel->spec.depth_bytes);
    for (size_t bytes = wanted; bytes >= 4 * channel->max_frame_bytes; bytes /= 2) {
        shape->nreaders = (uint32_t)channel->spec.nreaders;
        shape->payload_lines = (uint32_t)(bytes / C4_SHM_LINE);
        shape->headers = c4_shm_header_count(shape->payload_lines);
        size_t offset;
        if (module->fail_alloc || c4_shm_arena_alloc(&module->arena, c4_shm_shape_bytes(shape), &offset) != C4_OK)
            continue;
        shape->offset = offset;
        if (bytes < wanted)
            module->host->log(module->host->context, C4_TLOG_WARN,
                              "shm: ring of %zu instead of %zu bytes to rank %d: "
                              "shared memory is short; raise C4_SHM_BUDGET_BYTES, the container's memory limit or "
                              "--shm-size",
                              bytes, wanted, channel->readers[0]);
        return C4_OK;
    }
    return c4_fail(C4_ERR_SHM,
                   "shm: no room for a ring of %zu bytes to rank %d; %zu of this process's %zu are in use: "
                   "raise C4_SHM_BUDGET_BYTES, the container's memory limit or --shm-size (ulimit -f, if set), or "
                   "lower C4_SHM_RING_BYTES",
                   4 * channel->max_frame_bytes, channel->readers[0], module->arena.top, module->arena.bytes);
}

static c4_status connect_readers(c4_channel *channel)
{
    c4_module *module = channel->module;
    channel->fence = !module->expedited;
    for (int i = 0; i < channel->spec.nreaders; i++) {
        c4_shm_peer *peer;
        C4_TRY(c4_shm_peer_connect(module, channel->readers[i], &peer));
        channel->bells[i] = &peer->head->asleep;
        channel->fence = channel->fence || !peer->head->expedited;
    }
    return C4_OK;
}

c4_status c4_shm_ring_create(c4_channel *channel)
{
    c4_module *module = channel->module;
    if (!channel->is_writer)
        return c4_fail(C4_ERR_ARGUMENT, "shm: rank %d reads channel %u:%u and cannot write it", module->host->rank,
                       channel->spec.comm, channel->spec.tag);
    c4_shm_writer *out = &channel->out;
    c4_status status;
    size_t nreaders = (size_t)channel->spec.nreaders;
    c4_shm_shape shape = {0};
    if (!channel->bells)
        channel->bells = calloc(nreaders, sizeof *channel->bells);
    if (!channel->bells)
        return c4_fail(C4_ERR_MEMORY, "shm: a channel to %zu readers", nreaders);
    C4_TRY(connect_readers(channel));
    C4_TRY(shape_alloc(channel, &shape));
    C4_TRY_GOTO(c4_random_bytes(&shape.start, sizeof shape.start), fail);
    /* 60 bits, then never 0 and never wrapping into the flags. */
    shape.start = (shape.start >> 5) | (uint64_t)1 << 60;
    out->end_line = calloc(shape.headers, sizeof *out->end_line);
    out->reports = calloc(nreaders, sizeof *out->reports);
    if (!out->end_line || !out->reports) {
        status = c4_fail(C4_ERR_MEMORY, "shm: a ring's bookkeeping");
        goto fail;
    }
    unsigned char *base = module->arena.base + shape.offset;
    populate(base, c4_shm_shape_bytes(&shape), true);
    memset(base, 0, c4_shm_shape_payload_at(&shape));
    C4_TRY_GOTO(c4_shm_directory_insert(&module->arena, channel->key, &shape, &out->entry), fail_directory);
    out->shape = shape;
    out->start = shape.start;
    out->mask = shape.headers - 1;
    out->payload_lines = out->limit = shape.payload_lines;
    out->line = (c4_shm_writer_line *)base;
    out->readers = (c4_shm_reader_line *)(base + sizeof(c4_shm_writer_line));
    out->payload = base + c4_shm_shape_payload_at(&shape);
    out->slots = (c4_shm_slot *)(base + c4_shm_shape_lines_at(&shape));
    return C4_OK;

fail_directory:
    c4_fail(status, "shm: no room for one more channel of rank %d: raise C4_SHM_BUDGET_BYTES", module->host->rank);
fail:
    free(out->end_line);
    free(out->reports);
    out->end_line = out->reports = NULL;
    c4_shm_arena_free(&module->arena, (size_t)shape.offset, c4_shm_shape_bytes(&shape));
    return status;
}

static bool readers_gone(const c4_module *module, const c4_shm_shape *shape)
{
    const unsigned char *base = module->arena.base + shape->offset;
    const c4_shm_reader_line *readers = (const c4_shm_reader_line *)(base + sizeof(c4_shm_writer_line));
    for (uint32_t i = 0; i < shape->nreaders; i++)
        if (__atomic_load_n(&readers[i].state, __ATOMIC_SEQ_CST) == C4_SHM_READER_ATTACHED)
            return false;
    return true;
}

void c4_shm_limbo_reap(c4_module *module)
{
    for (c4_shm_limbo **link = &module->limbo; *link;) {
        c4_shm_limbo *limbo = *link;
        if (!readers_gone(module, &limbo->shape)) {
            link = &limbo->next;
            continue;
        }
        c4_shm_arena_free(&module->arena, (size_t)limbo->shape.offset, c4_shm_shape_bytes(&limbo->shape));
        *link = limbo->next;
        free(limbo);
    }
}

void c4_shm_limbo_fini(c4_module *module)
{
    while (module->limbo) {
        c4_shm_limbo *limbo = module->limbo;
        module->limbo = limbo->next;
        free(limbo);
    }
}

static void writer_close(c4_channel *channel)
{
    c4_shm_writer *out = &channel->out;
    c4_module *module = channel->module;
    if (out->slots && !module->closing) {
        /* First the entry, then a look at the readers: a reader that attaches meanwhile checks the entry again. */
        c4_shm_directory_remove(&module->arena, out->entry);
        c4_shm_limbo *limbo = malloc(sizeof *limbo);
        if (limbo) { /* else the ring's memory stays unused until the module closes */
            *limbo = (c4_shm_limbo){out->shape, module->limbo};
            module->limbo = limbo;
            c4_shm_limbo_reap(module);
        }
    }
    free(out->end_line);
    free(out->reports);
    free(channel->bells);
}

/* ---- reader ---- */

static bool shape_valid(const c4_shm_shape *shape, const c4_channel *channel, size_t arena_bytes)
{
    if (shape->headers < 2 || shape->headers > 1u << 16 || (shape->headers & (shape->headers - 1)))
        return false;
    if (shape->payload_lines == 0 || shape->payload_lines > (1u << 30) / C4_SHM_LINE || shape->start >> 61)
        return false;
    if (shape->nreaders != (uint32_t)channel->spec.nreaders || shape->offset % C4_SHM_PAGE)
        return false;
    return shape->offset <= arena_bytes && c4_shm_shape_bytes(shape) <= arena_bytes - shape->offset;
}

/* Takes this reader's line, unless the ring is an earlier one that this rank has already left. */
static bool line_attach(c4_shm_reader_line *line, const c4_shm_entry *entry, uint64_t key)
{
    uint32_t fresh = C4_SHM_READER_NEW;
    if (!__atomic_compare_exchange_n(&line->state, &fresh, C4_SHM_READER_ATTACHED, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST))
        return false;
    if (__atomic_load_n(&entry->key, __ATOMIC_SEQ_CST) == key)
        return true;
    __atomic_store_n(&line->state, C4_SHM_READER_GONE, __ATOMIC_SEQ_CST);
    return false;
}

c4_status c4_shm_ring_attach(c4_channel *channel)
{
    c4_shm_reader *in = &channel->in;
    if (channel->error)
        return channel->error;
    if (!channel->is_reader)
        return c4_fail(C4_ERR_ARGUMENT, "shm: rank %d writes channel %u:%u and cannot read it",
                       channel->module->host->rank, channel->spec.comm, channel->spec.tag);
    c4_shm_peer *peer;
    C4_TRY(c4_shm_peer_connect(channel->module, channel->spec.writer, &peer));
    uint32_t version = __atomic_load_n(&peer->head->directory_version, __ATOMIC_ACQUIRE);
    if (version == in->directory_seen)
        return C4_IN_PROGRESS;
    const c4_shm_entry *entry = c4_shm_directory_find((const unsigned char *)peer->head, peer->bytes, channel->key);
    if (!entry) {
        in->directory_seen = version;
        return C4_IN_PROGRESS;
    }
    c4_shm_shape shape = entry->shape;
    if (!shape_valid(&shape, channel, peer->bytes)) {
        if (__atomic_load_n(&entry->key, __ATOMIC_ACQUIRE) != channel->key)
            return C4_IN_PROGRESS; /* it went while being read */
        channel->error = c4_fail(C4_ERR_PROTOCOL,
                                 "shm: rank %d published a ring that does not fit its memory "
                                 "(channel %u:%u)",
                                 channel->spec.writer, channel->spec.comm, channel->spec.tag);
        return channel->error;
    }
    unsigned char *base = (unsigned char *)peer->head + shape.offset;
    c4_shm_reader_line *line = (c4_shm_reader_line *)(base + sizeof(c4_shm_writer_line)) + channel->self;
    if (!line_attach(line, entry, channel->key)) {
        in->directory_seen = version;
        return C4_IN_PROGRESS;
    }
    populate(base, c4_shm_shape_bytes(&shape), false);
    in->line = (const c4_shm_writer_line *)base;
    in->credit = line;
    in->mask = shape.headers - 1;
    in->payload_lines = shape.payload_lines;
    in->payload = base + c4_shm_shape_payload_at(&shape);
    in->index = 0;
    in->expected = shape.start;
    in->slots = (const c4_shm_slot *)(base + c4_shm_shape_lines_at(&shape));
    channel->writer_bell = &peer->head->asleep;
    if (!channel->is_writer)
        channel->fence = !channel->module->expedited || !peer->head->expedited;
    return C4_OK;
}

void c4_shm_ring_close(c4_channel *channel)
{
    if (channel->in.slots)
        __atomic_store_n(&channel->in.credit->state, C4_SHM_READER_GONE, __ATOMIC_SEQ_CST);
    if (channel->is_writer)
        writer_close(channel);
}
