/* The frame that rides with every message of a transport, as 32 bytes. */
#ifndef C4_WIRE_FRAME_H
#define C4_WIRE_FRAME_H

#include <c4/transport.h>

#include "wire/bytes.h"

#define C4_FRAME_BYTES 32u
/* Tags are below this: they ride beside the frame, in three bytes. */
#define C4_FRAME_TAG_LIMIT (1u << 24)

static inline void c4_frame_pack(const c4_frame *frame, unsigned char wire[C4_FRAME_BYTES])
{
    c4_put_u32(wire, frame->comm);
    c4_put_u16(wire + 4, frame->epoch);
    c4_put_u16(wire + 6, frame->flags);
    c4_put_u32(wire + 8, frame->sequence);
    c4_put_u32(wire + 12, frame->signature);
    c4_put_u16(wire + 16, frame->lane);
    c4_put_u16(wire + 18, frame->step);
    c4_put_u32(wire + 20, frame->bytes);
    c4_put_u64(wire + 24, frame->offset);
}

static inline void c4_frame_unpack(const unsigned char wire[C4_FRAME_BYTES], c4_frame *frame)
{
    frame->comm = c4_get_u32(wire);
    frame->epoch = c4_get_u16(wire + 4);
    frame->flags = c4_get_u16(wire + 6);
    frame->sequence = c4_get_u32(wire + 8);
    frame->signature = c4_get_u32(wire + 12);
    frame->lane = c4_get_u16(wire + 16);
    frame->step = c4_get_u16(wire + 18);
    frame->bytes = c4_get_u32(wire + 20);
    frame->offset = c4_get_u64(wire + 24);
}

#endif
