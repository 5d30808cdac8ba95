/* Where flight records lie: "<top>/<job, 16 hex digits>/<rank or x>-<pid>-<nonce, 16 hex digits>.c4rec". */
#ifndef C4_RECORD_PLACE_H
#define C4_RECORD_PLACE_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>

#define C4_RECORD_TOP_BYTES  (PATH_MAX / 2)
#define C4_RECORD_NAME_BYTES 64
#define C4_RECORD_SUFFIX     ".c4rec"

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
/* The entries of such a directory, from the first; `fd` stays the caller's. NULL and errno on failure. */
DIR *c4_record_list(int fd);

#endif
