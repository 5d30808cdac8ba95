/* c4perf's verification has to be right by itself: known encodings, exactness of every partial result, and each kind
 * of damage found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/c4test.h"
#include "tools/c4perf/pattern.h"

#define COUNT 5000

static c4perf_pattern pattern_for(c4_dtype dtype, c4_op op, int nranks)
{
    return (c4perf_pattern){.dtype = dtype, .op = op, .reduces = true, .nranks = nranks, .iteration = 3};
}

/* Elements 0 .. COUNT of one rank as doubles, read back through C's own types. */
static void read_float(const c4perf_pattern *pattern, int rank, double *values)
{
    static double raw[COUNT];
    c4perf_pattern_write(pattern, rank, 0, raw, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        float narrow;
        memcpy(&narrow, (const unsigned char *)raw + i * sizeof narrow, sizeof narrow);
        values[i] = pattern->dtype == C4_FLOAT64 ? raw[i] : (double)narrow;
    }
}

static void test_float_values_are_small_integers(void)
{
    static double narrow[COUNT];
    static double wide[COUNT];
    c4perf_pattern pattern = pattern_for(C4_FLOAT32, C4_SUM, 4);
    read_float(&pattern, 1, narrow);
    pattern.dtype = C4_FLOAT64;
    read_float(&pattern, 1, wide);
    size_t different = 0;
    size_t nonzero = 0;
    for (size_t i = 0; i < COUNT; i++) {
        different += narrow[i] != wide[i];
        nonzero += narrow[i] != 0.0;
        CU_ASSERT(narrow[i] == nearbyint(narrow[i]) && fabs(narrow[i]) <= 100.0);
    }
    CU_ASSERT_EQUAL(different, 0);
    CU_ASSERT(nonzero > COUNT * 9 / 10);
}

/* The sum of what the ranks write, added here in float, passes the check; so does it in int32. */
static void test_sum_of_ranks_is_accepted(void)
{
    static float sum[COUNT];
    static int32_t isum[COUNT];
    static float part[COUNT];
    static int32_t ipart[COUNT];
    c4perf_pattern floats = pattern_for(C4_FLOAT32, C4_SUM, 5);
    c4perf_pattern integers = pattern_for(C4_INT32, C4_SUM, 5);
    for (int rank = 0; rank < 5; rank++) {
        c4perf_pattern_write(&floats, rank, 17, part, COUNT);
        c4perf_pattern_write(&integers, rank, 17, ipart, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            sum[i] += part[i];
            isum[i] += ipart[i];
        }
    }
    C4TEST_INT((long long)c4perf_pattern_check(&floats, -1, 17, sum, COUNT), 0);
    C4TEST_INT((long long)c4perf_pattern_check(&integers, -1, 17, isum, COUNT), 0);
    C4TEST_INT((long long)c4perf_pattern_check(&floats, 4, 17, part, COUNT), 0);
}

static void test_damage_is_counted(void)
{
    static float data[COUNT];
    c4perf_pattern pattern = pattern_for(C4_FLOAT32, C4_SUM, 3);
    c4perf_pattern_write(&pattern, 1, 0, data, COUNT);
    C4TEST_INT((long long)c4perf_pattern_check(&pattern, 1, 0, data, COUNT), 0);
    data[0] += 1.0f;
    data[C4PERF_PERIOD] += 1.0f;
    data[COUNT - 1] += 1.0f;
    C4TEST_INT((long long)c4perf_pattern_check(&pattern, 1, 0, data, COUNT), 3);
}

/* Another rank, index, iteration, or a block that moved by a power of two: hardly an element may agree by chance. */
static void test_displaced_data_is_wrong(void)
{
    static int32_t data[COUNT];
    c4perf_pattern pattern = pattern_for(C4_INT32, C4_MAX, 3);
    c4perf_pattern other = pattern;
    other.iteration++;
    c4perf_pattern_write(&pattern, 1, 0, data, COUNT);
    const uint64_t most = COUNT * 9 / 10;
    CU_ASSERT(c4perf_pattern_check(&pattern, 2, 0, data, COUNT) > most);
    CU_ASSERT(c4perf_pattern_check(&other, 1, 0, data, COUNT) > most);
    for (size_t shift = 1; shift <= (size_t)1 << 20; shift *= 2) {
        CU_ASSERT(c4perf_pattern_check(&pattern, 1, shift, data, COUNT) > most);
    }
}

/* One known bit pattern per float format: what 1 looks like. Products consist of 1, -1 and 2 only. */
static void test_encodings(void)
{
    const struct {
        c4_dtype dtype;
        uint32_t one, minus_one, two;
    } formats[] = {
        {C4_FLOAT16, 0x3c00, 0xbc00, 0x4000},
        {C4_BFLOAT16, 0x3f80, 0xbf80, 0x4000},
        {C4_FLOAT8_E4M3, 0x38, 0xb8, 0x40},
        {C4_FLOAT8_E5M2, 0x3c, 0xbc, 0x40},
        {C4_FLOAT32, 0x3f800000, 0xbf800000, 0x40000000},
    };
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        c4perf_pattern pattern = pattern_for(formats[f].dtype, C4_PROD, 8);
        size_t size = c4_dtype_size(formats[f].dtype);
        unsigned char data[256 * 4];
        unsigned seen = 0;
        c4perf_pattern_write(&pattern, 0, 0, data, 256);
        for (size_t i = 0; i < 256; i++) {
            uint32_t bits = 0;
            memcpy(&bits, data + i * size, size);
            seen |= bits == formats[f].one ? 1u : bits == formats[f].minus_one ? 2u : bits == formats[f].two ? 4u : 8u;
        }
        C4TEST_INT(seen, 7);
    }
}

/* Averages of floats may differ by two units in the last place, and by no more. */
static void test_average_tolerance(void)
{
    c4perf_pattern pattern = pattern_for(C4_FLOAT32, C4_AVG, 3);
    float result[COUNT];
    float part[COUNT];
    memset(result, 0, sizeof result);
    for (int rank = 0; rank < 3; rank++) {
        c4perf_pattern_write(&pattern, rank, 0, part, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            result[i] += part[i];
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        result[i] = nextafterf(result[i] / 3.0f, 1000.0f);
    }
    uint64_t zeros = 0;
    for (size_t i = 0; i < COUNT; i++) {
        zeros += fabsf(result[i]) < 1e-30f; /* the neighbour of an exact zero is far away in units of zero */
    }
    C4TEST_INT((long long)c4perf_pattern_check(&pattern, -1, 0, result, COUNT), (long long)zeros);
    size_t at = 0;
    while (fabsf(result[at]) < 1.0f) {
        at++;
    }
    for (int i = 0; i < 4; i++) {
        result[at] = nextafterf(result[at], result[at] > 0.0f ? 1000.0f : -1000.0f);
    }
    C4TEST_INT((long long)c4perf_pattern_check(&pattern, -1, at, result + at, 1), 1);
}

/* With many ranks and few exact integers, partial sums stay exact and every rank still counts somewhere. */
static void test_many_ranks_in_eight_bits(void)
{
    enum { NRANKS = 100 };
    static unsigned char data[COUNT];
    c4perf_pattern pattern = pattern_for(C4_FLOAT8_E5M2, C4_SUM, NRANKS);
    unsigned contributions[COUNT] = {0};
    for (int rank = 0; rank < NRANKS; rank++) {
        unsigned own = 0;
        c4perf_pattern_write(&pattern, rank, 0, data, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            contributions[i] += data[i] != 0;
            own += data[i] != 0;
        }
        CU_ASSERT(own > 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CU_ASSERT(contributions[i] <= 8);
    }
}

static void test_bitwise_needs_integers(void)
{
    CU_ASSERT(c4perf_pattern_supports(C4_INT8, C4_BAND));
    CU_ASSERT(c4perf_pattern_supports(C4_FLOAT8_E5M2, C4_PROD));
    CU_ASSERT(!c4perf_pattern_supports(C4_BFLOAT16, C4_BXOR));
    CU_ASSERT(!c4perf_pattern_supports(C4_FLOAT64, C4_BOR));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(float_values_are_small_integers),
                                        C4TEST(sum_of_ranks_is_accepted),
                                        C4TEST(damage_is_counted),
                                        C4TEST(displaced_data_is_wrong),
                                        C4TEST(encodings),
                                        C4TEST(average_tolerance),
                                        C4TEST(many_ranks_in_eight_bits),
                                        C4TEST(bitwise_needs_integers),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
