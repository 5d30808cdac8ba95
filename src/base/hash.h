/* FNV-1a, 64 bit: for cache keys and names, never for security. */
#ifndef C4_BASE_HASH_H
#define C4_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define C4_HASH_INIT 0xcbf29ce484222325u

static inline uint64_t c4_hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

#endif
