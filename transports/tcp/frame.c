#include "transports/tcp/frame.h"

#include "wire/frame.h"

void c4_tcp_header_pack(const c4_tcp_header *header, unsigned char wire[C4_TCP_HEADER_BYTES])
{
    c4_put_u32(wire, (uint32_t)(header->kind | header->flags << 4) | header->tag << 8);
    c4_put_u32(wire + 4, header->comm);
    c4_put_u64(wire + 8, header->ack);
    c4_frame_pack(&header->frame, wire + 16);
}

const char *c4_tcp_header_unpack(const unsigned char wire[C4_TCP_HEADER_BYTES], c4_tcp_header *header)
{
    uint32_t first = c4_get_u32(wire);
    header->kind = first & 15;
    header->flags = first >> 4 & 15;
    header->tag = first >> 8;
    header->comm = c4_get_u32(wire + 4);
    header->ack = c4_get_u64(wire + 8);
    c4_frame_unpack(wire + 16, &header->frame);
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
