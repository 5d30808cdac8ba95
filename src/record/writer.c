/* Entries of the tables, and what is written after an operation. */
#include <string.h>

#include "record/internal.h"

static void *area_at(const c4_recorder *recorder, const c4_record_area *area, uint32_t index)
{
    return (char *)recorder->header + area->offset + (uint64_t)index * area->stride;
}

/* The next entry of a table that is never reused; false when it is full. */
static bool claim(c4_recorder *recorder, uint32_t *used, const c4_record_area *area, uint32_t *index)
{
    pthread_mutex_lock(&recorder->tables);
    bool room = *used < area->count;
    if (room)
        *index = (*used)++;
    pthread_mutex_unlock(&recorder->tables);
    return room;
}

void c4_record_writer_open(c4_recorder *recorder, uint32_t comm_id, uint16_t epoch, int rank, int nranks, int nhosts,
                           const char *name, c4_record_writer *writer)
{
    uint32_t index;
    memset(writer, 0, sizeof *writer);
    if (!recorder || !claim(recorder, &recorder->ncomms, &recorder->header->comms, &index))
        return;
    const c4_record_header *header = recorder->header;
    uint32_t nrings = header->rings.count, ring = index < nrings ? index : nrings - 1;
    uint32_t operations = header->operations.count / nrings, moves = header->moves.count / nrings;
    writer->recorder = recorder;
    writer->comm = area_at(recorder, &header->comms, index);
    writer->comm_index = (uint16_t)index;
    writer->ring = area_at(recorder, &header->rings, ring);
    writer->operations = area_at(recorder, &header->operations, ring * operations);
    writer->moves = area_at(recorder, &header->moves, ring * moves);
    writer->operation_mask = operations - 1;
    writer->operation_shift = (uint32_t)__builtin_ctz(operations);
    writer->move_mask = moves - 1;
    writer->shared = ring == nrings - 1;
    c4_record_comm *comm = writer->comm;
    comm->generation = 1;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    comm->comm_id = comm_id;
    comm->epoch = epoch;
    comm->rank = rank;
    comm->nranks = nranks;
    comm->nhosts = nhosts;
    comm->ring = (uint16_t)ring;
    comm->created_ticks = c4_tsc();
    strncpy(comm->name, name, sizeof comm->name - 1);
    c4_record_publish(&comm->generation, 2);
}

void c4_record_writer_close(c4_record_writer *writer, c4_status status)
{
    if (!writer->recorder)
        return;
    __atomic_store_n(&writer->comm->status, status, __ATOMIC_RELAXED);
    __atomic_store_n(&writer->comm->ended_ticks, c4_tsc(), __ATOMIC_RELEASE);
    writer->recorder = NULL;
}

uint16_t c4_record_program_add(c4_record_writer *writer, const c4_record_program *program)
{
    c4_recorder *recorder = writer->recorder;
    uint32_t index;
    if (!recorder || !claim(recorder, &recorder->nprograms, &recorder->header->programs, &index))
        return C4_RECORD_NO_INDEX;
    c4_record_program *entry = area_at(recorder, &recorder->header->programs, index);
    *entry = *program;
    entry->comm = writer->comm_index;
    entry->generation = 0;
    c4_record_publish(&entry->generation, 2);
    return (uint16_t)index;
}

uint16_t c4_record_edge_add(c4_record_writer *writer, int peer, uint32_t tag, bool sends, unsigned transport)
{
    c4_recorder *recorder = writer->recorder;
    uint32_t index;
    if (!recorder || !claim(recorder, &recorder->nedges, &recorder->header->edges, &index))
        return C4_RECORD_NO_INDEX;
    c4_record_edge *entry = area_at(recorder, &recorder->header->edges, index);
    entry->comm = writer->comm_index;
    entry->peer = peer;
    entry->tag = tag;
    entry->direction = sends ? C4_RECORD_SENDS : C4_RECORD_RECEIVES;
    entry->transport = (uint8_t)transport;
    c4_record_publish(&entry->generation, 2);
    return (uint16_t)index;
}

static void add_relaxed(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, *field + value, __ATOMIC_RELAXED);
}

void c4_record_edge_count(c4_record_writer *writer, uint16_t index, uint64_t bytes, uint64_t messages,
                          uint64_t waited_ticks, uint64_t now)
{
    if (!writer->recorder || index == C4_RECORD_NO_INDEX)
        return;
    c4_record_edge *entry = area_at(writer->recorder, &writer->recorder->header->edges, index);
    add_relaxed(&entry->bytes, bytes);
    add_relaxed(&entry->messages, messages);
    add_relaxed(&entry->waited_ticks, waited_ticks);
    __atomic_store_n(&entry->last_ticks, now, __ATOMIC_RELAXED);
}

void c4_record_move_add(c4_record_writer *writer, const c4_record_move *move)
{
    if (!writer->recorder)
        return;
    uint64_t number = c4_record_claim(&writer->ring->moves, writer->shared);
    c4_record_move *entry = &writer->moves[number & writer->move_mask];
    uint32_t generation = (uint32_t)(2 * (number / (writer->move_mask + 1u) + 1));
    __atomic_store_n(&entry->generation, generation - 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    c4_record_move whole = *move;
    whole.generation = generation - 1;
    whole.comm = writer->comm_index;
    *entry = whole;
    c4_record_publish(&entry->generation, generation);
}
