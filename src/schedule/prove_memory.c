/* The prover's memory: interval maps with values and access history, and the race checks on them. */
#include <stdlib.h>
#include <string.h>

#include "schedule/prove_internal.h"

/* Grows an arena array; the old one stays behind in the arena. */
static bool reserve(prove_arena *arena, void *array, uint32_t used, uint32_t *room, size_t item_bytes)
{
    void **items = array;
    if (used < *room)
        return true;
    uint32_t larger = *room ? 2 * *room : 4;
    void *moved = prove_alloc(arena, larger * item_bytes);
    if (!moved)
        return false;
    if (used)
        memcpy(moved, *items, used * item_bytes);
    *items = moved;
    *room = larger;
    return true;
}

bool prove_region_init(prove_region *region, prove_arena *arena, uint64_t bytes)
{
    *region = (prove_region){.arena = arena, .bytes = bytes};
    if (!reserve(arena, &region->cells, 0, &region->room, sizeof *region->cells))
        return false;
    region->cells[0] = (prove_cell){.end = bytes, .write = {.lane = PROVE_NO_LANE}};
    region->ncells = bytes > 0;
    return true;
}

static uint32_t cell_at(const prove_region *region, uint64_t offset)
{
    uint32_t low = 0, high = region->ncells - 1;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (region->cells[middle].begin <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Makes `offset` the beginning of a cell. */
static bool split(prove_region *region, uint64_t offset)
{
    if (offset == 0 || offset == region->bytes)
        return true;
    uint32_t at = cell_at(region, offset);
    if (region->cells[at].begin == offset)
        return true;
    if (!reserve(region->arena, &region->cells, region->ncells, &region->room, sizeof *region->cells))
        return false;
    prove_cell *left = &region->cells[at], *right = left + 1;
    memmove(right + 1, right, (region->ncells - at - 1) * sizeof *right);
    region->ncells++;
    *right = *left;
    right->begin = left->end = offset;
    right->origin += offset - left->begin;
    if (left->nreads) {
        right->reads = prove_alloc(region->arena, left->reads_room * sizeof *right->reads);
        if (!right->reads)
            return false;
        memcpy(right->reads, left->reads, left->nreads * sizeof *right->reads);
    } else {
        right->reads = NULL;
        right->reads_room = 0;
    }
    return true;
}

prove_cell *prove_cells(prove_region *region, uint64_t begin, uint64_t end, uint32_t *ncells)
{
    if (!split(region, begin) || !split(region, end))
        return NULL;
    uint32_t first = cell_at(region, begin), last = cell_at(region, end - 1);
    *ncells = last - first + 1;
    return &region->cells[first];
}

bool prove_region_value(prove_region *region, uint64_t begin, uint64_t end, prove_value *value)
{
    uint32_t ncells;
    prove_cell *cells = prove_cells(region, begin, end, &ncells);
    *value = (prove_value){.pieces = cells ? prove_alloc(region->arena, ncells * sizeof *value->pieces) : NULL};
    if (!value->pieces)
        return false;
    for (uint32_t i = 0; i < ncells; i++) {
        prove_piece *last = value->npieces ? &value->pieces[value->npieces - 1] : NULL;
        const prove_cell *cell = &cells[i];
        if (last && last->tree == cell->tree && last->origin + (last->end - last->begin) == cell->origin)
            last->end = cell->end - begin;
        else
            value->pieces[value->npieces++] =
                (prove_piece){cell->begin - begin, cell->end - begin, cell->tree, cell->origin};
    }
    return true;
}

bool prove_cell_add_read(prove_region *region, prove_cell *cell, prove_event event)
{
    for (uint32_t i = 0; i < cell->nreads; i++) {
        if (cell->reads[i].lane == event.lane && cell->reads[i].remote == event.remote) {
            cell->reads[i].index = event.index; /* later on the same lane */
            return true;
        }
    }
    if (!reserve(region->arena, &cell->reads, cell->nreads, &cell->reads_room, sizeof *cell->reads))
        return false;
    cell->reads[cell->nreads++] = event;
    return true;
}

/* ---- accesses of a lane ---- */

static prove_event event_of(const prove_run *run, const prove_lane *lane, bool remote)
{
    return (prove_event){(uint32_t)(lane - run->lanes), lane->count, remote};
}

c4_status prove_resolve(prove_run *run, const prove_lane *lane, const c4_term *term, uint64_t offset, uint64_t bytes,
                        prove_span *span)
{
    static const char *const names[PROVE_REGIONS] = {"SEND", "RECV", "SCRATCH"};
    int rank = term->kind == C4_TERM_REMOTE ? term->index : lane->schedule->rank;
    if (rank < 0 || rank >= run->nranks || term->buffer >= PROVE_REGIONS)
        return prove_refuse(run, lane, "term names rank %d, buffer %d", rank, term->buffer);
    const prove_rank *r = &run->ranks[rank];
    uint64_t begin = term->offset + offset;
    uint64_t limit = term->buffer == C4_BUFFER_SEND   ? r->input_bytes
                     : term->buffer == C4_BUFFER_RECV ? r->output_bytes
                                                      : run->schedules[rank]->scratch_bytes;
    if (begin + bytes > limit)
        return prove_refuse(run, lane, "touches %s [%llu, %llu) of %llu bytes", names[term->buffer],
                            (unsigned long long)begin, (unsigned long long)begin + bytes, (unsigned long long)limit);
    unsigned region = term->buffer;
    if (r->aliased && region == (r->inside ? PROVE_RECV : PROVE_SEND)) {
        region = r->inside ? PROVE_SEND : PROVE_RECV;
        begin += r->alias_offset;
    }
    *span = (prove_span){&run->ranks[rank].regions[region], begin, begin + bytes};
    return C4_OK;
}

c4_status prove_read(prove_run *run, const prove_lane *lane, prove_span span, bool remote, prove_value *value)
{
    uint32_t ncells;
    prove_cell *cells = prove_cells(span.region, span.begin, span.end, &ncells);
    if (!cells)
        return prove_no_memory(run);
    for (uint32_t i = 0; i < ncells; i++) {
        if (cells[i].tree == 0)
            return prove_refuse(run, lane, "reads undefined bytes at %llu", (unsigned long long)cells[i].begin);
        if (!prove_happened(run, cells[i].write, lane))
            return prove_refuse(run, lane, "reads what global lane %u writes, unordered", cells[i].write.lane);
        if (!prove_cell_add_read(span.region, &cells[i], event_of(run, lane, remote)))
            return prove_no_memory(run);
    }
    return prove_region_value(span.region, span.begin, span.end, value) ? C4_OK : prove_no_memory(run);
}

static c4_status overwrite(prove_run *run, const prove_lane *lane, prove_cell *cell)
{
    if (!prove_happened(run, cell->write, lane))
        return prove_refuse(run, lane, "writes what global lane %u writes, unordered", cell->write.lane);
    for (uint32_t r = 0; r < cell->nreads; r++)
        if (!prove_happened(run, cell->reads[r], lane))
            return prove_refuse(run, lane, "overwrites what global lane %u reads or receives, unordered",
                                cell->reads[r].lane);
    return C4_OK;
}

c4_status prove_write(prove_run *run, const prove_lane *lane, prove_span span, bool remote, const prove_value *value)
{
    uint32_t ncells;
    for (uint32_t p = 0; p < value->npieces; p++) {
        const prove_piece *piece = &value->pieces[p];
        prove_cell *cells = prove_cells(span.region, span.begin + piece->begin, span.begin + piece->end, &ncells);
        if (!cells)
            return prove_no_memory(run);
        for (uint32_t i = 0; i < ncells; i++) {
            C4_TRY(overwrite(run, lane, &cells[i]));
            cells[i].tree = piece->tree;
            cells[i].origin = piece->origin + (cells[i].begin - span.begin - piece->begin);
            cells[i].write = event_of(run, lane, remote);
            cells[i].nreads = 0;
        }
    }
    return C4_OK;
}

c4_status prove_release(prove_run *run, const prove_lane *lane, const prove_frame *frame)
{
    if (!frame->held.region)
        return C4_OK;
    uint32_t ncells;
    prove_cell *cells = prove_cells(frame->held.region, frame->held.begin, frame->held.end, &ncells);
    if (!cells)
        return prove_no_memory(run);
    for (uint32_t i = 0; i < ncells; i++) {
        prove_event w = cells[i].write;
        bool before = w.lane == PROVE_NO_LANE ||
                      (w.lane == frame->sent.lane ? w.index <= frame->sent.index : frame->clock[w.lane] > w.index);
        if (!before)
            return prove_refuse(run, lane, "a frame's span was overwritten before the frame was received");
        if (!prove_cell_add_read(frame->held.region, &cells[i], event_of(run, lane, false)))
            return prove_no_memory(run);
    }
    return C4_OK;
}
