/* Inputs and expected results of collectives.
 *
 * Element i of block b of rank r is table[r][(i + 31 b) % PATTERN_PERIOD]: so the expected result of any size costs one
 * table, and a misplaced block or chunk shows (the period is a prime, chunks are powers of two). In exact mode values are
 * chosen such that every order of reduction gives the same bits: small integers for sums, powers of two for products,
 * and, sprinkled in, zeros of both signs, infinities and NaNs. */
#ifndef C4_TESTS_COLLECTIVES_PATTERN_H
#define C4_TESTS_COLLECTIVES_PATTERN_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 1009

typedef enum pattern_mode {
    PATTERN_RAW,   /* any bits: for calls that only move data */
    PATTERN_EXACT, /* the same result in any order */
    PATTERN_ROUND  /* sums that round: the order shows */
} pattern_mode;

typedef struct pattern {
    c4_dtype dtype;
    c4_op op; /* C4_SUM for premul */
    size_t element;
    int nranks;
    unsigned char *tables; /* [nranks][PATTERN_PERIOD] elements */
    unsigned char *folded; /* [PATTERN_PERIOD]: reduction over ranks in rank order */
} pattern;

/* `premul`: bits of each rank's scalar, or NULL. */
void pattern_init(pattern *p, int nranks, c4_dtype dtype, c4_op op, pattern_mode mode, const uint64_t *premul,
                  uint64_t seed);
void pattern_fini(pattern *p);

/* Writes elements of block `block` of `rank`. rank -1: the expected reduction. */
void pattern_fill(const pattern *p, int rank, int block, void *out, size_t count);
/* Index of the first element that differs, or `count`. */
size_t pattern_compare(const pattern *p, int rank, int block, const void *data, size_t count);

uint64_t pattern_random(uint64_t *state);
/* One of 1, -1 (2 for unsigned), as element bits, for premul. */
uint64_t pattern_premul(c4_dtype dtype, uint64_t random);
/* Bits of a small integer as an element. */
uint64_t pattern_integer(c4_dtype dtype, int value);
bool pattern_is_float(c4_dtype dtype);

#endif
