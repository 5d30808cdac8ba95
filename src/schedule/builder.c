#include "schedule/builder.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH_ALIGN 64u

void c4_builder_init(c4_builder *b, const c4_query *query)
{
    *b = (c4_builder){.query = query, .chunk = query->element_bytes ? query->element_bytes : 1};
}

/* Room for `need` items; false (and sticky status) without memory. */
static bool grow(c4_builder *b, void *array, uint32_t *room, uint64_t need, size_t item_bytes)
{
    void **items = array;
    if (b->status < 0)
        return false;
    if (need <= *room)
        return true;
    if (need > UINT32_MAX / 2) {
        b->status = c4_fail(C4_ERR_COUNT, "schedule of more than 2^31 parts");
        return false;
    }
    uint32_t larger = *room ? *room * 2 : 16;
    while (larger < need)
        larger *= 2;
    void *moved = realloc(*items, (size_t)larger * item_bytes);
    if (!moved) {
        b->status = c4_fail(C4_ERR_MEMORY, "schedule with %u parts", larger);
        return false;
    }
    *items = moved;
    *room = larger;
    return true;
}

/* Where a frame is a system call, small frames cost more than their overlap saves: 64 KiB all_reduce over TCP takes 118 us
 * in frames of 8 KiB and 58 in frames of 32 KiB or more (rsag, two ranks on loopback). */
#define POSTED_CHUNK_BYTES ((uint64_t)128 << 10)
/* Frames that nobody waits for one by one: a system call that sends 1 MiB at once keeps the sender's core at the protocol's
 * work, which the receiver's acknowledgements else do on the receiver's core. 1 MiB one way over loopback: 213 us in calls of
 * 128 KiB, 130 of 512 KiB, 101 of 1 MiB. */
#define POSTED_COPY_BYTES ((uint64_t)1 << 20)

static bool has_posted_links(const c4_query *q)
{
    bool one_host = !q->layout || q->layout->nhosts <= 1;
    return !one_host || !c4_query_cost(q)->local.windows;
}

void c4_builder_set_chunk(c4_builder *b, uint64_t preferred)
{
    if (has_posted_links(b->query) && preferred < POSTED_CHUNK_BYTES)
        preferred = POSTED_CHUNK_BYTES;
    uint64_t element = b->query->element_bytes ? b->query->element_bytes : 1;
    uint64_t limit = c4_query_frame_bytes(b->query);
    uint64_t chunk = b->query->chunk_bytes ? b->query->chunk_bytes : preferred;
    if (limit < element) {
        b->status = c4_fail(C4_ERR_UNSUPPORTED, "frames of %llu bytes do not hold an element of %llu",
                            (unsigned long long)limit, (unsigned long long)element);
        return;
    }
    chunk = c4_min_bytes(chunk, limit);
    chunk -= chunk % element;
    b->chunk = chunk < element ? element : chunk;
}

void c4_builder_set_copy_chunk(c4_builder *b, uint64_t preferred)
{
    c4_builder_set_chunk(b, has_posted_links(b->query) ? POSTED_COPY_BYTES : preferred);
}

bool c4_builder_eager(const c4_builder *b, uint64_t bytes)
{
    return bytes <= c4_min_bytes(b->chunk, C4_SCHEDULE_EAGER_BYTES);
}

uint64_t c4_builder_scratch(c4_builder *b, uint64_t bytes)
{
    uint64_t offset = b->scratch_bytes;
    uint64_t end;
    if (__builtin_add_overflow(offset, bytes, &end) || end > UINT64_MAX - SCRATCH_ALIGN) {
        b->status = c4_fail(C4_ERR_COUNT, "scratch of more than 2^64 bytes");
        return 0;
    }
    b->scratch_bytes = (end + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
    return offset;
}

uint32_t c4_builder_lane(c4_builder *b)
{
    return b->nlanes++;
}

uint32_t c4_builder_loop(c4_builder *b, uint32_t lane)
{
    if (!grow(b, &b->loops, &b->loops_room, (uint64_t)b->nloops + 1, sizeof *b->loops))
        return 0;
    b->loops[b->nloops] = (c4_build_loop){.lane = lane, .iterations = 1};
    return b->nloops++;
}

void c4_builder_iterations(c4_builder *b, uint32_t loop, uint64_t iterations)
{
    if (b->status < 0 || iterations <= b->loops[loop].iterations)
        return;
    if (iterations > UINT32_MAX)
        b->status = c4_fail(C4_ERR_COUNT, "%llu chunks of %llu bytes", (unsigned long long)iterations,
                            (unsigned long long)b->chunk);
    else
        b->loops[loop].iterations = (uint32_t)iterations;
}

void c4_step_open(c4_builder *b, uint32_t loop, uint64_t bytes, unsigned flags)
{
    if (!grow(b, &b->steps, &b->steps_room, (uint64_t)b->nsteps + 1, sizeof *b->steps))
        return;
    b->steps[b->nsteps++] = (c4_build_step){
        .step = {.first_term = b->nterms, .flags = (uint8_t)flags, .total = bytes, .chunk = b->chunk},
        .loop = loop,
    };
    b->loops[loop].nsteps++;
    c4_builder_iterations(b, loop, c4_ceil_div(bytes, b->chunk));
}

static c4_step *open_step_with_term(c4_builder *b, c4_term term)
{
    if (!grow(b, &b->terms, &b->terms_room, (uint64_t)b->nterms + 1, sizeof *b->terms))
        return NULL;
    b->terms[b->nterms++] = term;
    return &b->steps[b->nsteps - 1].step;
}

void c4_step_from(c4_builder *b, c4_term term)
{
    c4_step *step = open_step_with_term(b, term);
    if (step)
        step->nsources++;
}

void c4_step_to(c4_builder *b, c4_term term)
{
    c4_step *step = open_step_with_term(b, term);
    if (step)
        step->ndestinations++;
}

static void gate(c4_builder *b, c4_gate_kind kind, uint32_t loop, uint32_t position)
{
    if (b->status < 0)
        return;
    c4_build_step *step = &b->steps[b->nsteps - 1];
    step->gate = kind;
    step->gate_loop = loop;
    step->gate_position = position;
}

void c4_step_gate_iteration(c4_builder *b, uint32_t loop, uint32_t position)
{
    gate(b, C4_GATE_SAME_ITERATION, loop, position);
}

void c4_step_gate_loop(c4_builder *b, uint32_t loop)
{
    gate(b, C4_GATE_LOOP_DONE, loop, 0);
}

void c4_step_move(c4_builder *b, uint32_t loop, uint64_t bytes, c4_term from, c4_term to, unsigned flags)
{
    c4_step_open(b, loop, bytes, flags);
    c4_step_from(b, from);
    c4_step_to(b, to);
}

/* ---- terms ---- */

c4_term c4_term_local(c4_buffer_id buffer, uint64_t offset)
{
    return (c4_term){.kind = C4_TERM_LOCAL, .buffer = (uint8_t)buffer, .offset = offset};
}

c4_term c4_term_remote(int rank, c4_buffer_id buffer, uint64_t offset)
{
    return (c4_term){.kind = C4_TERM_REMOTE, .buffer = (uint8_t)buffer, .index = (uint16_t)rank, .offset = offset};
}

static bool channel_equals(const c4_builder *b, const c4_channel_use *use, int writer, uint32_t tag, const int *readers,
                           uint32_t nreaders)
{
    return use->writer == writer && use->tag == tag && use->nreaders == nreaders &&
           memcmp(b->readers + use->first_reader, readers, nreaders * sizeof *readers) == 0;
}

static c4_term channel_term(c4_builder *b, int writer, uint32_t tag, const int *readers, uint32_t nreaders)
{
    c4_term term = {.kind = C4_TERM_CHANNEL};
    for (uint32_t i = b->nchannels; i-- > 0;) {
        if (channel_equals(b, &b->channels[i], writer, tag, readers, nreaders)) {
            term.index = (uint16_t)i;
            return term;
        }
    }
    if (!grow(b, &b->channels, &b->channels_room, (uint64_t)b->nchannels + 1, sizeof *b->channels) ||
        !grow(b, &b->readers, &b->readers_room, (uint64_t)b->nreaders + nreaders, sizeof *b->readers))
        return term;
    if (b->nchannels > UINT16_MAX) {
        b->status = c4_fail(C4_ERR_COUNT, "schedule with more than 65536 channels");
        return term;
    }
    memcpy(b->readers + b->nreaders, readers, nreaders * sizeof *readers);
    b->channels[b->nchannels] =
        (c4_channel_use){.writer = writer, .tag = tag, .first_reader = b->nreaders, .nreaders = (uint16_t)nreaders};
    b->nreaders += nreaders;
    term.index = (uint16_t)b->nchannels++;
    return term;
}

c4_term c4_term_send(c4_builder *b, int peer, uint32_t tag)
{
    return channel_term(b, b->query->rank, tag, &peer, 1);
}

c4_term c4_term_receive(c4_builder *b, int peer, uint32_t tag)
{
    return channel_term(b, peer, tag, &b->query->rank, 1);
}

c4_term c4_term_publish(c4_builder *b, const c4_group *group, int writer, uint32_t tag)
{
    int *readers = malloc(sizeof *readers * (size_t)group->n);
    if (!readers) {
        b->status = c4_fail(C4_ERR_MEMORY, "readers of a channel");
        return (c4_term){.kind = C4_TERM_CHANNEL};
    }
    uint32_t nreaders = 0;
    for (int i = 0; i < group->n; i++)
        if (i != writer)
            readers[nreaders++] = c4_group_rank(group, i);
    c4_term term = channel_term(b, c4_group_rank(group, writer), tag, readers, nreaders);
    free(readers);
    return term;
}

/* ---- fan-out, fold, barrier ---- */

bool c4_group_can_publish(const c4_query *query, const c4_group *group)
{
    const c4_link_class *link = &c4_query_cost(query)->local;
    /* Every rank names all readers of all writers: beyond this the schedules grow with n squared. */
    if (group->n < 3 || group->n > C4_FOLD_SOURCES || !link->windows || link->max_readers < (unsigned)group->n - 1)
        return false;
    for (int i = 1; i < group->n; i++)
        if (!c4_query_same_host(query, c4_group_rank(group, 0), c4_group_rank(group, i)))
            return false;
    return true;
}

int c4_step_fan_to(c4_builder *b, const c4_group *group, uint32_t tag, bool publish, int from)
{
    if (publish) {
        c4_step_to(b, c4_term_publish(b, group, group->me, tag));
        return group->n;
    }
    int last = group->n - from > C4_FOLD_SOURCES ? from + C4_FOLD_SOURCES : group->n;
    for (int i = from; i < last; i++)
        c4_step_to(b, c4_term_send(b, c4_group_rank(group, (group->me + i) % group->n), tag));
    return last;
}

c4_term c4_term_fan_from(c4_builder *b, const c4_group *group, int writer, uint32_t tag, bool publish)
{
    return publish ? c4_term_publish(b, group, writer, tag) : c4_term_receive(b, c4_group_rank(group, writer), tag);
}

c4_term c4_fold_partial(c4_builder *b, const c4_group *group, uint64_t bytes)
{
    return c4_term_local(C4_BUFFER_SCRATCH, group->n > C4_FOLD_SOURCES ? c4_builder_scratch(b, bytes) : 0);
}

void c4_step_fold(c4_builder *b, uint32_t loop, uint64_t bytes, const c4_group *group, c4_term own, uint32_t tag,
                  bool publish, c4_term partial, unsigned flags)
{
    for (int next = 0; next < group->n;) {
        int take = next ? C4_FOLD_SOURCES - 1 : C4_FOLD_SOURCES;
        bool last = group->n - next <= take;
        int end = last ? group->n : next + take;
        c4_step_open(b, loop, bytes, last ? flags : 0);
        if (next)
            c4_step_from(b, partial);
        for (; next < end; next++)
            c4_step_from(b, next == group->me ? own : c4_term_fan_from(b, group, next, tag, publish));
        if (!last)
            c4_step_to(b, partial);
    }
}

/* Two steps: tell all, hear all. */
static void barrier_direct(c4_builder *b, uint32_t loop, const c4_group *group, uint32_t tag)
{
    c4_step_open(b, loop, 0, 0);
    c4_step_fan_to(b, group, tag, false, 1);
    c4_step_open(b, loop, 0, 0);
    for (int i = 1; i < group->n; i++)
        c4_step_from(b, c4_term_receive(b, c4_group_rank(group, (group->me + group->n - i) % group->n), tag));
}

/* Hensgen, Finkel, Manber (1988): in round k tell me+2^k, hear me-2^k; after ceil(log2 n) rounds everybody was heard of. */
static void barrier_dissemination(c4_builder *b, uint32_t loop, const c4_group *group, uint32_t tag)
{
    for (int distance = 1; distance < group->n; distance *= 2) {
        int to = (group->me + distance) % group->n, from = (group->me + group->n - distance) % group->n;
        c4_step_open(b, loop, 0, 0);
        c4_step_to(b, c4_term_send(b, c4_group_rank(group, to), tag));
        c4_step_open(b, loop, 0, 0);
        c4_step_from(b, c4_term_receive(b, c4_group_rank(group, from), tag));
    }
}

void c4_build_barrier(c4_builder *b, uint32_t lane, const c4_group *group, uint32_t tag)
{
    enum { FEW_RANKS = 8 }; /* n-1 flags are cheaper than log2(n) round trips while they fit in a few lines */
    if (group->n < 2)
        return;
    uint32_t loop = c4_builder_loop(b, lane);
    if (group->n <= FEW_RANKS)
        barrier_direct(b, loop, group, tag);
    else
        barrier_dissemination(b, loop, group, tag);
}
