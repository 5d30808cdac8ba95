/* Element arithmetic: element sizes, reductions, averages, and copies that may bypass the cache.
 *
 * The contract, the same bits at every instruction-set level:
 * - a op b and b op a give the same bits.
 * - Integers wrap. Integer averages truncate toward zero.
 * - float16, bfloat16 and float8 are computed in fp32 and rounded once, to nearest even, at the end of each call
 *   (= one hop). A call over k sources is one hop: it accumulates in fp32 in the order given and rounds once.
 * - float8_e4m3 is the OCP "fn" format (no infinity, largest value 448, one NaN pattern per sign). What rounds beyond
 *   448 becomes NaN: the non-saturating mode of "OCP 8-bit Floating Point Specification (OFP8)" rev. 1.0, which
 *   ml_dtypes and PyTorch follow too; saturation would hide an overflow. float8_e5m2 is IEEE-like, with infinities.
 * - A NaN result is the one canonical NaN of its dtype (positive, quiet, no payload: 0x7e00, 0x7fc0, 0x7fc00000,
 *   0x7ff8000000000000, 0x7f for e4m3, 0x7e for e5m2), whatever NaN went in. min and max propagate NaN; -0 < +0.
 * - Subnormals are kept. The calling thread's rounding mode must be to-nearest and FTZ/DAZ off, as they are by default.
 *
 * Every function is thread-safe, never allocates, never fails. Pointers need no alignment beyond the element's (and
 * tolerate less). Outputs may be exactly one of the inputs; any other overlap is undefined, as is dst == dst2.
 * A count of zero is legal.
 */
#ifndef C4_NUMERIC_NUMERIC_H
#define C4_NUMERIC_NUMERIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/copy.h"
#include "c4/c4.h"
#include "host/cpu.h"

/* Flags of reductions and copies. Streamed stores go around the cache; they are ordered only by c4_numeric_fence,
 * which the caller executes before it tells anybody that the data is there. */
enum {
    C4_NUMERIC_STREAM = 1,  /* non-temporal stores to dst */
    C4_NUMERIC_STREAM2 = 2, /* non-temporal stores to dst2 */
};

typedef struct c4_reducer c4_reducer;
struct c4_reducer {
    c4_dtype dtype;
    c4_op op; /* C4_AVG sums in the reductions; scale divides at the end */
    c4_cpu_level level;
    size_t element_bytes;

    /* dst[i] = a[i] op b[i]. dst may be a or b. */
    void (*reduce2)(void *dst, const void *a, const void *b, size_t count, unsigned flags);

    /* dst[i] = dst2[i] = a[i] op b[i]: one pass of loads, two of stores. */
    void (*reduce2_dup)(void *dst, void *dst2, const void *a, const void *b, size_t count, unsigned flags);

    /* dst[i] = ((s0 op s1) op s2) ... over src[0..k-1][i], k >= 1, one pass; also to dst2 unless that is NULL.
     * k == 1 copies the bytes unchanged. dst may be any of the sources. */
    void (*reduce_k)(void *dst, void *dst2, const void *const *src, size_t k, size_t count, unsigned flags);

    /* dst[i] = src[i] / n for 1 <= n < 2^24: the last step of an average. dst may be src. */
    void (*scale)(void *dst, const void *src, size_t count, size_t n);

    /* dst[i] = src[i] * *scalar, scalar being one element: the first step of a premul-sum. dst may be src. */
    void (*premul)(void *dst, const void *src, const void *scalar, size_t count);
};

/* Bytes of one element; 0 for an unknown dtype. */
size_t c4_numeric_dtype_bytes(c4_dtype dtype);

/* Whether dtype has op: bitwise operations on integers only, the others on all dtypes. Ops made by
 * c4_op_create_premul (>= C4_OP_USER) are valid on every dtype. */
bool c4_numeric_op_valid(c4_op op, c4_dtype dtype);

/* The kernels for dtype, op and level; ops from C4_OP_USER up get those of C4_SUM. Static, never freed; look up once
 * per operation. NULL when !c4_numeric_op_valid(op, dtype). The level must not be above c4_cpu's.
 * Measured on Zen 4: AVX-512 is ahead in cache (fp32 at 4 KiB: 94 against 88 GB/s, with two outputs 54 against 24),
 * AVX2 by 5 to 10 % where memory is the limit, streamed or not (64 MiB). Since both give the same bits, a caller may
 * take a lower level for its streamed calls. */
const c4_reducer *c4_reducer_get(c4_dtype dtype, c4_op op, c4_cpu_level level);

/* Orders all earlier streamed stores of this thread before all its later stores. */
void c4_numeric_fence(void);

/* Copies to two places in one pass of loads. Flags: C4_NUMERIC_STREAM, C4_NUMERIC_STREAM2. */
void c4_copy_dup(void *dst, void *dst2, const void *src, size_t bytes, unsigned flags);

/* c4_copy's non-temporal part. */
void c4_copy_stream(void *dst, const void *src, size_t bytes);

/* Copies bytes; dst and src must not overlap unless equal. Flag: C4_NUMERIC_STREAM. */
static inline void c4_copy(void *dst, const void *src, size_t bytes, unsigned flags)
{
    if (flags & C4_NUMERIC_STREAM) {
        c4_copy_stream(dst, src, bytes);
    } else if (bytes <= 64) {
        c4_copy_small((char *)dst, (const char *)src, bytes);
    } else if (dst != src) {
        memcpy(dst, src, bytes);
    }
}

/* Scalar conversions. To a narrow format: to nearest even, NaN becomes canonical. From one: exact. */
float c4_float16_to_float32(uint16_t bits);
uint16_t c4_float32_to_float16(float value);
float c4_bfloat16_to_float32(uint16_t bits);
uint16_t c4_float32_to_bfloat16(float value);
float c4_float8_e4m3_to_float32(uint8_t bits);
uint8_t c4_float32_to_float8_e4m3(float value);
float c4_float8_e5m2_to_float32(uint8_t bits);
uint8_t c4_float32_to_float8_e5m2(float value);

#endif
