/* An independent model of the numeric contract: narrow floats are decoded field by field and rounded by searching all
 * values of the format for the nearest, arithmetic is done in double. Slow and plain on purpose. */
#ifndef C4_TESTS_NUMERIC_REFERENCE_H
#define C4_TESTS_NUMERIC_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "c4/c4.h"

/* Bits of element i, zero-extended. */
uint64_t reference_get(const void *data, c4_dtype dtype, size_t i);
void reference_set(void *data, c4_dtype dtype, size_t i, uint64_t bits);

/* Exact value of a float element (NaN: any NaN). Not for integers. */
double reference_value(uint64_t bits, c4_dtype dtype);
/* A narrow format's bits nearest to `value`, which is an fp32 number; ties to even; canonical NaN. */
uint64_t reference_round(float value, c4_dtype dtype);

/* Left fold over k elements given by their bits, one rounding at the end. */
uint64_t reference_fold(const uint64_t *bits, size_t k, c4_dtype dtype, c4_op op);
uint64_t reference_scale(uint64_t bits, c4_dtype dtype, size_t n);

/* One of the dtype's awkward values (zeros, subnormals, extremes, infinities, NaNs with payloads), or any bits. */
uint64_t reference_sample(c4_dtype dtype, uint64_t random);

#endif
