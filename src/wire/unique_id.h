/* The 128 bytes of a c4_unique_id: where rank 0 listens, and the job's key.
 *
 *     0  magic "C4ID"   4  version 2, addresses 1, zero 1   8  job id 8   16  key 32
 *     48 up to 3 addresses of 20 bytes, most useful first   108 zero 16   124  checksum 4 (FNV-1a of 0..123, folded)
 *
 * The checksum finds ids that were cut or mangled on their way; the key is what protects. */
#ifndef C4_WIRE_UNIQUE_ID_H
#define C4_WIRE_UNIQUE_ID_H

#include <c4/c4.h>

#include "wire/handshake.h"
#include "wire/net_address.h"

#define C4_UNIQUE_ID_ADDRESSES 3u

typedef struct c4_unique_id_fields {
    uint64_t job_id;
    unsigned char key[C4_KEY_BYTES];
    size_t naddresses; /* 1 .. 3 */
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
} c4_unique_id_fields;

void c4_unique_id_pack(const c4_unique_id_fields *fields, c4_unique_id *id);
/* C4_ERR_ARGUMENT (logged, saying what is wrong): these bytes were not made by c4_unique_id_create, or were cut. */
c4_status c4_unique_id_unpack(const c4_unique_id *id, c4_unique_id_fields *fields);

#endif
