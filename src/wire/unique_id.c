#include "wire/unique_id.h"

#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "wire/bytes.h"

#define MAGIC      0x44493443u /* "C4ID" */
#define ID_VERSION 1u

enum { JOB_AT = 8, KEY_AT = 16, ADDRESSES_AT = 48, CHECKSUM_AT = 124 };

static uint32_t checksum(const c4_unique_id *id)
{
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, id->bytes, CHECKSUM_AT);
    return (uint32_t)(hash ^ (hash >> 32));
}

void c4_unique_id_pack(const c4_unique_id_fields *fields, c4_unique_id *id)
{
    memset(id, 0, sizeof *id);
    c4_put_u32(id->bytes, MAGIC);
    c4_put_u16(id->bytes + 4, ID_VERSION);
    id->bytes[6] = (unsigned char)fields->naddresses;
    c4_put_u64(id->bytes + JOB_AT, fields->job_id);
    memcpy(id->bytes + KEY_AT, fields->key, C4_KEY_BYTES);
    for (size_t i = 0; i < fields->naddresses && i < C4_UNIQUE_ID_ADDRESSES; i++)
        c4_net_address_pack(&fields->addresses[i], id->bytes + ADDRESSES_AT + i * C4_NET_ADDRESS_BYTES);
    c4_put_u32(id->bytes + CHECKSUM_AT, checksum(id));
}

c4_status c4_unique_id_unpack(const c4_unique_id *id, c4_unique_id_fields *fields)
{
    c4_unique_id_fields made = {.job_id = c4_get_u64(id->bytes + JOB_AT), .naddresses = id->bytes[6]};
    if (c4_get_u32(id->bytes) != MAGIC)
        return c4_fail(C4_ERR_ARGUMENT, "unique id: not made by c4_unique_id_create");
    if (c4_get_u16(id->bytes + 4) != ID_VERSION)
        return c4_fail(C4_ERR_ARGUMENT, "unique id: version %u, this library has %u; use one C4 version on all ranks",
                       (unsigned)c4_get_u16(id->bytes + 4), ID_VERSION);
    if (c4_get_u32(id->bytes + CHECKSUM_AT) != checksum(id))
        return c4_fail(C4_ERR_ARGUMENT, "unique id: damaged on its way; all %d bytes must arrive", C4_UNIQUE_ID_BYTES);
    if (made.naddresses < 1 || made.naddresses > C4_UNIQUE_ID_ADDRESSES)
        return c4_fail(C4_ERR_ARGUMENT, "unique id: %zu addresses", made.naddresses);
    memcpy(made.key, id->bytes + KEY_AT, C4_KEY_BYTES);
    for (size_t i = 0; i < made.naddresses; i++)
        if (c4_net_address_unpack(id->bytes + ADDRESSES_AT + i * C4_NET_ADDRESS_BYTES, &made.addresses[i]) < 0)
            return c4_fail(C4_ERR_ARGUMENT, "unique id: address %zu is malformed", i);
    *fields = made;
    return C4_OK;
}
