/* What the children print, forwarded line by line, and c4run's own lines between them. One writer, so that lines never mix;
 * nothing here blocks on a slow reader. */
#ifndef C4_TOOLS_C4RUN_OUTPUT_H
#define C4_TOOLS_C4RUN_OUTPUT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/* Towards standard output or standard error. */
typedef struct c4run_output {
    int fd;
    bool broken; /* nobody reads any more */
    char *data;  /* waiting to be written: data[sent .. used) */
    size_t sent, used, room;
} c4run_output;

/* From one child. */
typedef struct c4run_stream {
    int fd;          /* -1: not forwarded, or at its end */
    char prefix[16]; /* "[3] " or "" */
    char *line;      /* begun and not ended */
    size_t used, room;
    c4run_output *to;
} c4run_stream;

/* Adds a whole line (with its newline). Kept in memory until it can be written. */
void c4run_output_add(c4run_output *output, const char *prefix, const char *line, size_t bytes);
bool c4run_output_pending(const c4run_output *output);
/* So much is waiting that the children should wait too. */
bool c4run_output_is_full(const c4run_output *output);
/* Writes what can be written without blocking. */
void c4run_output_write(c4run_output *output);
/* Forgets what is waiting and takes no more. */
void c4run_output_drop(c4run_output *output);
void c4run_output_fini(c4run_output *output);

/* Reads what is there. At its end, or when the output is broken, closes. */
void c4run_stream_read(c4run_stream *stream);
/* Takes what is in the pipe, an unfinished line too, and closes. */
void c4run_stream_close(c4run_stream *stream);

#endif
