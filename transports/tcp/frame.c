#include "transports/tcp/frame.h"

#include "wire/bytes.h"

#define HELLO_MAGIC   0x4b4c3443u /* "C4LK" */
#define ADDRESS_MAGIC 0x50543443u /* "C4TP" */

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

void c4_tcp_hello_pack(const c4_tcp_hello *hello, unsigned char wire[C4_TCP_HELLO_BYTES])
{
    c4_put_u32(wire, HELLO_MAGIC);
    c4_put_u16(wire + 4, C4_TCP_WIRE_VERSION);
    c4_put_u16(wire + 6, hello->code);
    c4_put_u32(wire + 8, hello->index);
    c4_put_u32(wire + 12, 0);
    c4_put_u64(wire + 16, hello->generation);
    c4_put_u64(wire + 24, hello->received);
}

bool c4_tcp_hello_unpack(const unsigned char wire[C4_TCP_HELLO_BYTES], c4_tcp_hello *hello)
{
    hello->code = c4_get_u16(wire + 6);
    hello->index = c4_get_u32(wire + 8);
    hello->generation = c4_get_u64(wire + 16);
    hello->received = c4_get_u64(wire + 24);
    return c4_get_u32(wire) == HELLO_MAGIC && c4_get_u16(wire + 4) == C4_TCP_WIRE_VERSION &&
           hello->code >= C4_TCP_HELLO && hello->code <= C4_TCP_CLOSED;
}

size_t c4_tcp_contact_pack(const c4_tcp_contact *contact, unsigned char wire[C4_TCP_CONTACT_BYTES])
{
    c4_put_u32(wire, ADDRESS_MAGIC);
    c4_put_u16(wire + 4, C4_TCP_WIRE_VERSION);
    wire[6] = (unsigned char)contact->count;
    wire[7] = contact->tls;
    c4_put_u64(wire + 8, contact->host);
    unsigned char *at = wire + 16;
    for (unsigned i = 0; i < contact->count; i++, at += 24) {
        const c4_tcp_address *address = &contact->at[i];
        at[0] = address->family;
        at[1] = address->loopback;
        c4_put_u16(at + 2, address->port);
        c4_put_u32(at + 4, address->scope);
        memcpy(at + 8, address->ip, sizeof address->ip);
    }
    return 16 + 24 * contact->count;
}

const char *c4_tcp_contact_unpack(const void *bytes_in, size_t bytes, c4_tcp_contact *contact)
{
    const unsigned char *wire = bytes_in;
    if (bytes < 16 || c4_get_u32(wire) != ADDRESS_MAGIC)
        return "not a tcp address";
    if (c4_get_u16(wire + 4) != C4_TCP_WIRE_VERSION)
        return "the peer runs another C4 version";
    *contact = (c4_tcp_contact){.host = c4_get_u64(wire + 8), .tls = wire[7] != 0, .count = wire[6]};
    if (contact->count < 1 || contact->count > C4_TCP_MAX_ADDRESSES || bytes != 16 + 24 * contact->count || wire[7] > 1)
        return "malformed tcp address";
    for (unsigned i = 0; i < contact->count; i++) {
        const unsigned char *at = wire + 16 + 24 * i;
        c4_tcp_address *address = &contact->at[i];
        address->family = at[0];
        address->loopback = at[1] != 0;
        address->port = c4_get_u16(at + 2);
        address->scope = c4_get_u32(at + 4);
        memcpy(address->ip, at + 8, sizeof address->ip);
        if ((address->family != 4 && address->family != 6) || address->port == 0 || at[1] > 1)
            return "malformed tcp address";
    }
    return NULL;
}
