#include "transports/tcp/frame.h"

#include "wire/bytes.h"

static void frame_pack(const c4_frame *frame, unsigned char *wire)
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

static void frame_unpack(const unsigned char *wire, c4_frame *frame)
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

void c4_tcp_header_pack(const c4_tcp_header *header, unsigned char wire[C4_TCP_HEADER_BYTES])
{
    c4_put_u32(wire, (uint32_t)(header->kind | header->flags << 4) | header->tag << 8);
    c4_put_u32(wire + 4, header->comm);
    c4_put_u64(wire + 8, header->ack);
    frame_pack(&header->frame, wire + 16);
}

const char *c4_tcp_header_unpack(const unsigned char wire[C4_TCP_HEADER_BYTES], c4_tcp_header *header)
{
    uint32_t first = c4_get_u32(wire);
    header->kind = first & 15;
    header->flags = first >> 4 & 15;
    header->tag = first >> 8;
    header->comm = c4_get_u32(wire + 4);
    header->ack = c4_get_u64(wire + 8);
    frame_unpack(wire + 16, &header->frame);
    if (header->kind < C4_TCP_DATA || header->kind > C4_TCP_BYE)
        return "unknown frame kind";
    if ((header->flags & ~C4_TCP_WANT_ACK) != 0)
        return "unknown frame flags";
    if (header->frame.bytes > C4_TCP_MAX_FRAME_BYTES)
        return "oversized frame";
    if (header->kind != C4_TCP_DATA && header->frame.bytes != 0)
        return "control frame with payload";
    return NULL;
}
