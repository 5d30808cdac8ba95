#include "numeric/numeric.h"

#include "numeric/convert.h"
#include "numeric/tables.h"

static const unsigned char dtype_bytes[C4_NDTYPES] = {
    [C4_INT8] = 1,    [C4_UINT8] = 1,   [C4_INT32] = 4,   [C4_UINT32] = 4,   [C4_INT64] = 8,       [C4_UINT64] = 8,
    [C4_FLOAT16] = 2, [C4_FLOAT32] = 4, [C4_FLOAT64] = 8, [C4_BFLOAT16] = 2, [C4_FLOAT8_E4M3] = 1, [C4_FLOAT8_E5M2] = 1,
};

size_t c4_numeric_dtype_bytes(c4_dtype dtype)
{
    return (unsigned)dtype < C4_NDTYPES ? dtype_bytes[dtype] : 0;
}

/* Ops made by c4_op_create_premul sum what their premul function has scaled. */
static c4_op builtin_op(c4_op op)
{
    return op >= C4_OP_USER && op <= C4_OP_LAST ? C4_SUM : op;
}

bool c4_numeric_op_valid(c4_op op, c4_dtype dtype)
{
    return c4_reducer_get(dtype, op, C4_CPU_SCALAR) != NULL;
}

const c4_reducer *c4_reducer_get(c4_dtype dtype, c4_op op, c4_cpu_level level)
{
    c4_op builtin = builtin_op(op);
    if ((unsigned)dtype >= C4_NDTYPES || (unsigned)builtin >= C4_NOPS) {
        return NULL;
    }
    const c4_reducer *reducer = &c4_reducers_scalar[dtype][builtin];
#if defined(__x86_64__)
    if (level == C4_CPU_AVX2) {
        reducer = &c4_reducers_avx2[dtype][builtin];
    } else if (level == C4_CPU_AVX512) {
        reducer = &c4_reducers_avx512[dtype][builtin];
    }
#else
    (void)level;
#endif
    return reducer->reduce2 != NULL ? reducer : NULL;
}

void c4_reduce_copy(void *dst, void *dst2, const void *src, size_t bytes, unsigned flags)
{
    if (dst2 != NULL) {
        c4_copy_dup(dst, dst2, src, bytes, flags);
    } else {
        c4_copy(dst, src, bytes, flags);
    }
}

void c4_reduce_staged(c4_reduce_k_fn reduce_k, size_t element_bytes, void *dst, void *dst2, const void *const *src,
                      size_t k, size_t count)
{
    enum { BLOCK_BYTES = 2048, MAX_SOURCES = 32 };
    _Alignas(64) char block[BLOCK_BYTES];
    const void *part[MAX_SOURCES];
    if (k > MAX_SOURCES) {
        /* More sources than the list holds: plain stores cost less than the streams would save. */
        reduce_k(dst, dst2, src, k, count, 0);
        return;
    }
    size_t total = count * element_bytes;
    for (size_t offset = 0; offset < total; offset += BLOCK_BYTES) {
        size_t bytes = total - offset < BLOCK_BYTES ? total - offset : BLOCK_BYTES;
        for (size_t j = 0; j < k; j++) {
            part[j] = (const char *)src[j] + offset;
        }
        reduce_k(block, NULL, part, k, bytes / element_bytes, 0);
        c4_copy((char *)dst + offset, block, bytes, C4_NUMERIC_STREAM);
        c4_copy((char *)dst2 + offset, block, bytes, C4_NUMERIC_STREAM);
    }
}

float c4_float16_to_float32(uint16_t bits)
{
    return c4_convert_from_float16(bits);
}

uint16_t c4_float32_to_float16(float value)
{
    return c4_convert_to_float16(value);
}

float c4_bfloat16_to_float32(uint16_t bits)
{
    return c4_convert_from_bfloat16(bits);
}

uint16_t c4_float32_to_bfloat16(float value)
{
    return c4_convert_to_bfloat16(value);
}

float c4_float8_e4m3_to_float32(uint8_t bits)
{
    return c4_convert_from_float8_e4m3(bits);
}

uint8_t c4_float32_to_float8_e4m3(float value)
{
    return c4_convert_to_float8_e4m3(value);
}

float c4_float8_e5m2_to_float32(uint8_t bits)
{
    return c4_convert_from_float8_e5m2(bits);
}

uint8_t c4_float32_to_float8_e5m2(float value)
{
    return c4_convert_to_float8_e5m2(value);
}
