#include "tools/c4perf/pattern.h"

#include <math.h>
#include <string.h>

/* Layout of the float formats that C has no type for, and of the two it has. */
typedef struct float_format {
    int exponent_bits;
    int mantissa_bits;
} float_format;

static bool format_of(c4_dtype dtype, float_format *format)
{
    switch (dtype) {
    case C4_FLOAT16:
        *format = (float_format){5, 10};
        return true;
    case C4_BFLOAT16:
        *format = (float_format){8, 7};
        return true;
    case C4_FLOAT8_E4M3:
        *format = (float_format){4, 3};
        return true;
    case C4_FLOAT8_E5M2:
        *format = (float_format){5, 2};
        return true;
    case C4_FLOAT32:
        *format = (float_format){8, 23};
        return true;
    case C4_FLOAT64:
        *format = (float_format){11, 52};
        return true;
    default:
        return false;
    }
}

/* Nearest value, ties to even. Infinity, NaN and overflow do not occur with our small integers. */
static uint64_t float_encode(double value, float_format format)
{
    uint64_t sign = signbit(value) ? (uint64_t)1 << (format.exponent_bits + format.mantissa_bits) : 0;
    int bias = (1 << (format.exponent_bits - 1)) - 1;
    int exponent;
    if (value == 0.0) {
        return sign;
    }
    frexp(value, &exponent);
    exponent -= 1;
    if (exponent < 1 - bias) {
        exponent = 1 - bias;
    }
    /* A mantissa that rounds up to the next power of two carries into the exponent field by itself; a subnormal one
     * lacks the implicit bit, which the subtraction of one from the exponent field accounts for. */
    uint64_t mantissa = (uint64_t)nearbyint(ldexp(fabs(value), format.mantissa_bits - exponent));
    return sign | (((uint64_t)(exponent + bias - 1) << format.mantissa_bits) + mantissa);
}

static double float_decode(uint64_t bits, float_format format)
{
    int bias = (1 << (format.exponent_bits - 1)) - 1;
    uint64_t mantissa = bits & (((uint64_t)1 << format.mantissa_bits) - 1);
    int exponent = (int)(bits >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
    bool negative = (bits >> (format.exponent_bits + format.mantissa_bits) & 1) != 0;
    double magnitude = exponent == 0 ? ldexp((double)mantissa, 1 - bias - format.mantissa_bits)
                                     : ldexp((double)(mantissa | (uint64_t)1 << format.mantissa_bits),
                                             exponent - bias - format.mantissa_bits);
    return negative ? -magnitude : magnitude;
}

static bool dtype_unsigned(c4_dtype dtype)
{
    return dtype == C4_UINT8 || dtype == C4_UINT32 || dtype == C4_UINT64;
}

static bool op_bitwise(c4_op op)
{
    return op == C4_BAND || op == C4_BOR || op == C4_BXOR;
}

bool c4perf_pattern_supports(c4_dtype dtype, c4_op op)
{
    float_format format;
    return !(op_bitwise(op) && format_of(dtype, &format));
}

/* Largest integer up to which the dtype holds all of them, but no more than keeps the arithmetic below simple. */
static int64_t exact_limit(c4_dtype dtype)
{
    const int64_t enough = 1 << 20;
    float_format format;
    if (dtype == C4_INT8) {
        return INT8_MAX;
    }
    if (dtype == C4_UINT8) {
        return UINT8_MAX;
    }
    if (!format_of(dtype, &format) || format.mantissa_bits >= 20) {
        return enough;
    }
    return (int64_t)1 << (format.mantissa_bits + 1);
}

/* splitmix64's finaliser. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t element_hash(const c4perf_pattern *pattern, int rank, uint64_t index)
{
    return mix(mix(index + 1) + ((uint64_t)pattern->iteration << 32) + (uint64_t)(rank + 2) * 0x9e3779b97f4a7c15u);
}

static int64_t value_bitwise(const c4perf_pattern *pattern, int rank, uint64_t index)
{
    uint64_t own = element_hash(pattern, rank, index);
    uint64_t common = element_hash(pattern, -1, index);
    switch (pattern->op) {
    case C4_BAND:
        return (int64_t)(common | own); /* so that bits survive many ranks */
    case C4_BOR:
        return (int64_t)(common & own);
    default:
        return (int64_t)own;
    }
}

/* Element `index` of `rank`; index < C4PERF_PERIOD. Integers, also for floats. */
static int64_t value_at(const c4perf_pattern *pattern, int rank, uint64_t index)
{
    int64_t limit = exact_limit(pattern->dtype);
    uint64_t hash = element_hash(pattern, rank, index);
    uint64_t turn = ((uint64_t)rank + index + pattern->iteration) % (uint64_t)pattern->nranks;
    if (pattern->reduces && op_bitwise(pattern->op)) {
        return value_bitwise(pattern, rank, index);
    }
    if (pattern->reduces && pattern->op == C4_PROD) {
        /* At most three twos: the product stays within every dtype. */
        return turn < 3 ? 2 : dtype_unsigned(pattern->dtype) || (hash & 1) != 0 ? 1 : -1;
    }
    int64_t magnitude = limit < 100 ? limit : 100;
    if (pattern->reduces && (pattern->op == C4_SUM || pattern->op == C4_AVG)) {
        if (turn >= (uint64_t)limit) {
            return 0;
        }
        int64_t share = limit / pattern->nranks;
        magnitude = share < 1 ? 1 : share < magnitude ? share : magnitude;
    }
    int64_t value = (int64_t)(hash >> 8) & INT64_MAX;
    return dtype_unsigned(pattern->dtype) ? value % (magnitude + 1) : value % (2 * magnitude + 1) - magnitude;
}

static void store(const c4perf_pattern *pattern, int64_t integer, double real, unsigned char *to)
{
    float_format format;
    uint64_t bits = format_of(pattern->dtype, &format) ? float_encode(real, format) : (uint64_t)integer;
    memcpy(to, &bits, c4_dtype_size(pattern->dtype)); /* little-endian, as all of C4 */
}

static int64_t fold(c4_op op, int64_t a, int64_t b)
{
    switch (op) {
    case C4_PROD:
        return a * b;
    case C4_MAX:
        return a > b ? a : b;
    case C4_MIN:
        return a < b ? a : b;
    case C4_BAND:
        return a & b;
    case C4_BOR:
        return a | b;
    case C4_BXOR:
        return a ^ b;
    default:
        return a + b;
    }
}

static void store_reduced(const c4perf_pattern *pattern, uint64_t index, unsigned char *to)
{
    int64_t result = value_at(pattern, 0, index);
    for (int rank = 1; rank < pattern->nranks; rank++) {
        result = fold(pattern->op, result, value_at(pattern, rank, index));
    }
    bool average = pattern->op == C4_AVG;
    store(pattern, average ? result / pattern->nranks : result,
          average ? (double)result / pattern->nranks : (double)result, to);
}

/* One period, or less when the block is shorter, starting at element `first`. Returns its elements. */
static size_t tile_make(const c4perf_pattern *pattern, int source, size_t first, size_t count, unsigned char *tile)
{
    size_t size = c4_dtype_size(pattern->dtype);
    size_t n = count < C4PERF_PERIOD ? count : C4PERF_PERIOD;
    for (size_t i = 0; i < n; i++) {
        uint64_t index = (first + i) % C4PERF_PERIOD;
        if (source < 0) {
            store_reduced(pattern, index, tile + i * size);
        } else {
            int64_t value = value_at(pattern, source, index);
            store(pattern, value, (double)value, tile + i * size);
        }
    }
    return n;
}

void c4perf_pattern_write(const c4perf_pattern *pattern, int rank, size_t first, void *buffer, size_t count)
{
    unsigned char tile[C4PERF_PERIOD * C4PERF_ELEMENT_BYTES_MAX];
    size_t size = c4_dtype_size(pattern->dtype);
    size_t n = tile_make(pattern, rank, first, count, tile);
    for (size_t at = 0; at < count; at += n) {
        size_t part = count - at < n ? count - at : n;
        memcpy((unsigned char *)buffer + at * size, tile, part * size);
    }
}

static bool element_accepted(const c4perf_pattern *pattern, bool reduced, const unsigned char *got,
                             const unsigned char *expected)
{
    size_t size = c4_dtype_size(pattern->dtype);
    float_format format;
    uint64_t got_bits = 0;
    uint64_t expected_bits = 0;
    if (memcmp(got, expected, size) == 0) {
        return true;
    }
    if (!reduced || pattern->op != C4_AVG || !format_of(pattern->dtype, &format)) {
        return false;
    }
    memcpy(&got_bits, got, size);
    memcpy(&expected_bits, expected, size);
    double wanted = float_decode(expected_bits, format);
    double tolerance = ldexp(fabs(wanted), 1 - format.mantissa_bits);
    return fabs(float_decode(got_bits, format) - wanted) <= tolerance;
}

uint64_t c4perf_pattern_check(const c4perf_pattern *pattern, int source, size_t first, const void *buffer, size_t count)
{
    unsigned char tile[C4PERF_PERIOD * C4PERF_ELEMENT_BYTES_MAX];
    size_t size = c4_dtype_size(pattern->dtype);
    size_t n = tile_make(pattern, source, first, count, tile);
    uint64_t wrong = 0;
    for (size_t at = 0; at < count; at += n) {
        const unsigned char *got = (const unsigned char *)buffer + at * size;
        size_t part = count - at < n ? count - at : n;
        if (memcmp(got, tile, part * size) == 0) {
            continue;
        }
        for (size_t i = 0; i < part; i++) {
            wrong += !element_accepted(pattern, source < 0, got + i * size, tile + i * size);
        }
    }
    return wrong;
}
