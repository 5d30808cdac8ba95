/* Copies of every length and alignment, with and without streaming: the bytes arrive, and not one beyond. */
#include <stdlib.h>
#include <string.h>

#include "numeric/numeric.h"
#include "tests/c4test.h"

enum { MARGIN = 64, MAX_BYTES = 20000 };

static unsigned char source[MAX_BYTES + 2 * MARGIN];
static unsigned char first[MAX_BYTES + 2 * MARGIN];
static unsigned char second[MAX_BYTES + 2 * MARGIN];

static void fill_source(void)
{
    for (size_t i = 0; i < sizeof source; i++) {
        source[i] = (unsigned char)(c4test_rand() | 1);
    }
}

/* 0 outside [begin, begin + bytes), the source's bytes inside. */
static int is_copied(const unsigned char *buffer, size_t begin, const unsigned char *from, size_t bytes)
{
    for (size_t i = begin < MARGIN ? 0 : begin - MARGIN; i < begin; i++) {
        if (buffer[i] != 0) {
            return 0;
        }
    }
    for (size_t i = begin + bytes; i < begin + bytes + MARGIN; i++) {
        if (buffer[i] != 0) {
            return 0;
        }
    }
    return memcmp(buffer + begin, from, bytes) == 0;
}

static void check(size_t bytes, size_t to, size_t to2, size_t from, unsigned flags)
{
    memset(first, 0, to + bytes + MARGIN);
    c4_copy(first + to, source + from, bytes, flags & C4_NUMERIC_STREAM);
    c4_numeric_fence();
    CU_ASSERT(is_copied(first, to, source + from, bytes));
    memset(first, 0, to + bytes + MARGIN);
    memset(second, 0, to2 + bytes + MARGIN);
    c4_copy_dup(first + to, second + to2, source + from, bytes, flags);
    c4_numeric_fence();
    CU_ASSERT(is_copied(first, to, source + from, bytes));
    CU_ASSERT(is_copied(second, to2, source + from, bytes));
}

static void test_short_lengths(void)
{
    fill_source();
    for (size_t bytes = 0; bytes <= 200; bytes++) {
        for (size_t alignment = 0; alignment < 64; alignment += 1 + (size_t)c4test_rand_below(5)) {
            for (unsigned flags = 0; flags < 4; flags++) {
                check(bytes, alignment, (size_t)c4test_rand_below(64), (size_t)c4test_rand_below(64), flags);
            }
        }
    }
}

static void test_long_lengths(void)
{
    fill_source();
    for (int repeat = 0; repeat < 400; repeat++) {
        check((size_t)c4test_rand_below(MAX_BYTES), (size_t)c4test_rand_below(64), (size_t)c4test_rand_below(64),
              (size_t)c4test_rand_below(64), repeat & 3);
    }
}

/* In place: nothing happens, whatever the length. */
static void test_onto_itself(void)
{
    fill_source();
    memcpy(first, source, sizeof first);
    for (size_t bytes = 0; bytes < 300; bytes++) {
        c4_copy(first, first, bytes, 0);
        c4_copy(first, first, bytes, C4_NUMERIC_STREAM);
        c4_copy_dup(first, second, first, bytes, C4_NUMERIC_STREAM2);
        c4_numeric_fence();
        CU_ASSERT(memcmp(second, source, bytes) == 0);
    }
    CU_ASSERT(memcmp(first, source, sizeof first) == 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(short_lengths), C4TEST(long_lengths), C4TEST(onto_itself), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
