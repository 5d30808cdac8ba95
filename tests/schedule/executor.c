#include "tests/schedule/executor.h"

#include <stdlib.h>
#include <string.h>

#include "schedule/kinds.h"
#include "tests/c4test.h"

enum { POISON = 0xa5 };

typedef struct executor_frame {
    struct executor_frame *next;
    const char *data; /* copy, or the held span */
    char *copy;
    uint64_t bytes;
    unsigned readers_left;
} executor_frame;

typedef struct executor_channel {
    const c4_channel_use *use;
    const int *readers;
    executor_frame *first, *last;
    executor_frame **heads; /* [nreaders] next frame of each reader, NULL: none yet */
    unsigned nframes, room;
} executor_channel;

typedef struct executor_lane {
    const c4_schedule *schedule;
    const c4_lane *lane;
    executor_channel **channels; /* of the rank, by the schedule's index */
    struct executor_lane *rank_lanes;
    uint32_t loop, iteration, step, completed;
} executor_lane;

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (!memory)
        abort();
    memset(memory, POISON, bytes ? bytes : 1);
    return memory;
}

static void place_buffers(executor *x, int rank)
{
    const c4_query *q = &x->c->queries[rank];
    uint64_t input = c4_query_input_bytes(q), output = c4_query_output_bytes(q);
    char **memory = &x->memory[3 * rank];
    memory[0] = allocate(input);
    memory[1] = allocate(output);
    memory[2] = allocate(x->schedules[rank]->scratch_bytes);
    x->send[rank] = memory[0];
    x->recv[rank] = memory[1];
    x->scratch[rank] = memory[2];
    if (!q->in_place || !input || !output)
        return;
    if (c4_kind_output_is_inside(q->kind))
        x->recv[rank] = x->send[rank] + c4_query_alias_offset(q);
    else
        x->send[rank] = x->recv[rank] + c4_query_alias_offset(q);
}

static executor_channel *find_channel(executor *x, const c4_schedule *s, const c4_channel_use *use)
{
    const int *readers = s->readers + use->first_reader;
    for (unsigned i = 0; i < x->nchannels; i++) {
        executor_channel *c = &x->channels[i];
        if (c->use->writer == use->writer && c->use->tag == use->tag && c->use->nreaders == use->nreaders &&
            memcmp(c->readers, readers, use->nreaders * sizeof *readers) == 0)
            return c;
    }
    executor_channel *c = &x->channels[x->nchannels++];
    *c = (executor_channel){.use = use, .readers = readers, .room = 1 + (unsigned)c4test_rand_below(3)};
    c->heads = calloc(use->nreaders, sizeof(executor_frame *));
    return c;
}

void executor_init(executor *x, const call *c, bool fallback, frame_mode mode, void (*fill)(int, void *, size_t))
{
    size_t n = (size_t)c->spec.nranks, uses = 0;
    *x = (executor){.c = c, .mode = mode};
    x->schedules = calloc(n, sizeof(void *));
    x->send = calloc(6 * n, sizeof *x->send);
    x->recv = x->send + n;
    x->scratch = x->recv + n;
    x->memory = x->scratch + n;
    for (size_t r = 0; r < n; r++) {
        x->schedules[r] = fallback ? c->schedules[r]->fallback : c->schedules[r];
        x->nlanes += x->schedules[r]->nlanes;
        uses += x->schedules[r]->nchannels;
        place_buffers(x, (int)r);
        fill((int)r, x->send[r], c4_query_input_bytes(&c->queries[r]));
    }
    x->lanes = calloc(x->nlanes + 1, sizeof *x->lanes);
    x->channels = calloc(uses + 1, sizeof *x->channels);
    executor_lane *lane = x->lanes;
    for (size_t r = 0; r < n; r++) {
        const c4_schedule *s = x->schedules[r];
        executor_channel **channels = calloc(s->nchannels + 1, sizeof(executor_channel *));
        executor_lane *rank_lanes = lane;
        for (uint32_t i = 0; i < s->nchannels; i++)
            channels[i] = find_channel(x, s, &s->channels[i]);
        for (uint32_t l = 0; l < s->nlanes; l++)
            lane[l] =
                (executor_lane){.schedule = s, .lane = &s->lanes[l], .channels = channels, .rank_lanes = rank_lanes};
        lane += s->nlanes;
        if (s->nlanes == 0)
            free(channels);
    }
}

static char *local_pointer(const executor *x, const executor_lane *lane, const c4_term *term, uint64_t offset)
{
    int rank = term->kind == C4_TERM_REMOTE ? term->index : lane->schedule->rank;
    char *base = term->buffer == C4_BUFFER_SEND   ? x->send[rank]
                 : term->buffer == C4_BUFFER_RECV ? x->recv[rank]
                                                  : x->scratch[rank];
    return base + term->offset + offset;
}

static unsigned reader_of(const executor_channel *c, int rank)
{
    unsigned i = 0;
    while (c->readers[i] != rank)
        i++;
    return i;
}

static bool can_step(const executor *x, const executor_lane *lane, const c4_step *step, const c4_term *terms)
{
    if ((step->flags & C4_STEP_GATED) &&
        lane->rank_lanes[step->gate_lane].completed < step->gate_base + lane->iteration * step->gate_stride)
        return false;
    for (unsigned i = 0; i < (unsigned)step->nsources + step->ndestinations; i++) {
        if (terms[i].kind != C4_TERM_CHANNEL)
            continue;
        const executor_channel *c = lane->channels[terms[i].index];
        if (i < step->nsources ? !c->heads[reader_of(c, lane->schedule->rank)]
                               : x->mode == FRAMES_COPIED && c->nframes >= c->room)
            return false;
    }
    return true;
}

static void send_frame(const executor *x, executor_channel *c, const char *value, const char *held, uint64_t bytes)
{
    executor_frame *frame = calloc(1, sizeof *frame);
    frame->bytes = bytes;
    frame->readers_left = c->use->nreaders;
    frame->data = held;
    if (x->mode == FRAMES_COPIED || !held)
        frame->data = frame->copy = memcpy(allocate(bytes), value, bytes);
    *(c->last ? &c->last->next : &c->first) = frame;
    c->last = frame;
    c->nframes++;
    for (unsigned i = 0; i < c->use->nreaders; i++)
        if (!c->heads[i])
            c->heads[i] = frame;
}

static void consume(executor_channel *c, unsigned reader)
{
    executor_frame *frame = c->heads[reader];
    c->heads[reader] = frame->next;
    frame->readers_left--;
    while (c->first && c->first->readers_left == 0) {
        frame = c->first;
        c->first = frame->next;
        if (!c->first)
            c->last = NULL;
        c->nframes--;
        free(frame->copy);
        free(frame);
    }
}

static void do_step(executor *x, executor_lane *lane, const c4_step *step, const c4_term *terms, uint64_t offset,
                    uint64_t bytes, void (*fold)(void *, const void *, size_t), void (*finish)(void *, size_t, int))
{
    char *value = allocate(bytes);
    const char *held = NULL;
    for (unsigned i = 0; i < step->nsources; i++) {
        const char *source;
        if (terms[i].kind == C4_TERM_CHANNEL) {
            executor_channel *c = lane->channels[terms[i].index];
            const executor_frame *frame = c->heads[reader_of(c, lane->schedule->rank)];
            CU_ASSERT_EQUAL_FATAL(frame->bytes, bytes);
            source = frame->data;
        } else {
            source = held = local_pointer(x, lane, &terms[i], offset);
        }
        if (i == 0)
            memcpy(value, source, bytes);
        else
            fold(value, source, bytes);
    }
    if (step->nsources != 1 || terms[0].kind != C4_TERM_LOCAL)
        held = NULL;
    if (step->flags & C4_STEP_FINAL)
        finish(value, bytes, lane->schedule->nranks);
    for (unsigned i = step->nsources; i < (unsigned)step->nsources + step->ndestinations; i++) {
        if (terms[i].kind == C4_TERM_CHANNEL)
            continue;
        char *home = local_pointer(x, lane, &terms[i], offset);
        memcpy(home, value, bytes);
        bool first = i == step->nsources || terms[i - 1].kind != C4_TERM_LOCAL;
        if (terms[i].kind == C4_TERM_LOCAL && first)
            held = home;
    }
    for (unsigned i = 0; i < step->nsources; i++)
        if (terms[i].kind == C4_TERM_CHANNEL)
            consume(lane->channels[terms[i].index], reader_of(lane->channels[terms[i].index], lane->schedule->rank));
    for (unsigned i = step->nsources; i < (unsigned)step->nsources + step->ndestinations; i++)
        if (terms[i].kind == C4_TERM_CHANNEL)
            send_frame(x, lane->channels[terms[i].index], value, held, bytes);
    free(value);
}

static bool lane_done(const executor_lane *lane)
{
    return lane->loop == lane->lane->nloops;
}

static bool try_lane(executor *x, executor_lane *lane, void (*fold)(void *, const void *, size_t),
                     void (*finish)(void *, size_t, int))
{
    const c4_schedule *s = lane->schedule;
    const c4_loop *loop = &s->loops[lane->lane->first_loop + lane->loop];
    const c4_step *step = &s->steps[loop->first_step + lane->step];
    const c4_term *terms = &s->terms[step->first_term];
    uint64_t offset = step->total ? lane->iteration * step->chunk : 0;
    uint64_t bytes = offset < step->total ? step->total - offset : 0;
    bytes = bytes < step->chunk ? bytes : step->chunk;
    if (bytes || step->total == 0) {
        if (!can_step(x, lane, step, terms))
            return false;
        do_step(x, lane, step, terms, offset, bytes, fold, finish);
    }
    lane->completed++;
    if (++lane->step == loop->nsteps) {
        lane->step = 0;
        if (++lane->iteration == loop->iterations) {
            lane->iteration = 0;
            lane->loop++;
        }
    }
    return true;
}

bool executor_run(executor *x, void (*fold)(void *, const void *, size_t), void (*finish)(void *, size_t, int))
{
    unsigned left = 0;
    for (unsigned i = 0; i < x->nlanes; i++)
        left += !lane_done(&x->lanes[i]);
    while (left > 0) {
        /* A random lane, and from there on the first that can move: every order that lanes allow can happen. */
        unsigned start = (unsigned)c4test_rand_below(x->nlanes), tried = 0;
        for (; tried < x->nlanes; tried++) {
            executor_lane *lane = &x->lanes[(start + tried) % x->nlanes];
            if (lane_done(lane) || !try_lane(x, lane, fold, finish))
                continue;
            left -= lane_done(lane);
            break;
        }
        if (tried == x->nlanes)
            return false;
    }
    for (unsigned i = 0; i < x->nchannels; i++)
        CU_ASSERT_PTR_NULL(x->channels[i].first);
    return true;
}

void executor_fini(executor *x)
{
    for (unsigned i = 0; i < x->nchannels; i++)
        free(x->channels[i].heads);
    for (unsigned i = 0; i < x->nlanes; i++)
        if (x->lanes[i].rank_lanes == &x->lanes[i])
            free(x->lanes[i].channels);
    for (int i = 0; i < 3 * x->c->spec.nranks; i++)
        free(x->memory[i]);
    free(x->send);
    free(x->schedules);
    free(x->lanes);
    free(x->channels);
}
