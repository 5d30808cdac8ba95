/* The kernels in AVX-512 F, BW, VL and DQ. Not in AVX512_BF16: its conversion flushes subnormals. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "numeric/convert.h"
#include "numeric/tables.h"

/* clang instruments before it inlines: its address and undefined-behaviour checks of this file took ten minutes to
 * compile. The tests look for accesses out of bounds with guard pages. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_sanitize("address", "undefined", "coverage"))), apply_to = function)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c,bmi2"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,f16c,bmi2")
#endif

#define VECTOR_BYTES    64
#define ALIGN_MIN_BYTES 1024
#define INLINE          static inline __attribute__((always_inline))

typedef __m512i raw;
typedef struct quad {
    raw a, b, c, d;
} quad;

/* ---- memory ---- */

INLINE raw raw_load(const char *p)
{
    return _mm512_loadu_si512(p);
}

INLINE void raw_store(char *p, raw v)
{
    _mm512_storeu_si512(p, v);
}

INLINE void raw_stream(char *p, raw v)
{
    _mm512_stream_si512((void *)p, v);
}

INLINE __mmask64 edge_mask(size_t bytes)
{
    return _bzhi_u64(~UINT64_C(0), (unsigned)bytes);
}

/* The smallest messages go without masks: a masked load cannot take its data from a store that is still under way, and
 * a later load not from a masked store (9.2 against 5 ns on Zen 4 when each step reads what the last one wrote). */
INLINE raw edge_load(const char *p, size_t bytes)
{
    if (bytes == 8) {
        return _mm512_zextsi128_si512(_mm_loadl_epi64((const __m128i *)(const void *)p));
    }
    if (bytes == 4) {
        return _mm512_zextsi128_si512(_mm_loadu_si32(p));
    }
    if (bytes == 16) {
        return _mm512_zextsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)p));
    }
    return _mm512_maskz_loadu_epi8(edge_mask(bytes), p);
}

INLINE void edge_store(char *p, size_t bytes, raw v)
{
    __m128i low = _mm512_castsi512_si128(v);
    if (bytes == 8) {
        _mm_storel_epi64((__m128i *)(void *)p, low);
    } else if (bytes == 4) {
        _mm_storeu_si32(p, low);
    } else if (bytes == 16) {
        _mm_storeu_si128((__m128i *)(void *)p, low);
    } else {
        _mm512_mask_storeu_epi8(p, edge_mask(bytes), v);
    }
}

INLINE raw raw_broadcast(const void *element, size_t bytes)
{
    uint64_t bits = 0;
    memcpy(&bits, element, bytes);
    switch (bytes) {
    case 1:
        return _mm512_set1_epi8((char)bits);
    case 2:
        return _mm512_set1_epi16((short)bits);
    case 4:
        return _mm512_set1_epi32((int)bits);
    default:
        return _mm512_set1_epi64((long long)bits);
    }
}

INLINE raw broadcast_f32(size_t n)
{
    return _mm512_castps_si512(_mm512_set1_ps((float)n));
}

INLINE raw broadcast_f64(size_t n)
{
    return _mm512_castpd_si512(_mm512_set1_pd((double)n));
}

/* ---- integers ---- */

/* There is no 8-bit multiplication: even and odd bytes in 16-bit lanes. */
INLINE raw op_prod_i8(raw x, raw y)
{
    raw even = _mm512_mullo_epi16(x, y);
    raw odd = _mm512_mullo_epi16(_mm512_srli_epi16(x, 8), _mm512_srli_epi16(y, 8));
    return _mm512_mask_mov_epi8(even, 0xaaaaaaaaaaaaaaaau, _mm512_slli_epi16(odd, 8));
}

#define INTEGER_OP(name, intrinsic)    \
    INLINE raw op_##name(raw x, raw y) \
    {                                  \
        return intrinsic(x, y);        \
    }

INTEGER_OP(band, _mm512_and_si512)
INTEGER_OP(bor, _mm512_or_si512)
INTEGER_OP(bxor, _mm512_xor_si512)
INTEGER_OP(sum_i8, _mm512_add_epi8)
INTEGER_OP(sum_i32, _mm512_add_epi32)
INTEGER_OP(sum_i64, _mm512_add_epi64)
INTEGER_OP(prod_i32, _mm512_mullo_epi32)
INTEGER_OP(prod_i64, _mm512_mullo_epi64)
INTEGER_OP(max_i8, _mm512_max_epi8)
INTEGER_OP(min_i8, _mm512_min_epi8)
INTEGER_OP(max_u8, _mm512_max_epu8)
INTEGER_OP(min_u8, _mm512_min_epu8)
INTEGER_OP(max_i32, _mm512_max_epi32)
INTEGER_OP(min_i32, _mm512_min_epi32)
INTEGER_OP(max_u32, _mm512_max_epu32)
INTEGER_OP(min_u32, _mm512_min_epu32)
INTEGER_OP(max_i64, _mm512_max_epi64)
INTEGER_OP(min_i64, _mm512_min_epi64)
INTEGER_OP(max_u64, _mm512_max_epu64)
INTEGER_OP(min_u64, _mm512_min_epu64)

/* ---- fp32 and fp64 ---- */

#define PS(x)     _mm512_castsi512_ps(x)
#define PD(x)     _mm512_castsi512_pd(x)
#define RAW_PS(x) _mm512_castps_si512(x)
#define RAW_PD(x) _mm512_castpd_si512(x)

INLINE __mmask16 unordered_f32(raw x, raw y)
{
    return _mm512_cmp_ps_mask(PS(x), PS(y), _CMP_UNORD_Q);
}

INLINE __mmask8 unordered_f64(raw x, raw y)
{
    return _mm512_cmp_pd_mask(PD(x), PD(y), _CMP_UNORD_Q);
}

INLINE raw set_nan_f32(raw x, __mmask16 where)
{
    return _mm512_mask_mov_epi32(x, where, _mm512_set1_epi32((int)C4_NAN_FLOAT32));
}

INLINE raw set_nan_f64(raw x, __mmask8 where)
{
    return _mm512_mask_mov_epi64(x, where, _mm512_set1_epi64((long long)C4_NAN_FLOAT64));
}

INLINE raw canonical_f32(raw x)
{
    return set_nan_f32(x, unordered_f32(x, x));
}

INLINE raw canonical_f64(raw x)
{
    return set_nan_f64(x, unordered_f64(x, x));
}

INLINE raw op_sum_f32(raw x, raw y)
{
    return RAW_PS(_mm512_add_ps(PS(x), PS(y)));
}

INLINE raw op_prod_f32(raw x, raw y)
{
    return RAW_PS(_mm512_mul_ps(PS(x), PS(y)));
}

INLINE raw op_div_f32(raw x, raw y)
{
    return RAW_PS(_mm512_div_ps(PS(x), PS(y)));
}

INLINE raw op_sum_f64(raw x, raw y)
{
    return RAW_PD(_mm512_add_pd(PD(x), PD(y)));
}

INLINE raw op_prod_f64(raw x, raw y)
{
    return RAW_PD(_mm512_mul_pd(PD(x), PD(y)));
}

INLINE raw op_div_f64(raw x, raw y)
{
    return RAW_PD(_mm512_div_pd(PD(x), PD(y)));
}

/* VRANGE orders -0 below +0 (immediate 4: minimum, 5: maximum, sign as compared) but prefers numbers to NaN. */
INLINE raw op_max_f32(raw x, raw y)
{
    return set_nan_f32(RAW_PS(_mm512_range_ps(PS(x), PS(y), 5)), unordered_f32(x, y));
}

INLINE raw op_min_f32(raw x, raw y)
{
    return set_nan_f32(RAW_PS(_mm512_range_ps(PS(x), PS(y), 4)), unordered_f32(x, y));
}

INLINE raw op_max_f64(raw x, raw y)
{
    return set_nan_f64(RAW_PD(_mm512_range_pd(PD(x), PD(y), 5)), unordered_f64(x, y));
}

INLINE raw op_min_f64(raw x, raw y)
{
    return set_nan_f64(RAW_PD(_mm512_range_pd(PD(x), PD(y), 4)), unordered_f64(x, y));
}

/* ---- between memory and compute registers ---- */

INLINE quad widen_raw(raw v)
{
    return (quad){v, v, v, v};
}

INLINE raw narrow_raw(quad q)
{
    return q.a;
}

INLINE raw narrow_f32(quad q)
{
    return canonical_f32(q.a);
}

INLINE raw narrow_f64(quad q)
{
    return canonical_f64(q.a);
}

/* 32 halves in two registers of 16. */
INLINE raw float16_low(raw v)
{
    return RAW_PS(_mm512_cvtph_ps(_mm512_castsi512_si256(v)));
}

INLINE raw float16_high(raw v)
{
    return RAW_PS(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(v, 1)));
}

INLINE raw join(__m256i low, __m256i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

INLINE quad widen_f16(raw v)
{
    raw low = float16_low(v), high = float16_high(v);
    return (quad){low, high, low, high};
}

INLINE raw narrow_f16(quad q)
{
    return join(_mm512_cvtps_ph(PS(canonical_f32(q.a)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                _mm512_cvtps_ph(PS(canonical_f32(q.b)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Interleaving with zeros inside 128-bit lanes makes fp32 of bfloat16; packing undoes the interleaving. */
INLINE quad widen_bf16(raw v)
{
    raw low = _mm512_unpacklo_epi16(_mm512_setzero_si512(), v);
    raw high = _mm512_unpackhi_epi16(_mm512_setzero_si512(), v);
    return (quad){low, high, low, high};
}

INLINE raw round_bf16(raw x)
{
    raw u = canonical_f32(x);
    raw odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    return _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
}

INLINE raw narrow_bf16(quad q)
{
    return _mm512_packus_epi32(round_bf16(q.a), round_bf16(q.b));
}

/* A float8_e5m2 is the upper byte of a float16. */
INLINE quad widen_e5m2(raw v)
{
    raw low = _mm512_unpacklo_epi8(_mm512_setzero_si512(), v);
    raw high = _mm512_unpackhi_epi8(_mm512_setzero_si512(), v);
    return (quad){float16_low(low), float16_high(low), float16_low(high), float16_high(high)};
}

/* The fields of a float8_e4m3, put into a float16, give 2^-8 of its value. */
INLINE raw float16_of_e4m3(raw upper_bytes)
{
    raw v = _mm512_and_si512(_mm512_srai_epi16(upper_bytes, 1), _mm512_set1_epi16((short)0xbf80));
    raw magnitude = _mm512_and_si512(v, _mm512_set1_epi16(0x3f80));
    __mmask32 nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x3f80));
    return _mm512_mask_mov_epi16(v, nan, _mm512_set1_epi16((short)C4_NAN_FLOAT16));
}

INLINE raw times_256(raw v)
{
    return RAW_PS(_mm512_mul_ps(PS(v), _mm512_set1_ps(256.0f)));
}

INLINE quad widen_e4m3(raw v)
{
    raw low = float16_of_e4m3(_mm512_unpacklo_epi8(_mm512_setzero_si512(), v));
    raw high = float16_of_e4m3(_mm512_unpackhi_epi8(_mm512_setzero_si512(), v));
    return (quad){times_256(float16_low(low)), times_256(float16_high(low)), times_256(float16_low(high)),
                  times_256(float16_high(high))};
}

/* c4_float32_narrow on 16 magnitudes. */
INLINE raw round_magnitude(raw u, int mantissa, int bias)
{
    const int shift = 23 - mantissa;
    const int magic = (127 - bias + 1 + shift) << 23;
    raw odd = _mm512_and_si512(_mm512_srli_epi32(u, (unsigned)shift), _mm512_set1_epi32(1));
    raw half = _mm512_set1_epi32((1 << (shift - 1)) - 1 - ((127 - bias) << 23));
    raw normal = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, half), odd), (unsigned)shift);
    raw tiny = RAW_PS(_mm512_add_ps(PS(u), PS(_mm512_set1_epi32(magic))));
    __mmask16 subnormal = _mm512_cmplt_epu32_mask(u, _mm512_set1_epi32((127 - bias + 1) << 23));
    return _mm512_mask_sub_epi32(normal, subnormal, tiny, _mm512_set1_epi32(magic));
}

INLINE raw round_e5m2(raw x)
{
    const raw infinity = _mm512_set1_epi32(0x7c);
    raw u = _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff));
    __mmask16 nan = _mm512_cmp_ps_mask(PS(x), PS(x), _CMP_UNORD_Q);
    raw magnitude = _mm512_min_epu32(round_magnitude(u, 2, 15), infinity);
    raw sign = _mm512_and_si512(_mm512_srli_epi32(x, 24), _mm512_set1_epi32(0x80));
    return _mm512_mask_mov_epi32(_mm512_or_si512(magnitude, sign), nan, _mm512_set1_epi32(C4_NAN_FLOAT8_E5M2));
}

INLINE raw round_e4m3(raw x)
{
    const raw nan = _mm512_set1_epi32(C4_NAN_FLOAT8_E4M3);
    raw u = _mm512_and_si512(x, _mm512_set1_epi32(0x7fffffff));
    raw magnitude = _mm512_min_epu32(round_magnitude(u, 3, 7), nan);
    raw sign = _mm512_and_si512(_mm512_srli_epi32(x, 24), _mm512_set1_epi32(0x80));
    __mmask16 number = _mm512_cmpneq_epi32_mask(magnitude, nan);
    return _mm512_mask_or_epi32(magnitude, number, magnitude, sign);
}

/* The values fit in bytes: narrowing to words keeps the order that widening found, packing restores the bytes'. */
INLINE raw pack_bytes(raw a, raw b, raw c, raw d)
{
    return _mm512_packus_epi16(join(_mm512_cvtepi32_epi16(a), _mm512_cvtepi32_epi16(b)),
                               join(_mm512_cvtepi32_epi16(c), _mm512_cvtepi32_epi16(d)));
}

INLINE raw narrow_e5m2(quad q)
{
    return pack_bytes(round_e5m2(q.a), round_e5m2(q.b), round_e5m2(q.c), round_e5m2(q.d));
}

INLINE raw narrow_e4m3(quad q)
{
    return pack_bytes(round_e4m3(q.a), round_e4m3(q.b), round_e4m3(q.c), round_e4m3(q.d));
}

#include "numeric/vector_kernels.h"

INTEGER_KERNELS(i8, C4_INT8, u8, C4_UINT8, 1)
INTEGER_KERNELS(i32, C4_INT32, u32, C4_UINT32, 4)
INTEGER_KERNELS(i64, C4_INT64, u64, C4_UINT64, 8)
FLOAT_KERNELS(f32, 4, 1, f32, widen_raw, narrow_f32, narrow_raw)
FLOAT_KERNELS(f64, 8, 1, f64, widen_raw, narrow_f64, narrow_raw)
FLOAT_KERNELS(f16, 2, 2, f32, widen_f16, narrow_f16, narrow_f16)
FLOAT_KERNELS(bf16, 2, 2, f32, widen_bf16, narrow_bf16, narrow_bf16)
FLOAT_KERNELS(e4m3, 1, 4, f32, widen_e4m3, narrow_e4m3, narrow_e4m3)
FLOAT_KERNELS(e5m2, 1, 4, f32, widen_e5m2, narrow_e5m2, narrow_e5m2)

const c4_reducer c4_reducers_avx512[C4_NDTYPES][C4_NOPS] = C4_REDUCERS_TABLE(C4_CPU_AVX512);

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
