/* What jobs that are gone have left below a record directory. A job counts as gone when all of its records are this user's,
 * readable, and of processes that are gone: nobody holds the lock of the file, and the process with the record's id did
 * not start when the record's did. Only such jobs are listed and removed; whatever else is in a directory keeps it. */
#ifndef C4_RECORD_CLEAN_H
#define C4_RECORD_CLEAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define C4_RECORD_JOB_DIGITS 16

typedef struct c4_record_dead_job {
    char name[C4_RECORD_JOB_DIGITS + 1]; /* of the directory below the top */
    uint64_t bytes;                      /* 0: an empty directory, perhaps of a job that is just starting */
    int64_t newest;                      /* last change, seconds since 1970 */
} c4_record_dead_job;

/* Oldest first; the caller frees *jobs. `top_fd`: of c4_record_open_top. */
size_t c4_record_dead_jobs(int top_fd, c4_record_dead_job **jobs);
/* Looks again and removes what is still dead; false when the directory stays. */
bool c4_record_remove_dead(int top_fd, const char *name);

#endif
