/* A channel's memory and its two ends.
 *
 * Layout, in the writer's arena:
 *
 *     writer lines   whether the writer starves; the probe line (distance.h)
 *     reader lines   one per reader, written by that reader: frames consumed, state, flag latency
 *     slots          a power of two of a header line {stamp, c4_frame, 24 bytes}, whose stamp is stored last, and
 *                    room for a small payload behind it
 *     payload        larger frames, whole lines, contiguous, wrapping by skipping
 *
 * Slots stay where they are and payload never overlaps a header, so nothing in a payload can look like a stamp. A
 * stamp is (random start + frame index) << 2 | flags: headers of an earlier channel in the same memory never match.
 *
 * Credit: a reader reports how many frames it has consumed, and only for frames that the writer has marked
 * C4_SHM_STAMP_ACK (each quarter of the part in use), so that small frames move one line each. The writer alone knows
 * where payload lies and when it is free; all it reads from others is that count, which it checks. A writer that finds
 * no room says so in its line; then readers report everything, also while they wait: without that, unmarked frames
 * could fill the ring for good when the part in use changes its size.
 */
#ifndef C4_TRANSPORTS_SHM_RING_H
#define C4_TRANSPORTS_SHM_RING_H

#include <c4/transport.h>
#include <stdbool.h>

#include "transports/shm/arena.h"

#define C4_SHM_INLINE_BYTES 24u
#define C4_SHM_MAX_READERS  64
#define C4_SHM_STAMP_ACK    1u /* report consumption of this frame */
#define C4_SHM_STAMP_PROBE  2u /* time a load of the probe line */
#define C4_SHM_NOWHERE      UINT32_MAX

typedef struct c4_shm_line {
    uint64_t stamp;
    c4_frame frame;
    union {
        unsigned char bytes[C4_SHM_INLINE_BYTES];
        struct {
            uint32_t first; /* payload's first line; C4_SHM_NOWHERE: in the slot */
            uint32_t plain; /* 1: not stored around the cache */
            uint32_t unused[4];
        } at;
    } u;
} __attribute__((aligned(C4_SHM_LINE))) c4_shm_line;

_Static_assert(sizeof(c4_shm_line) == C4_SHM_LINE, "a header is one cache line");

/* What follows a header holds a small frame's payload: the hardware fetches a line's neighbour with it, so that header
 * and payload cross together (64 B one way: 89 ns near and 370 far; 140 and 550 when apart). */
#define C4_SHM_SMALL_BYTES 576u

typedef struct c4_shm_slot {
    c4_shm_line line;
    unsigned char small[C4_SHM_SMALL_BYTES];
} __attribute__((aligned(2 * C4_SHM_LINE))) c4_shm_slot;

_Static_assert(sizeof(c4_shm_slot) == C4_SHM_LINE + C4_SHM_SMALL_BYTES, "a slot has no padding");

enum { C4_SHM_READER_NEW = 0, C4_SHM_READER_ATTACHED = 1, C4_SHM_READER_GONE = 2 };

typedef struct c4_shm_reader_line {
    uint64_t consumed;
    uint32_t measured; /* see distance.h; 0: nothing yet */
    uint32_t state;    /* C4_SHM_READER_*: memory of a closed ring is reused once nobody is attached */
} __attribute__((aligned(C4_SHM_LINE))) c4_shm_reader_line;

/* Two pairs of lines: hardware fetches lines in pairs, and the probe must come alone. */
typedef struct c4_shm_writer_line {
    uint32_t starving;
    uint32_t probe __attribute__((aligned(2 * C4_SHM_LINE)));
} __attribute__((aligned(2 * C4_SHM_LINE))) c4_shm_writer_line;

/* Geometry, as published in the directory. */
typedef struct c4_shm_shape {
    uint64_t start; /* stamp of frame 0, without flags */
    uint64_t offset;
    uint32_t headers; /* power of two */
    uint32_t payload_lines;
    uint32_t nreaders;
} c4_shm_shape;

/* Writer's end. Private memory but for what the pointers lead to. */
typedef struct c4_shm_writer {
    c4_shm_slot *slots; /* NULL until the first reserve */
    unsigned char *payload;
    uint32_t mask;
    uint32_t payload_lines;
    uint64_t head, tail; /* frames committed; frames known to be consumed by all */
    uint64_t start;      /* stamp of frame 0 */
    uint32_t head_line, tail_line;
    uint32_t payload_frames; /* in flight with payload */
    uint32_t unmarked_lines, unmarked_frames;
    uint32_t limit; /* lines of the ring in use: fewer when far */
    uint32_t reserved_line, reserved_lines;
    size_t reserved;     /* bytes; SIZE_MAX: nothing reserved */
    unsigned char *room; /* of the reserve */
    bool stream;
    bool starving; /* and `line` says so */
    int until_probe;
    uint32_t first_probes;
    uint32_t *reports;  /* [readers] last value of `measured` seen from each */
    uint32_t *end_line; /* [headers] line behind the payload of each frame in flight; 0: inline */
    c4_shm_writer_line *line;
    c4_shm_reader_line *readers;
    c4_shm_shape shape;
    struct c4_shm_entry *entry;
} c4_shm_writer;

/* Reader's end. */
typedef struct c4_shm_reader {
    const c4_shm_slot *slots; /* NULL until the writer's ring has been found */
    const unsigned char *payload;
    uint32_t mask;
    uint32_t payload_lines;
    uint64_t index;
    uint64_t expected; /* stamp of the next frame, without flags */
    unsigned flags;    /* of the frame at the head, once peeked */
    uint32_t frame_bytes;
    uint32_t frame_lines;  /* in the payload area: 0 when in the slot */
    uint32_t guess;        /* line where the next payload probably starts */
    uint64_t reported;     /* index last given to the writer */
    uint64_t opened_ticks; /* of the last peek at a large plain frame; 1: not to be timed; 0: there is none */
    const c4_shm_writer_line *line;
    c4_shm_reader_line *credit;
    uint32_t directory_seen; /* version at which the ring was looked for in vain */
} c4_shm_reader;

size_t c4_shm_shape_bytes(const c4_shm_shape *shape);
static inline size_t c4_shm_shape_lines_at(const c4_shm_shape *shape)
{
    size_t end = sizeof(c4_shm_writer_line) + shape->nreaders * sizeof(c4_shm_reader_line);
    return (end + sizeof(c4_shm_slot) - 1) / sizeof(c4_shm_slot) * sizeof(c4_shm_slot);
}
static inline size_t c4_shm_shape_payload_at(const c4_shm_shape *shape)
{
    size_t end = c4_shm_shape_lines_at(shape) + shape->headers * sizeof(c4_shm_slot);
    return (end + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
}

c4_status c4_shm_peek(c4_channel *channel, c4_window *window);
void c4_shm_consume(c4_channel *channel);
c4_status c4_shm_reserve(c4_channel *channel, size_t bytes, c4_window *window);
void c4_shm_commit(c4_channel *channel, const c4_frame *frame);
c4_status c4_shm_put(c4_channel *channel, const c4_frame *frame, const void *payload);

/* Whether a reserve that found no room would find some now. */
bool c4_shm_has_credit(c4_channel *channel);

#endif
