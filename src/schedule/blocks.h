/* Partition arithmetic: how a vector is cut into blocks. Pure, checked against overflow. */
#ifndef C4_SCHEDULE_BLOCKS_H
#define C4_SCHEDULE_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

/* A range of bytes of some buffer. */
typedef struct c4_span {
    uint64_t offset, bytes;
} c4_span;

/* Block `index` of `count` elements cut into `nblocks` blocks that differ by at most one element: the first count % nblocks
 * blocks have one more. Blocks are in order and cover everything; with count < nblocks the last ones are empty.
 * count * element_bytes must not overflow (see c4_query_check). */
static inline c4_span c4_block(uint64_t count, uint64_t nblocks, uint64_t index, uint64_t element_bytes)
{
    uint64_t base = count / nblocks, extra = count % nblocks;
    uint64_t first = index * base + (index < extra ? index : extra);
    uint64_t elements = base + (index < extra ? 1 : 0);
    return (c4_span){first * element_bytes, elements * element_bytes};
}

/* Blocks first .. last-1 as one span. */
static inline c4_span c4_blocks(uint64_t count, uint64_t nblocks, uint64_t first, uint64_t last, uint64_t element_bytes)
{
    uint64_t begin = c4_block(count, nblocks, first, element_bytes).offset;
    uint64_t end = last >= nblocks ? count * element_bytes : c4_block(count, nblocks, last, element_bytes).offset;
    return (c4_span){begin, end - begin};
}

/* False on overflow. */
static inline bool c4_bytes_multiply(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline uint64_t c4_ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t c4_min_bytes(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
