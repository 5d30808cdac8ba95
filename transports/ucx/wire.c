#include "transports/ucx/wire.h"

#include <string.h>

#include "base/hash.h"
#include "wire/bytes.h"
#include "wire/frame.h"

#define MAGIC 0x55583443u /* "C4XU", as bytes */

void c4_ucx_header_pack(const c4_ucx_header *header, unsigned char wire[C4_UCX_HEADER_BYTES])
{
    c4_put_u32(wire, header->kind | header->tag << 8);
    c4_put_u32(wire + 4, header->comm);
    c4_put_u64(wire + 8, header->token);
    c4_put_u64(wire + 16, header->sequence);
    c4_put_u32(wire + 24, header->from);
    c4_put_u32(wire + 28, 0);
    c4_frame_pack(&header->frame, wire + 32);
}

bool c4_ucx_header_unpack(const void *bytes, size_t nbytes, c4_ucx_header *header)
{
    const unsigned char *wire = bytes;
    if (nbytes != C4_UCX_HEADER_BYTES)
        return false;
    uint32_t first = c4_get_u32(wire);
    *header = (c4_ucx_header){.kind = (uint8_t)first,
                              .tag = first >> 8,
                              .comm = c4_get_u32(wire + 4),
                              .token = c4_get_u64(wire + 8),
                              .sequence = c4_get_u64(wire + 16),
                              .from = c4_get_u32(wire + 24)};
    c4_frame_unpack(wire + 32, &header->frame);
    return header->kind >= C4_UCX_DATA && header->kind <= C4_UCX_BYE && c4_get_u32(wire + 28) == 0 &&
           header->frame.bytes <= C4_UCX_MAX_FRAME_BYTES && (header->kind == C4_UCX_DATA || header->frame.bytes == 0);
}

void c4_ucx_greeting_pack(const c4_ucx_greeting *greeting, unsigned char wire[C4_UCX_GREETING_BYTES])
{
    c4_put_u32(wire, greeting->to_server);
    c4_put_u32(wire + 4, greeting->from);
    c4_put_u64(wire + 8, greeting->attempt);
}

bool c4_ucx_greeting_unpack(const void *bytes, size_t nbytes, c4_ucx_greeting *greeting)
{
    const unsigned char *wire = bytes;
    if (nbytes != C4_UCX_GREETING_BYTES || c4_get_u32(wire) > 1)
        return false;
    *greeting = (c4_ucx_greeting){c4_get_u32(wire) == 1, c4_get_u32(wire + 4), c4_get_u64(wire + 8)};
    return true;
}

/* 0 magic 4   4 version 2   6 bytes of UCX's 2   8 UCX's version 4   12 zero 4   16 hash of UCX's 8   24 UCX's */
c4_status c4_ucx_address_pack(const void *worker, size_t bytes, unsigned version, void *out, size_t *wire_bytes)
{
    unsigned char *wire = out;
    if (*wire_bytes < C4_UCX_ADDRESS_BYTES + bytes)
        return C4_ERR_COUNT;
    c4_put_u32(wire, MAGIC);
    c4_put_u16(wire + 4, C4_UCX_WIRE_VERSION);
    c4_put_u16(wire + 6, (uint16_t)bytes);
    c4_put_u32(wire + 8, version);
    c4_put_u32(wire + 12, 0);
    c4_put_u64(wire + 16, c4_hash_bytes(C4_HASH_INIT, worker, bytes));
    memcpy(wire + C4_UCX_ADDRESS_BYTES, worker, bytes);
    *wire_bytes = C4_UCX_ADDRESS_BYTES + bytes;
    return C4_OK;
}

const char *c4_ucx_address_check(const void *bytes, size_t nbytes, unsigned version)
{
    const unsigned char *wire = bytes;
    if (nbytes <= C4_UCX_ADDRESS_BYTES || c4_get_u32(wire) != MAGIC)
        return "this is no address of the transport ucx";
    if (c4_get_u16(wire + 4) != C4_UCX_WIRE_VERSION)
        return "the peer's transport ucx is of another version";
    if (nbytes != C4_UCX_ADDRESS_BYTES + c4_get_u16(wire + 6) ||
        c4_get_u64(wire + 16) !=
            c4_hash_bytes(C4_HASH_INIT, wire + C4_UCX_ADDRESS_BYTES, nbytes - C4_UCX_ADDRESS_BYTES))
        return "the peer's address is damaged";
    if (c4_get_u32(wire + 8) != version)
        return "the peer runs another version of UCX, and versions of UCX need not understand one another";
    return NULL;
}
