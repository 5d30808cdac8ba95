#include "wire/address_table.h"

#include <string.h>

#include "wire/bytes.h"

enum { ENTRY_BYTES = 4 + 2, MAX_HOSTS = 65535 };

static size_t ip_bytes(unsigned family)
{
    return family == 4 ? 4 : 16;
}

/* ---- endpoint ---- */

size_t c4_endpoint_pack(const c4_endpoint *endpoint, unsigned char out[C4_ENDPOINT_MAX_BYTES])
{
    unsigned char *at = out;
    c4_put_u32(at, endpoint->tag);
    at[4] = endpoint->naddresses;
    at += 5;
    for (size_t i = 0; i < endpoint->naddresses; i++) {
        const c4_net_address *address = &endpoint->addresses[i];
        at[0] = address->family;
        c4_put_u16(at + 1, address->port);
        memcpy(at + 3, address->bytes, ip_bytes(address->family));
        at += 3 + ip_bytes(address->family);
    }
    return (size_t)(at - out);
}

/* Its size within `bytes`; 0: it is none. */
static size_t endpoint_read(const unsigned char *in, size_t bytes, c4_endpoint *endpoint)
{
    if (bytes < 5 || in[4] > C4_ENDPOINT_ADDRESSES)
        return 0;
    memset(endpoint, 0, sizeof *endpoint);
    endpoint->tag = c4_get_u32(in);
    endpoint->naddresses = in[4];
    size_t used = 5;
    for (size_t i = 0; i < endpoint->naddresses; i++) {
        c4_net_address *address = &endpoint->addresses[i];
        if (bytes - used < 3 || (in[used] != 4 && in[used] != 6) || bytes - used < 3 + ip_bytes(in[used]))
            return 0;
        address->family = in[used];
        address->port = c4_get_u16(in + used + 1);
        memcpy(address->bytes, in + used + 3, ip_bytes(address->family));
        used += 3 + ip_bytes(address->family);
    }
    return used;
}

c4_status c4_endpoint_unpack(const unsigned char *in, size_t bytes, c4_endpoint *endpoint)
{
    c4_endpoint made;
    if (!bytes || endpoint_read(in, bytes, &made) != bytes)
        return C4_ERR_PROTOCOL;
    *endpoint = made;
    return C4_OK;
}

/* ---- table ---- */

size_t c4_address_table_max_bytes(size_t nranks)
{
    return 2 + nranks * (1 + C4_HOST_NAME_BYTES + ENTRY_BYTES + C4_ENDPOINT_MAX_BYTES);
}

/* Where the name is among the `count` names from `out` on; count: nowhere. */
static size_t find_host(const unsigned char *out, size_t count, const char *name, size_t length)
{
    const unsigned char *at = out;
    for (size_t i = 0; i < count; i++) {
        if (at[0] == length && memcmp(at + 1, name, length) == 0)
            return i;
        at += 1 + at[0];
    }
    return count;
}

size_t c4_address_table_pack(size_t nranks, void (*at)(const void *context, size_t rank, c4_table_rank *entry),
                             const void *context, unsigned char *out)
{
    c4_table_rank entry;
    size_t nhosts = 0;
    unsigned char *end = out + 2;
    for (size_t rank = 0; rank < nranks; rank++) {
        at(context, rank, &entry);
        size_t length = strnlen(entry.host, C4_HOST_NAME_BYTES - 1);
        if (nhosts == MAX_HOSTS || find_host(out + 2, nhosts, entry.host, length) < nhosts)
            continue;
        end[0] = (unsigned char)length;
        memcpy(end + 1, entry.host, length);
        end += 1 + length;
        nhosts++;
    }
    c4_put_u16(out, (uint16_t)nhosts);
    for (size_t rank = 0; rank < nranks; rank++) {
        at(context, rank, &entry);
        size_t length = strnlen(entry.host, C4_HOST_NAME_BYTES - 1);
        c4_put_u32(end, entry.pid);
        c4_put_u16(end + 4, (uint16_t)(find_host(out + 2, nhosts, entry.host, length) % nhosts));
        end += ENTRY_BYTES + c4_endpoint_pack(&entry.endpoint, end + ENTRY_BYTES);
    }
    return (size_t)(end - out);
}

static bool is_printable(const unsigned char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

c4_status c4_address_table_check(const unsigned char *in, size_t bytes, size_t nranks)
{
    if (bytes < 2)
        return C4_ERR_PROTOCOL;
    size_t nhosts = c4_get_u16(in);
    size_t used = 2;
    for (size_t i = 0; i < nhosts; i++) {
        if (used == bytes || in[used] >= C4_HOST_NAME_BYTES || bytes - used - 1 < in[used] ||
            !is_printable(in + used + 1, in[used]))
            return C4_ERR_PROTOCOL;
        used += 1 + in[used];
    }
    for (size_t rank = 0; rank < nranks; rank++) {
        c4_endpoint endpoint;
        if (bytes - used < ENTRY_BYTES || c4_get_u16(in + used + 4) >= nhosts)
            return C4_ERR_PROTOCOL;
        size_t size = endpoint_read(in + used + ENTRY_BYTES, bytes - used - ENTRY_BYTES, &endpoint);
        if (!size)
            return C4_ERR_PROTOCOL;
        used += ENTRY_BYTES + size;
    }
    return used == bytes ? C4_OK : C4_ERR_PROTOCOL;
}

void c4_address_table_find(const unsigned char *table, size_t bytes, size_t rank, c4_table_rank *entry)
{
    const unsigned char *end = table + bytes;
    const unsigned char *at = table + 2;
    for (size_t i = c4_get_u16(table); i > 0; i--)
        at += 1 + at[0];
    size_t size = 0;
    for (size_t i = 0; i <= rank; i++) {
        at += size;
        size = ENTRY_BYTES + endpoint_read(at + ENTRY_BYTES, (size_t)(end - at) - ENTRY_BYTES, &entry->endpoint);
    }
    const unsigned char *host = table + 2;
    for (size_t i = c4_get_u16(at + 4); i > 0; i--)
        host += 1 + host[0];
    entry->pid = c4_get_u32(at);
    memset(entry->host, 0, sizeof entry->host);
    memcpy(entry->host, host + 1, host[0]);
}
