#include "schedule/prove.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "schedule/kinds.h"
#include "schedule/prove_internal.h"

c4_status prove_refuse(prove_run *run, const prove_lane *lane, const char *format, ...)
{
    char *text = run->proof->text;
    size_t room = sizeof run->proof->text, used = 0;
    if (text[0])
        return C4_ERR_INTERNAL;
    if (lane && lane->lane == PROVE_NO_LANE)
        used = (size_t)snprintf(text, room, "rank %d: ", lane->schedule->rank);
    else if (lane)
        used = (size_t)snprintf(text, room, "rank %d lane %u loop %u iteration %u step %u: ", lane->schedule->rank,
                                lane->lane, lane->loop, lane->iteration, lane->step);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, room - used, format, args);
    va_end(args);
    return C4_ERR_INTERNAL;
}

c4_status prove_no_memory(prove_run *run)
{
    snprintf(run->proof->text, sizeof run->proof->text, "out of memory");
    return C4_ERR_MEMORY;
}

/* ---- set-up ---- */

static c4_status init_memory(prove_run *run, int rank)
{
    const c4_query *q = &run->queries[rank];
    prove_rank *r = &run->ranks[rank];
    uint64_t input = r->input_bytes = c4_query_input_bytes(q), output = r->output_bytes = c4_query_output_bytes(q);
    r->aliased = q->in_place && input && output;
    r->inside = c4_kind_output_is_inside(q->kind);
    r->alias_offset = r->aliased ? c4_query_alias_offset(q) : 0;
    bool in_recv = r->aliased && !r->inside;
    uint64_t bytes[PROVE_REGIONS] = {in_recv ? 0 : input, r->aliased && r->inside ? 0 : output,
                                     run->schedules[rank]->scratch_bytes};
    for (int i = 0; i < PROVE_REGIONS; i++)
        if (!prove_region_init(&r->regions[i], &run->arena, bytes[i]))
            return prove_no_memory(run);
    if (input == 0)
        return C4_OK;
    prove_region *home = &r->regions[in_recv ? PROVE_RECV : PROVE_SEND];
    uint64_t begin = in_recv ? r->alias_offset : 0;
    uint32_t ncells;
    prove_cell *cell = prove_cells(home, begin, begin + input, &ncells);
    if (!cell)
        return prove_no_memory(run);
    cell->tree = prove_leaf(&run->forest, rank);
    cell->origin = 0;
    return cell->tree ? C4_OK : prove_no_memory(run);
}

static c4_status init_lanes(prove_run *run)
{
    for (int rank = 0; rank < run->nranks; rank++) {
        run->ranks[rank].first_lane = run->nlanes;
        run->nlanes += run->schedules[rank]->nlanes;
    }
    run->lanes = prove_alloc(&run->arena, (run->nlanes + 1) * sizeof *run->lanes);
    uint16_t *nothing = prove_alloc(&run->arena, (run->nlanes + 1) * sizeof *nothing);
    if (!run->lanes || !nothing)
        return prove_no_memory(run);
    memset(nothing, 0, (run->nlanes + 1) * sizeof *nothing);
    for (int rank = 0; rank < run->nranks; rank++) {
        const c4_schedule *s = run->schedules[rank];
        uint32_t first = run->ranks[rank].first_lane;
        for (uint32_t l = 0; l < s->nlanes; l++)
            run->lanes[first + l] = (prove_lane){.schedule = s, .lane = l, .first = first, .clock = nothing};
        for (uint32_t i = 0; i < s->nsteps; i++) {
            if (!(s->steps[i].flags & C4_STEP_GATED))
                continue;
            if (s->steps[i].gate_lane >= s->nlanes)
                return prove_refuse(run, NULL, "rank %d: gate on lane %u of %u", rank, s->steps[i].gate_lane,
                                    s->nlanes);
            run->lanes[first + s->steps[i].gate_lane].keeps_history = run->mode == PROVE_RENDEZVOUS;
        }
    }
    return C4_OK;
}

static bool channel_matches(const prove_channel *channel, const c4_schedule *s, const c4_channel_use *use)
{
    return channel->writer == use->writer && channel->tag == use->tag && channel->nreaders == use->nreaders &&
           memcmp(channel->readers, s->readers + use->first_reader, use->nreaders * sizeof(int)) == 0;
}

static c4_status init_channel(prove_run *run, prove_channel *channel, const c4_schedule *s, const c4_channel_use *use)
{
    *channel = (prove_channel){.writer = use->writer,
                               .tag = use->tag,
                               .nreaders = use->nreaders,
                               .readers = s->readers + use->first_reader,
                               .last_send = {.lane = PROVE_NO_LANE}};
    channel->begun = prove_alloc(&run->arena, 2 * use->nreaders * sizeof *channel->begun);
    channel->last_receive = prove_alloc(&run->arena, use->nreaders * sizeof *channel->last_receive);
    if (!channel->begun || !channel->last_receive)
        return prove_no_memory(run);
    memset(channel->begun, 0, 2 * use->nreaders * sizeof *channel->begun);
    channel->consumed = channel->begun + use->nreaders;
    for (uint32_t i = 0; i < use->nreaders; i++) {
        channel->last_receive[i] = (prove_event){.lane = PROVE_NO_LANE};
        if (i > 0 && channel->readers[i] <= channel->readers[i - 1])
            return prove_refuse(run, NULL, "rank %d: readers of a channel are not ascending", s->rank);
    }
    return C4_OK;
}

/* One object for a channel, whoever names it; found by hash. `table` has room for twice the uses. */
static c4_status find_channel(prove_run *run, uint32_t *table, uint64_t mask, const c4_schedule *s,
                              const c4_channel_use *use, prove_channel **found)
{
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, &use->writer, sizeof use->writer);
    hash = c4_hash_bytes(hash, &use->tag, sizeof use->tag);
    hash = c4_hash_bytes(hash, s->readers + use->first_reader, use->nreaders * sizeof(int));
    uint64_t at = hash & mask;
    while (table[at] && !channel_matches(&run->channels[table[at] - 1], s, use))
        at = (at + 1) & mask;
    if (!table[at]) {
        C4_TRY(init_channel(run, &run->channels[run->nchannels], s, use));
        table[at] = ++run->nchannels;
    }
    *found = &run->channels[table[at] - 1];
    return C4_OK;
}

static c4_status init_channels(prove_run *run)
{
    size_t uses = 0, mask = 1;
    for (int rank = 0; rank < run->nranks; rank++)
        uses += run->schedules[rank]->nchannels;
    while (mask < 2 * uses + 2)
        mask *= 2;
    uint32_t *table = prove_alloc(&run->arena, mask * sizeof *table);
    run->channels = prove_alloc(&run->arena, (uses + 1) * sizeof *run->channels);
    if (!table || !run->channels)
        return prove_no_memory(run);
    memset(table, 0, mask * sizeof *table);
    for (int rank = 0; rank < run->nranks; rank++) {
        const c4_schedule *s = run->schedules[rank];
        prove_rank *r = &run->ranks[rank];
        r->channels = prove_alloc(&run->arena, (s->nchannels + 1) * sizeof(void *));
        r->reader_index = prove_alloc(&run->arena, (s->nchannels + 1) * sizeof *r->reader_index);
        if (!r->channels || !r->reader_index)
            return prove_no_memory(run);
        for (uint32_t i = 0; i < s->nchannels; i++) {
            const c4_channel_use *use = &s->channels[i];
            if (use->nreaders == 0)
                return prove_refuse(run, NULL, "rank %d: channel %u has no reader", rank, i);
            C4_TRY(find_channel(run, table, mask - 1, s, use, &r->channels[i]));
            r->reader_index[i] = UINT32_MAX;
            for (uint32_t k = 0; k < use->nreaders; k++)
                if (s->readers[use->first_reader + k] == rank)
                    r->reader_index[i] = k;
        }
    }
    return C4_OK;
}

static c4_status check_shapes(prove_run *run)
{
    for (int rank = 0; rank < run->nranks; rank++) {
        const c4_schedule *s = run->schedules[rank], *first = run->schedules[0];
        if (s->rank != rank || s->nranks != run->nranks || run->queries[rank].rank != rank)
            return prove_refuse(run, NULL, "schedule %d is rank %d's of %d", rank, s->rank, s->nranks);
        if (!s->fallback != !first->fallback)
            return prove_refuse(run, NULL, "rank %d and rank 0 disagree about a fallback", rank);
        if (s->algorithm != first->algorithm && s->nsteps && first->nsteps)
            return prove_refuse(run, NULL, "rank %d and rank 0 run different algorithms", rank);
        for (uint32_t i = 0; i < s->nsteps; i++) {
            const c4_step *step = &s->steps[i];
            if (step->first_term + step->nsources + step->ndestinations > s->nterms || step->chunk == 0)
                return prove_refuse(run, NULL, "rank %d step %u: terms or chunk out of range", rank, i);
            for (unsigned t = 0; t < (unsigned)step->nsources + step->ndestinations; t++) {
                const c4_term *term = &s->terms[step->first_term + t];
                if (term->kind > C4_TERM_REMOTE || (term->kind == C4_TERM_CHANNEL && term->index >= s->nchannels))
                    return prove_refuse(run, NULL, "rank %d step %u: no such channel", rank, i);
            }
        }
    }
    return C4_OK;
}

static c4_status run_mode(const c4_query *queries, c4_schedule *const *schedules, prove_mode mode, c4_proof *proof)
{
    prove_run run = {
        .queries = queries, .schedules = schedules, .nranks = queries[0].nranks, .mode = mode, .proof = proof};
    c4_status status = C4_OK;
    if (!prove_forest_init(&run.forest, &run.arena, run.nranks)) {
        status = prove_no_memory(&run);
        goto out;
    }
    run.ranks = prove_alloc(&run.arena, (size_t)run.nranks * sizeof *run.ranks);
    if (!run.ranks) {
        status = prove_no_memory(&run);
        goto out;
    }
    C4_TRY_GOTO(check_shapes(&run), out);
    for (int rank = 0; rank < run.nranks && mode == PROVE_RENDEZVOUS; rank++)
        C4_TRY_GOTO(init_memory(&run, rank), out);
    C4_TRY_GOTO(init_lanes(&run), out);
    C4_TRY_GOTO(init_channels(&run), out);
    C4_TRY_GOTO(prove_execute(&run), out);
    if (mode == PROVE_RENDEZVOUS)
        status = prove_outputs(&run);
out:
    prove_forest_fini(&run.forest);
    prove_arena_fini(&run.arena);
    return status;
}

c4_status c4_schedule_prove(const c4_query *queries, c4_schedule *const *schedules, c4_proof *proof)
{
    int nranks = queries[0].nranks;
    *proof = (c4_proof){0};
    C4_TRY(run_mode(queries, schedules, PROVE_RENDEZVOUS, proof));
    C4_TRY(run_mode(queries, schedules, PROVE_ONE_CREDIT, proof));
    if (!schedules[0]->fallback)
        return C4_OK;
    c4_schedule **fallbacks = malloc(sizeof(void *) * (size_t)nranks);
    if (!fallbacks)
        return C4_ERR_MEMORY;
    for (int rank = 0; rank < nranks; rank++)
        fallbacks[rank] = schedules[rank]->fallback;
    uint64_t steps = proof->steps;
    c4_status status = c4_schedule_prove(queries, fallbacks, proof);
    proof->steps += steps;
    free(fallbacks);
    return status;
}
