/* Test data and what must come out of it, computed without the library.
 *
 * An element depends on rank, index and iteration. Values are small integers, chosen per dtype and op so that every
 * partial result is exact in the dtype whatever the order of the additions: the comparison is for equality (avg of
 * floats alone is allowed two units in the last place, because it divides). With more ranks than the dtype has exact
 * integers, only some ranks contribute to an element, and which ones changes with the index.
 * The pattern repeats every C4PERF_PERIOD elements, a prime: data displaced by any block size shows. */
#ifndef C4_TOOLS_C4PERF_PATTERN_H
#define C4_TOOLS_C4PERF_PATTERN_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#define C4PERF_PERIOD            1021
#define C4PERF_ELEMENT_BYTES_MAX 8

typedef struct c4perf_pattern {
    c4_dtype dtype;
    c4_op op;
    bool reduces;
    int nranks;
    unsigned iteration;
} c4perf_pattern;

/* Whether the op exists for the dtype (bitwise operations need integers). */
bool c4perf_pattern_supports(c4_dtype dtype, c4_op op);

/* buffer[count] = elements first, first + 1, ... of `rank`'s data. */
void c4perf_pattern_write(const c4perf_pattern *pattern, int rank, size_t first, void *buffer, size_t count);

/* Elements of buffer[count] that are not what the op over all ranks (source < 0), or `source`'s own data, gives. */
uint64_t c4perf_pattern_check(const c4perf_pattern *pattern, int source, size_t first, const void *buffer,
                              size_t count);

#endif
