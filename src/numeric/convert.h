/* Scalar conversions between fp32 and the narrow formats, inline for the scalar kernels. Integer arithmetic only, so
 * that the result does not depend on the processor. */
#ifndef C4_NUMERIC_CONVERT_H
#define C4_NUMERIC_CONVERT_H

#include <stdint.h>
#include <string.h>

/* The canonical NaN of each format. */
#define C4_NAN_FLOAT64     0x7ff8000000000000u
#define C4_NAN_FLOAT32     0x7fc00000u
#define C4_NAN_FLOAT16     0x7e00u
#define C4_NAN_BFLOAT16    0x7fc0u
#define C4_NAN_FLOAT8_E4M3 0x7fu
#define C4_NAN_FLOAT8_E5M2 0x7eu

static inline uint32_t c4_float32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float c4_float32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t c4_float64_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double c4_float64_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Magnitude (exponent and mantissa fields) of the format with `mantissa` bits and exponent bias `bias` that is
 * nearest to the fp32 magnitude `u`, ties to even. Beyond the largest exponent it just counts on: the caller
 * recognises overflow, infinity and NaN by comparing. */
static inline uint32_t c4_float32_narrow(uint32_t u, int mantissa, int bias)
{
    int shift = 23 - mantissa;
    uint32_t smallest_normal = (uint32_t)(127 - bias + 1) << 23;
    if (u >= smallest_normal) {
        uint32_t rounded = u + (((uint32_t)1 << (shift - 1)) - 1) + (u >> shift & 1);
        return (rounded >> shift) - ((uint32_t)(127 - bias) << mantissa);
    }
    /* Subnormal: adding the power of two whose last place is the format's smallest step rounds to that step. */
    uint32_t magic = (uint32_t)(127 - bias + 1 + shift) << 23;
    return c4_float32_bits(c4_float32_from_bits(u) + c4_float32_from_bits(magic)) - magic;
}

static inline uint16_t c4_convert_to_float16(float value)
{
    uint32_t bits = c4_float32_bits(value);
    uint32_t u = bits & 0x7fffffffu;
    if (u > 0x7f800000u) {
        return C4_NAN_FLOAT16;
    }
    uint32_t magnitude = c4_float32_narrow(u, 10, 15);
    return (uint16_t)((bits >> 16 & 0x8000u) | (magnitude < 0x7c00u ? magnitude : 0x7c00u));
}

static inline float c4_convert_from_float16(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t u = bits & 0x7fffu;
    if (u >= 0x7c00u) {
        return c4_float32_from_bits(u > 0x7c00u ? C4_NAN_FLOAT32 : sign | 0x7f800000u);
    }
    /* Scaling by a power of two is exact and turns subnormals into normals. */
    float magnitude = c4_float32_from_bits(u << 13) * 0x1p112f;
    return c4_float32_from_bits(sign | c4_float32_bits(magnitude));
}

static inline uint16_t c4_convert_to_bfloat16(float value)
{
    uint32_t u = c4_float32_bits(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
        return C4_NAN_BFLOAT16;
    }
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float c4_convert_from_bfloat16(uint16_t bits)
{
    return c4_float32_from_bits((uint32_t)bits << 16);
}

static inline uint8_t c4_convert_to_float8_e4m3(float value)
{
    uint32_t bits = c4_float32_bits(value);
    uint32_t magnitude = c4_float32_narrow(bits & 0x7fffffffu, 3, 7);
    if (magnitude >= C4_NAN_FLOAT8_E4M3) {
        return C4_NAN_FLOAT8_E4M3;
    }
    return (uint8_t)((bits >> 24 & 0x80u) | magnitude);
}

static inline float c4_convert_from_float8_e4m3(uint8_t bits)
{
    uint32_t u = bits & 0x7fu;
    if (u == C4_NAN_FLOAT8_E4M3) {
        return c4_float32_from_bits(C4_NAN_FLOAT32);
    }
    float magnitude = c4_float32_from_bits(u << 20) * 0x1p120f;
    return c4_float32_from_bits((uint32_t)(bits & 0x80u) << 24 | c4_float32_bits(magnitude));
}

static inline uint8_t c4_convert_to_float8_e5m2(float value)
{
    uint32_t bits = c4_float32_bits(value);
    uint32_t u = bits & 0x7fffffffu;
    if (u > 0x7f800000u) {
        return C4_NAN_FLOAT8_E5M2;
    }
    uint32_t magnitude = c4_float32_narrow(u, 2, 15);
    return (uint8_t)((bits >> 24 & 0x80u) | (magnitude < 0x7cu ? magnitude : 0x7cu));
}

static inline float c4_convert_from_float8_e5m2(uint8_t bits)
{
    return c4_convert_from_float16((uint16_t)(bits << 8));
}

#endif
