/* The kernels in plain C: the reference that the vector levels must equal bit for bit, their helper for odd ends, and
 * the only level off x86-64. Stream flags are hints that it ignores. */
#include <string.h>

#include "numeric/convert.h"
#include "numeric/tables.h"

/* ---- arithmetic in the compute type of each dtype ---- */

#define INTEGER_ARITHMETIC(tag, type)             \
    static inline type tag##_sum(type a, type b)  \
    {                                             \
        return (type)(a + b);                     \
    }                                             \
    static inline type tag##_prod(type a, type b) \
    {                                             \
        return (type)((uint64_t)a * b);           \
    }                                             \
    static inline type tag##_band(type a, type b) \
    {                                             \
        return a & b;                             \
    }                                             \
    static inline type tag##_bor(type a, type b)  \
    {                                             \
        return a | b;                             \
    }                                             \
    static inline type tag##_bxor(type a, type b) \
    {                                             \
        return a ^ b;                             \
    }

/* Unsigned, so that wrapping is defined; signed integers share these bits. */
INTEGER_ARITHMETIC(i8, uint8_t)
INTEGER_ARITHMETIC(i32, uint32_t)
INTEGER_ARITHMETIC(i64, uint64_t)

/* Order: tag, type of memory (unsigned for both signs), type that compares and divides, type of the quotient. */
#define INTEGER_ORDER(tag, type, ordered, wide)    \
    static inline type tag##_max(type a, type b)   \
    {                                              \
        return (ordered)a > (ordered)b ? a : b;    \
    }                                              \
    static inline type tag##_min(type a, type b)   \
    {                                              \
        return (ordered)a < (ordered)b ? a : b;    \
    }                                              \
    static inline type tag##_div(type a, size_t n) \
    {                                              \
        return (type)((wide)(ordered)a / (wide)n); \
    }

INTEGER_ORDER(i8, uint8_t, int8_t, int32_t)
INTEGER_ORDER(u8, uint8_t, uint8_t, uint32_t)
INTEGER_ORDER(i32, uint32_t, int32_t, int32_t)
INTEGER_ORDER(u32, uint32_t, uint32_t, uint32_t)
INTEGER_ORDER(i64, uint64_t, int64_t, int64_t)
INTEGER_ORDER(u64, uint64_t, uint64_t, uint64_t)

/* Equal operands differ at most in the sign of a zero: or-ing the bits gives -0, and-ing +0. */
#define FLOAT_ARITHMETIC(tag, type, bits_of, from_bits, nan)               \
    static inline type tag##_sum(type a, type b)                           \
    {                                                                      \
        return a + b;                                                      \
    }                                                                      \
    static inline type tag##_prod(type a, type b)                          \
    {                                                                      \
        return a * b;                                                      \
    }                                                                      \
    static inline type tag##_max(type a, type b)                           \
    {                                                                      \
        if (a != a || b != b) {                                            \
            return from_bits(nan);                                         \
        }                                                                  \
        return a > b ? a : b > a ? b : from_bits(bits_of(a) & bits_of(b)); \
    }                                                                      \
    static inline type tag##_min(type a, type b)                           \
    {                                                                      \
        if (a != a || b != b) {                                            \
            return from_bits(nan);                                         \
        }                                                                  \
        return a < b ? a : b < a ? b : from_bits(bits_of(a) | bits_of(b)); \
    }                                                                      \
    static inline type tag##_div(type a, size_t n)                         \
    {                                                                      \
        return a / (type)n;                                                \
    }

FLOAT_ARITHMETIC(f32, float, c4_float32_bits, c4_float32_from_bits, C4_NAN_FLOAT32)
FLOAT_ARITHMETIC(f64, double, c4_float64_bits, c4_float64_from_bits, C4_NAN_FLOAT64)

/* ---- between memory and compute type ---- */

static inline uint8_t u8_keep(uint8_t value)
{
    return value;
}

static inline uint32_t u32_keep(uint32_t value)
{
    return value;
}

static inline uint64_t u64_keep(uint64_t value)
{
    return value;
}

static inline uint32_t f32_pack(float value)
{
    return value != value ? C4_NAN_FLOAT32 : c4_float32_bits(value);
}

static inline uint64_t f64_pack(double value)
{
    return value != value ? C4_NAN_FLOAT64 : c4_float64_bits(value);
}

/* ---- kernels ---- */

/* memcpy: elements may be less aligned than their type wants. */
#define MEMORY(bits)                                                        \
    static inline uint##bits##_t load##bits(const void *p, size_t i)        \
    {                                                                       \
        uint##bits##_t value;                                               \
        memcpy(&value, (const char *)p + i * sizeof value, sizeof value);   \
        return value;                                                       \
    }                                                                       \
    static inline void store##bits(void *p, size_t i, uint##bits##_t value) \
    {                                                                       \
        memcpy((char *)p + i * sizeof value, &value, sizeof value);         \
    }

MEMORY(8)
MEMORY(16)
MEMORY(32)
MEMORY(64)

#define REDUCE(tag, name, op, bits, compute, widen, narrow)                                                    \
    static void reduce2_##tag##_##name(void *dst, const void *a, const void *b, size_t count, unsigned flags)  \
    {                                                                                                          \
        (void)flags;                                                                                           \
        for (size_t i = 0; i < count; i++) {                                                                   \
            store##bits(dst, i, narrow(op(widen(load##bits(a, i)), widen(load##bits(b, i)))));                 \
        }                                                                                                      \
    }                                                                                                          \
    static void reduce2_dup_##tag##_##name(void *dst, void *dst2, const void *a, const void *b, size_t count,  \
                                           unsigned flags)                                                     \
    {                                                                                                          \
        (void)flags;                                                                                           \
        for (size_t i = 0; i < count; i++) {                                                                   \
            compute value = op(widen(load##bits(a, i)), widen(load##bits(b, i)));                              \
            store##bits(dst, i, narrow(value));                                                                \
            store##bits(dst2, i, narrow(value));                                                               \
        }                                                                                                      \
    }                                                                                                          \
    static void reduce_k_##tag##_##name(void *dst, void *dst2, const void *const *src, size_t k, size_t count, \
                                        unsigned flags)                                                        \
    {                                                                                                          \
        if (k == 1) {                                                                                          \
            c4_reduce_copy(dst, dst2, src[0], count *((bits) / 8), flags);                                     \
            return;                                                                                            \
        }                                                                                                      \
        for (size_t i = 0; i < count; i++) {                                                                   \
            compute value = widen(load##bits(src[0], i));                                                      \
            for (size_t j = 1; j < k; j++) {                                                                   \
                value = op(value, widen(load##bits(src[j], i)));                                               \
            }                                                                                                  \
            store##bits(dst, i, narrow(value));                                                                \
            if (dst2 != NULL) {                                                                                \
                store##bits(dst2, i, narrow(value));                                                           \
            }                                                                                                  \
        }                                                                                                      \
    }

#define MAP(tag, bits, widen, narrow, prod, div)                                                        \
    static void scale_##tag(void *dst, const void *src, size_t count, size_t n)                         \
    {                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                            \
            store##bits(dst, i, narrow(div(widen(load##bits(src, i)), n)));                             \
        }                                                                                               \
    }                                                                                                   \
    static void premul_##tag(void *dst, const void *src, const void *scalar, size_t count)              \
    {                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                            \
            store##bits(dst, i, narrow(prod(widen(load##bits(src, i)), widen(load##bits(scalar, 0))))); \
        }                                                                                               \
    }

#define INTEGER_KERNELS(tag, utag, bits, type, keep)      \
    REDUCE(tag, sum, tag##_sum, bits, type, keep, keep)   \
    REDUCE(tag, prod, tag##_prod, bits, type, keep, keep) \
    REDUCE(tag, band, tag##_band, bits, type, keep, keep) \
    REDUCE(tag, bor, tag##_bor, bits, type, keep, keep)   \
    REDUCE(tag, bxor, tag##_bxor, bits, type, keep, keep) \
    REDUCE(tag, max, tag##_max, bits, type, keep, keep)   \
    REDUCE(tag, min, tag##_min, bits, type, keep, keep)   \
    REDUCE(utag, max, utag##_max, bits, type, keep, keep) \
    REDUCE(utag, min, utag##_min, bits, type, keep, keep) \
    MAP(tag, bits, keep, keep, tag##_prod, tag##_div)     \
    MAP(utag, bits, keep, keep, tag##_prod, utag##_div)

#define FLOAT_KERNELS(tag, bits, compute, base, widen, narrow)   \
    REDUCE(tag, sum, base##_sum, bits, compute, widen, narrow)   \
    REDUCE(tag, prod, base##_prod, bits, compute, widen, narrow) \
    REDUCE(tag, max, base##_max, bits, compute, widen, narrow)   \
    REDUCE(tag, min, base##_min, bits, compute, widen, narrow)   \
    MAP(tag, bits, widen, narrow, base##_prod, base##_div)

INTEGER_KERNELS(i8, u8, 8, uint8_t, u8_keep)
INTEGER_KERNELS(i32, u32, 32, uint32_t, u32_keep)
INTEGER_KERNELS(i64, u64, 64, uint64_t, u64_keep)
FLOAT_KERNELS(f32, 32, float, f32, c4_float32_from_bits, f32_pack)
FLOAT_KERNELS(f64, 64, double, f64, c4_float64_from_bits, f64_pack)
FLOAT_KERNELS(f16, 16, float, f32, c4_convert_from_float16, c4_convert_to_float16)
FLOAT_KERNELS(bf16, 16, float, f32, c4_convert_from_bfloat16, c4_convert_to_bfloat16)
FLOAT_KERNELS(e4m3, 8, float, f32, c4_convert_from_float8_e4m3, c4_convert_to_float8_e4m3)
FLOAT_KERNELS(e5m2, 8, float, f32, c4_convert_from_float8_e5m2, c4_convert_to_float8_e5m2)

const c4_reducer c4_reducers_scalar[C4_NDTYPES][C4_NOPS] = C4_REDUCERS_TABLE(C4_CPU_SCALAR);
