/* Reads flight records (c4/record.h) of a process that lives, hangs or is dead. The file is never trusted: every offset is
 * checked against its size, every index against its area, every copy against its generation. Never stops the writer. */
#ifndef C4_DIAG_SOURCES_RECORD_READER_H
#define C4_DIAG_SOURCES_RECORD_READER_H

#include <c4/c4.h>
#include <c4/record.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct c4_record_file c4_record_file;

/* Maps the file read-only. C4_ERR_SYSTEM: cannot be opened; C4_ERR_PROTOCOL: not a whole record of this version, the
 * message says why. The file must not be truncated while it is open (the library never does). */
c4_status c4_record_file_open(const char *path, c4_record_file **file);
/* The same over memory that the caller keeps. 8-byte aligned. */
c4_status c4_record_file_open_memory(const void *bytes, size_t size, c4_record_file **file);
void c4_record_file_close(c4_record_file *file);

/* As it was when the file was opened; strings end with a zero. */
const c4_record_header *c4_record_file_header(const c4_record_file *file);
/* 1 once the process has ended in good order. */
bool c4_record_file_closed(const c4_record_file *file);

/* Consistent copies of table entries; false: out of range, never written, or being written at every try. Strings end with a
 * zero. */
bool c4_record_file_comm(const c4_record_file *file, uint32_t index, c4_record_comm *comm);
bool c4_record_file_program(const c4_record_file *file, uint32_t index, c4_record_program *program);
bool c4_record_file_edge(const c4_record_file *file, uint32_t index, c4_record_edge *edge);

/* Walks a ring from its newest record to its oldest. What the writer overwrites meanwhile is left out. */
typedef struct c4_record_walk {
    const c4_record_file *file;
    uint64_t next; /* record number + 1; 0: at the end */
    uint64_t last; /* stops before this number */
    uint64_t first_slot;
    uint32_t slots;
} c4_record_walk;

c4_record_walk c4_record_walk_operations(const c4_record_file *file, uint32_t ring);
c4_record_walk c4_record_walk_moves(const c4_record_file *file, uint32_t ring);
bool c4_record_walk_next_operation(c4_record_walk *walk, c4_record_operation *operation);
bool c4_record_walk_next_move(c4_record_walk *walk, c4_record_move *move);

#endif
