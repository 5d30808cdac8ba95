/* The prover's run: all lanes of all ranks, one step at a time, in any order that the schedules allow. */
#include <stdlib.h>
#include <string.h>

#include "schedule/prove_internal.h"

typedef struct step_view {
    const c4_step *step;
    const c4_term *sources, *destinations;
    uint64_t offset, bytes;
} step_view;

/* ---- happens-before ---- */

bool prove_happened(const prove_run *run, prove_event event, const prove_lane *lane)
{
    if (event.lane == PROVE_NO_LANE || event.lane == (uint32_t)(lane - run->lanes))
        return true;
    return lane->clock[event.lane] > event.index;
}

/* `lane` continues after `count` instances of global lane `other`, whose clock was then `clock`. */
static c4_status join(prove_run *run, prove_lane *lane, const uint16_t *clock, uint32_t other, uint32_t count)
{
    bool news = lane->clock[other] < count;
    for (uint32_t i = 0; i < run->nlanes && !news && clock != lane->clock; i++)
        news = clock[i] > lane->clock[i];
    if (!news)
        return C4_OK;
    uint16_t *joined = prove_alloc(&run->arena, run->nlanes * sizeof *joined);
    if (!joined)
        return prove_no_memory(run);
    for (uint32_t i = 0; i < run->nlanes; i++)
        joined[i] = clock[i] > lane->clock[i] ? clock[i] : lane->clock[i];
    if (joined[other] < count)
        joined[other] = (uint16_t)count;
    lane->clock = joined;
    return C4_OK;
}

/* ---- where a lane is ---- */

static bool lane_done(const prove_lane *lane)
{
    return lane->loop == lane->schedule->lanes[lane->lane].nloops;
}

static void view_step(const prove_lane *lane, step_view *view)
{
    const c4_schedule *s = lane->schedule;
    const c4_loop *loop = &s->loops[s->lanes[lane->lane].first_loop + lane->loop];
    const c4_step *step = &s->steps[loop->first_step + lane->step];
    uint64_t offset = lane->iteration * step->chunk;
    uint64_t left = offset < step->total ? step->total - offset : 0;
    view->step = step;
    view->sources = &s->terms[step->first_term];
    view->destinations = view->sources + step->nsources;
    view->offset = step->total ? offset : 0;
    view->bytes = left < step->chunk ? left : step->chunk;
}

static c4_status advance(prove_run *run, prove_lane *lane)
{
    const c4_schedule *s = lane->schedule;
    const c4_loop *loop = &s->loops[s->lanes[lane->lane].first_loop + lane->loop];
    if (lane->count >= UINT16_MAX)
        return prove_refuse(run, lane, "more steps than a proof holds; prove it with larger chunks");
    if (lane->keeps_history && lane->count == lane->history_room) {
        uint32_t room = lane->history_room ? 2 * lane->history_room : 64;
        const uint16_t **history = prove_alloc(&run->arena, room * sizeof *history);
        if (!history)
            return prove_no_memory(run);
        if (lane->count)
            memcpy(history, lane->history, lane->count * sizeof *history);
        lane->history = history;
        lane->history_room = room;
    }
    if (lane->keeps_history)
        lane->history[lane->count] = lane->clock;
    lane->count++;
    lane->begun = lane->computed = false;
    if (++lane->step < loop->nsteps)
        return C4_OK;
    lane->step = 0;
    if (++lane->iteration < loop->iterations)
        return C4_OK;
    lane->iteration = 0;
    lane->loop++;
    return C4_OK;
}

static prove_channel *channel_of(const prove_run *run, const prove_lane *lane, const c4_term *term, uint32_t *reader)
{
    const prove_rank *rank = &run->ranks[lane->schedule->rank];
    *reader = rank->reader_index[term->index];
    return rank->channels[term->index];
}

/* ---- begin: gates, receives are posted ---- */

static bool gate_open(const prove_run *run, const prove_lane *lane, const c4_step *step, uint64_t *need)
{
    *need = c4_step_gate(step, lane->iteration);
    return *need == 0 || run->lanes[lane->first + step->gate_lane].count >= *need;
}

static c4_status begin(prove_run *run, prove_lane *lane, const step_view *view, uint64_t need)
{
    if (need && run->mode == PROVE_RENDEZVOUS) {
        uint32_t other = lane->first + view->step->gate_lane;
        C4_TRY(join(run, lane, run->lanes[other].history[need - 1], other, (uint32_t)need));
    }
    for (unsigned i = 0; i < view->step->nsources; i++) {
        uint32_t reader;
        if (view->sources[i].kind != C4_TERM_CHANNEL)
            continue;
        prove_channel *channel = channel_of(run, lane, &view->sources[i], &reader);
        if (reader == UINT32_MAX)
            return prove_refuse(run, lane, "receives on a channel that it does not read");
        if (channel->begun[reader] != channel->consumed[reader])
            return prove_refuse(run, lane, "two receives at once on the channel from rank %d", channel->writer);
        channel->begun[reader]++;
    }
    lane->begun = true;
    return C4_OK;
}

/* ---- can it fold ---- */

static uint32_t least_consumed(const prove_channel *channel)
{
    uint32_t least = UINT32_MAX;
    for (uint32_t i = 0; i < channel->nreaders; i++)
        least = channel->consumed[i] < least ? channel->consumed[i] : least;
    return least;
}

static bool ready(const prove_run *run, const prove_lane *lane, const step_view *view)
{
    uint32_t reader;
    for (unsigned i = 0; i < view->step->nsources; i++) {
        if (view->sources[i].kind != C4_TERM_CHANNEL)
            continue;
        const prove_channel *channel = channel_of(run, lane, &view->sources[i], &reader);
        if (channel->sent == channel->consumed[reader])
            return false;
    }
    for (unsigned i = 0; i < view->step->ndestinations && run->mode == PROVE_ONE_CREDIT; i++) {
        if (view->destinations[i].kind != C4_TERM_CHANNEL)
            continue;
        const prove_channel *channel = channel_of(run, lane, &view->destinations[i], &reader);
        if (least_consumed(channel) < channel->sent)
            return false;
    }
    return true;
}

/* ---- fold ---- */

static c4_status take_frame(prove_run *run, prove_lane *lane, const step_view *view, const c4_term *term,
                            prove_value *value)
{
    uint32_t reader;
    prove_channel *channel = channel_of(run, lane, term, &reader);
    prove_frame *frame = channel->frames[channel->consumed[reader]++];
    if (frame->bytes != view->bytes || frame->offset != view->offset)
        return prove_refuse(run, lane, "expects %llu bytes at %llu from rank %d, which sent %llu at %llu",
                            (unsigned long long)view->bytes, (unsigned long long)view->offset, channel->writer,
                            (unsigned long long)frame->bytes, (unsigned long long)frame->offset);
    if (run->mode != PROVE_RENDEZVOUS)
        return C4_OK;
    if (!prove_happened(run, channel->last_receive[reader], lane))
        return prove_refuse(run, lane, "two lanes receive on the channel from rank %d, unordered", channel->writer);
    channel->last_receive[reader] = (prove_event){(uint32_t)(lane - run->lanes), lane->count, false};
    *value = frame->value;
    C4_TRY(join(run, lane, frame->clock, frame->sent.lane, frame->sent.index + 1));
    return prove_release(run, lane, frame);
}

static bool spans_meet(prove_span a, prove_span b)
{
    return a.region && a.region == b.region && a.begin < b.end && b.begin < a.end;
}

static c4_status check_overlap(prove_run *run, const prove_lane *lane, const step_view *view, const prove_span *spans)
{
    unsigned nsources = view->step->nsources, nterms = nsources + view->step->ndestinations;
    for (unsigned d = nsources; d < nterms; d++) {
        for (unsigned t = 0; t < nterms; t++) {
            bool same = t < nsources && spans[t].begin == spans[d].begin;
            if (t != d && !same && spans_meet(spans[t], spans[d]))
                return prove_refuse(run, lane, "a destination overlaps another term of the step");
        }
    }
    return C4_OK;
}

/* Tree of one interval from those of the sources at it. */
static c4_status fold_trees(prove_run *run, const prove_lane *lane, prove_tree *trees, unsigned k, bool final,
                            prove_tree *result)
{
    const char *why = "reads undefined bytes";
    prove_tree tree = k == 1 ? trees[0] : prove_fold(&run->forest, trees, k, &why);
    if (tree && final)
        tree = prove_final(&run->forest, tree, &why);
    if (!tree)
        return prove_refuse(run, lane, "%s", why);
    *result = tree;
    return C4_OK;
}

static c4_status fold(prove_run *run, const prove_lane *lane, const step_view *view, const prove_value *values,
                      prove_value *result)
{
    unsigned k = view->step->nsources;
    uint32_t at[UINT8_MAX] = {0}, room = 0;
    for (unsigned i = 0; i < k; i++)
        room += values[i].npieces;
    if (k == 1 && !(view->step->flags & C4_STEP_FINAL)) {
        *result = values[0];
        return C4_OK;
    }
    result->pieces = prove_alloc(&run->arena, room * sizeof *result->pieces);
    if (!result->pieces)
        return prove_no_memory(run);
    for (uint64_t position = 0; position < view->bytes;) {
        uint64_t end = view->bytes, origin = 0;
        prove_tree trees[UINT8_MAX], tree = 0;
        for (unsigned i = 0; i < k; i++) {
            const prove_piece *piece = &values[i].pieces[at[i]];
            uint64_t here = piece->origin + (position - piece->begin);
            if (i > 0 && here != origin)
                return prove_refuse(run, lane, "adds input offset %llu to %llu", (unsigned long long)here,
                                    (unsigned long long)origin);
            origin = here;
            trees[i] = piece->tree;
            end = c4_min_bytes(end, piece->end);
        }
        C4_TRY(fold_trees(run, lane, trees, k, view->step->flags & C4_STEP_FINAL, &tree));
        result->pieces[result->npieces++] = (prove_piece){position, end, tree, origin};
        for (unsigned i = 0; i < k; i++)
            at[i] += values[i].pieces[at[i]].end == end;
        position = end;
    }
    return C4_OK;
}

/* ---- frames out ---- */

static c4_status put_frame(prove_run *run, const prove_lane *lane, prove_channel *channel, prove_frame *frame)
{
    if (channel->sent == channel->room) {
        uint32_t room = channel->room ? 2 * channel->room : 4;
        prove_frame **frames = prove_alloc(&run->arena, room * sizeof(void *));
        if (!frames)
            return prove_no_memory(run);
        if (channel->sent)
            memcpy(frames, channel->frames, channel->sent * sizeof(void *));
        channel->frames = frames;
        channel->room = room;
    }
    if (run->mode == PROVE_RENDEZVOUS && !prove_happened(run, channel->last_send, lane))
        return prove_refuse(run, lane, "two lanes send on one channel, unordered");
    channel->last_send = frame->sent;
    channel->frames[channel->sent++] = frame;
    return C4_OK;
}

/* What a posted frame is sent from: the first local destination, else the only source if it is local. */
static prove_span held_span(const step_view *view, const prove_span *spans)
{
    for (unsigned i = 0; i < view->step->ndestinations; i++)
        if (view->destinations[i].kind == C4_TERM_LOCAL)
            return spans[view->step->nsources + i];
    if (view->step->nsources == 1 && view->sources[0].kind == C4_TERM_LOCAL)
        return spans[0];
    return (prove_span){0};
}

static c4_status send_frames(prove_run *run, prove_lane *lane, const step_view *view, const prove_value *value,
                             prove_span held)
{
    prove_frame *frame = NULL;
    uint64_t limit = c4_query_frame_bytes(&run->queries[lane->schedule->rank]);
    for (unsigned i = 0; i < view->step->ndestinations; i++) {
        uint32_t reader;
        if (view->destinations[i].kind != C4_TERM_CHANNEL)
            continue;
        prove_channel *channel = channel_of(run, lane, &view->destinations[i], &reader);
        if (channel->writer != lane->schedule->rank)
            return prove_refuse(run, lane, "sends on a channel of rank %d", channel->writer);
        if (view->bytes > limit || view->bytes % lane->schedule->element_bytes)
            return prove_refuse(run, lane, "frame of %llu bytes; limit %llu, element %u",
                                (unsigned long long)view->bytes, (unsigned long long)limit,
                                lane->schedule->element_bytes);
        if (!frame) {
            frame = prove_alloc(&run->arena, sizeof *frame);
            if (!frame)
                return prove_no_memory(run);
            *frame = (prove_frame){.value = *value,
                                   .bytes = view->bytes,
                                   .offset = view->offset,
                                   .held = held,
                                   .clock = lane->clock,
                                   .sent = {(uint32_t)(lane - run->lanes), lane->count, false}};
        }
        C4_TRY(put_frame(run, lane, channel, frame));
    }
    return C4_OK;
}

/* ---- a step ---- */

static c4_status resolve_terms(prove_run *run, const prove_lane *lane, const step_view *view, prove_span *spans)
{
    for (unsigned i = 0; i < (unsigned)view->step->nsources + view->step->ndestinations; i++) {
        const c4_term *term = &view->sources[i];
        spans[i] = (prove_span){0};
        if (term->kind == C4_TERM_CHANNEL || view->bytes == 0)
            continue;
        if (i >= view->step->nsources && term->buffer == C4_BUFFER_SEND)
            return prove_refuse(run, lane, "writes the input buffer");
        if (term->kind == C4_TERM_REMOTE && (term->buffer == C4_BUFFER_SCRATCH || !lane->schedule->fallback))
            return prove_refuse(run, lane, "remote term on scratch, or without a fallback");
        C4_TRY(prove_resolve(run, lane, term, view->offset, view->bytes, &spans[i]));
    }
    return check_overlap(run, lane, view, spans);
}

static c4_status compute(prove_run *run, prove_lane *lane, const step_view *view)
{
    prove_span spans[2 * UINT8_MAX];
    prove_value values[UINT8_MAX] = {0}, result = {0};
    unsigned nsources = view->step->nsources;
    bool checks = run->mode == PROVE_RENDEZVOUS;
    for (unsigned i = 0; i < nsources; i++)
        if (view->sources[i].kind == C4_TERM_CHANNEL)
            C4_TRY(take_frame(run, lane, view, &view->sources[i], &values[i]));
    if (!checks)
        return send_frames(run, lane, view, &result, (prove_span){0});
    C4_TRY(resolve_terms(run, lane, view, spans));
    if (view->bytes && (nsources == 0 || view->step->ndestinations == 0))
        return prove_refuse(run, lane, "%llu bytes from or to nowhere", (unsigned long long)view->bytes);
    for (unsigned i = 0; i < nsources; i++)
        if (spans[i].region)
            C4_TRY(prove_read(run, lane, spans[i], view->sources[i].kind == C4_TERM_REMOTE, &values[i]));
    if (view->bytes)
        C4_TRY(fold(run, lane, view, values, &result));
    for (unsigned i = nsources; i < nsources + view->step->ndestinations; i++)
        if (spans[i].region)
            C4_TRY(prove_write(run, lane, spans[i], view->sources[i].kind == C4_TERM_REMOTE, &result));
    run->proof->steps++;
    return send_frames(run, lane, view, &result, view->bytes ? held_span(view, spans) : (prove_span){0});
}

/* Whether the channel has taken this step's frame, its last one. */
static bool taken(const prove_channel *channel, uint64_t bytes)
{
    uint32_t frame = channel->sent - 1;
    if (bytes <= C4_SCHEDULE_EAGER_BYTES && least_consumed(channel) >= frame)
        return true;
    for (uint32_t i = 0; i < channel->nreaders; i++)
        if (channel->begun[i] <= frame)
            return false;
    return true;
}

static bool all_taken(const prove_run *run, const prove_lane *lane, const step_view *view)
{
    for (unsigned i = 0; i < view->step->ndestinations; i++) {
        uint32_t reader;
        if (view->destinations[i].kind == C4_TERM_CHANNEL &&
            !taken(channel_of(run, lane, &view->destinations[i], &reader), view->bytes))
            return false;
    }
    return true;
}

/* As far as the lane gets. */
static c4_status lane_run(prove_run *run, prove_lane *lane, bool *moved)
{
    while (!lane_done(lane)) {
        step_view view;
        uint64_t need;
        view_step(lane, &view);
        if (view.step->total > 0 && view.bytes == 0) {
            C4_TRY(advance(run, lane));
            *moved = true;
            continue;
        }
        if (!lane->begun) {
            if (!gate_open(run, lane, view.step, &need))
                return C4_OK;
            C4_TRY(begin(run, lane, &view, need));
            *moved = true;
        }
        if (!lane->computed) {
            if (!ready(run, lane, &view))
                return C4_OK;
            C4_TRY(compute(run, lane, &view));
            lane->computed = true;
            *moved = true;
        }
        if (run->mode == PROVE_RENDEZVOUS && !all_taken(run, lane, &view))
            return C4_OK;
        C4_TRY(advance(run, lane));
        *moved = true;
    }
    return C4_OK;
}

static c4_status check_finished(prove_run *run)
{
    const char *mode = run->mode == PROVE_RENDEZVOUS ? "rendezvous" : "one credit";
    for (uint32_t i = 0; i < run->nlanes; i++) {
        const prove_lane *lane = &run->lanes[i];
        const char *waits = !lane->begun ? "for its gate" : !lane->computed ? "for frames or room" : "to be received";
        if (!lane_done(lane))
            return prove_refuse(run, lane, "deadlock (%s): waits %s", mode, waits);
    }
    for (uint32_t i = 0; i < run->nchannels; i++)
        if (least_consumed(&run->channels[i]) < run->channels[i].sent)
            return prove_refuse(run, NULL, "a frame of rank %d to rank %d (tag %u) is never received",
                                run->channels[i].writer, run->channels[i].readers[0], run->channels[i].tag);
    return C4_OK;
}

c4_status prove_execute(prove_run *run)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < run->nlanes; i++)
            C4_TRY(lane_run(run, &run->lanes[i], &moved));
    }
    return check_finished(run);
}
