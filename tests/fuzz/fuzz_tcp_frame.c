/* What tcp reads from the wire: headers, greetings, addresses. What unpacks must pack to the same bytes, and must keep
 * the limits that the transport relies on. */
#include <stdlib.h>
#include <string.h>

#include "transports/link/contact.h"
#include "transports/tcp/frame.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void fuzz_header(const uint8_t *data)
{
    c4_tcp_header header;
    unsigned char again[C4_TCP_HEADER_BYTES];
    if (c4_tcp_header_unpack(data, &header) != NULL)
        return;
    require(header.frame.bytes <= C4_TCP_MAX_FRAME_BYTES && header.tag < C4_FRAME_TAG_LIMIT);
    require(header.kind == C4_TCP_DATA || header.frame.bytes == 0);
    c4_tcp_header_pack(&header, again);
    require(memcmp(again, data, sizeof again) == 0);
}

static void fuzz_hello(const uint8_t *data)
{
    c4_tlink_hello hello, back;
    unsigned char again[C4_TLINK_HELLO_BYTES];
    if (!c4_tlink_hello_unpack(data, &hello))
        return;
    c4_tlink_hello_pack(&hello, again);
    require(c4_tlink_hello_unpack(again, &back) && back.code == hello.code && back.index == hello.index &&
            back.generation == hello.generation);
}

static void fuzz_address(const uint8_t *data, size_t size)
{
    c4_tlink_contact contact;
    size_t used;
    if (c4_tlink_contact_unpack(data, size, &contact, &used) != NULL)
        return;
    require(contact.count >= 1 && contact.count <= C4_TLINK_MAX_ADDRESSES);
    for (unsigned i = 0; i < contact.count; i++)
        require((contact.at[i].family == 4 || contact.at[i].family == 6) && contact.at[i].port != 0);
    unsigned char again[C4_TLINK_CONTACT_BYTES];
    require(used <= size && c4_tlink_contact_pack(&contact, again) == used && memcmp(again, data, used) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_address(data, size);
    if (size >= C4_TLINK_HELLO_BYTES)
        fuzz_hello(data);
    if (size >= C4_TCP_HEADER_BYTES)
        fuzz_header(data);
    return 0;
}
