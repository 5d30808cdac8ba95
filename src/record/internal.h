/* The recorder's own type, and where its files lie. Included by src/record/ only. */
#ifndef C4_RECORD_INTERNAL_H
#define C4_RECORD_INTERNAL_H

#include <limits.h>
#include <pthread.h>

#include "record/recorder.h"

#define C4_RECORD_TOP_BYTES  (PATH_MAX / 2)
#define C4_RECORD_NAME_BYTES 64
#define C4_RECORD_SUFFIX     ".c4rec"

struct c4_recorder {
    c4_record_header *header; /* the mapping */
    unsigned users;
    bool unclean;           /* keep the file */
    pthread_mutex_t tables; /* guards the counts below: communicators may be created by several threads */
    uint32_t ncomms, nprograms, nedges;
    int fd;                         /* of the file; its lock tells other pid namespaces that the writer lives */
    char top[C4_RECORD_TOP_BYTES];  /* "<top>/<job, 16 hex digits>/<rank>-<pid>-<nonce, 16 hex digits>.c4rec" */
    char job[C4_RECORD_NAME_BYTES]; /* name in top */
    char file[C4_RECORD_NAME_BYTES];
};

/* Why a directory or file cannot be had, and what to do about it: for the warning. */
typedef struct c4_record_reason {
    char text[C4_RECORD_TOP_BYTES + 256];
} c4_record_reason;

/* "%u" at the end of `pattern` becomes the user's number, slashes at the end go (a link would be followed). False:
 * too long. */
bool c4_record_expand_top(const char *pattern, char *top);
/* Descriptors of directories that belong to the effective user and that nobody else may write; never through a link
 * in the last component. `make`: create with mode 0700 when missing. -1 with errno and *reason (NULL: not wanted). */
int c4_record_open_top(const char *top, bool make, c4_record_reason *reason);
int c4_record_open_job(int top_fd, const char *job, bool make, c4_record_reason *reason);

/* /proc/PID/stat field 22; 0: no such process, or no /proc. */
uint64_t c4_record_start_ticks(long pid);

/* Removes jobs of this user below the directory in which no process lives: those untouched for `keep_s` seconds, then
 * the oldest until the rest is within `keep_bytes`. 0: no such limit. Looks at no more than 4096 entries; returns at
 * once when another process is at it. What it cannot read or does not know stays. */
void c4_record_clean(int top_fd, uint64_t keep_s, uint64_t keep_bytes);

#endif
