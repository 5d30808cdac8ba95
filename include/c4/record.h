/* Layout of flight records: what every process that uses C4 writes while it runs, for others to read at any time.
 *
 * One file per process, memory-mapped, little-endian, fixed-size records, in a directory per job (C4_RECORD_DIR). It may
 * be read while the process lives, hangs or is dead. Readers never stop the writer.
 *
 * Torn writes: every record starts with a generation. It is odd while the record is being written and even when it is
 * whole: read the generation, copy the record, read the generation again; equal and even means a consistent copy. 0:
 * never written. What becomes known after a record was published (end, waiting, state of an operation; counters of an
 * edge) is stored field by field, each whole, `state` last. In a ring, record number k (from 0) lies in slot k % count and
 * has generation 2 * (k / count + 1).
 *
 * Tables: an entry of a communicator, and the programs and edges that name it, stay until the communicator has ended
 * (ended_ticks). Then, once a table has no unused entry left, they may be overwritten by another's: the generation goes on
 * by 2. So an operation belongs to the communicator that its `comm` names only if it was called after that one's
 * created_ticks; its `program` and the `edge` of a move are certain while the communicator lives.
 *
 * Times are ticks of the processor's cycle counter; the header has its rate and one pair (ticks, wall clock). Ticks of
 * processes of one host are comparable, of different hosts are not. */
#ifndef C4_RECORD_H
#define C4_RECORD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define C4_RECORD_MAGIC        0x44524f4345523443u /* "C4RECORD" */
#define C4_RECORD_VERSION      1u
#define C4_RECORD_HEADER_BYTES 4096u
#define C4_RECORD_NO_INDEX     0xffffu

/* Where one kind of record lies in the file: `count` records of `stride` bytes from `offset`. */
typedef struct c4_record_area {
    uint64_t offset;
    uint32_t count;
    uint32_t stride;
} c4_record_area;

typedef struct c4_record_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint64_t job_id;
    uint32_t pid;
    int32_t rank;             /* in the first communicator; -1: none yet */
    uint64_t pid_start_ticks; /* /proc/PID/stat field 22 */
    uint64_t ticks_per_second;
    uint64_t ticks_0; /* ticks and wall clock (ns since 1970) of one moment */
    uint64_t wall_ns_0;
    char host[64];
    char library[16];          /* version of C4 */
    c4_record_area comms;      /* c4_record_comm */
    c4_record_area programs;   /* c4_record_program */
    c4_record_area edges;      /* c4_record_edge: cumulative */
    c4_record_area rings;      /* c4_record_ring, one per communicator until they run out, then shared */
    c4_record_area operations; /* c4_record_operation: rings.count rings one after the other, equal parts */
    c4_record_area moves;      /* c4_record_move: likewise */
    uint32_t closed;           /* 1: the process ended in good order */
} c4_record_header;

/* Write positions of one ring of operations and one of moves. */
typedef struct c4_record_ring {
    uint64_t operations; /* written so far */
    uint64_t moves;
    uint64_t reserved[6];
} c4_record_ring;

typedef struct c4_record_comm {
    uint32_t generation;
    uint32_t comm_id; /* equal on all its ranks */
    int32_t rank, nranks;
    uint16_t epoch;
    uint16_t ring;
    int32_t status; /* c4_status that ended it; 0 while it works */
    uint64_t created_ticks;
    uint64_t ended_ticks; /* 0: alive */
    int32_t nhosts;
    int32_t reserved;
    char name[64];
} c4_record_comm;

/* What an operation ran: enough to build its schedule again. */
typedef struct c4_record_program {
    uint32_t generation;
    uint16_t comm, algorithm;
    uint8_t kind, dtype, in_place, reserved;
    int32_t root;
    uint64_t count;
    uint64_t chunk_bytes;
    uint32_t lanes, channels;
    char algorithm_name[24];
} c4_record_program;

enum {
    C4_RECORD_RUNNING = 1, /* call returned or not, the operation is not complete */
    C4_RECORD_DONE = 2,
    C4_RECORD_FAILED = 3
};

typedef struct c4_record_operation {
    uint32_t generation;
    uint32_t sequence;
    uint64_t call_ticks;
    uint64_t end_ticks; /* 0 while running */
    uint64_t count;
    uint64_t first_ticks;   /* first data from a peer; 0: never waited for it */
    uint64_t waited_ticks;  /* sum over lanes of time without data or credit */
    uint16_t comm, program; /* program: C4_RECORD_NO_INDEX when the table was full */
    uint8_t kind, dtype, op, state;
    int32_t root;
    int32_t status;
} c4_record_operation;

enum { C4_RECORD_SENDS = 1, C4_RECORD_RECEIVES = 2 };

/* One channel end since it was opened. */
typedef struct c4_record_edge {
    uint32_t generation;
    uint16_t comm;
    uint8_t direction;
    uint8_t transport; /* index of the transport in the build */
    int32_t peer;      /* the writer; for sends the first reader */
    uint32_t tag;
    uint64_t bytes, messages, resends;
    uint64_t waited_ticks; /* sends: no credit; receives: no data */
    uint64_t last_ticks;
} c4_record_edge;

/* One channel end in one operation; written for operations that waited or moved 4 KiB or more. */
typedef struct c4_record_move {
    uint32_t generation;
    uint32_t sequence;
    uint16_t comm, edge;
    uint16_t lane;
    uint8_t direction, reserved;
    uint64_t bytes;
    uint32_t messages, resends;
    uint64_t waited_ticks;
    uint64_t moved_ticks; /* from the first to the last step on this edge, without the waiting */
    uint64_t end_ticks;
} c4_record_move;

#ifdef __cplusplus
}
#endif
#endif
