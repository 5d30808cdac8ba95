/* Named files of shared memory, /dev/shm/c4-shm-<32 hexadecimal digits>: which of them their owners have left behind. The
 * owner of a file holds a shared lock on it for life. So a lock that can be had means that it is gone, whatever pid
 * namespace it lived in and whoever has its process id today; there is nothing to compare that could be true by chance. */
#ifndef C4_HOST_SEGMENT_H
#define C4_HOST_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define C4_SEGMENT_DIRECTORY "/dev/shm"
#define C4_SEGMENT_PREFIX    "c4-shm-"
#define C4_SEGMENT_DIGITS    32

/* `bytes`: of memory that the file occupies. `removed`: it is gone now. */
typedef void (*c4_segment_visit)(void *context, const char *name, uint64_t bytes, bool removed);

/* Looks for this user's files without a living owner in `directory`, removes them if `remove`, and tells `visit` (may be
 * NULL) of each. Files of others, links and anything that is no regular file stay. Returns how many there were. A process
 * that is just making its file may find the lock taken for a moment: it takes another name then. */
size_t c4_segments_stale(const char *directory, bool remove, c4_segment_visit visit, void *context);

#endif
