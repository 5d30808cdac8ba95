/* Entries of the tables, and what is written after an operation. */
#include <stdlib.h>
#include <string.h>

#include "record/internal.h"

#define OWN_OPERATIONS 64u

static void *area_at(const c4_recorder *recorder, const c4_record_area *area, uint32_t index)
{
    return (char *)recorder->header + area->offset + (uint64_t)index * area->stride;
}

/* An entry of a table for a communicator (-1: a communicator's own): those never used first, so that what is over can be read as long as possible. Of the others the
 * first, because the first communicators have rings of their own. False: all are of communicators that live. */
static bool claim(c4_recorder *recorder, uint16_t *owners, uint32_t *next, const c4_record_area *area, int comm,
                  uint32_t *index)
{
    pthread_mutex_lock(&recorder->tables);
    uint32_t found = *next;
    if (*next < area->count)
        (*next)++;
    else
        for (found = 0; found < area->count && owners[found]; found++)
            ;
    if (found < area->count)
        owners[found] = (uint16_t)((comm < 0 ? (int)found : comm) + 1);
    pthread_mutex_unlock(&recorder->tables);
    *index = found;
    return found < area->count;
}

/* The entry is being written from here until its publication with the generation returned. */
static uint32_t entry_begin(uint32_t *generation)
{
    uint32_t begun = *generation + 1;
    __atomic_store_n(generation, begun, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return begun + 1 ? begun + 1 : 2; /* 0 is "never written" */
}

/* Without a file: what peers may ask for. */
typedef struct own_ring {
    c4_record_ring ring;
    c4_record_operation operations[OWN_OPERATIONS];
} own_ring;

static void own_open(c4_record_writer *writer)
{
    own_ring *own = calloc(1, sizeof *own);
    if (!own)
        return; /* then this rank does not remember its calls */
    writer->own = own;
    writer->ring = &own->ring;
    writer->operations = own->operations;
    writer->operation_mask = OWN_OPERATIONS - 1;
    writer->operation_shift = (uint32_t)__builtin_ctz(OWN_OPERATIONS);
    writer->created_ticks = c4_tsc();
}

void c4_record_writer_open(c4_recorder *recorder, uint32_t comm_id, uint16_t epoch, int rank, int nranks, int nhosts,
                           const char *name, c4_record_writer *writer)
{
    uint32_t index;
    memset(writer, 0, sizeof *writer);
    if (!recorder ||
        !claim(recorder, recorder->comm_owner, &recorder->next_comm, &recorder->header->comms, -1, &index)) {
        own_open(writer);
        return;
    }
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
    uint32_t generation = entry_begin(&writer->comm->generation);
    c4_record_comm made = {.generation = generation - 1,
                           .comm_id = comm_id,
                           .rank = rank,
                           .nranks = nranks,
                           .epoch = epoch,
                           .ring = (uint16_t)ring,
                           .created_ticks = writer->created_ticks = c4_tsc(),
                           .nhosts = nhosts};
    strncpy(made.name, name, sizeof made.name - 1);
    *writer->comm = made;
    c4_record_publish(&writer->comm->generation, generation);
}

static void release(uint16_t *owners, uint32_t count, uint16_t comm)
{
    for (uint32_t i = 0; i < count; i++)
        if (owners[i] == comm + 1)
            owners[i] = 0;
}

void c4_record_writer_close(c4_record_writer *writer, c4_status status)
{
    c4_recorder *recorder = writer->recorder;
    free(writer->own);
    writer->own = NULL;
    writer->operations = NULL;
    if (!recorder)
        return;
    __atomic_store_n(&writer->comm->status, status, __ATOMIC_RELAXED);
    __atomic_store_n(&writer->comm->ended_ticks, c4_tsc(), __ATOMIC_RELEASE);
    pthread_mutex_lock(&recorder->tables);
    release(recorder->comm_owner, recorder->next_comm, writer->comm_index);
    release(recorder->program_owner, recorder->next_program, writer->comm_index);
    release(recorder->edge_owner, recorder->next_edge, writer->comm_index);
    pthread_mutex_unlock(&recorder->tables);
    writer->recorder = NULL;
}

uint16_t c4_record_program_add(c4_record_writer *writer, const c4_record_program *program)
{
    c4_recorder *recorder = writer->recorder;
    uint32_t index;
    if (!recorder || !claim(recorder, recorder->program_owner, &recorder->next_program, &recorder->header->programs,
                            writer->comm_index, &index))
        return C4_RECORD_NO_INDEX;
    c4_record_program *entry = area_at(recorder, &recorder->header->programs, index);
    uint32_t generation = entry_begin(&entry->generation);
    c4_record_program made = *program;
    made.generation = generation - 1;
    made.comm = writer->comm_index;
    *entry = made;
    c4_record_publish(&entry->generation, generation);
    return (uint16_t)index;
}

uint16_t c4_record_edge_add(c4_record_writer *writer, int peer, uint32_t tag, bool sends, unsigned transport)
{
    c4_recorder *recorder = writer->recorder;
    uint32_t index;
    if (!recorder || !claim(recorder, recorder->edge_owner, &recorder->next_edge, &recorder->header->edges,
                            writer->comm_index, &index))
        return C4_RECORD_NO_INDEX;
    c4_record_edge *entry = area_at(recorder, &recorder->header->edges, index);
    uint32_t generation = entry_begin(&entry->generation);
    *entry = (c4_record_edge){.generation = generation - 1,
                              .comm = writer->comm_index,
                              .direction = sends ? C4_RECORD_SENDS : C4_RECORD_RECEIVES,
                              .transport = (uint8_t)transport,
                              .peer = peer,
                              .tag = tag};
    c4_record_publish(&entry->generation, generation);
    return (uint16_t)index;
}

static void add_relaxed(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, *field + value, __ATOMIC_RELAXED);
}

void c4_record_edge_count(c4_record_writer *writer, uint16_t index, uint64_t bytes, uint64_t messages, uint64_t resends,
                          uint64_t waited_ticks, uint64_t now)
{
    if (!writer->recorder || index == C4_RECORD_NO_INDEX)
        return;
    c4_record_edge *entry = area_at(writer->recorder, &writer->recorder->header->edges, index);
    add_relaxed(&entry->bytes, bytes);
    add_relaxed(&entry->messages, messages);
    add_relaxed(&entry->resends, resends);
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

/* Copies words that their writer may be changing: whether they are whole is seen from the generation, before and after. The
 * writer stores plainly, which costs nothing, and ThreadSanitizer knows no such protocol. */
__attribute__((no_sanitize("thread"))) static void copy_words(void *copy, const void *r, size_t bytes)
{
    typedef uint64_t __attribute__((may_alias)) word;
    const volatile word *from = r;
    word *to = copy;
    for (size_t i = 0; i < bytes / sizeof *to; i++)
        to[i] = from[i];
}

_Static_assert(sizeof(c4_record_operation) % sizeof(uint64_t) == 0, "a record is whole words");

/* A copy of record `number` if it is whole and has not been written over. */
static bool operation_read(const c4_record_writer *writer, uint64_t number, c4_record_operation *copy)
{
    const c4_record_operation *r = &writer->operations[number & writer->operation_mask];
    uint32_t expected = 2 * (uint32_t)(number >> writer->operation_shift) + 2;
    if (__atomic_load_n(&r->generation, __ATOMIC_ACQUIRE) != expected)
        return false;
    copy_words(copy, r, sizeof *r);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&r->generation, __ATOMIC_RELAXED) == expected;
}

bool c4_record_operation_find(const c4_record_writer *writer, c4_record_accept_fn accept, const void *context,
                              c4_record_operation *found)
{
    if (!writer->operations)
        return false;
    uint64_t end = __atomic_load_n(&writer->ring->operations, __ATOMIC_ACQUIRE);
    uint64_t count = end < writer->operation_mask + 1u ? end : writer->operation_mask + 1u;
    for (uint64_t i = 1; i <= count; i++)
        if (operation_read(writer, end - i, found) && found->comm == writer->comm_index &&
            found->call_ticks >= writer->created_ticks && accept(found, context))
            return true;
    return false;
}

_Static_assert(sizeof(c4_record_program) % sizeof(uint64_t) == 0, "a record is whole words");
_Static_assert(sizeof(c4_record_edge) % sizeof(uint64_t) == 0, "a record is whole words");

/* A whole copy of entry `index`, if it belongs to this communicator. Records begin with their generation. */
static bool entry_read(const c4_record_writer *writer, const c4_record_area *area, const uint16_t *owners,
                       uint32_t index, void *copy)
{
    const uint32_t *generation = area_at(writer->recorder, area, index);
    pthread_mutex_lock(&writer->recorder->tables);
    bool own = owners[index] == writer->comm_index + 1;
    pthread_mutex_unlock(&writer->recorder->tables);
    uint32_t before = __atomic_load_n(generation, __ATOMIC_ACQUIRE);
    if (!own || before == 0 || before % 2)
        return false;
    copy_words(copy, generation, area->stride);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(generation, __ATOMIC_RELAXED) == before;
}

void c4_record_programs_visit(const c4_record_writer *writer,
                              void (*visit)(void *context, const c4_record_program *program), void *context)
{
    c4_record_program copy;
    const c4_record_area *area = writer->recorder ? &writer->recorder->header->programs : NULL;
    for (uint32_t i = 0; area && i < area->count; i++)
        if (entry_read(writer, area, writer->recorder->program_owner, i, &copy))
            visit(context, &copy);
}

void c4_record_edges_visit(const c4_record_writer *writer, void (*visit)(void *context, const c4_record_edge *edge),
                           void *context)
{
    c4_record_edge copy;
    const c4_record_area *area = writer->recorder ? &writer->recorder->header->edges : NULL;
    for (uint32_t i = 0; area && i < area->count; i++)
        if (entry_read(writer, area, writer->recorder->edge_owner, i, &copy))
            visit(context, &copy);
}
