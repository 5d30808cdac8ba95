/* The recorder's own type. Included by src/record/ only. */
#ifndef C4_RECORD_INTERNAL_H
#define C4_RECORD_INTERNAL_H

#include <pthread.h>

#include "record/place.h"
#include "record/recorder.h"

/* Most entries of the tables; small files have fewer. */
#define C4_RECORD_COMMS    64u
#define C4_RECORD_PROGRAMS 256u
#define C4_RECORD_EDGES    1024u

struct c4_recorder {
    c4_record_header *header; /* the mapping */
    unsigned users;
    bool unclean;           /* keep the file */
    pthread_mutex_t tables; /* guards the marks below: communicators may be created by several threads */
    /* Index + 1 of the communicator whose entry it is; 0: free, though what it says stays readable until it is taken
     * again. Kept here because the entries themselves are written outside of the lock. */
    uint16_t comm_owner[C4_RECORD_COMMS], program_owner[C4_RECORD_PROGRAMS], edge_owner[C4_RECORD_EDGES];
    uint32_t next_comm, next_program, next_edge; /* never taken so far */
    int fd;                         /* of the file; its lock tells other pid namespaces that the writer lives */
    char top[C4_RECORD_TOP_BYTES];  /* "<top>/<job, 16 hex digits>/<rank>-<pid>-<nonce, 16 hex digits>.c4rec" */
    char job[C4_RECORD_NAME_BYTES]; /* name in top */
    char file[C4_RECORD_NAME_BYTES];
};

/* /proc/PID/stat field 22; 0: no such process, or no /proc. */
uint64_t c4_record_start_ticks(long pid);

/* Removes jobs of this user below the directory in which no process lives: those untouched for `keep_s` seconds, then
 * the oldest until the rest is within `keep_bytes`. 0: no such limit. Looks at no more than 4096 entries; returns at
 * once when another process is at it. What it cannot read or does not know stays. */
void c4_record_clean(int top_fd, uint64_t keep_s, uint64_t keep_bytes);

#endif
