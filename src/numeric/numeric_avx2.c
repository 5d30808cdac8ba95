/* The kernels in AVX2 and F16C. Odd ends go to the scalar kernels, which give the same bits. */
#if defined(__x86_64__)

#include <immintrin.h>

#include "numeric/convert.h"
#include "numeric/tables.h"

/* clang instruments before it inlines: its address and undefined-behaviour checks of this file took ten minutes to
 * compile. The tests look for accesses out of bounds with guard pages. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_sanitize("address", "undefined", "coverage"))), apply_to = function)
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,f16c")
#endif

#define VECTOR_BYTES    32
#define ALIGN_MIN_BYTES 1024
#define INLINE          static inline __attribute__((always_inline))

typedef __m256i raw;
typedef struct quad {
    raw a, b, c, d;
} quad;

/* ---- memory ---- */

INLINE raw raw_load(const char *p)
{
    return _mm256_loadu_si256((const raw *)(const void *)p);
}

INLINE void raw_store(char *p, raw v)
{
    _mm256_storeu_si256((raw *)(void *)p, v);
}

INLINE void raw_stream(char *p, raw v)
{
    _mm256_stream_si256((raw *)(void *)p, v);
}

INLINE raw raw_broadcast(const void *element, size_t bytes)
{
    uint64_t bits = 0;
    memcpy(&bits, element, bytes);
    switch (bytes) {
    case 1:
        return _mm256_set1_epi8((char)bits);
    case 2:
        return _mm256_set1_epi16((short)bits);
    case 4:
        return _mm256_set1_epi32((int)bits);
    default:
        return _mm256_set1_epi64x((long long)bits);
    }
}

INLINE raw lane_numbers(void)
{
    return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}

/* AVX2 masks whole 32-bit lanes; up to three odd bytes go one by one. */
INLINE raw masked_load(const char *p, size_t bytes)
{
    raw full = _mm256_set1_epi32((int)(bytes / 4));
    raw v = _mm256_maskload_epi32((const int *)(const void *)p, _mm256_cmpgt_epi32(full, lane_numbers()));
    if (bytes % 4 != 0) {
        uint32_t rest = 0;
        for (size_t i = bytes & ~(size_t)3; i < bytes; i++) {
            rest |= (uint32_t)(unsigned char)p[i] << (8 * (i % 4));
        }
        v = _mm256_blendv_epi8(v, _mm256_set1_epi32((int)rest), _mm256_cmpeq_epi32(full, lane_numbers()));
    }
    return v;
}

INLINE void masked_store(char *p, size_t bytes, raw v)
{
    raw full = _mm256_set1_epi32((int)(bytes / 4));
    _mm256_maskstore_epi32((int *)(void *)p, _mm256_cmpgt_epi32(full, lane_numbers()), v);
    if (bytes % 4 != 0) {
        raw lane = _mm256_permutevar8x32_epi32(v, full);
        uint32_t rest = (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(lane));
        for (size_t i = bytes & ~(size_t)3; i < bytes; i++) {
            p[i] = (char)(rest >> (8 * (i % 4)));
        }
    }
}

/* Sizes of the smallest messages, for which masked stores are slow on some processors (10 ns on Zen 4). */
INLINE raw edge_load(const char *p, size_t bytes)
{
    if (bytes == 8) {
        return _mm256_zextsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)p));
    }
    if (bytes == 4) {
        return _mm256_zextsi128_si256(_mm_loadu_si32(p));
    }
    if (bytes == 16) {
        return _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p));
    }
    return bytes == VECTOR_BYTES ? raw_load(p) : masked_load(p, bytes);
}

INLINE void edge_store(char *p, size_t bytes, raw v)
{
    __m128i low = _mm256_castsi256_si128(v);
    if (bytes == 8) {
        _mm_storel_epi64((__m128i *)(void *)p, low);
    } else if (bytes == 4) {
        _mm_storeu_si32(p, low);
    } else if (bytes == 16) {
        _mm_storeu_si128((__m128i *)(void *)p, low);
    } else if (bytes == VECTOR_BYTES) {
        raw_store(p, v);
    } else {
        masked_store(p, bytes, v);
    }
}

INLINE raw broadcast_f32(size_t n)
{
    return _mm256_castps_si256(_mm256_set1_ps((float)n));
}

INLINE raw broadcast_f64(size_t n)
{
    return _mm256_castpd_si256(_mm256_set1_pd((double)n));
}

/* ---- integers ---- */

#define INTEGER_OP(name, intrinsic)    \
    INLINE raw op_##name(raw x, raw y) \
    {                                  \
        return intrinsic(x, y);        \
    }

INTEGER_OP(band, _mm256_and_si256)
INTEGER_OP(bor, _mm256_or_si256)
INTEGER_OP(bxor, _mm256_xor_si256)
INTEGER_OP(sum_i8, _mm256_add_epi8)
INTEGER_OP(sum_i32, _mm256_add_epi32)
INTEGER_OP(sum_i64, _mm256_add_epi64)
INTEGER_OP(prod_i32, _mm256_mullo_epi32)
INTEGER_OP(max_i8, _mm256_max_epi8)
INTEGER_OP(min_i8, _mm256_min_epi8)
INTEGER_OP(max_u8, _mm256_max_epu8)
INTEGER_OP(min_u8, _mm256_min_epu8)
INTEGER_OP(max_i32, _mm256_max_epi32)
INTEGER_OP(min_i32, _mm256_min_epi32)
INTEGER_OP(max_u32, _mm256_max_epu32)
INTEGER_OP(min_u32, _mm256_min_epu32)

/* There is no 8-bit multiplication: even and odd bytes in 16-bit lanes. */
INLINE raw op_prod_i8(raw x, raw y)
{
    raw even = _mm256_and_si256(_mm256_mullo_epi16(x, y), _mm256_set1_epi16(0xff));
    raw odd = _mm256_mullo_epi16(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8));
    return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}

/* Low halves' product plus the two cross products, which count from bit 32 up. */
INLINE raw op_prod_i64(raw x, raw y)
{
    raw cross = _mm256_mullo_epi32(x, _mm256_shuffle_epi32(y, 0xb1));
    raw sum = _mm256_add_epi32(cross, _mm256_srli_epi64(cross, 32));
    return _mm256_add_epi64(_mm256_mul_epu32(x, y), _mm256_slli_epi64(sum, 32));
}

INLINE raw op_max_i64(raw x, raw y)
{
    return _mm256_blendv_epi8(y, x, _mm256_cmpgt_epi64(x, y));
}

INLINE raw op_min_i64(raw x, raw y)
{
    return _mm256_blendv_epi8(x, y, _mm256_cmpgt_epi64(x, y));
}

/* Only signed comparisons exist: flipping the top bit maps one order to the other. */
INLINE raw greater_u64(raw x, raw y)
{
    raw top = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_cmpgt_epi64(_mm256_xor_si256(x, top), _mm256_xor_si256(y, top));
}

INLINE raw op_max_u64(raw x, raw y)
{
    return _mm256_blendv_epi8(y, x, greater_u64(x, y));
}

INLINE raw op_min_u64(raw x, raw y)
{
    return _mm256_blendv_epi8(x, y, greater_u64(x, y));
}

/* ---- fp32 and fp64 ---- */

#define PS(x)     _mm256_castsi256_ps(x)
#define PD(x)     _mm256_castsi256_pd(x)
#define RAW_PS(x) _mm256_castps_si256(x)
#define RAW_PD(x) _mm256_castpd_si256(x)

/* The results where neither x nor y is NaN, elsewhere the canonical NaN. */
INLINE raw unless_nan_f32(raw value, raw x, raw y)
{
    raw nan = _mm256_set1_epi32((int)C4_NAN_FLOAT32);
    return RAW_PS(_mm256_blendv_ps(PS(value), PS(nan), _mm256_cmp_ps(PS(x), PS(y), _CMP_UNORD_Q)));
}

INLINE raw unless_nan_f64(raw value, raw x, raw y)
{
    raw nan = _mm256_set1_epi64x((long long)C4_NAN_FLOAT64);
    return RAW_PD(_mm256_blendv_pd(PD(value), PD(nan), _mm256_cmp_pd(PD(x), PD(y), _CMP_UNORD_Q)));
}

INLINE raw canonical_f32(raw x)
{
    return unless_nan_f32(x, x, x);
}

INLINE raw op_sum_f32(raw x, raw y)
{
    return RAW_PS(_mm256_add_ps(PS(x), PS(y)));
}

INLINE raw op_prod_f32(raw x, raw y)
{
    return RAW_PS(_mm256_mul_ps(PS(x), PS(y)));
}

INLINE raw op_div_f32(raw x, raw y)
{
    return RAW_PS(_mm256_div_ps(PS(x), PS(y)));
}

INLINE raw op_sum_f64(raw x, raw y)
{
    return RAW_PD(_mm256_add_pd(PD(x), PD(y)));
}

INLINE raw op_prod_f64(raw x, raw y)
{
    return RAW_PD(_mm256_mul_pd(PD(x), PD(y)));
}

INLINE raw op_div_f64(raw x, raw y)
{
    return RAW_PD(_mm256_div_pd(PD(x), PD(y)));
}

/* MAXPS and MINPS return their second operand when both are zeros. Done both ways round, the results differ only in
 * the sign of a zero, which and-ing makes +0 and or-ing -0. */
INLINE raw op_max_f32(raw x, raw y)
{
    __m256 value = _mm256_and_ps(_mm256_max_ps(PS(x), PS(y)), _mm256_max_ps(PS(y), PS(x)));
    return unless_nan_f32(RAW_PS(value), x, y);
}

INLINE raw op_min_f32(raw x, raw y)
{
    __m256 value = _mm256_or_ps(_mm256_min_ps(PS(x), PS(y)), _mm256_min_ps(PS(y), PS(x)));
    return unless_nan_f32(RAW_PS(value), x, y);
}

INLINE raw op_max_f64(raw x, raw y)
{
    __m256d value = _mm256_and_pd(_mm256_max_pd(PD(x), PD(y)), _mm256_max_pd(PD(y), PD(x)));
    return unless_nan_f64(RAW_PD(value), x, y);
}

INLINE raw op_min_f64(raw x, raw y)
{
    __m256d value = _mm256_or_pd(_mm256_min_pd(PD(x), PD(y)), _mm256_min_pd(PD(y), PD(x)));
    return unless_nan_f64(RAW_PD(value), x, y);
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
    return unless_nan_f64(q.a, q.a, q.a);
}

/* 16 halves in two registers of 8. */
INLINE raw float16_low(raw v)
{
    return RAW_PS(_mm256_cvtph_ps(_mm256_castsi256_si128(v)));
}

INLINE raw float16_high(raw v)
{
    return RAW_PS(_mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)));
}

INLINE quad widen_f16(raw v)
{
    raw low = float16_low(v), high = float16_high(v);
    return (quad){low, high, low, high};
}

INLINE raw narrow_f16(quad q)
{
    __m128i low = _mm256_cvtps_ph(PS(canonical_f32(q.a)), _MM_FROUND_TO_NEAREST_INT);
    __m128i high = _mm256_cvtps_ph(PS(canonical_f32(q.b)), _MM_FROUND_TO_NEAREST_INT);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Interleaving with zeros inside 128-bit lanes makes fp32 of bfloat16; packing undoes the interleaving. */
INLINE quad widen_bf16(raw v)
{
    raw low = _mm256_unpacklo_epi16(_mm256_setzero_si256(), v);
    raw high = _mm256_unpackhi_epi16(_mm256_setzero_si256(), v);
    return (quad){low, high, low, high};
}

INLINE raw round_bf16(raw x)
{
    raw u = canonical_f32(x);
    raw odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
}

INLINE raw narrow_bf16(quad q)
{
    return _mm256_packus_epi32(round_bf16(q.a), round_bf16(q.b));
}

/* A float8_e5m2 is the upper byte of a float16. */
INLINE quad widen_e5m2(raw v)
{
    raw low = _mm256_unpacklo_epi8(_mm256_setzero_si256(), v);
    raw high = _mm256_unpackhi_epi8(_mm256_setzero_si256(), v);
    return (quad){float16_low(low), float16_high(low), float16_low(high), float16_high(high)};
}

/* The fields of a float8_e4m3, put into a float16, give 2^-8 of its value. */
INLINE raw float16_of_e4m3(raw upper_bytes)
{
    raw v = _mm256_and_si256(_mm256_srai_epi16(upper_bytes, 1), _mm256_set1_epi16((short)0xbf80));
    raw magnitude = _mm256_and_si256(v, _mm256_set1_epi16(0x3f80));
    raw nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x3f80));
    return _mm256_blendv_epi8(v, _mm256_set1_epi16((short)C4_NAN_FLOAT16), nan);
}

INLINE raw times_256(raw v)
{
    return RAW_PS(_mm256_mul_ps(PS(v), _mm256_set1_ps(256.0f)));
}

INLINE quad widen_e4m3(raw v)
{
    raw low = float16_of_e4m3(_mm256_unpacklo_epi8(_mm256_setzero_si256(), v));
    raw high = float16_of_e4m3(_mm256_unpackhi_epi8(_mm256_setzero_si256(), v));
    return (quad){times_256(float16_low(low)), times_256(float16_high(low)), times_256(float16_low(high)),
                  times_256(float16_high(high))};
}

/* c4_float32_narrow on 8 magnitudes. */
INLINE raw round_magnitude(raw u, int mantissa, int bias)
{
    const int shift = 23 - mantissa;
    const raw magic = _mm256_set1_epi32((127 - bias + 1 + shift) << 23);
    raw odd = _mm256_and_si256(_mm256_srli_epi32(u, shift), _mm256_set1_epi32(1));
    raw half = _mm256_set1_epi32((1 << (shift - 1)) - 1 - ((127 - bias) << 23));
    raw normal = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, half), odd), shift);
    raw tiny = _mm256_sub_epi32(RAW_PS(_mm256_add_ps(PS(u), PS(magic))), magic);
    raw subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32((127 - bias + 1) << 23), u);
    return _mm256_blendv_epi8(normal, tiny, subnormal);
}

INLINE raw round_e5m2(raw x)
{
    raw u = _mm256_and_si256(x, _mm256_set1_epi32(0x7fffffff));
    raw nan = RAW_PS(_mm256_cmp_ps(PS(x), PS(x), _CMP_UNORD_Q));
    raw magnitude = _mm256_min_epu32(round_magnitude(u, 2, 15), _mm256_set1_epi32(0x7c));
    raw sign = _mm256_and_si256(_mm256_srli_epi32(x, 24), _mm256_set1_epi32(0x80));
    return _mm256_blendv_epi8(_mm256_or_si256(magnitude, sign), _mm256_set1_epi32(C4_NAN_FLOAT8_E5M2), nan);
}

INLINE raw round_e4m3(raw x)
{
    const raw nan = _mm256_set1_epi32(C4_NAN_FLOAT8_E4M3);
    raw u = _mm256_and_si256(x, _mm256_set1_epi32(0x7fffffff));
    raw magnitude = _mm256_min_epu32(round_magnitude(u, 3, 7), nan);
    raw sign = _mm256_and_si256(_mm256_srli_epi32(x, 24), _mm256_set1_epi32(0x80));
    return _mm256_or_si256(magnitude, _mm256_andnot_si256(_mm256_cmpeq_epi32(magnitude, nan), sign));
}

/* Packing to words works inside 128-bit lanes: the permutation puts them back in line. */
INLINE raw pack_words(raw a, raw b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
}

INLINE raw narrow_e5m2(quad q)
{
    return _mm256_packus_epi16(pack_words(round_e5m2(q.a), round_e5m2(q.b)),
                               pack_words(round_e5m2(q.c), round_e5m2(q.d)));
}

INLINE raw narrow_e4m3(quad q)
{
    return _mm256_packus_epi16(pack_words(round_e4m3(q.a), round_e4m3(q.b)),
                               pack_words(round_e4m3(q.c), round_e4m3(q.d)));
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

const c4_reducer c4_reducers_avx2[C4_NDTYPES][C4_NOPS] = C4_REDUCERS_TABLE(C4_CPU_AVX2);

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
