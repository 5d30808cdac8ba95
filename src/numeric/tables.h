/* The kernel tables of each instruction-set level, [dtype][op]; invalid pairs have NULL functions. Private to the
 * numeric folder. */
#ifndef C4_NUMERIC_TABLES_H
#define C4_NUMERIC_TABLES_H

#include "numeric/numeric.h"

extern const c4_reducer c4_reducers_scalar[C4_NDTYPES][C4_NOPS];
#if defined(__x86_64__)
extern const c4_reducer c4_reducers_avx2[C4_NDTYPES][C4_NOPS];
extern const c4_reducer c4_reducers_avx512[C4_NDTYPES][C4_NOPS];
#endif

typedef void (*c4_reduce_k_fn)(void *dst, void *dst2, const void *const *src, size_t k, size_t count, unsigned flags);

/* Both outputs streamed although they differ in alignment, so that no vector store suits both: reduces blocks into a
 * buffer that stays in L1 and streams each of them out twice. */
void c4_reduce_staged(c4_reduce_k_fn reduce_k, size_t element_bytes, void *dst, void *dst2, const void *const *src,
                      size_t k, size_t count);

/* reduce_k with one source: the bytes, unchanged, to dst and, unless NULL, dst2. */
void c4_reduce_copy(void *dst, void *dst2, const void *src, size_t bytes, unsigned flags);

/* One row of a table: the dtype's seven or four kernels under names that the macro builds from tags. Average sums;
 * signed and unsigned integers share all but min and max, which is what the third tag is for. */
#define C4_REDUCER(dt, operation, lv, bytes, kernel, map) \
    [operation] = {.dtype = dt,                           \
                   .op = operation,                       \
                   .level = lv,                           \
                   .element_bytes = bytes,                \
                   .reduce2 = reduce2_##kernel,           \
                   .reduce2_dup = reduce2_dup_##kernel,   \
                   .reduce_k = reduce_k_##kernel,         \
                   .scale = scale_##map,                  \
                   .premul = premul_##map}

#define C4_REDUCERS_ARITHMETIC(dt, lv, bytes, tag, order)                                                             \
    C4_REDUCER(dt, C4_SUM, lv, bytes, tag##_sum, order), C4_REDUCER(dt, C4_AVG, lv, bytes, tag##_sum, order),         \
        C4_REDUCER(dt, C4_PROD, lv, bytes, tag##_prod, order), C4_REDUCER(dt, C4_MAX, lv, bytes, order##_max, order), \
        C4_REDUCER(dt, C4_MIN, lv, bytes, order##_min, order)

#define C4_REDUCERS_FLOAT(dt, lv, bytes, tag) [dt] = {C4_REDUCERS_ARITHMETIC(dt, lv, bytes, tag, tag)}

#define C4_REDUCERS_INTEGER(dt, lv, bytes, tag, order)                                                                \
    [dt] = {C4_REDUCERS_ARITHMETIC(dt, lv, bytes, tag, order), C4_REDUCER(dt, C4_BAND, lv, bytes, tag##_band, order), \
            C4_REDUCER(dt, C4_BOR, lv, bytes, tag##_bor, order),                                                      \
            C4_REDUCER(dt, C4_BXOR, lv, bytes, tag##_bxor, order)}

/* A whole table: the dtypes have these tags at every level. */
#define C4_REDUCERS_TABLE(lv)                                                                                \
    {                                                                                                        \
        C4_REDUCERS_INTEGER(C4_INT8, lv, 1, i8, i8), C4_REDUCERS_INTEGER(C4_UINT8, lv, 1, i8, u8),           \
            C4_REDUCERS_INTEGER(C4_INT32, lv, 4, i32, i32), C4_REDUCERS_INTEGER(C4_UINT32, lv, 4, i32, u32), \
            C4_REDUCERS_INTEGER(C4_INT64, lv, 8, i64, i64), C4_REDUCERS_INTEGER(C4_UINT64, lv, 8, i64, u64), \
            C4_REDUCERS_FLOAT(C4_FLOAT16, lv, 2, f16), C4_REDUCERS_FLOAT(C4_FLOAT32, lv, 4, f32),            \
            C4_REDUCERS_FLOAT(C4_FLOAT64, lv, 8, f64), C4_REDUCERS_FLOAT(C4_BFLOAT16, lv, 2, bf16),          \
            C4_REDUCERS_FLOAT(C4_FLOAT8_E4M3, lv, 1, e4m3), C4_REDUCERS_FLOAT(C4_FLOAT8_E5M2, lv, 1, e5m2)   \
    }

#endif
