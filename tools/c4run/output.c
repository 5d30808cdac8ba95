#include "tools/c4run/output.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FULL_BYTES = 1 << 20, /* waiting to be written */
    LINE_BYTES = 1 << 20, /* a longer line is cut */
    READ_BYTES = 1 << 16
};

/* ---- towards standard output and standard error ---- */

/* Room for `bytes` more; false when memory is short, and then that output is lost. */
static bool reserve(char **data, size_t used, size_t *room, size_t bytes)
{
    size_t need = used + bytes;
    if (need <= *room)
        return true;
    size_t more = *room ? *room : 4096;
    while (more < need)
        more *= 2;
    char *moved = realloc(*data, more);
    if (!moved)
        return false;
    *data = moved;
    *room = more;
    return true;
}

void c4run_output_add(c4run_output *output, const char *prefix, const char *line, size_t bytes)
{
    size_t prefix_bytes = strlen(prefix);
    if (output->broken)
        return;
    if (output->sent == output->used)
        output->sent = output->used = 0;
    if (!reserve(&output->data, output->used, &output->room, prefix_bytes + bytes))
        return;
    memcpy(output->data + output->used, prefix, prefix_bytes);
    memcpy(output->data + output->used + prefix_bytes, line, bytes);
    output->used += prefix_bytes + bytes;
}

bool c4run_output_pending(const c4run_output *output)
{
    return output->sent < output->used;
}

bool c4run_output_is_full(const c4run_output *output)
{
    return output->used - output->sent >= FULL_BYTES;
}

void c4run_output_drop(c4run_output *output)
{
    output->broken = true;
    output->sent = output->used = 0;
}

/* The descriptor is shared with others and stays blocking: a pipe that polls writable takes PIPE_BUF bytes at once. */
void c4run_output_write(c4run_output *output)
{
    while (c4run_output_pending(output)) {
        struct pollfd ready = {.fd = output->fd, .events = POLLOUT};
        size_t bytes = output->used - output->sent;
        if (poll(&ready, 1, 0) <= 0)
            return;
        ssize_t wrote = write(output->fd, output->data + output->sent, bytes < PIPE_BUF ? bytes : PIPE_BUF);
        if (wrote < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (wrote < 0) {
            c4run_output_drop(output);
            return;
        }
        output->sent += (size_t)wrote;
    }
}

void c4run_output_fini(c4run_output *output)
{
    free(output->data);
    output->data = NULL;
    output->sent = output->used = output->room = 0;
}

/* ---- from the children ---- */

/* Hands on the whole lines; `all`: the unfinished one too. */
static void hand_on(c4run_stream *stream, bool all)
{
    size_t done = 0;
    while (done < stream->used) {
        char *end = memchr(stream->line + done, '\n', stream->used - done);
        if (!end)
            break;
        size_t bytes = (size_t)(end - stream->line) + 1 - done;
        c4run_output_add(stream->to, stream->prefix, stream->line + done, bytes);
        done += bytes;
    }
    stream->used -= done;
    memmove(stream->line, stream->line + done, stream->used);
    if (stream->used && (all || stream->used >= LINE_BYTES) && reserve(&stream->line, stream->used, &stream->room, 1)) {
        stream->line[stream->used++] = '\n';
        c4run_output_add(stream->to, stream->prefix, stream->line, stream->used);
        stream->used = 0;
    }
}

static void finish(c4run_stream *stream)
{
    if (stream->used)
        hand_on(stream, true);
    close(stream->fd);
    stream->fd = -1;
    free(stream->line);
    stream->line = NULL;
    stream->used = stream->room = 0;
}

/* Bytes read; 0 when there is nothing for now; -1 when the stream has ended and is closed. */
static ssize_t read_some(c4run_stream *stream)
{
    if (stream->to->broken || !reserve(&stream->line, stream->used, &stream->room, READ_BYTES)) {
        finish(stream);
        return -1;
    }
    ssize_t got = read(stream->fd, stream->line + stream->used, READ_BYTES);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        finish(stream);
        return -1;
    }
    stream->used += (size_t)got;
    hand_on(stream, false);
    return got;
}

void c4run_stream_read(c4run_stream *stream)
{
    read_some(stream);
}

void c4run_stream_close(c4run_stream *stream)
{
    /* What a pipe holds at most; somebody may go on writing. */
    for (size_t left = (size_t)1 << 20; stream->fd >= 0 && left > 0;) {
        ssize_t got = read_some(stream);
        if (got <= 0)
            break;
        left -= (size_t)got < left ? (size_t)got : left;
    }
    if (stream->fd >= 0)
        finish(stream);
}
