/* Packing: the builder's parts, ordered by lane and loop, in one allocation. */
#include <stdlib.h>
#include <string.h>

#include "schedule/builder.h"

typedef struct packer {
    c4_builder *b;
    uint32_t *lane_of; /* packed number of each lane; UINT32_MAX when it is empty */
    uint32_t nlanes, nloops;
    uint32_t *step_of; /* place of each step */
    uint32_t *loop_of; /* place of each loop */
} packer;

/* Numbers the lanes that have steps, places loops by lane and steps by loop, and counts what precedes each loop. */
static void place(packer *p)
{
    c4_builder *b = p->b;
    uint32_t step = 0;
    for (uint32_t lane = 0; lane < b->nlanes; lane++) {
        uint64_t done = 0;
        p->lane_of[lane] = UINT32_MAX;
        for (uint32_t i = 0; i < b->nloops; i++) {
            c4_build_loop *loop = &b->loops[i];
            if (loop->lane != lane || loop->nsteps == 0)
                continue;
            p->lane_of[lane] = p->nlanes;
            p->loop_of[i] = p->nloops++;
            loop->first_step = step;
            loop->done_before = done;
            step += loop->nsteps;
            done += (uint64_t)loop->nsteps * loop->iterations;
        }
        if (p->lane_of[lane] != UINT32_MAX)
            p->nlanes++;
        if (done > UINT32_MAX)
            b->status = c4_fail(C4_ERR_COUNT, "lane of more than 2^32 steps; use larger chunks");
    }
}

static void resolve_gate(const packer *p, const c4_build_step *from, c4_step *step)
{
    if (from->gate == C4_GATE_NONE)
        return;
    const c4_build_loop *loop = &p->b->loops[from->gate_loop];
    if (loop->nsteps == 0)
        return;
    bool same = from->gate == C4_GATE_SAME_ITERATION;
    uint64_t base = loop->done_before;
    base += same ? from->gate_position : (uint64_t)loop->nsteps * loop->iterations;
    if (base == 0)
        return;
    step->flags |= C4_STEP_GATED;
    step->gate_lane = (uint16_t)p->lane_of[loop->lane];
    step->gate_base = (uint32_t)base;
    step->gate_stride = same ? loop->nsteps : 0;
}

static void fill(const packer *p, c4_lane *lanes, c4_loop *loops, c4_step *steps)
{
    const c4_builder *b = p->b;
    uint32_t *next = p->step_of;
    for (uint32_t i = 0; i < b->nloops; i++) {
        const c4_build_loop *loop = &b->loops[i];
        next[i] = loop->first_step;
        if (loop->nsteps == 0)
            continue;
        loops[p->loop_of[i]] = (c4_loop){loop->first_step, loop->nsteps, loop->iterations};
        lanes[p->lane_of[loop->lane]].nloops++;
    }
    for (uint32_t i = 1; i < p->nlanes; i++)
        lanes[i].first_loop = lanes[i - 1].first_loop + lanes[i - 1].nloops;
    for (uint32_t i = 0; i < b->nsteps; i++) {
        c4_step *step = &steps[next[b->steps[i].loop]++];
        *step = b->steps[i].step;
        resolve_gate(p, &b->steps[i], step);
    }
}

static c4_status pack(packer *p, c4_schedule **out)
{
    const c4_builder *b = p->b;
    /* In order of falling alignment, so that each array is aligned. */
    size_t steps_bytes = b->nsteps * sizeof(c4_step), terms_bytes = b->nterms * sizeof(c4_term);
    size_t channels_bytes = b->nchannels * sizeof(c4_channel_use), loops_bytes = p->nloops * sizeof(c4_loop);
    size_t lanes_bytes = p->nlanes * sizeof(c4_lane), readers_bytes = b->nreaders * sizeof(int);
    size_t bytes =
        sizeof(c4_schedule) + steps_bytes + terms_bytes + channels_bytes + loops_bytes + lanes_bytes + readers_bytes;
    c4_schedule *s = calloc(1, bytes);
    if (!s)
        return c4_fail(C4_ERR_MEMORY, "schedule of %zu bytes", bytes);
    char *at = (char *)(s + 1);
    c4_step *steps = (c4_step *)(void *)at;
    c4_term *terms = (c4_term *)(void *)(at += steps_bytes);
    c4_channel_use *channels = (c4_channel_use *)(void *)(at += terms_bytes);
    c4_loop *loops = (c4_loop *)(void *)(at += channels_bytes);
    c4_lane *lanes = (c4_lane *)(void *)(at += loops_bytes);
    int *readers = (int *)(void *)(at + lanes_bytes);
    if (b->nterms)
        memcpy(terms, b->terms, terms_bytes);
    if (b->nchannels)
        memcpy(channels, b->channels, channels_bytes);
    if (b->nreaders)
        memcpy(readers, b->readers, readers_bytes);
    fill(p, lanes, loops, steps);
    const c4_query *q = b->query;
    *s = (c4_schedule){.kind = q->kind,
                       .algorithm = (uint16_t)(q->algorithm < 0 ? 0 : q->algorithm),
                       .rank = q->rank,
                       .nranks = q->nranks,
                       .nlanes = p->nlanes,
                       .nloops = p->nloops,
                       .nsteps = b->nsteps,
                       .nterms = b->nterms,
                       .nchannels = b->nchannels,
                       .nreaders = b->nreaders,
                       .lanes = lanes,
                       .loops = loops,
                       .steps = steps,
                       .terms = terms,
                       .channels = channels,
                       .readers = readers,
                       .scratch_bytes = b->scratch_bytes,
                       .element_bytes = q->reduces ? (uint32_t)q->element_bytes : 1,
                       .memory_bytes = bytes};
    *out = s;
    return C4_OK;
}

c4_status c4_builder_finish(c4_builder *b, c4_schedule **schedule)
{
    c4_status status = b->status;
    packer p = {.b = b};
    uint32_t *numbers = NULL;
    C4_TRY_GOTO(b->status, out);
    if (b->nlanes > C4_STEP_NO_LANE) {
        status = c4_fail(C4_ERR_COUNT, "schedule of %u lanes", b->nlanes);
        goto out;
    }
    numbers = calloc(b->nlanes + 2 * (size_t)b->nloops + 1, sizeof *numbers);
    if (!numbers) {
        status = c4_fail(C4_ERR_MEMORY, "schedule of %u loops", b->nloops);
        goto out;
    }
    p.lane_of = numbers;
    p.loop_of = numbers + b->nlanes;
    p.step_of = numbers + b->nlanes + b->nloops;
    place(&p);
    C4_TRY_GOTO(b->status, out);
    status = pack(&p, schedule);
out:
    free(numbers);
    free(b->loops);
    free(b->steps);
    free(b->terms);
    free(b->channels);
    free(b->readers);
    return status;
}
