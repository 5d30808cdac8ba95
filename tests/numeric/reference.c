#include "tests/numeric/reference.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct format {
    int bytes;
    int exponent_bits;
    int mantissa_bits;
    bool infinity;
    uint64_t nan; /* canonical */
} format;

static const format formats[C4_NDTYPES] = {
    [C4_INT8] = {.bytes = 1},
    [C4_UINT8] = {.bytes = 1},
    [C4_INT32] = {.bytes = 4},
    [C4_UINT32] = {.bytes = 4},
    [C4_INT64] = {.bytes = 8},
    [C4_UINT64] = {.bytes = 8},
    [C4_FLOAT16] = {2, 5, 10, true, 0x7e00},
    [C4_FLOAT32] = {4, 8, 23, true, 0x7fc00000},
    [C4_FLOAT64] = {8, 11, 52, true, 0x7ff8000000000000},
    [C4_BFLOAT16] = {2, 8, 7, true, 0x7fc0},
    [C4_FLOAT8_E4M3] = {1, 4, 3, false, 0x7f},
    [C4_FLOAT8_E5M2] = {1, 5, 2, true, 0x7e},
};

uint64_t reference_get(const void *data, c4_dtype dtype, size_t i)
{
    uint64_t bits = 0;
    size_t bytes = (size_t)formats[dtype].bytes;
    memcpy(&bits, (const char *)data + i * bytes, bytes);
    return bits;
}

void reference_set(void *data, c4_dtype dtype, size_t i, uint64_t bits)
{
    size_t bytes = (size_t)formats[dtype].bytes;
    memcpy((char *)data + i * bytes, &bits, bytes);
}

double reference_value(uint64_t bits, c4_dtype dtype)
{
    const format *f = &formats[dtype];
    int exponent_max = (1 << f->exponent_bits) - 1;
    int bias = exponent_max / 2;
    int exponent = (int)(bits >> f->mantissa_bits) & exponent_max;
    uint64_t mantissa = bits & ((UINT64_C(1) << f->mantissa_bits) - 1);
    bool negative = bits >> (f->bytes * 8 - 1) & 1;
    double value;
    if (exponent == exponent_max && f->infinity) {
        value = mantissa == 0 ? INFINITY : NAN;
    } else if (exponent == exponent_max && mantissa == (UINT64_C(1) << f->mantissa_bits) - 1) {
        value = NAN;
    } else if (exponent == 0) {
        value = ldexp((double)mantissa, 1 - bias - f->mantissa_bits);
    } else {
        value = ldexp((double)(mantissa | UINT64_C(1) << f->mantissa_bits), exponent - bias - f->mantissa_bits);
    }
    return negative ? -value : value;
}

uint64_t reference_round(float value, c4_dtype dtype)
{
    const format *f = &formats[dtype];
    uint64_t sign = signbit(value) ? UINT64_C(1) << (f->bytes * 8 - 1) : 0;
    double magnitude = fabs((double)value);
    if (isnan(value)) {
        return f->nan;
    }
    /* The finite values, in order of their bits; one step further counts as overflow. */
    uint64_t last = f->infinity ? ((UINT64_C(1) << f->exponent_bits) - 1) << f->mantissa_bits : f->nan;
    last--;
    uint64_t low = 0, high = last;
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (reference_value(middle, dtype) <= magnitude) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    double below = reference_value(low, dtype);
    double above = low < last ? reference_value(low + 1, dtype) : below + (below - reference_value(low - 1, dtype));
    bool up = magnitude - below > above - magnitude || (magnitude - below == above - magnitude && (low & 1) != 0);
    uint64_t rounded = up ? low + 1 : low;
    if (rounded > last && !f->infinity) {
        return f->nan;
    }
    return sign | rounded;
}

static bool is_signed(c4_dtype dtype)
{
    return dtype == C4_INT8 || dtype == C4_INT32 || dtype == C4_INT64;
}

static __int128 integer_value(uint64_t bits, c4_dtype dtype)
{
    int width = formats[dtype].bytes * 8;
    __int128 value = bits;
    if (is_signed(dtype) && (bits >> (width - 1) & 1) != 0) {
        value -= (__int128)1 << width;
    }
    return value;
}

static uint64_t integer_bits(__int128 value, c4_dtype dtype)
{
    int width = formats[dtype].bytes * 8;
    return (uint64_t)value & (width == 64 ? ~UINT64_C(0) : (UINT64_C(1) << width) - 1);
}

static uint64_t integer_op(uint64_t a, uint64_t b, c4_dtype dtype, c4_op op)
{
    __int128 x = integer_value(a, dtype), y = integer_value(b, dtype);
    switch (op) {
    case C4_SUM:
    case C4_AVG:
        return integer_bits(x + y, dtype);
    case C4_PROD:
        return integer_bits((__int128)((unsigned __int128)x * (unsigned __int128)y), dtype);
    case C4_MAX:
        return integer_bits(x > y ? x : y, dtype);
    case C4_MIN:
        return integer_bits(x < y ? x : y, dtype);
    case C4_BAND:
        return a & b;
    case C4_BOR:
        return a | b;
    case C4_BXOR:
        return a ^ b;
    default:
        abort();
    }
}

static double ordered(double x, double y, bool want_max)
{
    if (isnan(x) || isnan(y)) {
        return NAN;
    }
    if (x == 0 && y == 0) {
        bool negative = want_max ? signbit(x) && signbit(y) : signbit(x) || signbit(y);
        return negative ? -0.0 : 0.0;
    }
    return (x > y) == want_max ? x : y;
}

/* fp32 results through double: exact up to its one rounding to fp32, since 53 >= 2 * 24 + 2. */
static double float_op(double x, double y, c4_dtype dtype, c4_op op)
{
    double result;
    switch (op) {
    case C4_SUM:
    case C4_AVG:
        result = x + y;
        break;
    case C4_PROD:
        result = x * y;
        break;
    case C4_MAX:
        return ordered(x, y, true);
    case C4_MIN:
        return ordered(x, y, false);
    default:
        abort();
    }
    return dtype == C4_FLOAT64 ? result : (double)(float)result;
}

static uint64_t float_bits(double value, c4_dtype dtype)
{
    if (isnan(value)) {
        return formats[dtype].nan;
    }
    if (dtype == C4_FLOAT64) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    if (dtype == C4_FLOAT32) {
        float narrow = (float)value;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        return bits;
    }
    return reference_round((float)value, dtype);
}

uint64_t reference_fold(const uint64_t *bits, size_t k, c4_dtype dtype, c4_op op)
{
    if (k == 1) {
        return bits[0];
    }
    if (formats[dtype].exponent_bits == 0) {
        uint64_t result = bits[0];
        for (size_t j = 1; j < k; j++) {
            result = integer_op(result, bits[j], dtype, op);
        }
        return result;
    }
    double result = reference_value(bits[0], dtype);
    for (size_t j = 1; j < k; j++) {
        result = float_op(result, reference_value(bits[j], dtype), dtype, op);
    }
    return float_bits(result, dtype);
}

uint64_t reference_scale(uint64_t bits, c4_dtype dtype, size_t n)
{
    if (formats[dtype].exponent_bits == 0) {
        return integer_bits(integer_value(bits, dtype) / (__int128)n, dtype);
    }
    double result = reference_value(bits, dtype) / (double)n;
    return float_bits(dtype == C4_FLOAT64 ? result : (double)(float)result, dtype);
}

static uint64_t float_special(const format *f, uint64_t pick)
{
    uint64_t one = UINT64_C(1) << f->mantissa_bits;
    uint64_t top = ((UINT64_C(1) << f->exponent_bits) - 1) * one;
    uint64_t specials[] = {
        0,
        1,
        one - 1,
        one,
        one + 1,
        top - 1,
        top,
        top + 1,
        f->nan,
        top + one - 1,
        (top / 2 / one) * one,
        top - one,
        top / 2,
        2 * one,
        3 * one - 1,
    };
    uint64_t sign = pick & 1 ? UINT64_C(1) << (f->bytes * 8 - 1) : 0;
    return sign | specials[pick / 2 % (sizeof specials / sizeof specials[0])];
}

uint64_t reference_sample(c4_dtype dtype, uint64_t random)
{
    const format *f = &formats[dtype];
    uint64_t kind = random & 7;
    uint64_t rest = random >> 3;
    uint64_t mask = f->bytes == 8 ? ~UINT64_C(0) : (UINT64_C(1) << f->bytes * 8) - 1;
    if (f->exponent_bits != 0 && kind < 3) {
        return float_special(f, rest);
    }
    if (f->exponent_bits != 0 && kind < 6) {
        /* Near one, so that sums round instead of just returning the larger operand. */
        uint64_t bias = (UINT64_C(1) << (f->exponent_bits - 1)) - 1;
        uint64_t mantissa = rest & ((UINT64_C(1) << f->mantissa_bits) - 1);
        uint64_t sign = (random >> 63) << (f->bytes * 8 - 1);
        return sign | (bias - 2 + (random >> 59 & 3)) << f->mantissa_bits | mantissa;
    }
    if (f->exponent_bits == 0 && kind < 2) {
        uint64_t extremes[] = {0, 1, mask, mask >> 1, (mask >> 1) + 1, 2, mask - 1, 127};
        return extremes[rest % 8];
    }
    return (rest * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - f->bytes * 8);
}
