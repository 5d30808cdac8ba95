/* Conversions of the narrow formats: all their bit patterns one way, all roundings the other. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "numeric/numeric.h"
#include "tests/c4test.h"
#include "tests/numeric/reference.h"

static uint64_t narrow(c4_dtype dtype, float value)
{
    switch (dtype) {
    case C4_FLOAT16:
        return c4_float32_to_float16(value);
    case C4_BFLOAT16:
        return c4_float32_to_bfloat16(value);
    case C4_FLOAT8_E4M3:
        return c4_float32_to_float8_e4m3(value);
    default:
        return c4_float32_to_float8_e5m2(value);
    }
}

static float widen(c4_dtype dtype, uint64_t bits)
{
    switch (dtype) {
    case C4_FLOAT16:
        return c4_float16_to_float32((uint16_t)bits);
    case C4_BFLOAT16:
        return c4_bfloat16_to_float32((uint16_t)bits);
    case C4_FLOAT8_E4M3:
        return c4_float8_e4m3_to_float32((uint8_t)bits);
    default:
        return c4_float8_e5m2_to_float32((uint8_t)bits);
    }
}

static const c4_dtype dtypes[] = {C4_FLOAT16, C4_BFLOAT16, C4_FLOAT8_E4M3, C4_FLOAT8_E5M2};

static int same(float a, double b)
{
    return isnan(a) ? isnan(b) : (double)a == b && !signbit(a) == !signbit(b);
}

static void test_all_patterns(void)
{
    for (int d = 0; d < 4; d++) {
        uint64_t patterns = UINT64_C(1) << 8 * c4_numeric_dtype_bytes(dtypes[d]);
        size_t wrong_values = 0, wrong_trips = 0;
        for (uint64_t bits = 0; bits < patterns; bits++) {
            float value = widen(dtypes[d], bits);
            wrong_values += !same(value, reference_value(bits, dtypes[d]));
            wrong_trips += !isnan(value) && narrow(dtypes[d], value) != bits;
        }
        C4TEST_INT(wrong_values, 0);
        C4TEST_INT(wrong_trips, 0);
    }
}

/* Around every value of the format and every midpoint between two, and random fp32 patterns. */
static void check_rounding(c4_dtype dtype, float value)
{
    float around[] = {value, nextafterf(value, INFINITY), nextafterf(value, -INFINITY)};
    for (int i = 0; i < 3; i++) {
        uint64_t expected = reference_round(around[i], dtype);
        if (narrow(dtype, around[i]) != expected) {
            printf("dtype %d: %a becomes %llx, expected %llx\n", dtype, (double)around[i],
                   (unsigned long long)narrow(dtype, around[i]), (unsigned long long)expected);
            CU_FAIL_FATAL("rounding");
        }
    }
}

static void test_rounding(void)
{
    for (int d = 0; d < 4; d++) {
        uint64_t patterns = UINT64_C(1) << 8 * c4_numeric_dtype_bytes(dtypes[d]);
        for (uint64_t bits = 0; bits + 1 < patterns; bits++) {
            double here = reference_value(bits, dtypes[d]), next = reference_value(bits + 1, dtypes[d]);
            check_rounding(dtypes[d], (float)here);
            check_rounding(dtypes[d], (float)((here + next) / 2));
        }
        for (int i = 0; i < 200000; i++) {
            uint32_t bits = (uint32_t)c4test_rand();
            float value;
            memcpy(&value, &bits, sizeof value);
            check_rounding(dtypes[d], value);
        }
    }
}

/* The values that the formats' specifications name: OFP8 rev. 1.0 table 1, IEEE 754 binary16, bfloat16. */
static void test_named_values(void)
{
    C4TEST_INT(c4_float32_to_float8_e4m3(448.0f), 0x7e);
    C4TEST_INT(c4_float32_to_float8_e4m3(464.0f), 0x7e); /* half-way to 480, ties to even */
    C4TEST_INT(c4_float32_to_float8_e4m3(-464.5f), 0x7f);
    C4TEST_INT(c4_float32_to_float8_e4m3(INFINITY), 0x7f);
    C4TEST_INT(c4_float32_to_float8_e4m3(-NAN), 0x7f);
    C4TEST_INT(c4_float32_to_float8_e4m3(0x1p-9f), 0x01);
    C4TEST_INT(c4_float32_to_float8_e4m3(-0x1p-10f), 0x80);
    C4TEST_INT(c4_float32_to_float8_e5m2(57344.0f), 0x7b);
    C4TEST_INT(c4_float32_to_float8_e5m2(61439.0f), 0x7b);
    C4TEST_INT(c4_float32_to_float8_e5m2(-61440.0f), 0xfc);
    C4TEST_INT(c4_float32_to_float8_e5m2(-NAN), 0x7e);
    C4TEST_INT(c4_float32_to_float16(65519.0f), 0x7bff);
    C4TEST_INT(c4_float32_to_float16(65520.0f), 0x7c00);
    C4TEST_INT(c4_float32_to_float16(0x1p-24f), 0x0001);
    C4TEST_INT(c4_float32_to_float16(-NAN), 0x7e00);
    C4TEST_INT(c4_float32_to_bfloat16(1.0f), 0x3f80);
    C4TEST_INT(c4_float32_to_bfloat16(0x1.fep127f), 0x7f7f);
    C4TEST_INT(c4_float32_to_bfloat16(0x1.ffp127f), 0x7f80);
    C4TEST_INT(c4_float32_to_bfloat16(-NAN), 0x7fc0);
    CU_ASSERT(isnan(c4_float8_e4m3_to_float32(0xff)));
    CU_ASSERT(c4_float8_e5m2_to_float32(0xfc) == -INFINITY);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(all_patterns), C4TEST_DEADLINE(rounding, 60), C4TEST(named_values),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
