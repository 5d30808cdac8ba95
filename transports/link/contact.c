#include "transports/link/contact.h"

#include "wire/bytes.h"

#define HELLO_MAGIC   0x4b4c3443u /* "C4LK" */
#define ADDRESS_MAGIC 0x50543443u /* "C4TP" */

void c4_tlink_hello_pack(const c4_tlink_hello *hello, unsigned char wire[C4_TLINK_HELLO_BYTES])
{
    c4_put_u32(wire, HELLO_MAGIC);
    c4_put_u16(wire + 4, C4_TLINK_WIRE_VERSION);
    c4_put_u16(wire + 6, hello->code);
    c4_put_u32(wire + 8, hello->index);
    c4_put_u32(wire + 12, 0);
    c4_put_u64(wire + 16, hello->generation);
}

bool c4_tlink_hello_unpack(const unsigned char wire[C4_TLINK_HELLO_BYTES], c4_tlink_hello *hello)
{
    hello->code = c4_get_u16(wire + 6);
    hello->index = c4_get_u32(wire + 8);
    hello->generation = c4_get_u64(wire + 16);
    return c4_get_u32(wire) == HELLO_MAGIC && c4_get_u16(wire + 4) == C4_TLINK_WIRE_VERSION &&
           hello->code >= C4_TLINK_HELLO && hello->code <= C4_TLINK_CLOSED;
}

size_t c4_tlink_contact_pack(const c4_tlink_contact *contact, unsigned char wire[C4_TLINK_CONTACT_BYTES])
{
    c4_put_u32(wire, ADDRESS_MAGIC);
    c4_put_u16(wire + 4, C4_TLINK_WIRE_VERSION);
    wire[6] = (unsigned char)contact->count;
    wire[7] = contact->tls;
    c4_put_u64(wire + 8, contact->host);
    unsigned char *at = wire + 16;
    for (unsigned i = 0; i < contact->count; i++, at += 24) {
        const c4_tlink_address *address = &contact->at[i];
        at[0] = address->family;
        at[1] = address->loopback;
        c4_put_u16(at + 2, address->port);
        c4_put_u32(at + 4, address->scope);
        memcpy(at + 8, address->ip, sizeof address->ip);
    }
    return 16 + 24 * contact->count;
}

const char *c4_tlink_contact_unpack(const void *bytes_in, size_t bytes, c4_tlink_contact *contact, size_t *used)
{
    const unsigned char *wire = bytes_in;
    if (bytes < 16 || c4_get_u32(wire) != ADDRESS_MAGIC)
        return "not an address of a network transport";
    if (c4_get_u16(wire + 4) != C4_TLINK_WIRE_VERSION)
        return "the peer runs another C4 version";
    *contact = (c4_tlink_contact){.host = c4_get_u64(wire + 8), .tls = wire[7] != 0, .count = wire[6]};
    if (contact->count < 1 || contact->count > C4_TLINK_MAX_ADDRESSES || bytes < 16 + 24 * contact->count ||
        wire[7] > 1)
        return "malformed address";
    for (unsigned i = 0; i < contact->count; i++) {
        const unsigned char *at = wire + 16 + 24 * i;
        c4_tlink_address *address = &contact->at[i];
        address->family = at[0];
        address->loopback = at[1] != 0;
        address->port = c4_get_u16(at + 2);
        address->scope = c4_get_u32(at + 4);
        memcpy(address->ip, at + 8, sizeof address->ip);
        if ((address->family != 4 && address->family != 6) || address->port == 0 || at[1] > 1)
            return "malformed address";
    }
    *used = 16 + 24 * contact->count;
    return NULL;
}
