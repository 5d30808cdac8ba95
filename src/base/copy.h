/* Short copies: a call of libc's memcpy costs more than the bytes. */
#ifndef C4_BASE_COPY_H
#define C4_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct c4_block16 {
    uint64_t word[2];
} c4_block16;

/* First and last piece of a fixed size, overlapping where the length is between; all loads precede the stores. */
#define C4_COPY_ENDS(type)                                        \
    do {                                                          \
        type first_, last_;                                       \
        memcpy(&first_, src, sizeof first_);                      \
        memcpy(&last_, src + bytes - sizeof last_, sizeof last_); \
        memcpy(dst, &first_, sizeof first_);                      \
        memcpy(dst + bytes - sizeof last_, &last_, sizeof last_); \
    } while (0)

typedef struct c4_block32 {
    c4_block16 half[2];
} c4_block32;

/* At most 64 bytes, without a call. */
static inline void c4_copy_small(char *dst, const char *src, size_t bytes)
{
    if (bytes >= 32) {
        C4_COPY_ENDS(c4_block32);
    } else if (bytes >= 16) {
        C4_COPY_ENDS(c4_block16);
    } else if (bytes >= 8) {
        C4_COPY_ENDS(uint64_t);
    } else if (bytes >= 4) {
        C4_COPY_ENDS(uint32_t);
    } else if (bytes >= 2) {
        C4_COPY_ENDS(uint16_t);
    } else if (bytes == 1) {
        *dst = *src;
    }
}
#undef C4_COPY_ENDS

#endif
