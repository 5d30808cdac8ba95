/* The flight recorder, writer side. Always on; a process without room for the file runs without it.
 *
 * Cost on the shortest path: two cycle-counter reads and some twenty stores to one cache line per operation. */
#ifndef C4_RECORD_RECORDER_H
#define C4_RECORD_RECORDER_H

#include <c4/c4.h>
#include <c4/record.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/options.h"

extern const c4_option_table c4_record_option_table;

typedef struct c4_recorder c4_recorder;

typedef struct c4_recorder_spec {
    const char *directory; /* C4_RECORD_DIR: created with mode 0700 when missing, refused when others may write it */
    size_t bytes;          /* C4_RECORD_BYTES: of the file; at least 64 KiB */
    uint64_t job_id;
    int rank;            /* -1: none yet */
    uint64_t keep_s;     /* C4_RECORD_KEEP_S: what dead jobs left is removed after this; 0: never */
    uint64_t keep_bytes; /* C4_RECORD_KEEP_BYTES: and, oldest first, when it is more than this; 0: no limit */
} c4_recorder_spec;

/* One per process, shared by its communicators: the first call opens it, the others return it. NULL when recording is
 * off or impossible (logged once as a warning: never an error). Thread-safe. */
c4_recorder *c4_recorder_acquire(const c4_recorder_spec *spec);
/* The last release ends the file: removed after a clean end, kept otherwise. NULL allowed. */
void c4_recorder_release(c4_recorder *recorder, bool clean);

/* One communicator's view: its ring and the cursors into it. Written by one thread at a time. */
typedef struct c4_record_writer {
    c4_recorder *recorder; /* NULL: nothing goes to a file; operations are kept in a small ring of this process's own */
    c4_record_comm *comm;
    c4_record_ring *ring;
    c4_record_operation *operations;
    c4_record_move *moves;
    uint32_t operation_mask, move_mask;
    uint32_t operation_shift; /* log2(operation_mask + 1) */
    uint16_t comm_index;
    bool shared;            /* several communicators write this ring */
    uint64_t created_ticks; /* operations called before are of an earlier communicator with this index */
    void *own;              /* memory of the ring when there is no file */
} c4_record_writer;

/* Ends with the communicator: its entries of all tables are free for others then. With recorder NULL, or when the tables are
 * full of living communicators, the last operations are kept in memory alone: peers ask for them. */
void c4_record_writer_open(c4_recorder *recorder, uint32_t comm_id, uint16_t epoch, int rank, int nranks, int nhosts,
                           const char *name, c4_record_writer *writer);
void c4_record_writer_close(c4_record_writer *writer, c4_status status);

/* Index of an entry of its own; C4_RECORD_NO_INDEX when the table is full of living communicators' entries or recording is off. */
uint16_t c4_record_program_add(c4_record_writer *writer, const c4_record_program *program);
uint16_t c4_record_edge_add(c4_record_writer *writer, int peer, uint32_t tag, bool sends, unsigned transport);
/* Cumulative counters of edge `index`. */
void c4_record_edge_count(c4_record_writer *writer, uint16_t index, uint64_t bytes, uint64_t messages, uint64_t resends,
                          uint64_t waited_ticks, uint64_t now);
void c4_record_move_add(c4_record_writer *writer, const c4_record_move *move);

static inline uint64_t c4_record_claim(uint64_t *cursor, bool shared)
{
    if (__builtin_expect(shared, 0))
        return __atomic_fetch_add(cursor, 1, __ATOMIC_ACQ_REL); /* orders writers of one slot, laps apart */
    uint64_t number = *cursor;
    __atomic_store_n(cursor, number + 1, __ATOMIC_RELAXED);
    return number;
}

/* The newest whole record of this communicator's operations that `accept` takes. Any thread, while the writer is open; what
 * the ring has written over is not found. */
typedef bool (*c4_record_accept_fn)(const c4_record_operation *operation, const void *context);
bool c4_record_operation_find(const c4_record_writer *writer, c4_record_accept_fn accept, const void *context,
                              c4_record_operation *found);

/* This communicator's programs and edges, each a whole copy; any thread, while the writer is open. Nothing without a file. */
void c4_record_programs_visit(const c4_record_writer *writer,
                              void (*visit)(void *context, const c4_record_program *program), void *context);
void c4_record_edges_visit(const c4_record_writer *writer, void (*visit)(void *context, const c4_record_edge *edge),
                           void *context);

/* A new record, marked as being written; the caller fills all fields but the generation, then publishes it. NULL without
 * memory for any. */
static inline c4_record_operation *c4_record_operation_begin(c4_record_writer *writer, uint32_t *generation)
{
    if (!writer->operations)
        return NULL;
    uint64_t number = c4_record_claim(&writer->ring->operations, writer->shared);
    c4_record_operation *r = &writer->operations[number & writer->operation_mask];
    *generation = 2 * (uint32_t)(number >> writer->operation_shift) + 2;
    __atomic_store_n(&r->generation, *generation - 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return r;
}

static inline void c4_record_publish(uint32_t *generation, uint32_t value)
{
    __atomic_store_n(generation, value, __ATOMIC_RELEASE);
}

#endif
