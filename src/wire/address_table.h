/* Where the ranks of a job listen: what each tells rank 0, and the table that rank 0 gives to all.
 *
 *     endpoint   tag 4   addresses 1   then each: family 1 (4 or 6), port 2, its 4 or 16 bytes
 *     table      hosts 2, then each: length 1 and name   then each rank, in order: pid 4, host 2, endpoint
 *
 * About 14 bytes a rank with one IPv4 address. A table is checked as a whole when it comes in; asking it walks it. */
#ifndef C4_WIRE_ADDRESS_TABLE_H
#define C4_WIRE_ADDRESS_TABLE_H

#include "wire/control_message.h"
#include "wire/net_address.h"

#define C4_ENDPOINT_ADDRESSES 3u
#define C4_ENDPOINT_MAX_BYTES (4u + 1u + C4_ENDPOINT_ADDRESSES * 19u)

typedef struct c4_endpoint {
    uint32_t tag; /* of an AF_UNIX socket of this job, 0: none */
    uint8_t naddresses;
    c4_net_address addresses[C4_ENDPOINT_ADDRESSES]; /* most useful first */
} c4_endpoint;

/* Returns the size. */
size_t c4_endpoint_pack(const c4_endpoint *endpoint, unsigned char out[C4_ENDPOINT_MAX_BYTES]);
/* Takes exactly `bytes` bytes. C4_ERR_PROTOCOL (not logged): cut, too many addresses, an unknown family. */
c4_status c4_endpoint_unpack(const unsigned char *in, size_t bytes, c4_endpoint *endpoint);

typedef struct c4_table_rank {
    uint32_t pid;
    char host[C4_HOST_NAME_BYTES];
    c4_endpoint endpoint;
} c4_table_rank;

/* At most this many bytes are needed for `nranks` ranks. */
size_t c4_address_table_max_bytes(size_t nranks);
/* Packs what `at(context, rank, &entry)` tells of each rank. Returns the size. */
size_t c4_address_table_pack(size_t nranks, void (*at)(const void *context, size_t rank, c4_table_rank *entry),
                             const void *context, unsigned char *out);
/* C4_ERR_PROTOCOL (not logged) unless it is a whole table of `nranks` ranks. */
c4_status c4_address_table_check(const unsigned char *in, size_t bytes, size_t nranks);
/* Of a table that was checked; rank < nranks. */
void c4_address_table_find(const unsigned char *table, size_t bytes, size_t rank, c4_table_rank *entry);

#endif
